"""Agreement over the study: readers with themselves on hidden repeats, and with each other, arm by arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from onenex.reader.agreement import Icc, Kappa, icc, kappa
from onenex.reader.records import Item
from onenex.reader.statistics.frames import ALL, UNIT, arms_of, by_item, first_time

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Concordance:
    """Weighted kappa of two readers, or of one with themselves."""

    kind: Literal["intra", "inter"]
    reading: str
    item: str
    where: str
    arm: str
    """Empty for all arms together."""
    readers: tuple[str, ...]
    """One, or two."""
    linear: Kappa
    quadratic: Kappa


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Intraclass correlations of all readers."""

    reading: str
    item: str
    where: str
    arm: str
    iccs: tuple[Icc, ...]
    """In the order of `agreement.FORMS`."""


def concordances(table: pd.DataFrame, items: Mapping[str, Item], arms: Sequence[str], generator: np.random.Generator, n: int) -> list[Concordance]:
    """Return kappas: within readers where there are repeats (all arms together, and each), between any two readers arm by arm.

    Pairs with a missing answer don't count.
    """
    found = []
    for reading, item, where, part in by_item(table):
        for kind, arm, readers, pairs in (*_within(part, arms), *_between(part, arms)):
            if pairs.empty:
                continue
            first, second = pairs.iloc[:, 0].astype(int).tolist(), pairs.iloc[:, 1].astype(int).tolist()
            patients = list(pairs.index.get_level_values("patient"))
            linear, quadratic = (
                kappa(first, second, items[item].values, patients, weights=weights, generator=generator, n_resamples=n)
                for weights in ("linear", "quadratic")
            )
            found.append(
                Concordance(kind=kind, reading=reading, item=item, where=where, arm=arm, readers=readers, linear=linear, quadratic=quadratic)
            )
    return found


def correlations(table: pd.DataFrame, arms: Sequence[str], generator: np.random.Generator, n: int) -> list[Correlation]:
    """Return intraclass correlations, arm by arm, where there are two readers or more."""
    found = []
    for reading, item, where, part in by_item(first_time(table)):
        for arm in arms_of(part, arms):
            wide = part[part["arm"] == arm].pivot_table(index=UNIT, columns="reader", values="value", aggfunc="first")
            if wide.shape[1] < 2:
                continue
            patients = list(wide.index.get_level_values("patient"))
            iccs = icc(wide.to_numpy(np.float64), patients, generator=generator, n_resamples=n)
            found.append(Correlation(reading=reading, item=item, where=where, arm=arm, iccs=iccs))
    return found


_Pairs = tuple[Literal["intra", "inter"], str, tuple[str, ...], "pd.DataFrame"]


def _within(part: pd.DataFrame, arms: Sequence[str]) -> Iterator[_Pairs]:
    for reader, mine in part.groupby("reader", sort=True):
        wide = mine.pivot_table(index=[*UNIT, "arm"], columns="repeat", values="value", aggfunc="first")
        if not {0, 1} <= set(wide.columns):
            continue
        twice = wide[[0, 1]].dropna()
        yield "intra", ALL, (str(reader),), twice
        names = arms_of(mine, arms)
        for arm in names if len(names) > 1 else []:
            yield "intra", arm, (str(reader),), twice[twice.index.get_level_values("arm") == arm]


def _between(part: pd.DataFrame, arms: Sequence[str]) -> Iterator[_Pairs]:
    once = first_time(part)
    for arm in arms_of(once, arms):
        wide = once[once["arm"] == arm].pivot_table(index=UNIT, columns="reader", values="value", aggfunc="first")
        for pair in combinations(wide.columns, 2):
            yield "inter", arm, (str(pair[0]), str(pair[1])), wide[list(pair)].dropna()
