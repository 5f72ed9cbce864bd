"""The learnt scanner slice by slice: what a fast scan of a clean image would show."""

# shapes: B batch, H row, W column

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from onenex.model.degradation import Degradation
from onenex.model.guard import Degrade
from onenex.model.residual import Image
from onenex.model.tiling import apply_padded
from onenex.nets.attention import Condition


def learnt_scanner(degradation: Degradation, noise_sigma: Image, condition: Condition) -> Degrade:
    """Return f_φ of one scan: a clean image (row, column) → (m_φ, σ_φ) of a fast scan of it. The guard does not ask it (docs/decisions/0007).

    Parameters
    ----------
    degradation
        f_φ.
    noise_sigma
        (row, column), channel standard deviation of the measured slice, units of the series scale.
    condition
        Text of the scan, one prompt.

    Source
    ------
    DESIGN §2.3.
    """
    device = condition.tokens_BTD.device
    sigma = torch.from_numpy(np.ascontiguousarray(noise_sigma)).to(device)[None, None]

    def pair(stacked_B2HW: Tensor) -> Tensor:
        stacked = stacked_B2HW.contiguous(memory_format=torch.channels_last)
        return torch.cat(degradation(stacked[:, :1], stacked[:, 1:], condition), dim=1)

    @torch.no_grad()
    def degrade(image: Image) -> tuple[Image, Image]:
        clean = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)).to(device)[None, None]
        mean, deviation = apply_padded(pair, torch.cat([clean, sigma], dim=1), degradation.multiple)[0].cpu().numpy()
        return mean, deviation

    return degrade
