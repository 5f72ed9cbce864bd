"""The pipeline on Ray Data: units → actors that denoise → rows. Placing, scaling, restarting and trying again are Ray's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from onenex.batch import Row, Unit
from onenex.cluster.actors import ERROR, Denoise, Desk, Told, feed, row_of, text_of
from onenex.cluster.session import Workers
from onenex.errors import DataError

_AHEAD = 2
"""Units an actor: one is done, one waits, so that no actor waits for the driver."""
_UNDER_WAY = 4
"""Units an actor for which there is room, that the driver hands out before rows come back: memory stays bounded."""
_FEWEST_UNDER_WAY = 64
_LOOK_S = 5.0
"""Seconds after which the driver counts again for how many actors there is room."""
_QUEUE_BYTES = 64 * 2**20
"""Of the object store, for units that wait and rows that return."""
_ROUNDS = 3
"""Times that units are handed out, if the cluster loses some without a word."""


@dataclass(kw_only=True)
class _Window:
    """The units that were handed out and haven't come back."""

    units: Iterator[Unit]
    size: int
    under_way: dict[str, Unit] = field(default_factory=dict)
    exhausted: bool = False

    def texts(self) -> list[str]:
        """Return the units that there is room for, as they travel; "" after the last one, once."""
        if self.exhausted:
            return []
        wanted = self.size - len(self.under_way)
        new = list(islice(self.units, max(0, wanted)))
        self.under_way |= {unit.id: unit for unit in new}
        self.exhausted = len(new) < wanted
        return [text_of(unit) for unit in new] + [""] * self.exhausted


def stream(ray: Any, told: Told, units: Iterator[Unit], workers: Workers) -> Iterator[Row]:
    """Yield the rows of units as they come back from the actors, in any order; `units` are asked for as rows are taken.

    Raises
    ------
    DataError
        No unit can be done (destination, weights), or units were lost again and again.
    ray.exceptions.RayError
        The cluster is gone.
    """
    for _ in range(_ROUNDS):
        window = _Window(units=units, size=_window(ray, workers))
        yield from _round(ray, told, window, workers)
        if window.exhausted and not window.under_way:
            return
        units = chain(list(window.under_way.values()), units)
    raise DataError(f"{len(window.under_way)} units did not come back from the cluster: run the same command again; what is done stays")


def _round(ray: Any, told: Told, window: _Window, workers: Workers) -> Iterator[Row]:
    """Hand out units and yield their rows."""
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    desk = ray.remote(Desk).options(num_cpus=0, label_selector=here).remote()
    ray.get(desk.put.remote(window.texts()))
    looked = time.monotonic()
    for row in _pipeline(ray, told, desk, workers, here).iter_rows():
        if str(row["kind"]) == ERROR:
            raise DataError(str(row["text"]))
        done = row_of(str(row["text"]))
        if window.under_way.pop(done.unit, None) is None:
            continue  # it came back twice
        yield done
        if time.monotonic() - looked > _LOOK_S:  # machines may have come
            looked, window.size = time.monotonic(), max(window.size, _window(ray, workers))
        if texts := window.texts():
            ray.get(desk.put.remote(texts))


def _pipeline(ray: Any, told: Told, desk: Any, workers: Workers, here: dict[str, str]) -> Any:
    """Return the dataset of what the actors say."""
    start = ray.data.from_items([{"kind": "start", "text": ""}])
    units = start.map_batches(feed, fn_args=(desk,), num_cpus=0, label_selector=here)
    pool = ray.data.ActorPoolStrategy(
        min_size=1, max_size=workers.limit, initial_size=workers.fitting(ray.cluster_resources()), max_tasks_in_flight_per_actor=_AHEAD
    )
    rows = units.map_batches(Denoise, fn_constructor_args=(told, desk), compute=pool, num_cpus=workers.cpus, num_gpus=workers.gpus or None)
    _settle_context(rows.context)
    return rows


def _window(ray: Any, workers: Workers) -> int:
    return max(_FEWEST_UNDER_WAY, _UNDER_WAY * workers.fitting(ray.cluster_resources()))


def _settle_context(context: Any) -> None:
    """One unit a block, so that a lost machine costs the units in its hands and no others; one that takes hours is no failure."""
    context.target_max_block_size = 1
    context.execution_no_progress_timeout_s = -1
    context.execution_options.resource_limits = context.execution_options.resource_limits.copy(object_store_memory=_QUEUE_BYTES)
    context.enable_progress_bars = False
    context.print_on_execution_start = False
