"""How right readers are, where the truth is known: sensitivity, specificity, area under the ROC curve, and grades against true grades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from onenex.errors import StudyError
from onenex.evaluate.statistics import Estimate, Interval, estimate
from onenex.evaluate.statistics.patients import too_few
from onenex.reader.agreement import Kappa, kappa
from onenex.reader.records import Item, Kind, Scale
from onenex.reader.statistics.frames import ALL, UNIT, arms_of, by_item, first_time
from onenex.reader.statistics.proportions import Proportion, proportion

if TYPE_CHECKING:
    import pandas as pd

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Area:
    """Area under an empirical ROC curve, or the difference of two."""

    value: float | None
    """None where only one kind of truth is there."""
    standard_error: float | None = None
    interval: Interval | None = None
    p: float | None = None
    """Two-sided, of no difference; only of differences."""
    n_present: int = 0
    n_absent: int = 0
    n_patients: int = 0
    undefined: str = ""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How well a finding was found in one arm."""

    reading: str
    item: str
    where: str
    arm: str
    reader: str
    """Empty for all of them."""
    cut: int
    """Lowest grade that counts as present."""
    sensitivity: Proportion
    specificity: Proportion
    area: Area
    """Of all readers: the mean of their areas."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Accuracy of one arm less that of another on the same cases by the same readers."""

    reading: str
    item: str
    where: str
    arm: str
    baseline: str
    reader: str
    sensitivity: Estimate | None
    """None where no case has the finding."""
    specificity: Estimate | None
    area: Area


@dataclass(frozen=True, kw_only=True)
class Graded:
    """Grades against true grades."""

    reading: str
    item: str
    where: str
    arm: str
    reader: str
    exact: Proportion
    """Share of answers that are the true grade."""
    quadratic: Kappa
    """Weighted kappa with the truth."""


def cut_of(item: Item) -> int:
    """Return the lowest grade of a finding that counts as present: the item's own cut, otherwise the first one above the middle of its scale."""
    return item.cut if item.cut is not None else item.first + (len(item.labels) + 1) // 2


def areas(scores: ArrayLike, truth: Sequence[int], patients: Sequence[str]) -> tuple[Values, Values]:
    """Return areas under the empirical ROC curves of the same findings, and their covariance.

    Findings of one patient may resemble each other; with one finding a patient the covariance is DeLong's.

    Parameters
    ----------
    scores
        (finding, column): the more, the surer that it's present; e.g. one column a reader and arm.
    truth
        (finding,): 1 present, 0 absent.
    patients
        (finding,): whose each is.

    Raises
    ------
    StudyError
        Shapes that don't fit, or fewer than two patients with and two without.

    Source
    ------
    DeLong, DeLong & Clarke-Pearson, Biometrics 44:837 (1988); several findings of a patient: Obuchowski, Biometrics 53:567 (1997),
    section 2, eq. 2–6.
    """
    table, right = np.asarray(scores, dtype=np.float64), np.asarray(truth, dtype=np.int64)
    if table.ndim != 2 or not len(table) == len(right) == len(patients):
        raise StudyError(f"scores of shape {table.shape} for {len(right)} truths of {len(patients)} patients: one row a finding is needed")
    _, which = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    n_patients = int(which.max(initial=-1)) + 1
    present, absent = right == 1, right == 0
    groups = [np.unique(which[one]) for one in (present, absent)]
    if min(len(one) for one in groups) < 2:
        raise StudyError("an area under the ROC curve needs at least two patients with the finding and two without")
    above = table[present][:, None, :] - table[absent][None, :, :]
    wins = (above > 0) + 0.5 * (above == 0)
    value = np.asarray(wins.mean(axis=(0, 1)))
    sums = np.zeros((2, n_patients, table.shape[1]))
    np.add.at(sums[0], which[present], wins.mean(axis=1) - value)
    np.add.at(sums[1], which[absent], wins.mean(axis=0) - value)
    m, n = int(present.sum()), int(absent.sum())
    spread = [len(group) / (len(group) - 1) * sums[k].T @ sums[k] / size**2 for k, (group, size) in enumerate(zip(groups, (m, n), strict=True))]
    crossed = n_patients / (n_patients - 1) * sums[0].T @ sums[1] / (m * n)
    return value, np.asarray(spread[0] + spread[1] + crossed + crossed.T)


def area(scores: ArrayLike, truth: Sequence[int], patients: Sequence[str], weights: Sequence[float]) -> Area:
    """Return a weighted sum of the areas of columns: one column, the mean of readers, or a difference of arms.

    The interval is normal, cut at 0 and 1 (−1 and 1 for a difference); there is none where all areas are perfect or patients too few.
    """
    right = np.asarray(truth, dtype=np.int64)
    empty = Area(value=None, n_present=int((right == 1).sum()), n_absent=int((right == 0).sum()), n_patients=len(set(patients)))
    try:
        values, covariance = areas(scores, truth, patients)
    except StudyError as error:
        return replace(empty, undefined=str(error))
    factors = np.asarray(weights)
    value, error_ = float(values @ factors), float(np.sqrt(max(0.0, factors @ covariance @ factors)))
    is_difference = bool((factors < 0).any())
    if error_ < 1e-12 or too_few(empty.n_patients):
        return replace(empty, value=value, standard_error=error_, undefined="no spread, or too few patients, for an interval")
    half = float(stats.norm.ppf(0.975)) * error_
    interval = Interval(low=max(-1.0 if is_difference else 0.0, value - half), high=min(1.0, value + half), level=0.95)
    p = float(2 * stats.norm.sf(abs(value) / error_)) if is_difference else None
    return replace(empty, value=value, standard_error=error_, interval=interval, p=p)


def accuracies(table: pd.DataFrame, items: Mapping[str, Item], arms: Sequence[str]) -> list[Accuracy]:
    """Return sensitivity, specificity and area of every finding with a truth, by arm and reader. Repeats don't count."""
    found = []
    for reading, item, where, part in by_item(_with_truth(table, items, Scale.FINDING)):
        for arm in arms_of(part, arms):
            of_arm, cut = part[part["arm"] == arm], cut_of(items[item])
            for reader in (ALL, *sorted(of_arm["reader"].unique())):
                mine = of_arm if reader == ALL else of_arm[of_arm["reader"] == reader]
                present = mine["truth"] == 1
                hits = [mine[present]["value"] >= cut, mine[~present]["value"] < cut]
                shares = [proportion(one, list(mine.loc[one.index, "patient"])) for one in hits]
                found.append(
                    Accuracy(
                        reading=reading,
                        item=item,
                        where=where,
                        arm=arm,
                        reader=reader,
                        cut=cut,
                        sensitivity=shares[0],
                        specificity=shares[1],
                        area=_area_of(mine, ((arm, 1.0),)),
                    )
                )
    return found


def gains(
    table: pd.DataFrame, items: Mapping[str, Item], pairs: Sequence[tuple[str, str]], generator: np.random.Generator, n_resamples: int
) -> list[Gain]:
    """Return what one arm gains over another in sensitivity, specificity and area, on findings that were read in both by the same reader."""
    found = []
    for reading, item, where, part in by_item(_with_truth(table, items, Scale.FINDING)):
        for arm, baseline in pairs:
            for reader in (ALL, *sorted(part["reader"].unique())):
                mine = part if reader == ALL else part[part["reader"] == reader]
                wide = _wide(mine, [arm, baseline])
                if wide.empty:
                    continue
                called = (wide >= cut_of(items[item])).groupby(level=[*UNIT, "truth"]).mean()
                steps = called[arm] - called[baseline]
                present = steps.index.get_level_values("truth") == 1
                shares = [
                    estimate(one.to_numpy(), list(one.index.get_level_values("patient")), generator=generator, n_resamples=n_resamples)
                    if len(one)
                    else None
                    for one in (steps[present], -steps[~present])
                ]
                found.append(
                    Gain(
                        reading=reading,
                        item=item,
                        where=where,
                        arm=arm,
                        baseline=baseline,
                        reader=reader,
                        sensitivity=shares[0],
                        specificity=shares[1],
                        area=_area_of(mine, ((arm, 1.0), (baseline, -1.0))),
                    )
                )
    return found


def graded(table: pd.DataFrame, items: Mapping[str, Item], arms: Sequence[str], generator: np.random.Generator, n: int) -> list[Graded]:
    """Return how grades agree with true grades, by arm and reader. Repeats don't count."""
    found = []
    for reading, item, where, part in by_item(_with_truth(table, items, Scale.GRADE)):
        for arm in arms_of(part, arms):
            for reader, mine in part[part["arm"] == arm].groupby("reader", sort=True):
                values, right, patients = mine["value"].tolist(), mine["truth"].astype(int).tolist(), list(mine["patient"])
                found.append(
                    Graded(
                        reading=reading,
                        item=item,
                        where=where,
                        arm=arm,
                        reader=str(reader),
                        exact=proportion(np.equal(values, right), patients),
                        quadratic=kappa(values, right, items[item].values, patients, weights="quadratic", generator=generator, n_resamples=n),
                    )
                )
    return found


def _with_truth(table: pd.DataFrame, items: Mapping[str, Item], scale: Scale) -> pd.DataFrame:
    known = first_time(table[(table["kind"] != Kind.PREFERENCE) & table["truth"].notna()])
    return known[known["item"].map(lambda name: items[name].scale is scale).astype(bool)]


def _wide(part: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """Return (reader, patient, case, place, truth) × arm of findings that the reader read in all of `arms`."""
    wide = part[part["arm"].isin(arms)].pivot_table(index=["reader", *UNIT, "truth"], columns="arm", values="value", aggfunc="first")
    return wide.reindex(columns=list(arms)).dropna()


def _area_of(part: pd.DataFrame, arms: Sequence[tuple[str, float]]) -> Area:
    """Return the readers' mean of a sum of arms' areas, on findings that all readers read in all arms."""
    wide = _wide(part, [name for name, _ in arms]).unstack("reader").dropna()
    n_readers = max(1, wide.shape[1] // len(arms))
    weights = [weight / n_readers for _, weight in arms for _ in range(n_readers)]
    if wide.empty:
        return Area(value=None, undefined="no finding that all readers read")
    truth = [int(one) for one in wide.index.get_level_values("truth")]
    return area(wide.to_numpy(np.float64), truth, list(wide.index.get_level_values("patient")), weights)
