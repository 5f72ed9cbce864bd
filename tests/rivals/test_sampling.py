"""Samplers against what Gaussian images allow to be worked out by hand."""

import math

import pytest
import torch

from onenex.errors import OutOfDomain
from onenex.model.diffusion import sigma_of
from onenex.rivals.sampling import Ddim, Dps, RedDiff, ddim, dps, reddiff, time_of, times

MEAN, DEVIATION, SIGMA = 0.5, 0.2, 0.1


def gaussian(x: torch.Tensor, t_B: torch.Tensor) -> torch.Tensor:
    """x₀ of images whose pixels are N(MEAN, DEVIATION²)."""
    own = sigma_of(t_B)[:, None, None, None].square()
    return MEAN + DEVIATION**2 / (DEVIATION**2 + own) * (x - MEAN)


def scan(side: int = 64, sigma: float = SIGMA) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a clean image, a fast scan and its σ."""
    generator = torch.Generator().manual_seed(side)
    clean = MEAN + DEVIATION * torch.randn(1, 1, side, side, generator=generator)
    return clean, clean + sigma * torch.randn(clean.shape, generator=generator), torch.full(clean.shape, sigma)


def drawing(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_times_fall_to_above_zero() -> None:
    assert times(1000, 4) == [1000, 750, 500, 250]
    assert times(3, 3) == [3, 2, 1]


@pytest.mark.parametrize(("t_start", "n_steps"), [(0, 1), (10, 11), (1001, 5), (100, 0)])
def test_impossible_schedules_are_refused(t_start: int, n_steps: int) -> None:
    with pytest.raises(OutOfDomain, match="steps from diffusion time"):
        times(t_start, n_steps)


def test_the_time_of_a_noise_has_that_noise() -> None:
    for noise in (0.01, 0.1, 1.0):
        t = time_of(noise)
        before, found = sigma_of(torch.tensor([t - 1, t]))
        assert before < noise <= found
    assert (time_of(0.0), time_of(1e9)) == (1, 1000)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_and_ddpm_sample_the_distribution(eta: float) -> None:
    sample = ddim(gaussian, torch.zeros(1, 1, 128, 128), Ddim(n_steps=250, eta=eta), drawing())
    assert float(sample.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(sample.std()) == pytest.approx(DEVIATION, rel=0.05)


def test_one_step_of_ddim_is_the_denoiser() -> None:
    _, measured, _ = scan()
    sample = ddim(gaussian, measured, Ddim(n_steps=1), drawing())
    torch.testing.assert_close(sample, torch.full_like(sample, MEAN), atol=0.01, rtol=0)


def test_dps_without_guidance_is_ddpm() -> None:
    _, measured, sigma = scan()
    told = Dps(n_steps=20, step_size=0.0)
    assert torch.equal(dps(gaussian, measured, sigma, told, drawing()), ddim(gaussian, measured, Ddim(n_steps=20, eta=1.0), drawing()))


@pytest.mark.parametrize(("sigma", "normalised"), [(0.02, False), (0.1, False), (0.1, True)])
def test_dps_comes_nearer_to_the_truth_than_the_prior_alone(sigma: float, normalised: bool) -> None:
    clean, measured, level = scan(sigma=sigma)
    error = {}
    for size in (0.0, 0.3):
        settings = Dps(n_steps=100, step_size=size, normalised=normalised)
        error[size] = float((dps(gaussian, measured, level, settings, drawing()) - clean).square().mean())
    assert error[0.3] < 0.5 * error[0]


def test_dps_knows_no_size() -> None:
    errors = []
    for side in (48, 144):
        clean, measured, sigma = scan(side)
        errors.append(float((dps(gaussian, measured, sigma, Dps(n_steps=50, step_size=0.3), drawing()) - clean).square().mean()))
    assert errors[0] == pytest.approx(errors[1], rel=0.15)


def test_reddiff_stops_where_both_terms_balance() -> None:
    """With a prior that always says 0.3 the minimum is known."""
    _, measured, sigma = scan()
    sigma = sigma.clone()
    sigma[..., :32] /= 4
    weight = 50.0
    found = reddiff(
        lambda x, _: torch.full_like(x, 0.3), measured, sigma, RedDiff(n_steps=60, start=math.inf, prior_weight=weight, rate=0.3), drawing()
    )
    pull = weight * sigma.square()
    torch.testing.assert_close(found, (measured + pull * 0.3) / (1 + pull), atol=1e-4, rtol=0)


def test_reddiff_denoises() -> None:
    clean, measured, sigma = scan()
    found = reddiff(gaussian, measured, sigma, RedDiff(n_steps=40, start=4.0, prior_weight=100.0, rate=0.3), drawing())
    assert (found - clean).square().mean() < 0.9 * (measured - clean).square().mean()


def test_reddiff_leaves_what_has_no_noise() -> None:
    _, measured, _ = scan()
    found = reddiff(gaussian, measured, torch.full_like(measured, 1e-6), RedDiff(n_steps=5, start=1.0, prior_weight=100.0, rate=0.5), drawing())
    torch.testing.assert_close(found, measured, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sample", ["ddim", "dps", "reddiff"])
def test_same_seed_same_image(sample: str) -> None:
    _, measured, sigma = scan(32)

    def run(seed: int) -> torch.Tensor:
        if sample == "ddim":
            return ddim(gaussian, measured, Ddim(n_steps=5, t_start=300), drawing(seed))
        if sample == "dps":
            return dps(gaussian, measured, sigma, Dps(n_steps=5, start=2.0, step_size=0.5), drawing(seed))
        return reddiff(gaussian, measured, sigma, RedDiff(n_steps=5, start=1.0, prior_weight=30.0, rate=0.5), drawing(seed))

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
