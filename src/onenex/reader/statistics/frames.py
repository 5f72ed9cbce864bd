"""Answers as a table: what the analysis groups, pairs and averages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onenex.reader.records import Kind, Response

if TYPE_CHECKING:
    import pandas as pd

ALL = ""
"""In place of a reader, arm or place: all of them together."""
VERSUS = " vs "
UNIT = ["patient", "case", "where"]
"""What is graded once by a reader in an arm."""


def frame(responses: Sequence[Response], *, test: str, control: str) -> pd.DataFrame:
    """Return a row an answer.

    A comparison is turned so that more speaks for the first arm of its name, "denoised vs reference": `test` where it takes part,
    otherwise the one that isn't `control`, otherwise the first by alphabet.
    """
    import pandas as pd

    rows = []
    for one in responses:
        arm, value = one.arms[0], one.value
        if one.kind is Kind.PREFERENCE:
            first = sorted(one.arms, key=lambda name: (name != test, name == control, name))[0]
            (second,) = [name for name in one.arms if name != first] or [first]
            arm, value = f"{first}{VERSUS}{second}", value if one.arms[1] == first else -value
        shown = (one.reader, one.reading, str(one.kind), one.session, one.position, one.case, one.patient, arm, one.repeat)
        rows.append((*shown, one.item, one.where, value, one.seconds, one.truth))
    columns = ["reader", "reading", "kind", "session", "position", "case", "patient", "arm", "repeat", "item", "where", "value", "seconds", "truth"]
    return pd.DataFrame(rows, columns=columns).astype({"value": np.int64, "seconds": np.float64, "truth": "Int64"})


def by_item(table: pd.DataFrame) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Yield (reading, item, place, its answers): all places together first, then each where there are several."""
    for (reading, item), part in table.groupby(["reading", "item"], sort=False):
        yield str(reading), str(item), ALL, part
        if part["where"].nunique() > 1:
            for where, one in part.groupby("where", sort=False):
                yield str(reading), str(item), str(where), one


def first_time(table: pd.DataFrame) -> pd.DataFrame:
    """Return the answers without those of hidden repeats."""
    return table[table["repeat"] == 0]


def units(part: pd.DataFrame) -> tuple[NDArray[np.float64], list[str]]:
    """Return values and patients, one of each case and place: readers averaged."""
    means = part.groupby(UNIT, sort=True)["value"].mean()
    return means.to_numpy(np.float64), list(means.index.get_level_values("patient"))


def paired_units(part: pd.DataFrame, arms: tuple[str, str]) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Return values of both arms, and patients, one of each case and place: readers averaged over those who read both arms of it."""
    wide = part[part["arm"].isin(arms)].pivot_table(index=["reader", *UNIT], columns="arm", values="value", aggfunc="mean")
    if not set(arms) <= set(wide.columns):
        return np.zeros(0), np.zeros(0), []
    means = wide[list(arms)].dropna().groupby(level=UNIT, sort=True).mean()
    ours, theirs = means[arms[0]].to_numpy(np.float64), means[arms[1]].to_numpy(np.float64)
    return ours, theirs, list(means.index.get_level_values("patient"))


def arms_of(part: pd.DataFrame, order: Sequence[str]) -> list[str]:
    """Return the arms that are there, in the protocol's order."""
    place: Mapping[str, int] = {name: number for number, name in enumerate(order)}
    return sorted(part["arm"].unique(), key=lambda name: (place.get(name, len(place)), name))
