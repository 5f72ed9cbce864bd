"""Values of images, gathered by patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onenex.errors import DataError

Values = NDArray[np.float64]

LEAST_PATIENTS = 6
"""Below it nothing is tested: the two-sided signed-rank test of five cannot reach p < 0.05 (2/2⁵ = 0.0625)."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """From `low` to `high`, with the confidence `level`."""

    low: float
    high: float
    level: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Patients:
    """The images of each patient, summed up."""

    sums: Values
    """(patient, column)."""
    n_images: NDArray[np.int64]
    """(patient,): images of each."""

    @property
    def means(self) -> Values:
        """(patient, column): mean over the images of each."""
        return np.asarray(self.sums / self.n_images[:, None])

    def __len__(self) -> int:
        return len(self.n_images)


def by_patient(values: ArrayLike, patients: Sequence[str]) -> Patients:
    """Gather the values of images by patient, in the order of their names.

    Parameters
    ----------
    values
        (image,) or (image, column).
    patients
        (image,): whose each image is.

    Raises
    ------
    DataError
        Another number of patients than of values, none, or values that are NaN or infinite.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or len(table) != len(patients) or not len(table):
        raise DataError(f"values of shape {np.shape(values)} for {len(patients)} images: one row an image is needed, and at least one")
    n_bad = int((~np.isfinite(table)).any(axis=1).sum())
    if n_bad:
        raise DataError(f"{n_bad} of {len(table)} images have values that are NaN or infinite: leave them out first, and say so")
    _, which, counts = np.unique(np.asarray(patients, dtype=np.str_), return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), table.shape[1]))
    np.add.at(sums, which, table)
    return Patients(sums=sums, n_images=counts.astype(np.int64))


def too_few(n_patients: int) -> str:
    """Return why so few patients aren't tested; empty when there are enough."""
    return "" if n_patients >= LEAST_PATIENTS else f"n = {n_patients} patient{'s' * (n_patients != 1)}, at least {LEAST_PATIENTS} needed"


def p_text(p: float) -> str:
    """Return a p value for people: three digits, never zero."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
