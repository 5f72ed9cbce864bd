"""`plan`: a source as a stream of units. Headers are looked at, pixels aren't; what was seen lies in SQLite on disk, so memory stays the same.

All files of a series are brought together wherever they lie, so the first unit comes when every file was looked at. With an
index that is kept, files that are the same as last time are not opened again.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import IO, NamedTuple

from onenex.batch import web
from onenex.batch.listing import Listed, base_name, listed, opener
from onenex.batch.unit import Access, Kind, Unit, file_id, fingerprint, series_hash, series_id
from onenex.dicom.quick import FileKind, Glance, glance_at
from onenex.errors import DataError
from onenex.pairs.workers import in_order

Progress = Callable[[int], None]
"""Called with the number of files looked at."""

_BATCH = 200
_TABLES = """
CREATE TABLE IF NOT EXISTS files (
    name BLOB PRIMARY KEY, size INTEGER, stamp TEXT, kind TEXT, study TEXT, series TEXT, problem TEXT, run INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_of_series ON files (study, series, name);
"""
_NIFTI, _DAMAGED, _REFUSED = "nifti", "damaged", "refused"


class _Seen(NamedTuple):
    """A file as the index keeps it."""

    name: bytes
    size: int
    stamp: str
    kind: str
    study: str
    series: str
    """Of a file that is a unit by itself, its name."""
    problem: str


def plan(
    source: str, *, index: Path | None = None, workers: int = 0, access: Access | None = None, progress: Progress | None = None
) -> Generator[Unit, None, None]:
    """Yield the units of a source, each series once, by study and series; the same order every time.

    Parameters
    ----------
    source
        Folder, zip archive, manifest (see `listing.listed`) or DICOMweb query (see `web.found`).
    index
        SQLite file that remembers what was seen; it names paths and UIDs, so it's made for its owner's eyes alone. None: a
        temporary one.
    workers
        Processes that look at local files; 0 = this one.
    access
        To a DICOMweb server.
    progress
        Called after each batch of files.

    Raises
    ------
    DataError
        The source cannot be listed.
    """
    if web.is_query(source):
        yield from web.found(source, access)
        return
    with _index(index) as db:
        db.execute("UPDATE files SET run = 0 WHERE run <> 0")
        _look(db, source, workers, progress)
        db.execute("DELETE FROM files WHERE run = 0")
        db.commit()
        rows = db.execute("SELECT name, size, stamp, kind, study, series, problem FROM files WHERE kind <> 'other' ORDER BY study, series, name")
        for (study, series), files in groupby(map(_Seen._make, rows), key=lambda one: (one.study, one.series)):
            yield _unit(study, series, list(files))


@contextmanager
def _index(path: Path | None) -> Iterator[sqlite3.Connection]:
    with tempfile.TemporaryDirectory(prefix="onenex-plan-") as folder:
        file = path or Path(folder) / "plan.sqlite"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
            with closing(sqlite3.connect(file)) as db:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = NORMAL")
                db.execute("PRAGMA cache_size = -512")
                db.execute("PRAGMA wal_autocheckpoint = 200")
                db.executescript(_TABLES)
                yield db
        except (sqlite3.Error, OSError) as error:
            raise DataError(f"{file} cannot be used ({error}): remove it, it will be made anew; or free some space") from error


def _look(db: sqlite3.Connection, source: str, workers: int, progress: Progress | None) -> None:
    """Bring the index up to date: a file that has the same size and time as before keeps what was seen."""
    n_seen = 0
    batches = _new(db, listed(source))
    for batch in in_order(_glanced, batches, workers):
        db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, 1)", batch)
        db.commit()
        n_seen += len(batch)
        if progress is not None:
            progress(n_seen)


def _new(db: sqlite3.Connection, files: Iterator[Listed]) -> Iterator[list[Listed]]:
    """Yield, in batches, the files that must be looked at; mark the others as still there."""
    for batch in iter(partial(_take, files), []):
        new = []
        for one in batch:
            known = db.execute(
                "UPDATE files SET run = 1 WHERE name = ? AND size = ? AND stamp = ? AND stamp <> ''", (os.fsencode(one.name), one.size, one.stamp)
            )
            if known.rowcount == 0:
                new.append(one)
        db.commit()
        if new:
            yield new


def _take(files: Iterator[Listed]) -> list[Listed]:
    return list(islice(files, _BATCH))


def _glanced(batch: Sequence[Listed]) -> list[_Seen]:
    with opener() as opened:
        return [_seen(one, opened) for one in batch]


def _seen(one: Listed, opened: Callable[[str], IO[bytes]]) -> _Seen:
    """Look at one file."""
    name, key = base_name(one.name), os.fsencode(one.name)
    alone = _storable(one.name)
    if name.lower().endswith((".nii", ".nii.gz")):
        return _Seen(key, one.size, one.stamp, _NIFTI, "", alone, "")
    try:
        with opened(one.name) as stream:
            glance = glance_at(stream)  # type: ignore[arg-type]
    except (OSError, DataError, zipfile.BadZipFile, RuntimeError, NotImplementedError):  # of zip: encrypted, or an unknown method
        glance = Glance(kind=FileKind.DENIED, problem="cannot be opened")
    if glance.kind is FileKind.DICOM:
        return _Seen(key, one.size, one.stamp, "dicom", glance.study_uid, glance.series_uid, "")
    if glance.kind is FileKind.ARCHIVE:
        return _Seen(key, one.size, one.stamp, _REFUSED, "", alone, f"{_storable(name)} is an archive inside the source: unpack it")
    if glance.kind is FileKind.OTHER:
        return _Seen(key, one.size, one.stamp, "other", "", "", "")
    stamp = one.stamp if glance.kind is FileKind.DAMAGED else ""  # what cannot be opened is tried again every time
    problem = f"{_storable(name)} {glance.problem}: send its series again from the scanner or PACS"
    return _Seen(key, one.size, stamp, _DAMAGED, "", alone, problem)


def _storable(text: str) -> str:
    """Text that SQLite and Parquet can hold, whatever the file system held."""
    return text.encode("utf-8", "replace").decode()


def _unit(study: str, series: str, files: Sequence[_Seen]) -> Unit:
    first = files[0]
    names = tuple(os.fsdecode(one.name) for one in files)
    alone = first.kind != "dicom"
    return Unit(
        id=file_id(names[0]) if alone else series_id(study, series),
        kind=Kind.NIFTI if first.kind == _NIFTI else Kind.DICOM,
        source=_storable(names[0] if alone or len(files) == 1 else _common(names)),
        series=series_hash(series),
        fingerprint=fingerprint(_facts(files)),
        files=names,
        n_bytes=sum(one.size for one in files),
        problem=first.problem,
        damaged=first.kind == _DAMAGED,
    )


def _facts(files: Iterable[_Seen]) -> Iterator[str]:
    return iter(sorted(f"{one.size} {base_name(os.fsdecode(one.name))}" for one in files))


def _common(names: Sequence[str]) -> str:
    """Return the folder that files lie in, or the one above their folders."""
    folders = {name.partition("::")[0].rsplit("/", 1)[0] for name in names}
    first, last = min(folders).split("/"), max(folders).split("/")
    same = next((place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), min(len(first), len(last)))
    return ("/".join(first[:same]) or "/") + "".join(names[0].partition("::")[1:])
