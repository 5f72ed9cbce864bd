"""The node's memory: every series from its first image to the promise of every PACS to keep it.

    RECEIVED ──▶ COMPLETE ──▶ CLAIMED ──▶ DENOISED ──▶ SENT ──▶ VERIFIED        (late images: RECEIVED again, next pass)
        └────────────┴───────────┴──▶ PASSED_THROUGH, FAILED

Everything is in `queue.sqlite`; every method is one transaction that is on the disk when it returns. Processes may be killed at any instant.
"""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import Connection, delete, exists, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from onenex.node.database.arrivals import series_tombstone, tombstone
from onenex.node.database.overview import Overview
from onenex.node.database.schema import announced, deliveries, forgotten_objects, forgotten_series, items, node, objects, series
from onenex.node.database.store import row_of
from onenex.node.records import DeliveryState, State

log = logging.getLogger(__name__)

_DONE = (State.VERIFIED, State.PASSED_THROUGH)
_UNVERIFIED = exists().where(deliveries.c.series_id == series.c.id, deliveries.c.state != DeliveryState.VERIFIED)


class Queue(Overview):
    """All of it, in six parts: arrivals, routing, jobs, deliveries, an overview, and forgetting what is done."""

    def forgettable(self, age_s: float) -> list[int]:
        """Return the series of which nothing is left to do, and hasn't been for so long, oldest first.

        That is VERIFIED or PASSED_THROUGH with every delivery verified. What failed waits for a person.
        """
        old = (series.c.state.in_(_DONE), series.c.changed_at <= self.now() - age_s, ~_UNVERIFIED)
        with self._read() as connection:
            return list(connection.execute(select(series.c.id).where(*old).order_by(series.c.changed_at, series.c.id)).scalars())

    def forget(self, series_id: int) -> list[Path]:
        """Take a series out of the queue and return its files, which are now to be deleted; none if anything of it isn't verified.

        What stays are hashes of its UIDs and images, so that a duplicate is known for one. `recover` deletes what the caller may leave behind.
        """
        with self._write() as connection:
            done = select(series.c.id).where(series.c.id == series_id, series.c.state.in_(_DONE), ~_UNVERIFIED)
            row = row_of(connection, series_id)
            if row is None or connection.execute(done).one_or_none() is None:
                return []
            found = connection.execute(select(objects.c.sop_uid, objects.c.digest, objects.c.path).where(objects.c.series_id == series_id)).all()
            stones = [{"uid_hash": tombstone(one.sop_uid), "digest": tombstone(one.digest) if one.digest else b""} for one in found]
            connection.execute(upsert(forgotten_objects).on_conflict_do_nothing(), stones)
            stone = {"uid_hash": series_tombstone(row.study_uid, row.series_uid), "pass_number": row.pass_number}
            statement = upsert(forgotten_series).values(**stone)
            connection.execute(statement.on_conflict_do_update(index_elements=["uid_hash"], set_={"pass_number": row.pass_number}))
            _erase(connection, series_id)
            told = (announced.c.study_uid == row.study_uid, announced.c.series_uid == row.series_uid)
            connection.execute(delete(announced).where(*told))
            connection.execute(update(node).values(forgotten_images=node.c.forgotten_images + row.n_images))
        log.info("event=forgotten series=%d images=%d", series_id, row.n_images)
        return [self.folder / one.path for one in found]


def _erase(connection: Connection, series_id: int) -> None:
    """Delete a series' rows."""
    mine = select(deliveries.c.id).where(deliveries.c.series_id == series_id)
    connection.execute(delete(items).where(items.c.delivery_id.in_(mine)))
    for table in (deliveries, objects):
        connection.execute(delete(table).where(table.c.series_id == series_id))
    connection.execute(delete(series).where(series.c.id == series_id))
