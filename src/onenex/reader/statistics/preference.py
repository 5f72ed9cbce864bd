"""Which of two arms readers preferred, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from onenex.evaluate.statistics.patients import p_text, too_few
from onenex.reader.records import Kind
from onenex.reader.statistics.frames import ALL, VERSUS, first_time
from onenex.reader.statistics.proportions import Proportion, proportion

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Preference:
    """How often an arm was preferred to another."""

    reading: str
    item: str
    arm: str
    baseline: str
    reader: str
    """Empty for all."""
    n_patients: int
    preferred: Proportion
    """Share of comparisons in which `arm` was preferred, however much."""
    neither: Proportion
    against: Proportion
    n_for: int
    """Patients on whose comparisons `arm` is preferred on the whole."""
    n_against: int
    p: float | None
    """Two-sided sign test of patients; those without a preference on the whole don't count."""
    not_tested: str = ""

    @property
    def text(self) -> str:
        """The test for people."""
        return f"not tested: {self.not_tested}" if self.p is None else p_text(self.p)


def preferences(table: pd.DataFrame) -> list[Preference]:
    """Return the preferences of every comparison, of all readers and of each. Repeats don't count.

    Source
    ------
    Sign test: Conover, Practical Nonparametric Statistics (1999), section 3.4, by scipy's exact binomial test.
    """
    found = []
    compared = first_time(table[table["kind"] == Kind.PREFERENCE])
    for (reading, item, pair), part in compared.groupby(["reading", "item", "arm"], sort=False):
        arm, _, baseline = str(pair).partition(VERSUS)
        for reader in (ALL, *sorted(part["reader"].unique())):
            mine = part if reader == ALL else part[part["reader"] == reader]
            found.append(_preference(mine, (str(reading), str(item)), (arm, baseline), reader))
    return found


def _preference(part: pd.DataFrame, names: tuple[str, str], arms: tuple[str, str], reader: str) -> Preference:
    signs, patients = np.sign(part["value"].to_numpy()), list(part["patient"])
    by_patient = np.sign(part.assign(sign=signs).groupby("patient")["sign"].mean().to_numpy())
    n_for, n_against = int((by_patient > 0).sum()), int((by_patient < 0).sum())
    reason = too_few(len(by_patient)) or ("" if n_for + n_against else "no patient with a preference")
    return Preference(
        reading=names[0],
        item=names[1],
        arm=arms[0],
        baseline=arms[1],
        reader=reader,
        n_patients=len(by_patient),
        preferred=proportion(signs > 0, patients),
        neither=proportion(signs == 0, patients),
        against=proportion(signs < 0, patients),
        n_for=n_for,
        n_against=n_against,
        p=None if reason else float(stats.binomtest(n_for, n_for + n_against).pvalue),
        not_tested=reason,
    )
