"""Training of the diffusion prior: x₀ from x_t and y, every sample at a time of its own (DESIGN §2.4)."""

# shapes: B batch, H row, W column

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from onenex.model.diffusion import N_STEPS, diffuse
from onenex.train.cascade import structure_loss
from onenex.train.chance import Chance, integers, normal, uniform
from onenex.train.dataset import Batch, of_second_scans
from onenex.train.losses import restoration_loss

STRUCTURE_SHARE = 0.5
"""Share of MS-SSIM in the score; the rest is squared error."""
MET_SHARE = 0.75
"""Share of simulated patches whose x_t comes from the restored measurement instead of the clean patch."""


Predict = Callable[[Batch, Callable[[Tensor], Tensor], Tensor], Tensor]
"""(batch, f_ψ(y) → x_t / √ᾱ_t, t_B) → g_θ's clean images; images (B, 1, H, W)."""


def prior_loss(predict: Predict, batch: Batch, *, generator: Chance, bias_weight: float = 0.0) -> Tensor:
    """Return how badly g_θ tells the clean patch from its diffused version, or from the diffused restoration of y.

    Parameters
    ----------
    predict
        g_θ, told text and noise (the cautious map), after f_ψ, which is fixed. What is diffused is the reference for 1 − `MET_SHARE` of the
        simulated patches, and f_ψ(y) for all others. For inference diffuses estimates, never the truth: a prior that has seen nothing else
        takes their errors for anatomy at small t, where x_t says more than y does. Of real patches there is no truth to diffuse; the
        restored other scan will not do, since it is also the target, and a prior that sees its traces learns to give its noise back.
    generator
        Times and diffusion noise. Half of the times are drawn below 100, where x_t says more than y does.
    bias_weight
        As in `restoration_loss`: then the second scans are looked at too, at the same times, with diffusion noise of their own.

    Source
    ------
    Ho et al. 2020 for the process. Instead of their weights, errors count in units of y's noise, by their logarithm
    (`restoration_loss`), and by MS-SSIM.
    """
    n = len(batch.measured_B1HW)
    low = uniform(n, generator) < 0.5
    t_B = torch.where(low, integers(1, 100, n, generator), integers(1, N_STEPS + 1, n, generator))
    white = normal(batch.target_B1HW.shape, generator)
    meets = uniform(n, generator) < MET_SHARE
    t_B, white, meets = (drawn.to(batch.target_B1HW.device) for drawn in (t_B, white, meets))

    def predicted(scans: Batch, meets_B: Tensor, times_B: Tensor, white_B1HW: Tensor) -> Tensor:
        met = (meets_B | scans.is_real_B)[:, None, None, None]
        return predict(scans, lambda restored: diffuse(torch.where(met, restored, scans.target_B1HW), times_B, white_B1HW), times_B)

    once, again = predicted(batch, meets, t_B, white), None
    if bias_weight:
        simulated = ~batch.is_real_B
        fresh = normal(batch.target_B1HW.shape, generator).to(white.device)
        again = of_second_scans(batch, lambda scans: predicted(scans, meets[simulated], t_B[simulated], fresh[simulated]))
    squared = restoration_loss(once, batch, batch.sigma_B1HW, again_B1HW=again, bias_weight=bias_weight)
    return (1 - STRUCTURE_SHARE) * squared + STRUCTURE_SHARE * structure_loss(once, batch)
