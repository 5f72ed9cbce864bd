"""DDIM, DPS and RED-diff: how the diffusion rivals turn a fast scan into a clean image. Images are divided by √ᾱ_t throughout."""

# shapes: B batch, H row, W column

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from onenex.errors import OutOfDomain
from onenex.model.diffusion import N_STEPS, alpha_bar, sigma_of

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x_t / √ᾱ_t, t_B) → x₀."""


@dataclass(frozen=True, kw_only=True)
class Ddim:
    """How DDIM runs."""

    n_steps: int
    t_start: int = N_STEPS
    """Below T the process begins at the fast scan with the noise of this time added (Chung et al., CVPR 2022)."""
    eta: float = 0.0
    """0 = no fresh noise (DDIM), 1 = that of DDPM."""


@dataclass(frozen=True, kw_only=True)
class Dps:
    """How DPS runs."""

    n_steps: int
    step_size: float
    """ζ, the share of the misfit that a step takes away where the network's Jacobian is 1."""
    normalised: bool = False
    """Whether ζ is divided by the misfit's root mean square in units of σ, as the authors do: no step then moves the image by more than ζ σ."""
    start: float = math.inf
    """Begins at the fast scan with as much noise added as it has, times this, as far as there is a time for it; inf = at T."""
    eta: float = 1.0
    """As in `Ddim`."""


@dataclass(frozen=True, kw_only=True)
class RedDiff:
    """How RED-diff runs."""

    n_steps: int
    start: float
    """As in `Dps`: noise added to μ at first."""
    prior_weight: float
    """λ, in units of 1 / (series scale)²: noise of standard deviation 1 / √λ gives scan and prior equal say."""
    rate: float
    """Share of the way to the minimum of both quadratic terms that each step goes, 0…1."""


def times(t_start: int, n_steps: int) -> list[int]:
    """Return diffusion times from `t_start` down, evenly spread, each above the next and the last above 0.

    Raises
    ------
    OutOfDomain
        Less than one step, more steps than times, or a start outside 1…T.
    """
    if not 1 <= n_steps <= t_start <= N_STEPS:
        raise OutOfDomain(f"{n_steps} steps from diffusion time {t_start} on: take 1 to {N_STEPS} for the time, and 1 to that time for the steps")
    return [round(t_start * (1 - k / n_steps)) for k in range(n_steps)]


def time_of(noise: float) -> int:
    """Return the first diffusion time, 1…T, with at least this much noise in units of the series scale; T when there is none."""
    table = sigma_of(torch.arange(1, N_STEPS + 1))
    return min(N_STEPS, 1 + int((table < noise).sum()))


@torch.no_grad()
def ddim(denoise: Denoise, measured_B1HW: Tensor, settings: Ddim, generator: torch.Generator) -> Tensor:
    """Sample x₀ from noise around the fast scan.

    Parameters
    ----------
    denoise
        The conditional network, with its condition filled in.
    measured_B1HW
        y, units of the series scale.
    generator
        What it draws is of the shape of `measured_B1HW`.

    Source
    ------
    Song et al. 2021 (DDIM), eq. 12 and 16, both sides divided by √ᾱ.
    """
    schedule = times(settings.t_start, settings.n_steps)
    x = measured_B1HW + _noise(schedule[0]) * _white(measured_B1HW, generator)
    for t, after in zip(schedule, [*schedule[1:], 0], strict=True):
        clean = denoise(x, _repeated(t, x))
        x = _towards(clean, x, (t, after), settings.eta, generator)
    return x


def dps(denoise: Denoise, measured_B1HW: Tensor, sigma_B1HW: Tensor, settings: Dps, generator: torch.Generator) -> Tensor:
    """Sample x₀ by an unconditional network, each step corrected by the gradient of a Gaussian likelihood through the network.

    Parameters
    ----------
    denoise
        The unconditional network, with gradients to x_t.
    measured_B1HW, sigma_B1HW
        One slice and the standard deviation of its noise, (1, 1, H, W), units of the series scale, σ > 0.
    generator
        As in `ddim`.

    Source
    ------
    Chung et al., ICLR 2023 (arXiv 2209.14687), algorithm 1 with A = identity. As theirs, the likelihood has one σ for all pixels.
    Deviations: norms are root mean squares, so that ζ doesn't depend on the size of the image; fewer times than T, from the scan's
    own noise on (Chung et al., CVPR 2022): from T it cannot come back to a scan that has little noise.
    """
    schedule, level = _from_own_noise(settings, sigma_B1HW), float(sigma_B1HW.median())
    x = measured_B1HW + _noise(schedule[0]) * _white(measured_B1HW, generator)
    for t, after in zip(schedule, [*schedule[1:], 0], strict=True):
        with torch.enable_grad():
            variable = x.detach().requires_grad_()
            clean = denoise(variable, _repeated(t, x))
            misfit = (measured_B1HW - clean).square().mean(dim=(1, 2, 3), keepdim=True)
            (gradient,) = torch.autograd.grad(misfit.sum() * measured_B1HW[0].numel() / 2, variable)
        norm = misfit.detach().sqrt().clamp_min(1e-8) / level if settings.normalised else 1.0
        scale = settings.step_size / norm / _kept(t, after)
        x = _towards(clean.detach(), x, (t, after), settings.eta, generator) - scale * gradient
    return x


@torch.no_grad()
def reddiff(denoise: Denoise, measured_B1HW: Tensor, sigma_B1HW: Tensor, settings: RedDiff, generator: torch.Generator) -> Tensor:
    """Minimise ‖(y − μ) / σ‖² / 2 + λ E_t ⟨sg[μ − x̂₀(x_t)], μ⟩ from μ = y, for falling t.

    Parameters
    ----------
    denoise
        The unconditional network.
    measured_B1HW, sigma_B1HW, generator
        As in `dps`.

    Source
    ------
    Mardani et al. 2023 (arXiv 2305.04391), algorithm 1 with their weight λ √((1 − ᾱ) / ᾱ) of ε_θ − ε, which makes it λ (μ − x̂₀).
    Deviations: times from the scan's own noise on; in place of Adam a step goes a share of the way to the minimum of the quadratic that
    both terms are.
    """
    mu = measured_B1HW
    pull = settings.prior_weight * sigma_B1HW.square()
    for t in _from_own_noise(settings, sigma_B1HW):
        t_B = _repeated(t, mu)
        clean = denoise(mu + _noise(t) * _white(mu, generator), t_B)
        mu = mu - settings.rate * ((mu - measured_B1HW) + pull * (mu - clean)) / (1 + pull)
    return mu


def _from_own_noise(settings: Dps | RedDiff, sigma_B1HW: Tensor) -> list[int]:
    """Return the times of a slice; fewer steps where there are fewer times."""
    first = time_of(settings.start * float(sigma_B1HW.median()))
    return times(first, min(first, settings.n_steps))


def _towards(clean: Tensor, x: Tensor, when: tuple[int, int], eta: float, generator: torch.Generator) -> Tensor:
    """Return x at a later step (an earlier time), given x₀ as it is believed to be now."""
    own, later = (_noise(t) for t in when)
    if later == 0:
        return clean
    fresh: float = eta * later * ((own**2 - later**2) / own**2) ** 0.5
    moved: Tensor = clean + (later**2 - fresh**2) ** 0.5 / own * (x - clean)
    if fresh > 0:
        moved = moved + fresh * _white(x, generator)
    return moved


def _noise(t: int) -> float:
    """Return the noise of time `t` in units of the series scale; 0 at 0."""
    return float(sigma_of(torch.tensor([t]))) if t > 0 else 0.0


def _kept(t: int, after: int) -> float:
    """Return √(ᾱ_t ᾱ_after): the gradient is taken at x_t and applied to the next x, each divided by its own √ᾱ."""
    return float(alpha_bar(torch.tensor([t, after])).prod().sqrt())


def _repeated(t: int, x: Tensor) -> Tensor:
    return torch.full((len(x),), t, device=x.device)


def _white(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator).to(like.device)
