"""The queue's way out: deliveries on lease to the sender, and what peers promised to keep."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from onenex.errors import NodeError
from onenex.node.database.jobs import Jobs
from onenex.node.database.schema import deliveries, early, items, node, objects
from onenex.node.database.store import RETRY_LOST_S, settle
from onenex.node.records import Delivery, DeliveryState, Item, Kind

log = logging.getLogger(__name__)

_FREE: dict[str, Any] = {"owner": None, "lease": None, "lease_until": None}
_EARLY_S = 86_400.0
_EARLY_ROWS = 1000


class Deliveries(Jobs):
    """What is sent."""

    def claim_delivery(self, owner: str, lease_s: float, busy: Collection[str] = ()) -> Delivery | None:
        """Take the oldest delivery that is due, or whose sender gave no sign for so long, but of no destination in `busy`.

        One without items is sent already: only the promise to keep it is to be asked for (`uncommitted`).
        None: nothing is due, or the node is paused.
        """
        with self._read() as connection:  # polling keeps no writer waiting
            if self._due(connection, busy) is None:
                return None
        with self._write() as connection:
            row = self._due(connection, busy)
            if row is None:
                return None
            lease, at = secrets.token_hex(8), self.now()
            first = at if row.first_try is None else row.first_try
            values = {"state": DeliveryState.CLAIMED, "owner": owner, "lease": lease, "lease_until": at + lease_s}
            _set(connection, row.id, attempts=row.attempts + 1, first_try=first, **values)
            return Delivery(
                delivery_id=row.id,
                series_id=row.series_id,
                kind=Kind(row.kind),
                destination=row.destination,
                items=self._items(connection, row.id, items.c.sent.is_(False)),
                attempts=row.attempts,
                first_try_s=at - first,
                owner=owner,
                lease=lease,
            )

    def _due(self, connection: Connection, busy: Collection[str]) -> Any:
        if connection.execute(select(node.c.paused)).scalar_one():
            return None
        at = self.now()
        pending = and_(deliveries.c.state == DeliveryState.PENDING, deliveries.c.due <= at)
        over = and_(deliveries.c.state == DeliveryState.CLAIMED, deliveries.c.lease_until <= at)
        mine = select(deliveries).where(or_(pending, over), deliveries.c.destination.not_in(list(busy)))
        return connection.execute(mine.order_by(deliveries.c.id).limit(1)).one_or_none()

    def _items(self, connection: Connection, delivery_id: int, which: Any) -> tuple[Item, ...]:
        mine = select(objects).join(items, items.c.object_id == objects.c.id).where(items.c.delivery_id == delivery_id, which)
        return tuple(
            Item(sop_uid=row.sop_uid, sop_class=row.sop_class, transfer_syntax=row.transfer_syntax, path=self.folder / row.path)
            for row in connection.execute(mine.order_by(objects.c.id))
        )

    def uncommitted(self, delivery: Delivery) -> tuple[Item, ...]:
        """Return what the peer has stored by now and not promised to keep: what to ask for."""
        with self._read() as connection:
            return self._items(connection, delivery.delivery_id, and_(items.c.sent.is_(True), items.c.kept.is_(False)))

    def beat_delivery(self, delivery: Delivery, lease_s: float) -> bool:
        """Renew the lease of a delivery; False if it is lost: stop."""
        with self._write() as connection:
            held = _held(connection, delivery) is not None
            if held:
                _set(connection, delivery.delivery_id, lease_until=self.now() + lease_s)
            return held

    def sent(self, delivery: Delivery, sop_uids: Collection[str]) -> None:
        """Write down that the peer has stored these images. Nothing changes if the lease is lost: they are sent again."""
        with self._write() as connection:
            if _held(connection, delivery) is not None:
                _mark(connection, _ids(connection, delivery.delivery_id, sop_uids), sent=True)

    def delivered(self, delivery: Delivery, transaction_uid: str | None) -> None:
        """Say that everything is stored: SENT if a commitment was asked for under that transaction, VERIFIED without. Needs the lease.

        Raises
        ------
        NodeError
            Something isn't sent.
        """
        at = self.now()
        with self._write() as connection:
            row = _held(connection, delivery)
            if row is None:
                return
            left = self._items(connection, row.id, items.c.sent.is_(False))
            if left:
                raise NodeError(f"delivery {row.id} has {len(left)} images that are not sent: send them first")
            done: dict[str, Any] = {"error": "", **_FREE}
            if transaction_uid is None:
                connection.execute(update(items).where(items.c.delivery_id == row.id).values(kept=True))
                _set(connection, row.id, state=DeliveryState.VERIFIED, **done)
            else:
                _set(connection, row.id, state=DeliveryState.SENT, asked_at=at, transaction_uid=transaction_uid, **done)
                self._catch_up(connection, transaction_uid, at)
            settle(connection, row.series_id, at)

    def _catch_up(self, connection: Connection, transaction_uid: str, at: float) -> None:
        """Apply a commitment that came before the sender wrote down that it asked."""
        row = connection.execute(select(early).where(early.c.transaction_uid == transaction_uid)).one_or_none()
        if row is not None:
            connection.execute(delete(early).where(early.c.transaction_uid == transaction_uid))
            _commit(connection, transaction_uid, (row.kept, row.lost), at)

    def postpone(self, delivery: Delivery, error: str, delay_s: float) -> None:
        """Try again after a while. Needs the lease."""
        with self._write() as connection:
            if _held(connection, delivery) is not None:
                _set(connection, delivery.delivery_id, state=DeliveryState.PENDING, due=self.now() + delay_s, error=error, **_FREE)

    def give_up(self, delivery: Delivery, error: str) -> None:
        """Stop trying: the delivery is FAILED, and so is its series (once denoising is done, where it still is to be). Needs the lease."""
        with self._write() as connection:
            row = _held(connection, delivery)
            if row is not None:
                _set(connection, row.id, state=DeliveryState.FAILED, error=error, **_FREE)
                settle(connection, row.series_id, self.now())

    def committed(self, transaction_uid: str, kept: Collection[str], lost: Mapping[str, str]) -> bool:
        """Write down a peer's answer on what it keeps: all of it kept is VERIFIED; what is lost is sent again.

        Parameters
        ----------
        kept, lost
            SOP Instance UIDs; of the lost ones with the reason.

        Returns
        -------
        False if nobody asked under that transaction (yet: the answer waits for a day whether somebody did).

        Source
        ------
        PS3.4 J.3.3: Storage Commitment Result.
        """
        at = self.now()
        with self._write() as connection:
            if _commit(connection, transaction_uid, (kept, lost), at):
                return True
            connection.execute(delete(early).where(early.c.told_at < at - _EARLY_S))
            recent = select(early.c.transaction_uid).order_by(early.c.told_at.desc()).limit(_EARLY_ROWS)
            connection.execute(delete(early).where(early.c.transaction_uid.not_in(recent)))
            row = {"kept": sorted(kept), "lost": dict(lost), "told_at": at}
            statement = upsert(early).values(transaction_uid=transaction_uid, **row)
            connection.execute(statement.on_conflict_do_update(index_elements=["transaction_uid"], set_=row))
            return False

    def overdue(self, older_s: float) -> list[int]:
        """Return the deliveries whose commitment was asked for at least so long ago and never came."""
        late = (deliveries.c.state == DeliveryState.SENT, deliveries.c.asked_at <= self.now() - older_s)
        with self._read() as connection:
            return list(connection.execute(select(deliveries.c.id).where(*late).order_by(deliveries.c.id)).scalars())

    def ask_again(self, delivery_id: int) -> None:
        """Let the sender ask once more for the commitment of a SENT delivery; an answer to the old question still counts until it does."""
        with self._write() as connection:
            row = connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).one_or_none()
            if row is not None and row.state == DeliveryState.SENT:
                again = {"attempts": 0, "first_try": None, "error": "no answer to the request for storage commitment"}
                _set(connection, delivery_id, state=DeliveryState.PENDING, due=self.now(), **again)
                settle(connection, row.series_id, self.now())


def _commit(connection: Connection, transaction_uid: str, answer: tuple[Collection[str], Mapping[str, str]], at: float) -> bool:
    """Apply a peer's answer; False if no delivery has that transaction."""
    asked = select(deliveries).where(deliveries.c.transaction_uid == transaction_uid).order_by(deliveries.c.id.desc())
    row = connection.execute(asked).first()
    if row is None:
        return False
    kept, lost = answer
    gone = _ids(connection, row.id, lost)
    _mark(connection, _ids(connection, row.id, set(kept) - set(lost)), sent=True, kept=True)
    _mark(connection, gone, sent=False, kept=False)
    if gone:
        delay_s = 0.0 if row.n_lost == 0 else min(3600.0, RETRY_LOST_S * 2.0 ** (row.n_lost - 1))
        error = f"{len(gone)} images not kept by the peer: {', '.join(sorted(set(lost.values())))}"
        again = {"attempts": 0, "first_try": None, "n_lost": row.n_lost + 1}
        _set(connection, row.id, state=DeliveryState.PENDING, due=at + delay_s, error=error, **again, **_FREE)
        log.warning("event=not_kept delivery=%d images=%d", row.id, len(gone))
    elif connection.execute(select(items.c.object_id).where(items.c.delivery_id == row.id, items.c.kept.is_(False)).limit(1)).first() is None:
        _set(connection, row.id, state=DeliveryState.VERIFIED, error="", **_FREE)
    settle(connection, row.series_id, at)
    return True


def _held(connection: Connection, delivery: Delivery) -> Any:
    """Return the delivery's row if its lease is still this one."""
    held = (deliveries.c.id == delivery.delivery_id, deliveries.c.state == DeliveryState.CLAIMED, deliveries.c.lease == delivery.lease)
    return connection.execute(select(deliveries).where(*held)).one_or_none()


def _set(connection: Connection, delivery_id: int, **values: Any) -> None:
    connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(**values))


def _ids(connection: Connection, delivery_id: int, sop_uids: Collection[str]) -> list[dict[str, int]]:
    """Return the keys of a delivery's items with these SOP Instance UIDs."""
    wanted = set(sop_uids)
    mine = select(items.c.object_id, objects.c.sop_uid).join(objects, objects.c.id == items.c.object_id).where(items.c.delivery_id == delivery_id)
    return [{"delivery": delivery_id, "object": row.object_id} for row in connection.execute(mine) if row.sop_uid in wanted]


def _mark(connection: Connection, keys: Sequence[dict[str, int]], **values: bool) -> None:
    if keys:
        mine = (items.c.delivery_id == bindparam("delivery"), items.c.object_id == bindparam("object"))
        connection.execute(update(items).where(*mine).values(**values), keys)
