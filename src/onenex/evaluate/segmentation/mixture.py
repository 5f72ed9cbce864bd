"""Classes of intensities: a mixture of Gaussians of one width, by scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from onenex.errors import DataError

SAMPLE = 20_000
"""Values that the mixture is fitted to, evenly spread over all."""


def classes(values: NDArray[np.float32], means: Sequence[float]) -> NDArray[np.int32]:
    """Return the likeliest class of each value, 0 being the darkest, under a mixture fitted to all of them.

    One width for all classes, as tissues under one noise have; classes of several widths drift to outliers when noise hides them.

    Parameters
    ----------
    values
        (pixel,), any unit.
    means
        (class,), the same unit: where the means of the classes start.

    Raises
    ------
    DataError
        scikit-learn isn't installed, or there are fewer values than classes.
    """
    if find_spec("sklearn") is None:
        raise DataError("a Gaussian mixture needs scikit-learn: pip install 'onenex[evaluate]'")
    if len(values) < 2 * len(means):
        raise DataError(f"{len(values)} pixels are too few to part them into {len(means)} classes")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    column = values.astype(np.float64).reshape(-1, 1)
    unit = float(column.std()) or 1.0
    n_classes = len(means)
    mixture = GaussianMixture(
        n_classes,
        covariance_type="tied",
        weights_init=np.full(n_classes, 1 / n_classes),
        means_init=np.array(means, dtype=np.float64).reshape(-1, 1) / unit,
        precisions_init=np.array([[float(n_classes**2)]]),
        max_iter=200,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # noise without classes: what it has by then is its answer
        mixture.fit(column[:: max(1, len(column) // SAMPLE)] / unit)
    rank = np.empty(n_classes, dtype=np.int32)
    rank[np.argsort(mixture.means_[:, 0])] = np.arange(n_classes, dtype=np.int32)
    return np.asarray(rank[mixture.predict(column / unit)], dtype=np.int32)
