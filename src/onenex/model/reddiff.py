"""Guided inference of mode `full`: RED-diff, the prior's pull against the degradation model's likelihood (DESIGN §2.5)."""

# shapes: B batch, H row, W column

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from onenex.model.degradation import Measurement
from onenex.model.diffusion import RANGE, diffuse, sigma_of

Degrade = Callable[[Tensor], Measurement]
"""μ → (m_φ(μ), σ_φ(μ)), with gradients to μ."""
Denoise = Callable[[Tensor, Tensor, int], Tensor]
"""(x_t / √ᾱ_t, t_B, number of the step) → g_θ's clean image."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How the inference runs."""

    t_start: int
    """First diffusion time, 1…1000."""
    n_steps: int
    prior_weight: float
    """λ."""
    likelihood: bool
    """True: residuals count in units of σ_φ, the prior's in units of σ, and a step is a share of the way to the minimum of
    the quadratic that both terms are; False: unit σ and Adam, as in the paper."""
    learning_rate: float
    """Adam: rate at t = 1000, times t / 1000. Likelihood: share of the way, 0…1."""
    fidelity_weight: float = 1.0
    """Of the likelihood term; 0 leaves the prior alone."""
    tolerance: float = 0.0
    """Stop when a step moves a slice by less than this many noise standard deviations (root mean square); 0 = never."""


PAPER = Preset(t_start=200, n_steps=41, prior_weight=0.25, likelihood=False, learning_rate=0.1)
"""As published by Shao et al. 2026."""
DEFAULT = Preset(t_start=300, n_steps=4, prior_weight=100.0, likelihood=True, learning_rate=0.35, tolerance=0.002)
PRESETS = {"paper": PAPER, "default": DEFAULT}


class Inferred(NamedTuple):
    """What the inference found for a batch."""

    images_B1HW: Tensor
    n_steps_B: tuple[int, ...]
    """Steps taken by each slice before it stood still."""


def times(preset: Preset) -> list[int]:
    """Return the diffusion times from `t_start` down, evenly spread, the last one above 0."""
    return [max(1, round(preset.t_start * (1 - k / preset.n_steps))) for k in range(preset.n_steps)]


def prior_pull(preset: Preset, t: int) -> float:
    """Return λ w_t with w_t = √((1 − ᾱ_t) / ᾱ_t) (Mardani et al. 2023, eq. 9 and §4.2)."""
    return preset.prior_weight * RANGE * float(sigma_of(torch.tensor([t])))


def infer(
    measured_B1HW: Tensor,
    start_B1HW: Tensor,
    sigma_B1HW: Tensor,
    models: tuple[Degrade, Denoise],
    *,
    preset: Preset,
    generators: Sequence[torch.Generator],
    progress: Callable[[int, int], None] | None = None,
) -> Inferred:
    """Minimise ‖(y − m_φ(μ)) / σ_φ‖² / 2 + λ w_t ⟨sg[μ − g_θ(x_t)], μ⟩ from μ = `start`, for falling t.

    Parameters
    ----------
    measured_B1HW, start_B1HW, sigma_B1HW
        y, f_ψ(y) and y's channel noise, units of the series scale.
    models
        Degradation and prior, with condition, y and σ already filled in.
    preset
        Which steps.
    generators
        One for each slice: what it draws doesn't depend on the batch that it is in.
    progress
        Called with (steps done, steps in all).

    Returns
    -------
    Inferred
        μ, and how many steps each slice took.

    Source
    ------
    Mardani et al., arXiv 2305.04391, algorithm 1. Deviations: σ_φ² weighs the likelihood (the paper of OneNEX takes σ = 1), and
    the scaled descent of `Preset.likelihood` takes the place of Adam.
    """
    degrade, denoise = models
    mu = start_B1HW.clone()
    floor_sigma = sigma_B1HW.clamp_min(1e-4)
    moments = (torch.zeros_like(mu), torch.zeros_like(mu))
    n_taken, active = [0] * len(mu), mu.new_ones(len(mu), dtype=torch.bool)
    schedule = times(preset)
    for index, t in enumerate(schedule):
        white = torch.stack([torch.randn(mu.shape[1:], generator=one) for one in generators]).to(mu.device)
        t_B = torch.full((len(mu),), t, device=mu.device)
        pull = prior_pull(preset, t)
        with torch.no_grad():
            clean = denoise(diffuse(mu, t_B, white), t_B, index) if pull > 0 else mu
        gradient = pull * (mu - clean)
        if preset.fidelity_weight > 0:
            gradient = gradient + preset.fidelity_weight * _fidelity_gradient(mu, measured_B1HW, floor_sigma, degrade, preset)
        if preset.likelihood:
            step = preset.learning_rate / max(preset.fidelity_weight + pull, 1e-12) * gradient
        else:
            step = preset.learning_rate * t / 1000 / RANGE * _adam(gradient, moments, index + 1)
        mu = torch.where(active[:, None, None, None], mu - step, mu)
        n_taken = [n + int(on) for n, on in zip(n_taken, active.tolist(), strict=True)]
        active = active & ((step / floor_sigma).square().mean(dim=(1, 2, 3)).sqrt() >= preset.tolerance)
        if progress is not None:
            progress(index + 1, len(schedule))
        if not bool(active.any()):
            break
    return Inferred(mu.detach(), tuple(n_taken))


def _fidelity_gradient(mu: Tensor, measured: Tensor, sigma: Tensor, degrade: Degrade, preset: Preset) -> Tensor:
    """Return ∇_μ of the likelihood term, times σ² (likelihood) or as it is (unit σ)."""
    with torch.enable_grad():
        variable = mu.detach().requires_grad_()
        mean, deviation = degrade(variable)
        unit = deviation.detach() if preset.likelihood else 1.0
        (gradient,) = torch.autograd.grad(((measured - mean) / unit).square().sum() / 2, variable)
    return gradient * sigma.square() if preset.likelihood else gradient


def _adam(gradient: Tensor, moments: tuple[Tensor, Tensor], step: int) -> Tensor:
    """Return Adam's direction (Kingma & Ba 2015, algorithm 1, β 0.9 and 0.999); updates the moments in place."""
    first, second = moments
    first.mul_(0.9).add_(gradient, alpha=0.1)
    second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    return first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)


def slice_generator(seed: int, index: int, sample: int = 0) -> torch.Generator:
    """Return the generator of one slice (by its place in the stack) and one posterior sample."""
    mixed = (seed * 1_000_003 + index) * 1_009 + sample
    return torch.Generator().manual_seed(mixed % (2**63 - 1))
