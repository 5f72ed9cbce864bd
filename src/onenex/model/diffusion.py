"""The forward process of the prior: how much noise a diffusion step t carries (DDPM)."""

# shapes: B batch, H row, W column

from __future__ import annotations

import torch
from torch import Tensor

N_STEPS = 1000
"""T: diffusion times are 1…T; 0 is the clean image."""
_BETAS = (1e-4, 0.02)
RANGE = 2.0
"""Diffusion acts on 2x − 1 for images x in units of the series scale, so its noise is half as strong in that unit."""


def alpha_bar(t_B: Tensor) -> Tensor:
    """Return ᾱ_t, the share of the clean image's power left at times `t` (integers 0…T, any shape); ᾱ₀ = 1.

    Source
    ------
    Ho et al. 2020 (DDPM), linear β from 1e-4 to 0.02 over T = 1000.
    """
    steps = torch.cumprod(1 - torch.linspace(*_BETAS, N_STEPS, dtype=torch.float64, device=t_B.device), dim=0)
    table = torch.cat([steps.new_ones(1), steps])
    return table[t_B.long()].float()


def sigma_of(t_B: Tensor) -> Tensor:
    """Return the noise of time `t` relative to the image, √((1 − ᾱ_t) / ᾱ_t) / 2, in units of the series scale."""
    kept = alpha_bar(t_B)
    return ((1 - kept) / kept).sqrt() / RANGE


def diffuse(clean_B1HW: Tensor, t_B: Tensor, white_B1HW: Tensor) -> Tensor:
    """Return x_t / √ᾱ_t, back in units of the series scale: the clean image plus noise of `sigma_of(t)`.

    The division only rescales what the network reads: x_t = √ᾱ_t (2x − 1) + √(1 − ᾱ_t) ε carries the same information.
    """
    return clean_B1HW + sigma_of(t_B)[:, None, None, None] * white_B1HW
