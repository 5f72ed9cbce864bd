"""The rivals' networks: size, and what they say before they have learnt anything."""

import pytest
import torch

from onenex.model.diffusion import sigma_of
from onenex.rivals.networks import DATA_DEVIATION, Conditional, Critic, Direct, Unconditional

SIZE = (64, 1, 16, 16)


@pytest.mark.parametrize("network", [Direct(), Conditional(), Unconditional()], ids=lambda network: type(network).__name__)
def test_rivals_are_small_but_not_toys(network: torch.nn.Module) -> None:
    assert 400_000 < sum(parameter.numel() for parameter in network.parameters()) < 900_000


def test_an_untaught_restorer_changes_nothing() -> None:
    measured = torch.rand(SIZE)
    assert torch.equal(Direct((8, 8), 1)(measured, torch.full(SIZE, 0.1)), measured)


@pytest.mark.parametrize("t", [1, 40, 300, 1000])
@pytest.mark.parametrize("sigma", [0.01, 0.1])
def test_an_untaught_conditional_is_right_about_gaussian_noise(t: int, sigma: float) -> None:
    """Of x ~ N(y, σ²) it gives the posterior mean, and `unexplained` is the variance that is left."""
    torch.manual_seed(t)
    measured, level, t_B = torch.rand(SIZE), torch.full(SIZE, sigma), torch.full((SIZE[0],), t)
    truth = measured + sigma * torch.randn(SIZE)
    diffused = truth + sigma_of(t_B)[:, None, None, None] * torch.randn(SIZE)
    left = (Conditional((8, 8), 1)(diffused, t_B, measured, level) - truth).square().mean().detach()
    assert float(left / Conditional.unexplained(t_B, level).mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("t", [1, 40, 300, 1000])
def test_an_untaught_prior_is_right_about_white_images(t: int) -> None:
    torch.manual_seed(t)
    t_B = torch.full((SIZE[0],), t)
    truth = DATA_DEVIATION * torch.randn(SIZE)
    diffused = truth + sigma_of(t_B)[:, None, None, None] * torch.randn(SIZE)
    left = (Unconditional((8, 8), 1)(diffused, t_B) - truth).square().mean().detach()
    assert float(left / Unconditional.unexplained(t_B).mean()) == pytest.approx(1, abs=0.05)


def test_the_critic_judges_patches() -> None:
    candidate, measured, sigma = torch.rand(2, 1, 32, 48), torch.rand(2, 1, 32, 48), torch.full((2, 1, 32, 48), 0.05)
    critic = Critic(8)
    opinion = critic(candidate, measured, sigma)
    assert opinion.shape == (2, 1, 4, 6)
    changed = candidate.clone()
    changed[:, :, :4, :4] += 0.5
    moved = (critic(changed, measured, sigma) - opinion).abs() > 0
    assert moved[:, :, 0, 0].all()
    assert not moved[:, :, -1, -1].any()
