"""Lines of interference: a row or a column of the slice that differs from its neighbours on both sides all the way.

Radio interference of one frequency draws a line across the slice, along the phase-encoding direction ("zipper"). Pixel by pixel it looks
like noise, and a network takes some of it for noise; over the whole line its power stands out.
"""

# shapes: L line (a row or a column), P place along it

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage

from onenex.model.residual import Image, Mask

APART = 2
"""A place is compared with those so many lines off on either side: right beside it lie the side lobes."""
REACH = 8
"""Lines on either side that a line's power is compared with."""
MIN_SIDE, MIN_PLACES = 4, 12
"""Lines that either side must have, and places that either half of a line must have, to be judged."""
CLEAR = 4
"""Places nearer than this to blanked ones don't count, pixels: the border of a mask is a line too."""
MOST = 9.0
"""σ² beyond which a place counts no more: a line is many places, a vessel a few."""
LEAST = 0.3
"""σ², power that neighbours have at least: noise alone has 1, in air 0.4."""
HALF = 0.18
"""Least share of the score of a whole line that its weaker half must have."""
_MAD = 1.4826

Scores = NDArray[np.float64]


def line_scores(measured: Image, sigma: Image, given_up: Mask) -> tuple[Scores, Scores]:
    """Return how far the power of each row, and of each column, against its neighbours lies above that of the lines on both sides.

    Parameters
    ----------
    measured, sigma
        (row, column) a slice and the standard deviation of its noise, one unit, σ > 0. Air counts as tissue does; what the scanner
        blanked doesn't.
    given_up
        Pixels that don't count.

    Returns
    -------
    tuple[Scores, Scores]
        (row,) and (column,) ≥ 0, in standard deviations of what lines of this slice show, at least of what they do in white noise; 0
        beside the peak of a line, and where there is too little to judge.
    """
    judged = ~ndimage.binary_dilation(measured == 0, iterations=CLEAR) & ~given_up
    scaled = np.asarray(measured, dtype=np.float64) / sigma
    return _peaks(_scores(scaled, judged)), _peaks(_scores(scaled.T, judged.T))


def _scores(scaled_LP: NDArray[np.float64], judged_LP: Mask) -> Scores:
    """Return the score of each line.

    Two powers count, and the lower score: the square of what a place has over the mean of both sides, and the product of what it has over
    either side. The second is no more than noise's at an edge, however long and straight it runs: an edge lies between its sides. The
    first is less at the mercy of fine anatomy.
    """
    known_LP = np.zeros_like(judged_LP)
    inner, before, after = np.s_[APART:-APART], np.s_[: -2 * APART], np.s_[2 * APART :]
    known_LP[inner] = judged_LP[inner] & judged_LP[before] & judged_LP[after]
    over_before, over_after = np.zeros_like(scaled_LP), np.zeros_like(scaled_LP)
    over_before[inner], over_after[inner] = scaled_LP[inner] - scaled_LP[before], scaled_LP[inner] - scaled_LP[after]
    square_LP, product_LP = np.square(over_before + over_after) / 6, over_before * over_after
    order = np.cumsum(known_LP, axis=1, dtype=np.int32)
    first = order <= order[:, -1:] / 2
    parts = (known_LP, known_LP & first, known_LP & ~first)
    return np.minimum(_whole(square_LP, parts, 2.0), _whole(product_LP, parts, 5.0))


def _whole(power_LP: NDArray[np.float64], parts: tuple[Mask, Mask, Mask], variance: float) -> Scores:
    """Return the score of each line by one power: of all of it, or of its weaker half if that shows hardly any of it."""
    power_LP = np.where(parts[0], np.clip(power_LP, -MOST, MOST), 0)
    whole, *halves = (_excess(power_LP * part, part, variance) for part in parts)
    return np.asarray(np.clip(np.minimum(whole, np.minimum(*halves) / (np.sqrt(2) * HALF)), 0, None))


def _excess(power_LP: NDArray[np.float64], known_LP: Mask, variance: float) -> Scores:
    """Return how far each line's mean power lies above the larger of the medians of either side, standard deviations.

    `variance` is that of the power in white noise, whose mean is 1.
    """
    n = known_LP.sum(axis=1)
    enough = n >= MIN_PLACES
    mean = np.where(enough, power_LP.sum(axis=1) / np.maximum(n, 1), np.nan)
    sides = np.pad(mean, REACH, constant_values=np.nan)
    before, after = sliding_window_view(sides[: -REACH - 2], REACH - 1), sliding_window_view(sides[REACH + 2 :], REACH - 1)
    n_known, usual = (np.stack(pair) for pair in zip(*(_medians(one) for one in (before, after)), strict=True))
    judged = enough & (n_known.min(axis=0) >= MIN_SIDE)
    excess = np.zeros(len(n))
    excess[judged] = mean[judged] / np.maximum(usual.max(axis=0)[judged], LEAST) - 1
    spread = _MAD * float(np.median(np.abs(excess[enough]))) if enough.any() else 1.0
    return np.asarray(excess / np.maximum(spread, np.sqrt(variance / np.maximum(n, 1))))


def _medians(windows_LN: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how many numbers each window holds that are finite, and their median (0 without any)."""
    n = np.isfinite(windows_LN).sum(axis=1)
    ordered = np.where(n[:, None] > 0, np.sort(windows_LN, axis=1), 0)  # NaN goes last
    lower, upper = (np.take_along_axis(ordered, np.clip(place, 0, None)[:, None], axis=1)[:, 0] for place in ((n - 1) // 2, n // 2))
    return n, (lower + upper) / 2


def _peaks(scores_L: Scores) -> Scores:
    """Return the scores with 0 wherever a line nearby has more: a line shows in the comparisons of its neighbours too."""
    return np.where(scores_L == ndimage.maximum_filter1d(scores_L, 2 * (APART + 1) + 1), scores_L, 0)
