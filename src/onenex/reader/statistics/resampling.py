"""Intervals of coefficients of agreement, by the bootstrap: patients drawn whole, and corrected for the coefficients' bias and skew."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from onenex.evaluate.statistics import Interval, by_patient
from onenex.evaluate.statistics.bootstrap import N_RESAMPLES
from onenex.evaluate.statistics.patients import too_few

Values = NDArray[np.float64]
Statistics = Callable[[Values], Values]
"""Takes means of the columns (…, column) and returns (…, statistic)."""
LEVEL = 0.95
_FURTHEST = 1e-3
"""Share of draws on one side of the estimate, at least, that the correction for bias believes."""


def intervals(
    values: ArrayLike,
    patients: Sequence[str],
    statistics: Statistics,
    *,
    generator: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
    level: float = LEVEL,
) -> tuple[Interval | None, ...]:
    """Return an interval of each statistic; None where patients are too few, or every draw gives the same.

    Kappa and ICC are biased downwards in small studies and skewed, so plain percentiles lie too low (measured: they hold the truth in
    92 to 94 % of studies with 20 to 60 patients). These are the bias-corrected and accelerated ones, widened for few patients as in
    `evaluate.statistics.bootstrap.estimate`.

    Parameters
    ----------
    values
        (row, column): what the statistics are functions of the means of.
    patients
        (row,): whose each row is.
    statistics
        From means to coefficients.
    generator
        Draws the patients.

    Source
    ------
    Efron, J. Am. Stat. Assoc. 82:171 (1987), with patients for observations; widened as Hesterberg, Am. Stat. 69:371 (2015),
    section 4.2; clusters resampled whole: Field & Welsh, J. R. Stat. Soc. B 69:369 (2007).
    """
    gathered = by_patient(values, patients)
    sums, counts, n = gathered.sums, gathered.n_images.astype(np.float64), len(gathered)
    found = statistics(sums.sum(axis=0) / counts.sum())
    if too_few(n):
        return (None,) * len(found)
    drawn = generator.integers(n, size=(n_resamples, n)) + n * np.arange(n_resamples)[:, None]
    times = np.bincount(drawn.ravel(), minlength=n * n_resamples).reshape(n_resamples, n).astype(np.float64)
    resampled = statistics(times @ sums / (times @ counts)[:, None])
    without = statistics((sums.sum(axis=0) - sums) / (counts.sum() - counts)[:, None])
    quantile = float(stats.t.ppf((1 + level) / 2, n - 1)) * np.sqrt(n / (n - 1))
    return tuple(_ends(*one, quantile, level) for one in zip(found, resampled.T, without.T, strict=True))


def _ends(value: float, resampled: Values, without: Values, quantile: float, level: float) -> Interval | None:
    """Return the interval of one statistic from its draws, and its values without each patient."""
    if np.ptp(resampled) < 1e-12:
        return None
    below = float((resampled < value).mean() + (resampled == value).mean() / 2)
    bias = float(stats.norm.ppf(np.clip(below, _FURTHEST, 1 - _FURTHEST)))
    leverage = without.mean() - without
    spread = float(np.square(leverage).sum()) ** 1.5
    skew = float((leverage**3).sum()) / (6 * spread) if spread > 0 else 0.0
    steps = bias + quantile * np.asarray((-1.0, 1.0))
    low, high = np.quantile(resampled, stats.norm.cdf(bias + steps / np.maximum(1 - skew * steps, _FURTHEST)))
    return Interval(low=float(low), high=float(high), level=level)
