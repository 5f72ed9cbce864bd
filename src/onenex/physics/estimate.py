"""The noise of a magnitude image from its own finest scale, without a reference and without training.

Right for white noise on smooth anatomy only: interpolated images hold less fine-scale noise than noise, textured ones
more fine scale than noise. `model.noise_level` learns what this cannot know; this stays as its yardstick, and as the
floor of clean training images' own noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]

_DIAGONAL = np.array([[0.5, -0.5], [-0.5, 0.5]], dtype=np.float32)


def local_sigma(image: Array, window: int = 9) -> Array:
    """Return a map (row, column) of the local noise standard deviation of `image` (row, column), its unit.

    Local mean absolute diagonal Haar detail, turned into a standard deviation by √(π/2).

    Source
    ------
    Donoho & Johnstone, Biometrika 81:425 (1994), with a local mean instead of the global median.
    """
    detail = np.abs(ndimage.convolve(image.astype(np.float32), _DIAGONAL, mode="nearest"))
    return np.asarray(ndimage.uniform_filter(detail, window) * np.sqrt(np.pi / 2), dtype=np.float32)


def noise_floor(image: Array, foreground_threshold: float) -> float:
    """Return a low estimate of the noise of `image`: the 10th percentile of `local_sigma` in its foreground.

    Parameters
    ----------
    image
        (row, column).
    foreground_threshold
        Pixels above it count, unit of the image. Without such pixels the floor is 0.
    """
    inside = local_sigma(image)[image > foreground_threshold]
    return float(np.percentile(inside, 10)) if inside.size else 0.0


def spread_of_repeats(repeats: Array) -> Array:
    """Return the local standard deviation (row, column) of repeats (repeat, row, column) of one slice.

    Mean absolute deviation of neighbouring repeats, averaged over some 10 pixels; √π/2 turns it into the standard deviation
    of Gaussian noise. Less swayed by pulsation than a root mean square.
    """
    deviation = np.abs(np.diff(repeats, axis=0)).mean(0)
    return np.asarray(ndimage.gaussian_filter(deviation, 4.0) * (np.sqrt(np.pi) / 2), dtype=np.float32)
