"""One linear scale factor for a whole series, from its foreground (DESIGN §4: never per slice, never min–max)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from onenex.series import FloatImages

_MAX_SAMPLES_PER_STACK = 2_000_000


def series_scale(stacks: Iterable[FloatImages]) -> float:
    """Return the factor that brings the bright foreground of a series to about 1.

    The foreground is what exceeds a tenth of the 99.9th percentile; the scale is its 99th percentile, so neither a few
    bright vessels nor the size of the empty background moves it much.

    Parameters
    ----------
    stacks
        Arrays (slice, row, column) of one series in any unit; read one after the other, so a generator keeps the
        memory flat. Large stacks are sampled on a regular grid.

    Returns
    -------
    float
        Scale > 0 in the unit of the input; 1.0 for a series without a positive pixel.
    """
    samples = []
    for stack in stacks:
        flat = np.ravel(stack)
        step = max(1, flat.size // _MAX_SAMPLES_PER_STACK)
        values = flat[::step]
        samples.append(values[np.isfinite(values) & (values > 0)])
    if not samples or not sum(s.size for s in samples):
        return 1.0
    values = np.concatenate(samples)
    foreground = values[values > 0.1 * np.percentile(values, 99.9)]
    return float(np.percentile(foreground, 99.0))


def brightness(fast: FloatImages, reference: FloatImages) -> float:
    """Return the factor from the reference's brightness to that of the fast scan: median ratio in the brighter half of the foreground.

    Both (slice, row, column), smoothed against the noise; where it is bright the Rician floor weighs little.
    """
    smooth = [ndimage.gaussian_filter(images, (0, 1.5, 1.5)) for images in (fast, reference)]
    inside = smooth[1] > 0.1 * np.percentile(smooth[1], 99.9)
    bright = inside & (smooth[1] >= np.median(smooth[1][inside]))
    return float(np.median(smooth[0][bright] / smooth[1][bright]))
