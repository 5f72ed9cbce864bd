"""The queue's way in: images, and what a crash left of them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, CursorResult, bindparam, insert, literal_column, select, update

from onenex.node.database import clock, orphans
from onenex.node.database.schema import forgotten_objects, forgotten_series, node, objects, series
from onenex.node.database.spool import Spool
from onenex.node.database.store import Store
from onenex.node.records import Arrival, Kind, Outcome, State

log = logging.getLogger(__name__)

_IS_ORIGINAL: ColumnElement[bool] = literal_column("object.kind = 'original'")
_IS_DERIVED: ColumnElement[bool] = literal_column("object.kind = 'derived'")


def tombstone(text: str) -> bytes:
    """Return the half of the SHA-256 of a UID or digest that is kept of it once everything else is forgotten."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def series_tombstone(study_uid: str, series_uid: str) -> bytes:
    """Return the same of a series."""
    return tombstone(f"{study_uid}\\{series_uid}")


class Arrivals(Store):
    """What comes in."""

    def register(self, arrivals: Sequence[Arrival]) -> list[Outcome]:
        """Write down images whose bytes are on the disk already, all in one transaction that is on the disk on return.

        An image that the queue knows, or knew and forgot, is AGAIN (same bytes) or CONFLICT. So is AGAIN one that the node made itself:
        it came back from a PACS. An image of a series that went on already starts another pass: RECEIVED again, its number one higher.

        The row's file is never touched. After AGAIN the caller may delete the arrival's if `keeps` says that no row knows it.

        Raises
        ------
        NodeError
            Nothing was written down: tell the sender to try again.
        """
        if not arrivals:
            return []
        with self._write() as connection:
            known = _known(connection, arrivals)
            outcomes: list[Outcome] = []
            new: list[Arrival] = []
            for one in arrivals:
                digest = tombstone(one.digest)
                before = known.get(one.sop_uid)
                outcomes.append(Outcome.NEW if before is None else Outcome.AGAIN if before in (digest, b"") else Outcome.CONFLICT)
                if before is None:
                    known[one.sop_uid] = digest
                    new.append(one)
            self._insert(connection, arrivals, new)
        return outcomes

    def _insert(self, connection: Connection, arrivals: Sequence[Arrival], new: Sequence[Arrival]) -> None:
        """Add the new images; even an old one shows that its series isn't quiet."""
        at = self.now()
        rows: list[dict[str, Any]] = []
        quiet: list[dict[str, Any]] = []
        growth: list[dict[str, Any]] = []
        keys = list(dict.fromkeys((one.study_uid, one.series_uid) for one in arrivals))
        found = connection.execute(_FIND, {"studies": [key[0] for key in keys], "series": [key[1] for key in keys]})
        there = {(row.study_uid, row.series_uid): row for row in found}
        for key in keys:
            mine = [one for one in new if (one.study_uid, one.series_uid) == key]
            row = there.get(key)
            if not mine:
                quiet.append({"study": key[0], "series": key[1], "at": at})
                continue
            if row is not None and row.state == State.RECEIVED:
                series_id, pass_number = int(row.id), int(row.pass_number)
                growth.append({"key": series_id, "images": len(mine), "bytes": sum(one.n_bytes for one in mine), "at": at, "wall": clock.wall()})
            else:
                series_id, pass_number = _admit(connection, mine, row, at)
            rows += [self._row(one, series_id, pass_number) for one in mine]
        for statement, values in ((_TOUCH, quiet), (_GROW, growth), (_ADD, rows)):
            if values:
                connection.execute(statement, values)
        if rows:
            connection.execute(_COUNT, {"images": len(rows)})

    def _row(self, one: Arrival, series_id: int, pass_number: int) -> dict[str, Any]:
        return {
            "series_id": series_id,
            "pass_number": pass_number,
            "kind": Kind.ORIGINAL,
            "sop_uid": one.sop_uid,
            "sop_class": one.sop_class,
            "transfer_syntax": one.transfer_syntax,
            "path": self._inside(one.path),
            "n_bytes": one.n_bytes,
            "digest": one.digest,
        }

    def keeps(self, path: Path) -> bool:
        """Whether a file is the one that the queue keeps of an image that came in."""
        mine = select(objects.c.id).where(_IS_ORIGINAL, objects.c.path == self._inside(path))
        with self._read() as connection:
            return connection.execute(mine.limit(1)).first() is not None

    def recover(self, spool: Spool) -> int:
        """Adopt files in `instances/` that no row knows, as a crash between rename and commit leaves them; return how many images are new.

        Copies of what is known (or was, and is forgotten) are deleted. Files that contradict it or cannot be read go to `quarantine/`,
        and so do results in `outbox/` of series that there are not: after the loss of the queue they would be taken for another's.
        """
        with self._read() as connection:
            orphans.set_results_aside(spool, set(connection.execute(select(series.c.id)).scalars()))
            known = {self.folder / path for path in connection.execute(select(objects.c.path).where(_IS_ORIGINAL)).scalars()}
        n_new = 0
        for batch in orphans.find(spool, known):
            outcomes = self.register(batch)
            n_new += outcomes.count(Outcome.NEW)
            for one, outcome in zip(batch, outcomes, strict=True):
                if outcome is Outcome.CONFLICT:
                    orphans.set_aside(spool, one.path, "other bytes under a known UID")
                elif outcome is Outcome.AGAIN and not self.keeps(one.path):
                    one.path.unlink(missing_ok=True)
        missing = sum(not path.is_file() for path in known)
        if missing:
            log.error("event=files_missing images=%d: registered, but no longer in the spool; has somebody deleted them?", missing)
        if n_new:
            log.info("event=recovered images=%d", n_new)
        return n_new

    def files(self, series_id: int) -> list[Path]:
        """Return the originals of a series, of every pass, in the order of their arrival."""
        with self._read() as connection:
            return self._files(connection, series_id)

    def _files(self, connection: Connection, series_id: int) -> list[Path]:
        mine = select(objects.c.path).where(objects.c.series_id == series_id, objects.c.kind == Kind.ORIGINAL)
        return [self.folder / path for path in connection.execute(mine.order_by(objects.c.id)).scalars()]


_TOUCH = (
    update(series)
    .where(series.c.study_uid == bindparam("study"), series.c.series_uid == bindparam("series"), series.c.state == State.RECEIVED)
    .values(arrived_at=bindparam("at"))
)
_FIND = select(series.c.id, series.c.study_uid, series.c.series_uid, series.c.state, series.c.pass_number).where(
    series.c.study_uid.in_(bindparam("studies", expanding=True)), series.c.series_uid.in_(bindparam("series", expanding=True))
)
_GROW = (
    update(series)
    .where(series.c.id == bindparam("key"))
    .values(
        n_images=series.c.n_images + bindparam("images"),
        n_bytes=series.c.n_bytes + bindparam("bytes"),
        arrived_at=bindparam("at"),
        changed_at=bindparam("at"),
        changed_wall=bindparam("wall"),
    )
)
_ADD = insert(objects)
_COUNT = update(node).values(received_images=node.c.received_images + bindparam("images"))
_GRAVES = select(forgotten_objects).where(forgotten_objects.c.uid_hash.in_(bindparam("hashes", expanding=True)))
_DERIVED, _ORIGINALS = (
    select(objects.c.sop_uid, objects.c.digest).where(kind, objects.c.sop_uid.in_(bindparam("uids", expanding=True)))
    for kind in (_IS_DERIVED, _IS_ORIGINAL)
)


def _known(connection: Connection, arrivals: Sequence[Arrival]) -> dict[str, bytes]:
    """Return the hashed digests of those that were here before; none stands for any."""
    uids = {tombstone(one.sop_uid): one.sop_uid for one in arrivals}
    known: dict[str, bytes] = {uids[row.uid_hash]: row.digest for row in connection.execute(_GRAVES, {"hashes": list(uids)})}
    for statement in (_DERIVED, _ORIGINALS):
        found = connection.execute(statement, {"uids": list(uids.values())})
        known |= {row.sop_uid: tombstone(row.digest) if row.digest else b"" for row in found}
    return known


def _admit(connection: Connection, new: Sequence[Arrival], row: Any, at: float) -> tuple[int, int]:
    """Make room for new images, all of one series that is not there (no `row`) or went on already; return its id and the pass they belong to."""
    first, n_bytes, wall = new[0], sum(one.n_bytes for one in new), clock.wall()
    values: dict[str, Any] = {"arrived_at": at, "changed_at": at, "changed_wall": wall}
    if row is None:
        grave = select(forgotten_series.c.pass_number).where(forgotten_series.c.uid_hash == series_tombstone(first.study_uid, first.series_uid))
        values |= {"pass_number": 1 + (connection.execute(grave).scalar_one_or_none() or 0), "n_images": len(new), "n_bytes": n_bytes}
        values |= {"study_uid": first.study_uid, "series_uid": first.series_uid, "state": State.RECEIVED, "received_wall": wall}
        values |= {"calling_ae": first.calling_ae, "called_ae": first.called_ae}
        made = connection.execute(insert(series).values(**values))
        return key_of(made), values["pass_number"]
    pass_number = int(row.pass_number) + 1
    values |= {"n_images": series.c.n_images + len(new), "n_bytes": series.c.n_bytes + n_bytes}
    values |= {"state": State.RECEIVED, "pass_number": pass_number, "attempts": 0, "reason": "", "note": "", "result": None, "offered": 0}
    values |= {"owner": None, "lease": None, "lease_until": None}
    log.info("event=late_images series=%d pass=%d", row.id, pass_number)
    connection.execute(update(series).where(series.c.id == row.id).values(**values))
    return int(row.id), pass_number


def key_of(made: CursorResult[Any]) -> int:
    """Return the id of the row that was inserted."""
    return int(made.lastrowid)
