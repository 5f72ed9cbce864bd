"""Gaussian smoothing by SciPy: the honest floor, what anybody gets for nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from onenex.evaluate.peers.whiten import floored
from onenex.series import FloatImages

EDGE_EXPONENT = 2 / 3
"""A blur of width w costs an error ∝ w at every edge and leaves noise of variance σ² / (4π w²): their sum is least where w ∝ σ^(2/3)."""


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """`scipy.ndimage.gaussian_filter`, slice by slice, of width `rate` · σ^`exponent` pixels.

    σ is the median of the slice's noise map, in units of the series scale: one width a slice, for the filter knows no other. The rule is ours.
    """

    name: str = "Gaussian"
    package: str = "scipy"
    rate: float = 5.0
    """Width in pixels at σ = 1, the series scale."""
    exponent: float = EDGE_EXPONENT

    def width(self, level: FloatImages) -> float:
        """Return the standard deviation of the blur, pixels, for the σ map (row, column) of one slice, in which some σ > 0."""
        return self.rate * math.pow(float(np.median(level[level > 0])), self.exponent)

    def __call__(self, images: FloatImages, sigma: FloatImages) -> FloatImages:
        """Denoise as `Peer` says."""
        from scipy.ndimage import gaussian_filter

        restored = images.copy()
        for index, (image, level) in enumerate(zip(images, sigma, strict=True)):
            if floored(level) is not None:
                restored[index] = gaussian_filter(image, self.width(level))
        return restored
