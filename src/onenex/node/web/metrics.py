"""Numbers of the whole node for Prometheus and for `/healthz`; nothing in them is about one patient."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from onenex import __version__
from onenex.errors import NodeError
from onenex.node.records import State

QUEUE_ERRORS = (SQLAlchemyError, NodeError, OSError)
"""What a queue raises that cannot be read."""


class Countable(Protocol):
    """What is asked of the queue (`onenex.node.queue.Queue`)."""

    def counts(self) -> dict[State, int]:
        """Return series by state."""

    def totals(self) -> Mapping[str, int | float]:
        """Return numbers of the whole queue by name."""

    def paused(self) -> bool:
        """Whether nothing is denoised or sent."""


@dataclass(frozen=True, kw_only=True)
class Health:
    """How the node is, in numbers."""

    queue: bool
    """Whether it can be read; if not, the next three are empty."""
    counts: Mapping[State, int]
    totals: Mapping[str, int | float]
    paused: bool
    disk_free_bytes: int
    disk_total_bytes: int
    disk: bool
    """Whether more than the reserve is free: below, images are refused."""

    @property
    def well(self) -> bool:
        """Whether images can be taken; series that failed are no illness of the node."""
        return self.queue and self.disk


def health(queue: Countable, folder: Path, reserve_bytes: int) -> Health:
    """Ask queue and disk. Nothing raises.

    Parameters
    ----------
    reserve_bytes
        Free disk below which nothing is accepted any more (`limits.reserve_mb`).
    """
    counts: Mapping[State, int] = {}
    totals: Mapping[str, int | float] = {}
    paused = reachable = False
    try:
        counts, totals, paused = queue.counts(), queue.totals(), queue.paused()
        reachable = True
    except QUEUE_ERRORS:
        counts, totals, paused = {}, {}, False
    try:
        usage = shutil.disk_usage(folder)
        free, total = usage.free, usage.total
    except OSError:
        free, total = 0, 0
    return Health(
        queue=reachable,
        counts=counts,
        totals=totals,
        paused=paused,
        disk_free_bytes=free,
        disk_total_bytes=total,
        disk=free > 0 and free >= reserve_bytes,
    )


class _Numbers(Collector):
    """The metrics of one scrape."""

    def __init__(self, found: Health) -> None:
        self._found = found

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield every metric."""
        found = self._found
        info = GaugeMetricFamily("onenex_node_info", "Always 1; the label says which version runs.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield GaugeMetricFamily("onenex_queue_up", "Whether the queue can be read.", value=found.queue)
        yield GaugeMetricFamily("onenex_disk_free_bytes", "Free space where the node's folder is.", value=found.disk_free_bytes)
        yield GaugeMetricFamily("onenex_disk_ok", "Whether more than the reserve is free; below, images are refused.", value=found.disk)
        if not found.queue:
            return
        series = GaugeMetricFamily("onenex_series", "Series in the queue, by state.", labels=["state"])
        for state in State:
            series.add_metric([state.value], found.counts.get(state, 0))
        yield series
        yield GaugeMetricFamily("onenex_paused", "Whether denoising and sending are paused.", value=found.paused)
        for name, value in sorted(found.totals.items()):
            if value is not None and name not in ("paused", "series"):
                yield GaugeMetricFamily(f"onenex_{re.sub(r'[^a-z0-9_]', '_', name.lower())}", name.replace("_", " ").capitalize() + ".", value=value)


def exposition(found: Health) -> bytes:
    """Return the metrics as Prometheus reads them (text format 0.0.4)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(found))
    return generate_latest(registry)
