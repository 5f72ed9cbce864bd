"""The SQLite file behind `archive`: its tables, and how it is opened. WAL mode, so that a killed process leaves a whole file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from onenex.errors import DataError

_APPLICATION_ID = 0x4F4E4558  # "ONEX"
_VERSION = 1
_WAIT_S = 60.0
"""For another scan of the same index to finish a batch."""
_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, kind TEXT, sop TEXT, series TEXT, study TEXT, problem TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_of_series ON files (study, series, path) WHERE kind = 'dicom';
CREATE TABLE IF NOT EXISTS series (study TEXT, series TEXT, fingerprint BLOB, PRIMARY KEY (study, series)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS volumes (
    study TEXT, series TEXT, ordinal INTEGER, patient TEXT, number INTEGER, body TEXT, PRIMARY KEY (study, series, ordinal)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS volumes_in_order ON volumes (patient, study, number, series, ordinal);
"""


@contextmanager
def for_writing(index: Path, root: Path) -> Iterator[sqlite3.Connection]:
    """Open the index of `root`, made where it's missing: readable by its owner alone.

    Raises
    ------
    DataError
        The file is something else, of another version, or cannot be written.
    """
    with _complaints(index):
        index.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(index, os.O_RDWR | os.O_CREAT, 0o600))
        with closing(sqlite3.connect(index, timeout=_WAIT_S, isolation_level="DEFERRED")) as db:
            empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
            if not empty:
                _check(db, index)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            if empty:
                db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {_VERSION}")
            db.executescript(_TABLES)
            db.execute("INSERT OR REPLACE INTO about VALUES ('root', ?)", (os.fsencode(root),))
            db.commit()
            yield db


@contextmanager
def for_reading(index: Path) -> Iterator[tuple[sqlite3.Connection, Path]]:
    """Open an index and return it with the root that its paths are relative to.

    Raises
    ------
    DataError
        No index there, or the file is something else.
    """
    if not index.is_file():
        raise DataError(f"{index} does not exist: scan the archive first")
    with _complaints(index), closing(sqlite3.connect(f"{index.absolute().as_uri()}?mode=ro", timeout=_WAIT_S, uri=True)) as db:
        _check(db, index)
        row = db.execute("SELECT value FROM about WHERE name = 'root'").fetchone()
        if row is None:
            raise DataError(f"{index} does not say which folder it is of: delete it and scan again")
        yield db, Path(os.fsdecode(row[0]))


def _check(db: sqlite3.Connection, index: Path) -> None:
    made_by = (db.execute("PRAGMA application_id").fetchone()[0], db.execute("PRAGMA user_version").fetchone()[0])
    if made_by[0] != _APPLICATION_ID:
        raise DataError(f"{index} is a database, but no index of an archive: give another name")
    if made_by[1] != _VERSION:
        raise DataError(f"{index} was made by another version of OneNEX: delete it and scan again")


@contextmanager
def _complaints(index: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DataError(f"{index} cannot be used ({error}): give another name, or delete it and scan again") from error
    except PermissionError as error:
        raise DataError(f"{index} cannot be opened ({error.strerror}): check the permissions of the file and its folder") from error
