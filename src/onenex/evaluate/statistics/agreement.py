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
    only, which is on the safe side. The intervals of the limits join those of the bias (t) and of the spread (χ²), which are the
    wider outwards the fewer patients there are; the symmetric ones of 1986 are too narrow there.

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
    Bland & Altman, Lancet 327:307 (1986); several images of a patient: J. Biopharm. Stat. 17:571 (2007), section 3; intervals of
    the limits: Zou, Stat. Methods Med. Res. 22:630 (2013), with as many degrees of freedom as patients less one.
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
    low, high = bias - SPREADS * spread, bias + SPREADS * spread
    freedom = n_patients - 1
    of_bias = float(stats.t.ppf(0.975, freedom) * means.std(ddof=1) / np.sqrt(n_patients))
    least, most = (spread * float(np.sqrt(freedom / stats.chi2.ppf(share, freedom))) for share in (0.975, 0.025))
    inwards = float(np.hypot(of_bias, SPREADS * (spread - least)))
    outwards = float(np.hypot(of_bias, SPREADS * (most - spread)))
    return Agreement(
        n_patients=n_patients,
        n_images=n_images,
        bias=bias,
        spread=spread,
        limits=(low, high),
        bias_interval=Interval(low=bias - of_bias, high=bias + of_bias, level=0.95),
        lower_interval=Interval(low=low - outwards, high=low + inwards, level=0.95),
        upper_interval=Interval(low=high - inwards, high=high + outwards, level=0.95),
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
