"""Means with bootstrap confidence intervals, clustered by patient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from onenex.errors import DataError
from onenex.evaluate.statistics.patients import Interval, Patients, Values, by_patient, too_few

N_RESAMPLES = 4000
_AT_ONCE = 4_000_000
"""Draws held in memory at a time."""

Statistic = Callable[[Values], Values]
"""Takes means of the columns (..., column) and returns (...)."""
Weigh = Literal["images", "patients"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean, or what follows from means, with its interval."""

    value: float
    interval: Interval | None
    """None where patients are too few."""
    n_patients: int
    n_images: int
    no_interval: str = ""
    """Why not."""

    def text(self, digits: int = 3, unit: str = "") -> str:
        """Return it for people: "0.912 (95 % CI 0.880 to 0.941)"."""
        value = f"{self.value:.{digits}f}{unit}"
        if self.interval is None:
            return f"{value} (no interval: {self.no_interval})"
        return f"{value} ({100 * self.interval.level:g} % CI {self.interval.low:.{digits}f} to {self.interval.high:.{digits}f})"


def first_column(means: Values) -> Values:
    """Return the mean itself."""
    return np.asarray(means[..., 0])


def relative_gain_percent(means: Values) -> Values:
    """Return by how many percent the mean of the second column exceeds that of the first."""
    return np.asarray(100 * (means[..., 1] / means[..., 0] - 1))


def estimate(
    values: ArrayLike,
    patients: Sequence[str],
    *,
    generator: np.random.Generator,
    statistic: Statistic = first_column,
    weigh: Weigh = "images",
    level: float = 0.95,
    n_resamples: int = N_RESAMPLES,
) -> Estimate:
    """Estimate a mean, or a function of means, and its confidence interval.

    Patients are drawn with replacement, each with all of their images, so images of one patient may resemble each other as they
    like. The interval lies between percentiles that are widened for few patients: plain ones are too narrow by the factor
    √((n−1)/n) and know no t distribution.

    Parameters
    ----------
    values
        (image,) or (image, column).
    patients
        (image,): whose each image is.
    generator
        Draws the patients.
    statistic
        What follows from the means of the columns, e.g. `relative_gain_percent`; the mean of the first by default.
    weigh
        Whether every image weighs the same in a mean, as in a table over images, or every patient, as in `paired_test`.
    level
        Confidence, 0…1.
    n_resamples
        Draws of all patients.

    Raises
    ------
    DataError
        As in `by_patient`, or a level outside 0…1.

    Source
    ------
    Hesterberg, Am. Stat. 69:371 (2015), section 4.2 ("expanded percentile"), with patients for observations; clusters resampled
    whole: Field & Welsh, J. R. Stat. Soc. B 69:369 (2007).
    """
    if not 0 < level < 1:
        raise DataError(f"a confidence level of {level} is outside 0…1: 0.95 is usual")
    gathered = by_patient(values, patients)
    weights = gathered.n_images if weigh == "images" else np.ones(len(gathered), dtype=np.int64)
    value = float(statistic((gathered.means * weights[:, None]).sum(axis=0) / weights.sum()))
    reason = too_few(len(gathered))
    return Estimate(
        value=value,
        interval=None if reason else _interval(gathered, weights.astype(np.float64), statistic, level, n_resamples, generator),
        n_patients=len(gathered),
        n_images=int(gathered.n_images.sum()),
        no_interval=reason,
    )


def _interval(gathered: Patients, weights: Values, statistic: Statistic, level: float, n_resamples: int, generator: np.random.Generator) -> Interval:
    n_patients = len(gathered)
    weighted = gathered.means * weights[:, None]
    found = []
    block = max(1, _AT_ONCE // n_patients)
    for start in range(0, n_resamples, block):
        drawn = generator.integers(n_patients, size=(min(block, n_resamples - start), n_patients))
        found.append(statistic(weighted[drawn].sum(axis=1) / weights[drawn].sum(axis=1)[:, None]))
    quantile = stats.t.ppf((1 + level) / 2, n_patients - 1) * np.sqrt(n_patients / (n_patients - 1))
    outside = float(stats.norm.sf(quantile))
    low, high = np.quantile(np.concatenate(found), (outside, 1 - outside))
    return Interval(low=float(low), high=float(high), level=level)
