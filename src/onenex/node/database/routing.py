"""From images to work: when a series is complete, and what a rule makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from onenex.errors import NodeError
from onenex.node.database.arrivals import Arrivals, key_of
from onenex.node.database.schema import announced, deliveries, items, objects, series
from onenex.node.database.store import change, row_of, settle
from onenex.node.records import DeliveryState, Kind, Route, State

ANNOUNCED_S = 30 * 86_400.0
"""An announcement of which no image came for so long is forgotten."""


class Routing(Arrivals):
    """What is complete, and where it goes."""

    def announce(self, study_uid: str, series_uid: str, n_expected: int) -> None:
        """Write down how many images a series has, as MPPS or instance availability say; the highest number counts."""
        row = {"study_uid": study_uid, "series_uid": series_uid, "n_expected": n_expected, "told_at": self.now()}
        statement = upsert(announced).values(**row)
        newer = {"n_expected": func.max(announced.c.n_expected, statement.excluded.n_expected), "told_at": statement.excluded.told_at}
        with self._write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["study_uid", "series_uid"], set_=newer))
            connection.execute(_UNMET, {"before": self.now() - ANNOUNCED_S})

    def close_quiet(self, quiet_s: float, expected_quiet_s: float) -> list[int]:
        """Return the series that count as complete: nothing came for `quiet_s`, or `expected_quiet_s` where exactly what was announced is there.

        They stay RECEIVED until `route`, which refuses if another image came since.
        """
        self._tick()
        at = self.now()
        quiet = {"long": at - quiet_s, "short": at - expected_quiet_s}
        with self._read() as connection:  # looking keeps no writer waiting
            found = connection.execute(_QUIET, quiet).all()
        if any(row.offered != row.n_images for row in found):
            with self._write() as connection:
                found = connection.execute(_QUIET, quiet).all()  # images may have come in between
                if found:
                    connection.execute(_OFFER, [{"series": row.id, "n": row.n_images} for row in found])
        return [row.id for row in found]

    def route(self, series_id: int, route: Route) -> bool:
        """Do with a RECEIVED series what a rule decided; False if it isn't RECEIVED, or another image came since `close_quiet` named it.

        Originals that no delivery to a destination holds yet get one. `refuse` is FAILED, and waits for a person.

        Raises
        ------
        NodeError
            The action is none of ours, or there is nowhere to send to.
        """
        if route.action not in _ROUTED:
            raise NodeError(f"rule '{route.rule}' has the action '{route.action}': it must be denoise, pass or refuse")
        if not route.destinations and route.action != "refuse":
            raise NodeError(f"rule '{route.rule}' names no destination: name one, or refuse the series")
        at = self.now()
        with self._write() as connection:
            row = row_of(connection, series_id)
            if row is None or row.state != State.RECEIVED or (row.offered is not None and row.offered != row.n_images):
                return False
            change(
                connection,
                series_id,
                at,
                state=_ROUTED[route.action],
                rule=route.rule,
                action=route.action,
                destinations=list(route.destinations),
                reason=route.reason,
                note=route.reason,
                result="passed" if route.action == "pass" else None,
            )
            if route.action == "pass":
                let_go(connection, series_id)
            if route.action != "refuse" and route.originals != "never":
                waits = route.originals == "with-result" and route.action == "denoise"
                for destination in route.destinations:
                    _deliver_originals(connection, row, destination, (DeliveryState.WAITING if waits else DeliveryState.PENDING, at))
            settle(connection, series_id, at)
            return True


_SERIES = exists().where(series.c.study_uid == announced.c.study_uid, series.c.series_uid == announced.c.series_uid)
_UNMET = delete(announced).where(announced.c.told_at < bindparam("before"), ~_SERIES)
_ROUTED = {"denoise": State.COMPLETE, "pass": State.PASSED_THROUGH, "refuse": State.FAILED}
_OFFER = update(series).where(series.c.id == bindparam("series")).values(offered=bindparam("n"))
_QUIET = (
    select(series.c.id, series.c.n_images, series.c.offered)
    .outerjoin(announced, and_(announced.c.study_uid == series.c.study_uid, announced.c.series_uid == series.c.series_uid))
    .where(
        series.c.state == State.RECEIVED,
        or_(
            series.c.arrived_at <= bindparam("long"),
            and_(announced.c.n_expected == series.c.n_images, series.c.arrived_at <= bindparam("short")),
        ),
    )
    .order_by(series.c.id)
)


def _deliver_originals(connection: Connection, row: Any, destination: str, state_at: tuple[DeliveryState, float]) -> None:
    """Make the delivery of what no delivery to this destination holds yet."""
    held = (
        select(items.c.object_id)
        .join(deliveries, deliveries.c.id == items.c.delivery_id)
        .where(deliveries.c.series_id == row.id, deliveries.c.destination == destination)
    )
    mine = select(objects.c.id).where(objects.c.series_id == row.id, objects.c.kind == Kind.ORIGINAL, objects.c.id.not_in(held))
    add_delivery(connection, row, (Kind.ORIGINAL, destination, *state_at), connection.execute(mine).scalars().all())


def add_delivery(connection: Connection, row: Any, what: tuple[Kind, str, DeliveryState, float], object_ids: Sequence[int]) -> None:
    """Make the delivery of some objects of a series: its kind, destination, state and time."""
    if not object_ids:
        return
    kind, destination, state, at = what
    values = {"series_id": row.id, "pass_number": row.pass_number, "kind": kind, "destination": destination, "state": state, "made_at": at}
    made = connection.execute(insert(deliveries).values(**values))
    connection.execute(insert(items), [{"delivery_id": key_of(made), "object_id": one} for one in object_ids])


def let_go(connection: Connection, series_id: int) -> None:
    """Let the originals go that waited for the result."""
    waiting = (deliveries.c.series_id == series_id, deliveries.c.state == DeliveryState.WAITING)
    connection.execute(update(deliveries).where(*waiting).values(state=DeliveryState.PENDING))
