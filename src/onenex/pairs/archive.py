"""An index of a DICOM tree of any structure, in one SQLite file; it names patients, so it is made for its owner's eyes alone (mode 0600).

Two levels: a quick look at each new file (which instance of which series is it?), then the whole headers of each series that
changed, once. What was read is not opened again as long as its size and time stay the same.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

from onenex.dicom.quick import FileKind, Glance, glances
from onenex.dicom.volumes import read_volumes
from onenex.errors import DataError
from onenex.pairs.indexing.index_file import for_reading, for_writing
from onenex.pairs.indexing.stored import FORMAT, from_json, to_json
from onenex.pairs.indexing.tree import Entry, Walk, entries
from onenex.pairs.workers import in_order
from onenex.volume import Volume

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""(done, total), in readings of a file: a new one is read twice, once on each level."""

BATCH = 200
"""Files between two commits: what a kill loses at most, for each worker."""


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """What a scan met and did."""

    n_files: int
    n_new: int
    """Files that weren't known, or had changed."""
    n_unchanged: int
    n_gone: int
    n_dicom: int
    n_unreadable: int
    """Files that are damaged or could not be opened."""
    n_copies: int
    """Files that hold an instance again."""
    n_archives: int
    """Zip archives; they are not opened: unpack them first."""
    n_other: int
    """Files that are no DICOM."""
    n_denied: int
    """Folders, and files in them, that could not be looked at."""
    n_links: int
    """Links that lead nowhere or in a circle."""
    n_series: int
    n_series_read: int
    """Series that were new or had changed."""
    n_volumes: int
    seconds: float


class _Series(NamedTuple):
    """A series to be read: its key, the fingerprint of its files, and where they are, relative to the root."""

    study: str
    uid: str
    fingerprint: bytes
    paths: list[bytes]


class _Read(NamedTuple):
    """A series as read: rows (patient, series number, JSON) of its volumes, and what is wrong with which file."""

    series: _Series
    rows: list[tuple[str, int | None, str]]
    problems: list[tuple[str, bytes]]


def scan(root: Path, index: Path, *, workers: int = 0, progress: Progress | None = None) -> Scanned:
    """Bring the index of a tree up to date.

    Work is committed batch by batch: a scan killed at any instant leaves a whole index, and the next one goes on. Vanished
    files are forgotten, and their series are made anew from what is left.

    Parameters
    ----------
    root
        A folder of any structure. Links are followed, circles end.
    index
        The SQLite file; made, readable by its owner alone, where it's missing. It holds names of patients.
    workers
        Processes that read; 0 = this one.
    progress
        Called after each batch.

    Raises
    ------
    DataError
        No such folder, an index that is something else, or a worker that died.
    """
    began = time.monotonic()
    if not root.is_dir():
        raise DataError(f"{root} is no folder: give the folder of an archive")
    root = root.absolute()
    with for_writing(index, root) as db:
        walk = Walk()
        skip = frozenset(_identity(index.with_name(index.name + end)) for end in ("", "-wal", "-shm"))
        n_files, n_new = _list(db, entries(root, walk, skip))
        n_gone = db.execute("DELETE FROM files WHERE path NOT IN (SELECT path FROM found)").rowcount
        db.commit()
        n_closed = _look(db, root, workers, partial(_tell, progress, 0))
        stale = _stale(db)
        _read(db, root, workers, stale, partial(_tell, progress, n_new))
        return Scanned(
            n_files=n_files,
            n_new=n_new,
            n_unchanged=n_files - n_new,
            n_gone=n_gone,
            n_dicom=_count(db, "files WHERE kind = 'dicom'"),
            n_unreadable=_count(db, "files WHERE problem <> ''") + n_closed,
            n_copies=_count(db, "files WHERE kind = 'dicom' AND sop <> ''")
            - _count(db, "(SELECT DISTINCT sop FROM files WHERE kind = 'dicom' AND sop <> '')"),
            n_archives=_count(db, "files WHERE kind = 'archive'"),
            n_other=_count(db, "files WHERE kind = 'other'"),
            n_denied=walk.n_denied,
            n_links=walk.n_links,
            n_series=_count(db, "series"),
            n_series_read=len(stale),
            n_volumes=_count(db, "volumes"),
            seconds=time.monotonic() - began,
        )


def volumes(index: Path) -> Iterator[Volume]:
    """Yield every volume of an index, by patient, study, series number and its place in the series; refused ones too.

    Raises
    ------
    DataError
        No index there, or a damaged one.
    """
    with for_reading(index) as (db, root):
        for (body,) in db.execute("SELECT body FROM volumes ORDER BY patient, study, number, series, ordinal"):
            yield from_json(body, root)


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_dev, status.st_ino


def _tell(progress: Progress | None, before: int, done: int, total: int) -> None:
    if progress is not None:
        progress(before + done, before + total)


def _count(db: sqlite3.Connection, what: str) -> int:
    return int(db.execute(f"SELECT count(*) FROM {what}").fetchone()[0])


def _list(db: sqlite3.Connection, found: Iterator[Entry]) -> tuple[int, int]:
    """List the tree in a table of this connection's own, and what of it must be read in another; return how many are in each."""
    db.execute("CREATE TEMP TABLE found (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER) WITHOUT ROWID")
    while batch := list(islice(found, 5000)):
        db.executemany("INSERT OR IGNORE INTO found VALUES (?, ?, ?)", batch)
    db.execute(
        "CREATE TEMP TABLE todo AS SELECT found.* FROM found LEFT JOIN files USING (path) "
        "WHERE files.path IS NULL OR files.size <> found.size OR files.mtime_ns <> found.mtime_ns"
    )
    return _count(db, "found"), _count(db, "todo")


def _look(db: sqlite3.Connection, root: Path, workers: int, progress: Progress) -> int:
    """First level: look at each file to be read. Return how many could not be opened; the next scan tries those again."""
    total, done, n_denied = _count(db, "todo"), 0, 0
    rows = map(Entry._make, db.execute("SELECT path, size, mtime_ns FROM todo"))
    batches = iter(lambda: list(islice(rows, BATCH)), [])
    for batch, seen in in_order(partial(_glances, root), batches, workers):
        known, denied = [], []
        for entry, one in zip(batch, seen, strict=True):
            if one.kind is FileKind.DENIED:
                denied.append((entry.path,))
            else:
                known.append((*entry, one.kind.value, one.sop_uid, one.series_uid, one.study_uid, one.problem))
        db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", known)
        db.executemany("DELETE FROM files WHERE path = ?", denied)
        db.commit()
        done, n_denied = done + len(batch), n_denied + len(denied)
        progress(done, 2 * total)
    return n_denied


def _glances(root: Path, batch: Sequence[Entry]) -> tuple[Sequence[Entry], list[Glance]]:
    return batch, glances(root / os.fsdecode(entry.path) for entry in batch)


def _stale(db: sqlite3.Connection) -> list[tuple[str, str, bytes, int]]:
    """Forget series without files; return (study, series, fingerprint, number of files) of those whose files changed."""
    for table in ("series", "volumes"):
        db.execute(
            f"DELETE FROM {table} WHERE NOT EXISTS (SELECT 1 FROM files WHERE kind = 'dicom' "
            f"AND files.study = {table}.study AND files.series = {table}.series)"
        )
    db.commit()
    known = {(study, uid): bytes(mark) for study, uid, mark in db.execute("SELECT study, series, fingerprint FROM series")}
    rows = db.execute("SELECT study, series, path, size, mtime_ns FROM files WHERE kind = 'dicom' ORDER BY study, series, path")
    stale = []
    for (study, uid), files in groupby(rows, key=lambda row: (row[0], row[1])):
        digest, n_files = hashlib.blake2b(f"{FORMAT}".encode(), digest_size=16), 0
        for _, _, path, size, mtime_ns in files:
            digest.update(f"\0{len(path)} {size} {mtime_ns} ".encode() + path)
            n_files += 1
        if known.get((study, uid)) != digest.digest():
            stale.append((study, uid, digest.digest(), n_files))
    return stale


def _read(db: sqlite3.Connection, root: Path, workers: int, stale: Sequence[tuple[str, str, bytes, int]], progress: Progress) -> None:
    """Second level: read the headers of each stale series."""
    total, done = sum(n_files for *_, n_files in stale), 0
    for results in in_order(partial(_volumes, root), _jobs(db, stale), workers):
        for series, rows, problems in results:
            key = (series.study, series.uid)
            db.execute("DELETE FROM volumes WHERE study = ? AND series = ?", key)
            db.executemany("INSERT INTO volumes VALUES (?, ?, ?, ?, ?, ?)", [(*key, place, *row) for place, row in enumerate(rows)])
            db.execute("INSERT OR REPLACE INTO series VALUES (?, ?, ?)", (*key, series.fingerprint))
            db.execute("UPDATE files SET problem = '' WHERE kind = 'dicom' AND study = ? AND series = ? AND problem <> ''", key)
            db.executemany("UPDATE files SET problem = ? WHERE path = ?", problems)
            done += len(series.paths)
        db.commit()
        progress(done, total)


def _jobs(db: sqlite3.Connection, stale: Iterable[tuple[str, str, bytes, int]]) -> Iterator[list[_Series]]:
    """Whole series, put together until they hold a batch of files."""
    job: list[_Series] = []
    for study, uid, fingerprint, _ in stale:
        rows = db.execute("SELECT path FROM files WHERE kind = 'dicom' AND study = ? AND series = ? ORDER BY path", (study, uid))
        job.append(_Series(study, uid, fingerprint, [path for (path,) in rows]))
        if sum(len(series.paths) for series in job) >= BATCH:
            yield job
            job = []
    if job:
        yield job


def _volumes(root: Path, job: Sequence[_Series]) -> list[_Read]:
    done = []
    for series in job:
        read = read_volumes(root / os.fsdecode(path) for path in series.paths)
        rows = [(_storable(one.patient), one.series_number, to_json(one, root)) for one in read.volumes]
        problems = [(problem, os.fsencode(path.relative_to(root))) for path, problem in read.problems.items()]
        done.append(_Read(series, rows, problems))
    return done


def _storable(text: str) -> str:
    """Text that SQLite can hold, whatever the header held."""
    return text.encode("utf-8", "replace").decode()
