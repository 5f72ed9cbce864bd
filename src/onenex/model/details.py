"""Structures of a few pixels and a few σ: some of what was taken away at their scale comes back.

A disc of three pixels at twice the noise can't be told from noise by its look: whatever takes noise away takes some of it too, more in one
place than in another, and an observer finds it less well than in the scan. Blurred to the scale of such discs the residual has a quarter of
the noise and most of the disc. It comes back by half and more where it stands out of that noise, and hardly where it doesn't.
"""

# shapes: B batch, H row, W column

from __future__ import annotations

import torch
from torch import Tensor

from onenex.model.restoration import within_bound
from onenex.model.rician import rice_mean
from onenex.model.smoothing import smoothed, white_spread

SHARE = 0.7
"""Of the residual at that scale, where it is far above the noise there."""
HALF = 1.5
"""Standard deviations of the noise at that scale at which half of `SHARE` comes back."""
FINE, WIDE = 1.2, 3.5
"""Standard deviations of the Gaussians between which the scale lies, pixels: what is broader was never lost."""


def with_details(measured_B1HW: Tensor, restored_B1HW: Tensor, sigma_B1HW: Tensor, bound_B1HW: Tensor) -> Tensor:
    """Return a result that has back what stands out of its residual at the scale of small structures.

    Parameters
    ----------
    measured_B1HW, restored_B1HW
        A slice ≥ 0 and what a mode made of it, one unit.
    sigma_B1HW
        σ of the noise, same unit; where it is 0 nothing comes back.
    bound_B1HW
        σ that the promise counts in (`restoration.within_bound`).

    Returns
    -------
    Tensor
        (B, 1, H, W), ≥ 0.

    Source
    ------
    To give a smoothed residual back is Tukey's twicing (Exploratory Data Analysis, 1977); the share is that of Wiener's filter, with the square
    of what is seen for the signal's power.
    """
    residual = measured_B1HW - rice_mean(restored_B1HW.clamp_min(0), sigma_B1HW)
    found = smoothed(residual, FINE) - smoothed(residual, WIDE)
    power = (found / (sigma_B1HW * white_spread(FINE)).clamp_min(1e-9)).square()
    image = restored_B1HW + SHARE * power / (power + HALF**2) * found
    return torch.where(sigma_B1HW > 0, within_bound(image, measured_B1HW, bound_B1HW), restored_B1HW)
