"""Grades by arm: means, distributions, and comparisons of arms on the same patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from onenex.evaluate.statistics import Estimate, Paired, estimate, holm, paired_test
from onenex.reader.records import Item, Kind
from onenex.reader.statistics.frames import ALL, arms_of, by_item, first_time, paired_units, units

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Rating:
    """Grades of one item in one arm."""

    reading: str
    item: str
    where: str
    """Place; empty for all together."""
    arm: str
    reader: str
    """Empty for all of them, averaged within case."""
    n: int
    """Answers."""
    n_cases: int
    mean: Estimate
    """Every patient weighs the same."""
    median: float
    """Of answers."""
    counts: Mapping[int, int]
    """Grade → answers."""


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Grades of one arm less those of another, on the same cases by the same readers."""

    reading: str
    item: str
    where: str
    arm: str
    baseline: str
    difference: Estimate
    """Every patient weighs the same."""
    test: Paired
    """Of all places together it's corrected over the family: all items and pairs of arms of the reading."""
    favours: str
    """The arm with the better mean; empty where neither direction is better, or they are equal."""


def ratings(table: pd.DataFrame, items: Mapping[str, Item], arms: Sequence[str], generator: np.random.Generator, n_resamples: int) -> list[Rating]:
    """Return the grades of every item, arm and reader. Repeats don't count."""
    found = []
    shown = first_time(table[table["kind"] != Kind.PREFERENCE])
    for reading, item, where, part in by_item(shown):
        for arm in arms_of(part, arms):
            of_arm = part[part["arm"] == arm]
            for reader in (ALL, *sorted(of_arm["reader"].unique())):
                mine = of_arm if reader == ALL else of_arm[of_arm["reader"] == reader]
                values, patients = units(mine)
                given = mine["value"].value_counts()
                found.append(
                    Rating(
                        reading=reading,
                        item=item,
                        where=where,
                        arm=arm,
                        reader=reader,
                        n=len(mine),
                        n_cases=int(mine["case"].nunique()),
                        mean=estimate(values, patients, generator=generator, weigh="patients", n_resamples=n_resamples),
                        median=float(mine["value"].median()),
                        counts={grade: int(given.get(grade, 0)) for grade in items[item].values},
                    )
                )
    return found


def contrasts(
    table: pd.DataFrame, items: Mapping[str, Item], pairs: Sequence[tuple[str, str]], generator: np.random.Generator, n: int
) -> list[Contrast]:
    """Return the comparisons of `pairs` of arms for every item: Wilcoxon's signed-rank test by patient, corrected after Holm.

    The family of a reading is all of its items (places together) and pairs. Single places are estimated, and tested outside it.
    """
    found: list[Contrast] = []
    shown = first_time(table[table["kind"] != Kind.PREFERENCE])
    for reading, item, where, part in by_item(shown):
        for arm, baseline in pairs:
            ours, theirs, patients = paired_units(part, (arm, baseline))
            if not len(ours):
                continue
            difference = estimate(ours - theirs, patients, generator=generator, weigh="patients", n_resamples=n)
            found.append(
                Contrast(
                    reading=reading,
                    item=item,
                    where=where,
                    arm=arm,
                    baseline=baseline,
                    difference=difference,
                    test=paired_test(ours, theirs, patients),
                    favours=_favoured(difference.value, items[item], (arm, baseline)),
                )
            )
    return _corrected(found)


def pairs_of(arms: Sequence[str], test: str, control: str) -> list[tuple[str, str]]:
    """Return every pair of arms once: `test` first, `control` last."""
    order = sorted(arms, key=lambda name: (name != test, name == control, list(arms).index(name)))
    return list(combinations(order, 2))


def _favoured(difference: float, item: Item, arms: tuple[str, str]) -> str:
    if item.higher_is_better is None or abs(difference) < 1e-12:
        return ""
    return arms[0] if (difference > 0) == item.higher_is_better else arms[1]


def _corrected(found: Sequence[Contrast]) -> list[Contrast]:
    """Return them with p values corrected within each reading."""
    tests: dict[int, Paired] = {}
    for reading in {one.reading for one in found}:
        family = [number for number, one in enumerate(found) if one.reading == reading and one.where == ALL]
        tests.update(zip(family, holm([found[number].test for number in family]), strict=True))
    return [Contrast(**{**vars(one), "test": tests.get(number, one.test)}) for number, one in enumerate(found)]
