"""Lets a denoiser that knows one σ an image serve noise that varies over it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onenex.series import FloatImages

LEAST_SHARE = 0.05
"""σ below this share of its slice's median (masked background) is raised to it, so that no division explodes."""


def floored(level: FloatImages) -> FloatImages | None:
    """Return the σ map of one slice (row, column) without values near zero; None where it is zero throughout."""
    positive = level[level > 0]
    return np.maximum(level, np.float32(LEAST_SHARE * np.median(positive))) if positive.size else None


def unit_noise(images: FloatImages, sigma: FloatImages, denoise: Callable[[FloatImages], FloatImages]) -> FloatImages:
    """Denoise slice by slice in units of σ.

    Parameters
    ----------
    images, sigma
        (slice, row, column), one unit.
    denoise
        Takes one slice (row, column) whose noise has standard deviation 1.
    """
    restored = images.copy()
    for index, (image, level) in enumerate(zip(images, sigma, strict=True)):
        safe = floored(level)
        if safe is not None:
            restored[index] = denoise(image / safe) * safe
    return restored
