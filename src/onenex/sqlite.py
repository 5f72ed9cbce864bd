"""SQLite for many threads and processes at once: one writer at a time, readers never wait, and a commit is on the disk when it returns."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from enum import Enum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

BUSY_S = 60
"""How long a writer waits for another."""


class NewerVersion(Exception):
    """The file was written by a newer OneNEX; `version` is the file's."""

    def __init__(self, version: int) -> None:
        super().__init__(f"version {version}")
        self.version = version


class Fault(Enum):
    """What is wrong, as far as SQLite's words tell."""

    FULL = "full"
    DAMAGED = "damaged"
    UNWRITABLE = "unwritable"
    LOCKED = "locked"
    OTHER = "other"


_WORDS = {
    "full": Fault.FULL, "malformed": Fault.DAMAGED, "not a database": Fault.DAMAGED, "readonly": Fault.UNWRITABLE,
    "unable to open": Fault.UNWRITABLE, "locked": Fault.LOCKED,
}  # fmt: skip


def fault_of(error: DBAPIError | sqlite3.Error) -> tuple[Fault, str]:
    """Return what is wrong, and SQLite's own words."""
    said = str(error.orig if isinstance(error, DBAPIError) else error)
    return next((fault for word, fault in _WORDS.items() if word in said), Fault.OTHER), said


def open_engine(path: Path, metadata: MetaData, version: int, statements: Sequence[str] = ()) -> Engine:
    """Open a database file, or make it.

    Transactions are deferred, or immediate with the execution option `writes=True`.

    Parameters
    ----------
    path
        The file; a lock file of the same name, `.lock`, lies beside it.
    metadata
        The tables.
    version
        Of the tables; kept in the file.
    statements
        Carried out once after the tables are made, e.g. for triggers.

    Raises
    ------
    NewerVersion
        It was written by a newer OneNEX.
    DBAPIError, sqlite3.Error, OSError
        It cannot be used.
    """
    engine = create_engine(f"sqlite:///{path}", poolclass=QueuePool, pool_size=4, max_overflow=-1)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # changing the journal mode does not wait for others by itself
        with closing(sqlite3.connect(path, timeout=BUSY_S)) as plain:
            plain.execute("PRAGMA journal_mode = WAL")
        _make_tables(engine, metadata, version, statements)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return engine


def _prepare(connection: Any, _: object) -> None:
    """Set up one connection (SQLite's own API: these do not last)."""
    connection.isolation_level = None
    for pragma in (f"busy_timeout = {BUSY_S * 1000}", "synchronous = FULL", "foreign_keys = ON", "journal_size_limit = 67108864"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _make_tables(engine: Engine, metadata: MetaData, version: int, statements: Sequence[str]) -> None:
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if found > version:
            raise NewerVersion(found)
        if found < version:
            metadata.create_all(connection)
            for statement in statements:
                connection.exec_driver_sql(statement)
            connection.exec_driver_sql(f"PRAGMA user_version = {version}")
