"""How long readers took, and whether session or order changed what they said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onenex.evaluate.statistics import Estimate, Interval, Paired, estimate, paired_test
from onenex.reader.records import Kind
from onenex.reader.statistics.frames import arms_of, by_item, first_time

if TYPE_CHECKING:
    import pandas as pd

Values = NDArray[np.float64]
PRESENTATION = ["reader", "reading", "session", "position"]


@dataclass(frozen=True, kw_only=True)
class Duration:
    """Time that presentations of one arm were on screen."""

    reading: str
    arm: str
    reader: str
    """Empty for all."""
    n: int
    """Presentations."""
    median_s: float
    quartiles_s: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Reading time of one arm over that of another, on the same cases by the same readers."""

    reading: str
    arm: str
    baseline: str
    ratio: float
    """Of geometric means."""
    interval: Interval | None
    test: Paired
    """Of log seconds, by patient; on its own, not corrected."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Grades in the last session less the first, or in the second half of sessions less the first, with arm and reader evened out."""

    reading: str
    item: str
    effect: str
    """`session` or `order`."""
    difference: Estimate

    @property
    def suspicious(self) -> bool:
        """Whether its interval leaves out 0."""
        return self.difference.interval is not None and 0.0 not in self.difference.interval


def durations(table: pd.DataFrame, arms: Sequence[str]) -> list[Duration]:
    """Return reading times by arm, of all readers and of each."""
    found = []
    shown = _presentations(table)
    for (reading, arm), part in shown.groupby(["reading", "arm"], sort=False):
        for reader in ("", *sorted(part["reader"].unique())):
            seconds = part["seconds"] if reader == "" else part[part["reader"] == reader]["seconds"]
            low, middle, high = (float(one) for one in np.quantile(seconds, (0.25, 0.5, 0.75)))
            found.append(Duration(reading=str(reading), arm=str(arm), reader=reader, n=len(seconds), median_s=middle, quartiles_s=(low, high)))
    order = {name: number for number, name in enumerate(arms)}
    return sorted(found, key=lambda one: (one.reading, order.get(one.arm, len(order)), one.arm, one.reader))


def paces(table: pd.DataFrame, pairs: Sequence[tuple[str, str]], generator: np.random.Generator, n_resamples: int) -> list[Pace]:
    """Return ratios of reading times of pairs of arms."""
    found = []
    shown = _presentations(first_time(table[table["kind"] != Kind.PREFERENCE]))
    for reading, part in shown.groupby("reading", sort=False):
        logs = part.assign(log=np.log(part["seconds"])).pivot_table(index=["reader", "patient", "case"], columns="arm", values="log", aggfunc="mean")
        for arm, baseline in pairs:
            if not {arm, baseline} <= set(logs.columns):
                continue
            both = logs[[arm, baseline]].dropna()
            if both.empty:
                continue
            ours, theirs, patients = both[arm].to_numpy(), both[baseline].to_numpy(), list(both.index.get_level_values("patient"))
            mean = estimate(ours - theirs, patients, generator=generator, weigh="patients", n_resamples=n_resamples)
            ends = mean.interval and Interval(low=float(np.exp(mean.interval.low)), high=float(np.exp(mean.interval.high)), level=mean.interval.level)
            test = paired_test(ours, theirs, patients)
            found.append(Pace(reading=str(reading), arm=arm, baseline=baseline, ratio=float(np.exp(mean.value)), interval=ends, test=test))
    return found


def drifts(table: pd.DataFrame, arms: Sequence[str], generator: np.random.Generator, n_resamples: int) -> list[Drift]:
    """Return whether grades moved from the first session to the last, and from the first half of sessions to the second.

    From every grade the mean of its reader, arm and place is taken away first. A difference doesn't bias comparisons of arms as long
    as the order was balanced; it says how much wash-out and training left.
    """
    found = []
    for reading, item, where, part in by_item(first_time(table)):
        if where or not arms_of(part, arms):
            continue
        rest = (part["value"] - part.groupby(["reader", "arm", "where"])["value"].transform("mean")).to_numpy(np.float64)
        place = part.groupby(["reader", "session"])["position"].rank(pct=True, method="dense").to_numpy(np.float64)
        last, first = part["session"].max(), part["session"].min()
        halves = {
            "session": (part["session"].to_numpy() == last, part["session"].to_numpy() == first) if last > first else None,
            "order": (place > 0.5, place <= 0.5),
        }
        for effect, sides in halves.items():
            if sides is None or not (sides[0].any() and sides[1].any()):
                continue
            columns = np.column_stack([sides[0] * rest, sides[0], sides[1] * rest, sides[1]])
            difference = estimate(columns, list(part["patient"]), generator=generator, statistic=_between, n_resamples=n_resamples)
            found.append(Drift(reading=reading, item=item, effect=effect, difference=difference))
    return found


def _between(means: Values) -> Values:
    """Return the mean on one side less that on the other; 0 for a draw without either."""
    late, early = means[..., 1], means[..., 3]
    both = (late > 0) & (early > 0)
    return np.where(both, means[..., 0] / np.where(both, late, 1) - means[..., 2] / np.where(both, early, 1), 0.0)


def _presentations(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row a presentation that was on screen at all."""
    shown = table.drop_duplicates([*PRESENTATION])
    return shown[shown["seconds"] > 0]
