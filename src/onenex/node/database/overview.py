"""The queue as people see it: series, deliveries, counts. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Integer, Select, and_, func, select, type_coerce

from onenex.node.database.deliveries import Deliveries
from onenex.node.database.schema import announced, deliveries, items, node, series
from onenex.node.records import DeliveryState, DeliveryView, Kind, SeriesView, State

_OPEN = (DeliveryState.WAITING, DeliveryState.PENDING, DeliveryState.CLAIMED)


class Overview(Deliveries):
    """What is shown."""

    def view(self, *, state: State | None = None, limit: int = 100, offset: int = 0) -> list[SeriesView]:
        """Return series, the newest first; of one state, if given."""
        statement = _shown().order_by(series.c.id.desc()).limit(limit).offset(offset)
        with self._read() as connection:
            return _views(connection, statement if state is None else statement.where(series.c.state == state))

    def one(self, series_id: int) -> SeriesView | None:
        """Return one series."""
        with self._read() as connection:
            found = _views(connection, _shown().where(series.c.id == series_id))
        return found[0] if found else None

    def counts(self) -> dict[State, int]:
        """Return how many series are in each state."""
        with self._read() as connection:
            found = {row.state: row.n for row in connection.execute(select(series.c.state, func.count().label("n")).group_by(series.c.state))}
        return {state: int(found.get(state, 0)) for state in State}

    def totals(self) -> Mapping[str, int | float]:
        """Return numbers for metrics and health.

        Now in the queue: `series`, `images`, `bytes` (of originals), `derived`; `deliveries_<state>` for every state.
        Since the folder was made: `received_images`, `forgotten_images`. `paused`: 0 or 1.
        Seconds, 0 where nothing waits: `oldest_delivery_s` (to be sent), `oldest_series_s` (to be denoised), `oldest_waiting_s` (either).
        """
        at = self.now()
        sums = {"images": series.c.n_images, "bytes": series.c.n_bytes, "derived": series.c.n_derived}
        columns = [func.coalesce(func.sum(column), 0).label(name) for name, column in sums.items()]
        with self._read() as connection:
            row = connection.execute(select(func.count().label("series"), *columns).select_from(series)).mappings().one()
            mine = select(deliveries.c.state, func.count().label("n"), func.min(deliveries.c.made_at).label("oldest")).group_by(deliveries.c.state)
            found = {one.state: one for one in connection.execute(mine)}
            at_work = series.c.state.in_((State.COMPLETE, State.CLAIMED))
            oldest = connection.execute(select(func.min(series.c.arrived_at)).where(at_work)).scalar_one()
            own = connection.execute(select(node.c.received_images, node.c.forgotten_images, node.c.paused)).mappings().one()
        delivery_s = max((at - found[state].oldest for state in _OPEN if state in found), default=0.0)
        series_s = at - oldest if oldest is not None else 0.0
        numbers: dict[str, int | float] = {name: int(value) for name, value in {**row, **own}.items()}
        numbers |= {f"deliveries_{state}": int(found[state].n) if state in found else 0 for state in DeliveryState}
        return numbers | {"oldest_delivery_s": delivery_s, "oldest_series_s": series_s, "oldest_waiting_s": max(delivery_s, series_s)}

    def details(self, series_id: int) -> Mapping[str, Any]:
        """Return what `finish` was given last; empty before."""
        with self._read() as connection:
            found = connection.execute(select(series.c.details).where(series.c.id == series_id)).scalar_one_or_none()
        return found or {}


def _shown() -> Select[Any]:
    told = and_(announced.c.study_uid == series.c.study_uid, announced.c.series_uid == series.c.series_uid)
    return select(series, announced.c.n_expected).outerjoin(announced, told)


def _views(connection: Connection, statement: Select[Any]) -> list[SeriesView]:
    rows = connection.execute(statement).all()
    ways = _ways(connection, [row.id for row in rows])
    return [
        SeriesView(
            series_id=row.id,
            study_uid=row.study_uid,
            series_uid=row.series_uid,
            state=State(row.state),
            pass_number=row.pass_number,
            n_images=row.n_images,
            n_expected=row.n_expected,
            n_derived=row.n_derived,
            calling_ae=row.calling_ae,
            called_ae=row.called_ae,
            rule=row.rule,
            reason=row.reason,
            attempts=row.attempts,
            received_wall=row.received_wall,
            changed_wall=row.changed_wall,
            deliveries=tuple(ways.get(row.id, ())),
        )
        for row in rows
    ]


def _ways(connection: Connection, series_ids: Sequence[int]) -> dict[int, list[DeliveryView]]:
    """Return the deliveries of some series, with how far they are."""
    sums = (func.sum(type_coerce(column, Integer)) for column in (items.c.sent, items.c.kept))  # the sum of booleans would be one
    numbers = [func.count(items.c.object_id).label("n_items"), *(one.label(name) for one, name in zip(sums, ("n_sent", "n_kept"), strict=True))]
    mine = select(deliveries, *numbers).outerjoin(items, items.c.delivery_id == deliveries.c.id).where(deliveries.c.series_id.in_(series_ids))
    found: dict[int, list[DeliveryView]] = {}
    for row in connection.execute(mine.group_by(deliveries.c.id).order_by(deliveries.c.id)):
        view = DeliveryView(
            delivery_id=row.id,
            kind=Kind(row.kind),
            destination=row.destination,
            state=DeliveryState(row.state),
            n_items=row.n_items,
            n_sent=row.n_sent or 0,
            n_verified=row.n_kept or 0,
            attempts=row.attempts,
            error=row.error,
        )
        found.setdefault(row.series_id, []).append(view)
    return found
