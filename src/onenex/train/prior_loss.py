"""Training of the diffusion prior: x₀ from x_t and y, every sample at a time of its own (DESIGN §2.4)."""

# shapes: B batch, H row, W column

from __future__ import annotations

from collections.abc import Callable

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
MET_SHARE = 0.75
"""Share of simulated patches whose x_t comes from the restored measurement instead of the clean patch."""


def prior_loss(
    prior: Prior, batch: Batch, restore: Callable[[Tensor], Tensor], noise: NoiseMap, condition: Condition, *, generator: torch.Generator
) -> Tensor:
    """Return how badly g_θ tells the clean patch from its diffused version, or from the diffused restoration of y.

    Parameters
    ----------
    restore
        f_ψ, fixed. What is diffused is the reference for 1 − `MET_SHARE` of the simulated patches, and f_ψ(y) for all others. For
        inference diffuses estimates, never the truth: a prior that has seen nothing else takes their errors for anatomy at small t,
        where x_t says more than y. Of real patches there is no truth to diffuse; the restored other scan will not do, since it is
        also the target, and a prior that sees its traces learns to give its noise back.
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
    white = torch.randn(batch.target_B1HW.shape, generator=generator)
    meets = torch.rand(n, generator=generator) < MET_SHARE
    t_B, white, meets = (drawn.to(batch.target_B1HW.device) for drawn in (t_B, white, meets))
    with torch.no_grad():
        restored = restore(batch.measured_B1HW)
    origin = torch.where((meets | batch.is_real_B)[:, None, None, None], restored, batch.target_B1HW)
    measured = batch.measured_B1HW.contiguous(memory_format=torch.channels_last)
    predicted = prior(diffuse(origin, t_B, white), measured, noise.cautious, t_B, condition)
    squared = restoration_loss(predicted, batch, batch.sigma_B1HW)
    return (1 - STRUCTURE_SHARE) * squared + STRUCTURE_SHARE * structure_loss(predicted, batch)
