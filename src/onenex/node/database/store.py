"""What the parts of the queue share: transactions, node time, and how a series' state follows its deliveries."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from onenex.errors import NodeError
from onenex.node.audit import use_key
from onenex.node.database import clock
from onenex.node.database.schema import deliveries, node, open_engine, series
from onenex.node.database.spool import NoRoom, sync
from onenex.node.records import DeliveryState, State
from onenex.sqlite import BUSY_S, Fault, fault_of

SEEN_EVERY_S = 60.0
"""How often an idle queue writes down that time went by."""
RETRY_LOST_S = 10.0
"""Images that a peer doesn't promise to keep are sent again at once; the next time after so long, then twice, and so on."""


class Store:
    """A folder's `queue.sqlite`, for any number of threads and processes at once.

    Parameters
    ----------
    folder
        `node.folder`; made if it isn't there.

    Raises
    ------
    NodeError
        The queue cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_root(self.folder)
            use_key(self.folder)
            with _explained(self.folder):
                self._engine = open_engine(self.folder)
            sync(self.folder)
        except OSError as error:
            raise NodeError(f"cannot open the queue in {self.folder} ({error.strerror}): may the node write there?") from error
        with self._read() as connection:
            offset = _offset(connection)
        if offset is None:
            with self._write() as connection:
                offset = _continue_time(connection)
        self._offset = offset

    def close(self) -> None:
        """Close this process's connections; the queue itself goes on."""
        self._engine.dispose()

    def now(self) -> float:
        """Return node time, seconds: it goes on where it was when the machine restarts, and knows nothing of wall clocks."""
        return clock.now() + self._offset

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the queue."""
        with _explained(self.folder), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        """Yield the one connection that writes; what it did is on the disk after the block, or undone by an exception."""
        with _explained(self.folder), self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    def _inside(self, path: Path) -> str:
        """Return a path as the tables hold it."""
        path = Path(os.path.abspath(path))  # noqa: PTH100 (resolve would follow links)
        return str(path.relative_to(self.folder)) if path.is_relative_to(self.folder) else str(path)

    def _tick(self) -> None:
        """Write down that time went by, so that a restart of the machine does not lose it."""
        with self._read() as connection:
            seen = connection.execute(select(node.c.seen)).scalar_one()
        if self.now() - seen > SEEN_EVERY_S:
            with self._write() as connection:
                connection.execute(update(node).values(seen=self.now()))


def _refuse_root(folder: Path) -> None:
    """Raise where root would leave files that the node's user cannot write."""
    owner = folder.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        raise NodeError(f"{folder} belongs to user {owner}: run this as that user (sudo -u '#{owner}' onenex node ...)")


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn the database's errors into ours."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise _advice(folder, *fault_of(error)) from error
    except UnicodeEncodeError as error:
        raise NodeError("a text holds what is no character, so the queue cannot keep it: whatever sent it is out of order") from error


def _advice(folder: Path, fault: Fault, what: str) -> NodeError:
    """Return the error that says what to do about what SQLite says."""
    if fault is Fault.FULL:
        return NoRoom(f"the disk of {folder} is full: free some space; what was not acknowledged is not kept")
    return NodeError(
        {
            Fault.DAMAGED: f"{folder / 'queue.sqlite'} is damaged ({what}): stop the node, move queue.sqlite* elsewhere, start it again; "
            f"every image in {folder / 'instances'} is then taken in and sent anew",
            Fault.UNWRITABLE: f"the queue in {folder} cannot be written ({what}): may the node write there?",
            Fault.LOCKED: f"the queue in {folder} is held by another process for more than {BUSY_S} s: does one stand still?",
            Fault.OTHER: f"the queue in {folder} does not answer ({what}): see whether its disk is well",
        }[fault]
    )


def _offset(connection: Connection) -> float | None:
    """Return what makes clock time node time, unless the machine (or its clock) started anew since somebody last looked."""
    row = connection.execute(select(node)).one_or_none()
    if row is None or row.boot_id != clock.boot_id() or clock.now() + row.offset_s < row.seen - 1:
        return None
    return float(row.offset_s)


def _continue_time(connection: Connection) -> float:
    """Let node time go on after a restart of the machine: leases are over, quiet times begin anew. Return what makes clock time node time."""
    offset = _offset(connection)
    if offset is not None:  # another process was faster
        return offset
    boot = clock.boot_id()
    row = connection.execute(select(node)).one_or_none()
    if row is None:
        started = clock.now()
        connection.execute(insert(node).values(id=1, boot_id=boot, offset_s=-started))
        return -started
    at = max([row.seen, *(connection.execute(select(func.coalesce(func.max(column), 0.0))).scalar_one() for column in _TIMES)])
    offset = at - clock.now()
    connection.execute(update(node).values(boot_id=boot, offset_s=offset, seen=at))
    connection.execute(update(series).where(series.c.state == State.RECEIVED).values(arrived_at=at))
    connection.execute(update(series).where(series.c.state == State.CLAIMED).values(lease_until=at))
    connection.execute(update(deliveries).where(deliveries.c.state == DeliveryState.CLAIMED).values(lease_until=at))
    connection.execute(update(deliveries).where(deliveries.c.due > at).values(due=at))
    return float(offset)


_TIMES = (series.c.arrived_at, series.c.changed_at, deliveries.c.made_at, deliveries.c.first_try, deliveries.c.asked_at)
"""Where something was written at, and time must go on from."""


def change(connection: Connection, series_id: int, at: float, **values: object) -> None:
    """Change a series and write down when."""
    connection.execute(update(series).where(series.c.id == series_id).values(changed_at=at, changed_wall=clock.wall(), **values))


def row_of(connection: Connection, series_id: int) -> Row[tuple[object, ...]] | None:
    """Return a series' row, if there is one."""
    return connection.execute(select(series).where(series.c.id == series_id)).one_or_none()


def settle(connection: Connection, series_id: int, at: float) -> None:
    """Let the state of a series whose pass is over follow its deliveries (of every pass).

    While images come in or denoising is to be done, a delivery that was given up changes nothing yet; at the end the series is failed.
    """
    row = row_of(connection, series_id)
    if row is None or row.result is None:
        return
    found = connection.execute(
        select(deliveries.c.state, deliveries.c.destination, deliveries.c.error).where(deliveries.c.series_id == series_id)
    ).all()
    states = {one.state for one in found}
    failed = [one for one in found if one.state == DeliveryState.FAILED]
    if failed:
        change(connection, series_id, at, state=State.FAILED, reason=f"delivery to {failed[0].destination} given up: {failed[0].error}")
        return
    if row.result == "passed":
        state = State.PASSED_THROUGH
    elif states <= {DeliveryState.VERIFIED}:
        state = State.VERIFIED
    else:
        state = State.SENT if states <= {DeliveryState.SENT, DeliveryState.VERIFIED} else State.DENOISED
    change(connection, series_id, at, state=state, reason=row.note)
