"""A reference from real repeats that holds nothing of the input, its noise, and the unbiased scores slice by slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from onenex.errors import DataError
from onenex.evaluate import metrics
from onenex.evaluate.measures.similarity import Values
from onenex.evaluate.metrics import Group, Mask
from onenex.series import FloatImages


def independent_reference(repeats: FloatImages, group: Group) -> tuple[FloatImages, FloatImages]:
    """Return the mean of all repeats outside `group`, and the variance of its noise.

    `record.measure` with both scores the input made of `group`, or what was restored from it, without bias in the squared error:
    the same number as `metrics.unbiased_mse`, for one group and one slice.

    Parameters
    ----------
    repeats
        (slice, repeat, row, column).
    group
        0-based repeats whose mean is the input.

    Returns
    -------
    tuple[FloatImages, FloatImages]
        (slice, row, column) each. The variance, unit², is an unbiased estimate at every single pixel, hence very noisy: use its means.

    Raises
    ------
    DataError
        No repeat is left for the reference, or the only one left has no equal to tell its noise by.
    """
    inside = repeats.astype(np.float64)
    others = np.delete(inside, group, axis=1)
    n_others = others.shape[1]
    if n_others == 0 or (n_others == 1 and len(group) != 1):
        raise DataError(f"no unbiased reference for repeats {list(group)} of {repeats.shape[1]}: leave out fewer, or score single repeats")
    variance = np.square(inside[:, group[0]] - others[:, 0]) / 2 if n_others == 1 else others.var(axis=1, ddof=1) / n_others
    return others.mean(axis=1).astype(np.float32), variance.astype(np.float32)


def unbiased_mse_by_slice(restored: Sequence[FloatImages], groups: Sequence[Group], repeats: FloatImages, mask: Mask) -> Values:
    """Return `metrics.unbiased_mse` of every slice: (slice,), NaN where the mask is empty; same arguments and errors.

    The mean of the slices, weighted by their pixels in the mask, is the score of the whole stack. Single slices can score below 0, so
    average squared errors, never decibels.
    """
    return _by_slice(metrics.unbiased_mse, restored, groups, repeats, mask)


def second_moment_mse_by_slice(restored: Sequence[FloatImages], groups: Sequence[Group], repeats: FloatImages, mask: Mask) -> Values:
    """Return `metrics.second_moment_mse` of every slice: (slice,), NaN where the mask is empty; same arguments and errors."""
    return _by_slice(metrics.second_moment_mse, restored, groups, repeats, mask)


def _by_slice(
    score: Callable[[Sequence[FloatImages], Sequence[Group], FloatImages, Mask], float],
    restored: Sequence[FloatImages],
    groups: Sequence[Group],
    repeats: FloatImages,
    mask: Mask,
) -> Values:
    slices = [slice(index, index + 1) for index in range(len(repeats))]
    return np.array(
        [score([images[one] for images in restored], groups, repeats[one], mask[one]) if mask[one].any() else np.nan for one in slices],
        dtype=np.float64,
    )
