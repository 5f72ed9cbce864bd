"""The study's database: transactions, its errors in plain words, and two chained logs (answers, events)."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, insert, select
from sqlalchemy.exc import DBAPIError

from onenex.errors import StudyError
from onenex.reader.keeping.refusals import Improper
from onenex.reader.keeping.schema import FILE, answers, events, open_engine
from onenex.reader.keeping.views import Event
from onenex.sqlite import BUSY_S, Fault, fault_of

_FIRST = "0" * 64


class Database:
    """A study's `study.sqlite`, for any number of threads and processes at once.

    Parameters
    ----------
    folder
        The study's folder, as `onenex study create` made it.
    wall
        Returns seconds since 1970.

    Raises
    ------
    StudyError
        There is no study, or it cannot be opened.
    """

    def __init__(self, folder: Path, *, wall: Callable[[], float] = time.time) -> None:
        self.folder = folder.absolute()
        self.wall = wall
        self._turn = threading.Lock()
        if not (self.folder / FILE).is_file():
            raise StudyError(f"{folder} holds no reader study: make one with `onenex study create`")
        with _explained(self.folder):
            self._engine = open_engine(self.folder)

    def close(self) -> None:
        """Close this process's connections; the study itself goes on."""
        self._engine.dispose()

    @contextmanager
    def reading_from(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the study."""
        with _explained(self.folder), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing_to(self) -> Iterator[Connection]:
        """Yield the one connection that writes; what it did is on the disk after the block, or undone by an exception."""
        # SQLite alone lets waiting threads starve: hence our own turns, within one process.
        with self._turn, _explained(self.folder), self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    def log(self, event: str, **fields: Any) -> None:
        """Add a line to the study's log; it is on the disk on return. Arms, cases and patients never go in.

        Raises
        ------
        StudyError
            It cannot be written.
        """
        with self.writing_to() as connection:
            self.note(connection, event, **fields)

    def note(self, connection: Connection, event: str, **fields: Any) -> None:
        """Add a line to the log, as part of a transaction."""
        append(connection, events, wall=self.wall(), event=event, fields=fields)

    def events(self) -> list[Event]:
        """Return the log, oldest first."""
        with self.reading_from() as connection:
            rows = connection.execute(select(events).order_by(events.c.id)).all()
        return [Event(number=row.id, wall=row.wall, event=row.event, fields=row.fields) for row in rows]

    def verify(self) -> int:
        """Return the number of answers and events, all of them chained.

        A row that was changed, or one missing in the middle, shows; what is missing at the end does not, except answers
        after unblinding, which wrote down their number and last digest.

        Raises
        ------
        StudyError
            A chain is broken; the message names the row.
        """
        with self.reading_from() as connection:
            n_rows = sum(_verified(connection, table) for table in (answers, events))
            sealed = connection.execute(select(events.c.fields).where(events.c.event == "unblinded")).scalars().first()
            if sealed is not None and (sealed["answers"], sealed["last_answer"]) != last_link(connection, answers):
                raise StudyError(f"{FILE}: answers were added or removed after unblinding; compare with a copy")
        return n_rows


def append(connection: Connection, table: Table, **values: Any) -> None:
    """Add a row to a chained table."""
    number, previous = last_link(connection, table)
    connection.execute(insert(table).values(id=number + 1, digest=_digest(previous, number + 1, values), **values))


def last_link(connection: Connection, table: Table) -> tuple[int, str]:
    """Return number and digest of a chained table's last row."""
    row = connection.execute(select(table.c.id, table.c.digest).order_by(table.c.id.desc()).limit(1)).one_or_none()
    return (0, _FIRST) if row is None else (row.id, row.digest)


def _verified(connection: Connection, table: Table) -> int:
    """Return the number of a chained table's rows."""
    number, previous = 0, _FIRST
    for row in connection.execute(select(table).order_by(table.c.id)).mappings():
        number += 1
        values = {name: value for name, value in row.items() if name not in ("id", "digest")}
        if row["id"] != number or row["digest"] != _digest(previous, number, values):
            raise StudyError(f"{FILE}, {table.name} {number}: not chained to the one before; somebody changed one of them, compare with a copy")
        previous = row["digest"]
    return number


def _digest(previous: str, number: int, values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([previous, number, values], sort_keys=True).encode("ascii")).hexdigest()


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn the database's errors into ours."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise _advice(folder, *fault_of(error)) from error
    except UnicodeEncodeError as error:
        raise Improper("the text holds what is no character: write it again") from error


def _advice(folder: Path, fault: Fault, what: str) -> StudyError:
    """Return the error that says what to do about what SQLite says."""
    return StudyError(
        {
            Fault.FULL: f"the disk of {folder} is full: free some space; what was not acknowledged is not kept",
            Fault.DAMAGED: f"{folder / FILE} is damaged ({what}): stop, and bring back the last copy of the folder",
            Fault.UNWRITABLE: f"the study in {folder} cannot be written ({what}): may this user write there?",
            Fault.LOCKED: f"the study in {folder} is held by another process for more than {BUSY_S} s: does one stand still?",
            Fault.OTHER: f"the study in {folder} does not answer ({what}): see whether its disk is well",
        }[fault]
    )
