"""`onenex evaluate`: every method on every image of a cohort, measured, tested, and told on one page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from onenex import seen
from onenex.errors import DataError
from onenex.evaluate.cohort import samples, table, work
from onenex.evaluate.cohort.samples import Unit
from onenex.evaluate.cohort.work import Order
from onenex.model.weights import bundled_path
from onenex.pairs.workers import in_order
from onenex.scans import ScanInfo

logger = logging.getLogger(__name__)
CACHE = "measured"
"""Folder inside the report's that keeps what was measured."""
Progress = Callable[[str, int, int], None]
"""(what is being done, done, in all)."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What a run measured."""

    units: list[Unit]
    tables: table.Tables
    n_new: int
    """Measurements that were not there already."""
    seen: str
    """What is known of images that training saw, a sentence."""


def measure(
    data: Path,
    order: Order,
    *,
    workers: int = 0,
    patients: str | None = None,
    allow_seen: bool = False,
    progress: Progress | None = None,
) -> Evaluated:
    """Measure a cohort and write its tables beside the cache of `order`.

    What was measured before by the same code, weights and settings is taken over, so a run that was stopped goes on where it was.

    Parameters
    ----------
    workers
        Processes beside this one, each with one thread; 0 = none.
    patients
        Pattern that finds the patient in a scan's id, where the manifest names none.
    allow_seen
        Whether to go on although training saw some of the images.

    Raises
    ------
    DataError
        Nothing to evaluate, images that training saw, a method that cannot be used, or a worker that died.
    """
    tell = progress or (lambda what, done, total: None)
    todo = samples.units(data, order.plan)
    told = check_unseen([unit.info for unit in todo], order.choice.weights or bundled_path(), allow_seen=allow_seen)
    work.bench(order.choice)  # what cannot be used is said before anything is done
    largest_first, n_new = samples.order(todo), 0
    tell("measuring", 0, len(todo))
    for number, n in enumerate(in_order(partial(work.evaluate, order=order), largest_first, workers), start=1):
        n_new += n
        tell("measuring", number, len(todo))
    tables = table.write(todo, order, order.cache.parent, patients)
    return Evaluated(units=todo, tables=tables, n_new=n_new, seen=told)


def check_unseen(infos: Sequence[ScanInfo], weights: Path, *, allow_seen: bool) -> str:
    """Return what is known of images that training saw.

    Raises
    ------
    DataError
        It saw some, and that wasn't allowed.
    """
    known = seen.read(weights)
    if known is None:
        return "Nobody wrote down what these weights were trained on: whether they saw these images is not known."
    counts = {info.id: seen.n_seen(info, known) for info in {info.id: info for info in infos}.values()}
    found = {name: n for name, n in counts.items() if n}
    if not found:
        return f"None of the images is among the {len(known)} that the weights were trained on."
    some = ", ".join(f"{name} ({n})" for name, n in list(found.items())[:5])
    if not allow_seen:
        raise DataError(
            f"training saw {sum(found.values())} images of {len(found)} scans: {some}: "
            "leave them out, or say --allow-seen and claim nothing by the result"
        )
    return f"TRAINING SAW {sum(found.values())} of these images, of {len(found)} scans ({some}): nothing is proven by these figures."
