"""How far two ways to measure the same thing lie apart: bias and limits of agreement after Bland and Altman."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from onenex.errors import DataError
from onenex.evaluate.statistics.patients import Interval, Patients, Values, by_patient

SPREADS = 1.96
"""Standard deviations between the bias and either limit: 95 % of normal differences lie between them."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Measured minus reference, e.g. of volumes. Everything but the bias is None for one patient."""

    n_patients: int
    n_images: int
    bias: float
    """Mean of patients' means, in the unit of the values or in percent."""
    spread: float | None = None
    """Standard deviation of the difference of one image, between and within patients."""
    limits: tuple[float, float] | None = None
    """Bias ± `SPREADS` · spread: about 95 % of images differ by less."""
    bias_interval: Interval | None = None
    lower_interval: Interval | None = None
    upper_interval: Interval | None = None

    def text(self, digits: int = 2, unit: str = "") -> str:
        """Return it for people."""
        said = f"bias {self.bias:.{digits}f}{unit}"
        if self.limits is None or self.bias_interval is None:
            return f"{said} (no limits of agreement: n = 1 patient)"
        low, high = self.limits
        around = f"{self.bias_interval.low:.{digits}f} to {self.bias_interval.high:.{digits}f}"
        return f"{said} (95 % CI {around}), limits of agreement {low:.{digits}f} to {high:.{digits}f}{unit}, n = {self.n_patients} patients"


def bland_altman(measured: ArrayLike, reference: ArrayLike, patients: Sequence[str], *, percent: bool = False) -> Agreement:
    """Return bias and limits of agreement with their 95 % confidence intervals.

    With several images of a patient, the spread adds what lies between patients to what lies within; confidence counts patients
    only, which is on the safe side.

    Parameters
    ----------
    measured, reference
        (image,): the same quantity of the same images, e.g. volumes in ml.
    patients
        (image,): whose each image is.
    percent
        Whether differences are taken in percent of the mean of both, where they grow with the quantity.

    Raises
    ------
    DataError
        Different lengths, values that are NaN or infinite, or, in percent, pairs whose mean isn't positive.

    Source
    ------
    Bland & Altman, Lancet 327:307 (1986); intervals: Stat. Methods Med. Res. 8:135 (1999), section 2.3 (variance of a limit not
    rounded); several images of a patient: J. Biopharm. Stat. 17:571 (2007), section 3.
    """
    ours, theirs = np.asarray(measured, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1:
        raise DataError(f"measured values of shape {ours.shape}, reference of {theirs.shape}: one number an image is needed of both")
    differences = ours - theirs
    if percent:
        middle = (ours + theirs) / 2
        if not (middle > 0).all():
            raise DataError(f"{int((~(middle > 0)).sum())} pairs have a mean that isn't positive: no difference in percent of it")
        differences = 100 * differences / middle
    gathered = by_patient(differences, patients)
    means, n_patients = gathered.means[:, 0], len(gathered)
    bias, n_images = float(means.mean()), int(gathered.n_images.sum())
    if n_patients == 1:
        return Agreement(n_patients=1, n_images=n_images, bias=bias)
    spread = _spread(differences, patients, gathered)
    of_bias = float(means.std(ddof=1)) / np.sqrt(n_patients)
    of_limit = np.sqrt(of_bias**2 + SPREADS**2 * spread**2 / (2 * (n_patients - 1)))
    quantile = float(stats.t.ppf(0.975, n_patients - 1))

    def around(value: float, error: float) -> Interval:
        return Interval(low=float(value - quantile * error), high=float(value + quantile * error), level=0.95)

    low, high = bias - SPREADS * spread, bias + SPREADS * spread
    return Agreement(
        n_patients=n_patients,
        n_images=n_images,
        bias=bias,
        spread=spread,
        limits=(low, high),
        bias_interval=around(bias, of_bias),
        lower_interval=around(low, of_limit),
        upper_interval=around(high, of_limit),
    )


def _spread(differences: Values, patients: Sequence[str], gathered: Patients) -> float:
    """Return √(variance between + variance within patients), from a one-way analysis of variance."""
    counts, means = gathered.n_images, gathered.means[:, 0]
    n_images, n_patients = int(counts.sum()), len(gathered)
    if n_images == n_patients:
        return float(differences.std(ddof=1))
    _, which = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True)
    within = float(np.square(differences - means[which]).sum()) / (n_images - n_patients)
    between = float((counts * np.square(means - differences.mean())).sum()) / (n_patients - 1)
    per_patient = (n_images - float(np.square(counts).sum()) / n_images) / (n_patients - 1)
    return float(np.sqrt(within + max(0.0, (between - within) / per_patient)))
