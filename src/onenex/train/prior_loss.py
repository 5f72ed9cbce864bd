"""Training of the diffusion prior: x₀ from x_t and y, every sample at a time of its own (DESIGN §2.4)."""

# shapes: B batch, H row, W column

from __future__ import annotations

import torch
from torch import Tensor

from onenex.model.diffusion import N_STEPS, diffuse
from onenex.model.noise_level import NoiseMap
from onenex.model.prior import Prior
from onenex.nets.attention import Condition
from onenex.train.cascade import structure_loss
from onenex.train.dataset import Batch
from onenex.train.losses import restoration_loss

STRUCTURE_SHARE = 0.5
"""Share of MS-SSIM in the score; the rest is squared error."""


def prior_loss(prior: Prior, batch: Batch, clean_B1HW: Tensor, noise: NoiseMap, condition: Condition, *, generator: torch.Generator) -> Tensor:
    """Return how badly g_θ tells the clean patch from its diffused version.

    Parameters
    ----------
    clean_B1HW
        x₀ that is diffused: the reference (simulated), or the restored `second` scan (real), whose noise is independent of y's.
    noise
        What g_θ is told of y's noise: the cautious map.
    generator
        Times and diffusion noise. Half of the times are drawn below 100, where x_t says more than y does.

    Source
    ------
    Ho et al. 2020 for the process. Instead of their weights, errors count in units of y's noise, by their logarithm
    (`restoration_loss`), and by MS-SSIM.
    """
    n = len(batch.measured_B1HW)
    low = torch.rand(n, generator=generator) < 0.5
    t_B = torch.where(low, torch.randint(1, 100, (n,), generator=generator), torch.randint(1, N_STEPS + 1, (n,), generator=generator))
    white = torch.randn(clean_B1HW.shape, generator=generator)
    measured = batch.measured_B1HW.contiguous(memory_format=torch.channels_last)
    predicted = prior(diffuse(clean_B1HW, t_B, white), measured, noise.cautious, t_B, condition)
    squared = restoration_loss(predicted, batch, batch.sigma_B1HW)
    return (1 - STRUCTURE_SHARE) * squared + STRUCTURE_SHARE * structure_loss(predicted, batch)
