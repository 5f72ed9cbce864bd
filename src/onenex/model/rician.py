"""Moments of Rician magnitudes as torch functions with gradients; `physics.noise` has the same for arrays."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_FAR = 8.0
"""Amplitude over σ beyond which the variance comes from its series."""


def rice_mean(amplitude: Tensor, sigma: Tensor) -> Tensor:
    """Return the expected magnitude of `amplitude` ≥ 0 under Rician noise of channel standard deviation `sigma`; any one unit."""
    safe = sigma.clamp_min(1e-5)
    t = (amplitude / safe).square() / 4
    mean: Tensor = safe * math.sqrt(math.pi / 2) * ((1 + 2 * t) * torch.special.i0e(t) + 2 * t * torch.special.i1e(t))
    return mean


def rice_deviation(amplitude: Tensor, sigma: Tensor) -> Tensor:
    """Return the standard deviation of the magnitude: σ far above the floor, 0.6551 σ in air; arguments as in `rice_mean`.

    Source
    ------
    Gudbjartsson & Patz, Magn. Reson. Med. 34:910 (1995). Where A² + 2σ² − E² would lose its digits in single precision, the
    variance is σ² (1 − σ² / 2A²), the first terms of its series.
    """
    safe = sigma.clamp_min(1e-5)
    ratio = amplitude / safe
    near = (ratio.square() + 2 - (rice_mean(amplitude, safe) / safe).square()).clamp_min(0.4)
    variance = torch.where(ratio > _FAR, 1 - 0.5 / ratio.clamp_min(1).square(), near)
    return safe * variance.sqrt()
