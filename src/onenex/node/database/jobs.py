"""The queue's middle: series that wait for a worker, on lease to one, and what became of them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, insert, or_, select, update

from onenex.errors import NodeError
from onenex.node.database.routing import Routing, add_delivery, let_go
from onenex.node.database.schema import deliveries, node, objects, series
from onenex.node.database.store import change, row_of, settle
from onenex.node.records import DeliveryState, Item, Job, Kind, State

log = logging.getLogger(__name__)

_FREE: dict[str, Any] = {"owner": None, "lease": None, "lease_until": None}


class Jobs(Routing):
    """What is denoised."""

    def claim(self, owner: str, lease_s: float, attempts: int) -> Job | None:
        """Take the oldest series that waits for a worker, or whose worker gave no sign for so long, and count the attempt.

        One that was tried `attempts` times already is failed instead. None: nothing waits, or the node is paused.

        Parameters
        ----------
        owner
            Who takes it, for people to read.
        """
        with self._read() as connection:  # polling keeps no writer waiting
            if self._waiting(connection) is None:
                return None
        with self._write() as connection:
            while (row := self._waiting(connection)) is not None:
                if row.attempts >= attempts:
                    why = row.reason or "the worker died or stood still"
                    reason = f"tried {row.attempts} times, the last time: {why}"
                    change(connection, row.id, self.now(), state=State.FAILED, reason=reason, **_FREE)
                    log.error("event=series-given-up series=%d attempts=%d", row.id, row.attempts)
                    continue
                return self._lend(connection, row, owner, lease_s)
        return None

    def _waiting(self, connection: Connection) -> Any:
        """Return the oldest series that a worker may take now."""
        if connection.execute(select(node.c.paused)).scalar_one():
            return None
        over = and_(series.c.state == State.CLAIMED, series.c.lease_until <= self.now())
        return connection.execute(select(series).where(or_(series.c.state == State.COMPLETE, over)).order_by(series.c.id).limit(1)).one_or_none()

    def _lend(self, connection: Connection, row: Any, owner: str, lease_s: float) -> Job:
        lease, at, attempt = secrets.token_hex(8), self.now(), row.attempts + 1
        values = {"state": State.CLAIMED, "owner": owner, "lease": lease, "lease_until": at + lease_s, "attempts": attempt, "reason": ""}
        change(connection, row.id, at, **values)
        return Job(
            series_id=row.id,
            pass_number=row.pass_number,
            study_uid=row.study_uid,
            series_uid=row.series_uid,
            rule=row.rule,
            destinations=tuple(row.destinations),
            files=tuple(self._files(connection, row.id)),
            attempt=attempt,
            owner=owner,
            calling_ae=row.calling_ae,
            called_ae=row.called_ae,
            lease=lease,
        )

    def beat(self, job: Job, lease_s: float) -> bool:
        """Renew the lease of a job; False if it is lost (to another worker, or because images came): stop."""
        held = (series.c.id == job.series_id, series.c.state == State.CLAIMED, series.c.lease == job.lease)
        with self._write() as connection:
            return connection.execute(update(series).where(*held).values(lease_until=self.now() + lease_s)).rowcount == 1

    def finish(self, job: Job, outputs: Sequence[Item], note: str = "", details: Mapping[str, Any] | None = None) -> bool:
        """Hand over the derived images: DENOISED, on their way to every destination, and so are originals that waited for them.

        Parameters
        ----------
        note
            For people: the series' reason, e.g. why a part of it was skipped.
        details
            Kept for `details`; whatever JSON can hold.

        Returns
        -------
        False, and nothing has changed, if the lease is lost.

        Raises
        ------
        NodeError
            There are no outputs.
        """
        if not outputs:
            raise NodeError(f"series {job.series_id} has no derived images to finish with: skip or fail it")
        at = self.now()
        with self._write() as connection:
            row = _held(connection, job)
            if row is None:
                return False
            made = [self._output(one, job) for one in outputs]
            ids = list(connection.execute(insert(objects).returning(objects.c.id, sort_by_parameter_order=True), made).scalars())
            for destination in job.destinations:
                add_delivery(connection, row, (Kind.DERIVED, destination, DeliveryState.PENDING, at), ids)
            values = {"note": note, "details": dict(details or {}), "n_derived": row.n_derived + len(ids)}
            change(connection, row.id, at, state=State.DENOISED, result="denoised", **values, **_FREE)
            let_go(connection, row.id)
            settle(connection, row.id, at)
            return True

    def _output(self, one: Item, job: Job) -> dict[str, Any]:
        return {
            "series_id": job.series_id,
            "pass_number": job.pass_number,
            "kind": Kind.DERIVED,
            "sop_uid": one.sop_uid,
            "sop_class": one.sop_class,
            "transfer_syntax": one.transfer_syntax,
            "path": self._inside(one.path),
        }

    def skip(self, job: Job, reason: str) -> bool:
        """Let the originals go on alone: PASSED_THROUGH. False, and nothing has changed, if the lease is lost."""
        at = self.now()
        with self._write() as connection:
            row = _held(connection, job)
            if row is None:
                return False
            change(connection, row.id, at, state=State.PASSED_THROUGH, result="passed", note=reason, **_FREE)
            let_go(connection, row.id)
            settle(connection, row.id, at)
            return True

    def fail(self, job: Job, reason: str, final: bool) -> bool:
        """Say that a job failed: COMPLETE again, for another attempt, or FAILED if no other can do better (originals that wait for it go on waiting).

        False, and nothing has changed, if the lease is lost.
        """
        with self._write() as connection:
            row = _held(connection, job)
            if row is None:
                return False
            change(connection, row.id, self.now(), state=State.FAILED if final else State.COMPLETE, reason=reason, **_FREE)
            return True

    def release(self, job: Job) -> bool:
        """Give a job back as if it had never been taken, attempt and all: the worker is stopped. False if the lease is lost."""
        with self._write() as connection:
            row = _held(connection, job)
            if row is None:
                return False
            change(connection, row.id, self.now(), state=State.COMPLETE, attempts=row.attempts - 1, **_FREE)
            return True

    def retry(self, series_id: int) -> bool:
        """Start again what failed: deliveries that were given up, denoising that failed or was skipped, a rule's refusal (rules decide anew).

        What was denoised in this pass is not denoised again. False: there is nothing to start again.
        """
        at = self.now()
        with self._write() as connection:
            row = row_of(connection, series_id)
            if row is None:
                return False
            failed = (deliveries.c.series_id == series_id, deliveries.c.state == DeliveryState.FAILED)
            again = {"state": DeliveryState.PENDING, "due": at, "attempts": 0, "first_try": None, "error": ""}
            n_deliveries = connection.execute(update(deliveries).where(*failed).values(**again)).rowcount
            denoise = row.action == "denoise" and row.result != "denoised" and row.state in (State.PASSED_THROUGH, State.FAILED)
            if row.action == "refuse" and row.state == State.FAILED:
                change(connection, series_id, at, state=State.RECEIVED, arrived_at=at, offered=None, reason="")
            elif denoise and not (row.result == "passed" and n_deliveries):
                change(connection, series_id, at, state=State.COMPLETE, attempts=0, reason="", note="", result=None, **_FREE)
            elif n_deliveries:
                change(connection, series_id, at, reason="")
                settle(connection, series_id, at)
            else:
                return False
            return True

    def pause(self, on: bool) -> None:
        """Stop (or start) handing out jobs and deliveries; images are received all the while."""
        with self._write() as connection:
            connection.execute(update(node).values(paused=on))

    def paused(self) -> bool:
        """Whether the node is paused."""
        with self._read() as connection:
            return bool(connection.execute(select(node.c.paused)).scalar_one())


def _held(connection: Connection, job: Job) -> Any:
    """Return the job's row if its lease is still this one."""
    row = row_of(connection, job.series_id)
    return row if row is not None and row.state == State.CLAIMED and row.lease == job.lease else None
