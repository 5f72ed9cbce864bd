"""Shares of yes and no with intervals that know that one patient may have answered several times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from onenex.errors import StudyError
from onenex.evaluate.statistics import Interval, by_patient


@dataclass(frozen=True, kw_only=True)
class Proportion:
    """A share, 0…1."""

    value: float | None
    """None of nothing."""
    n_hits: int
    n: int
    n_patients: int
    design_effect: float
    """How many times the variance is what it would be if all answers were independent; at least 1."""
    interval: Interval | None


NOTHING = Proportion(value=None, n_hits=0, n=0, n_patients=0, design_effect=1.0, interval=None)


def proportion(hits: ArrayLike, patients: Sequence[str], level: float = 0.95) -> Proportion:
    """Return the share of hits with its interval.

    One answer a patient: Wilson's score interval. Several: the same with the effective number of answers, n over the design effect
    (variance of the ratio estimate over the binomial one), and Student's quantile with patients less one degrees of freedom. When all
    answers are alike nothing is known of how patients resemble themselves, and patients are counted instead of answers.

    Parameters
    ----------
    hits
        (answer,): True or False.
    patients
        (answer,): whose each is.
    level
        Confidence, 0…1.

    Raises
    ------
    StudyError
        Different numbers of hits and patients.

    Source
    ------
    Wilson, J. Am. Stat. Assoc. 22:209 (1927); design effect: Rao & Scott, Biometrics 48:577 (1992), eq. 1–3; both together: Korn &
    Graubard, Surv. Methodol. 24:193 (1998).
    """
    found = np.asarray(hits, dtype=np.float64)
    if found.ndim != 1 or len(found) != len(patients):
        raise StudyError(f"{found.shape} answers of {len(patients)} patients: one patient an answer is needed")
    if not len(found):
        return NOTHING
    gathered = by_patient(found, patients)
    n, n_patients = len(found), len(gathered)
    value = float(found.mean())
    effect = 1.0
    if n_patients < n:
        effect = n / n_patients
        if 0 < value < 1 and n_patients > 1:
            residuals = gathered.sums[:, 0] - value * gathered.n_images
            variance = n_patients / (n_patients - 1) * float(np.square(residuals).sum()) / n**2
            effect = max(1.0, variance / (value * (1 - value) / n))
    tail = (1 + level) / 2
    quantile = float(stats.norm.ppf(tail) if n_patients == n else stats.t.ppf(tail, max(1, n_patients - 1)))
    low, high = wilson(value, n / effect, quantile)
    return Proportion(
        value=value,
        n_hits=int(found.sum()),
        n=n,
        n_patients=n_patients,
        design_effect=effect,
        interval=Interval(low=low, high=high, level=level),
    )


def wilson(value: float, n: float, quantile: float) -> tuple[float, float]:
    """Return Wilson's score interval of a share of `n` independent answers."""
    square = quantile**2
    middle = (value + square / (2 * n)) / (1 + square / n)
    half = quantile / (1 + square / n) * float(np.sqrt(value * (1 - value) / n + square / (4 * n**2)))
    return max(0.0, middle - half), min(1.0, middle + half)
