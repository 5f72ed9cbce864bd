"""The diffusion process and the prior: noise as stated, bounded, the restoration's equal when it begins there."""

import math

import pytest
import torch

from onenex.model.diffusion import N_STEPS, alpha_bar, diffuse, sigma_of
from onenex.model.prior import Prior
from onenex.model.restoration import BOUND
from tests.model.conditions import random_condition
from tests.model.weights import random_restoration


def test_alpha_bar_is_the_product_of_the_schedule() -> None:
    betas = torch.linspace(1e-4, 0.02, N_STEPS, dtype=torch.float64)
    found = alpha_bar(torch.arange(N_STEPS + 1))
    assert found[0] == 1
    assert float(found[1]) == pytest.approx(1 - 1e-4)
    assert float(found[200]) == pytest.approx(math.prod((1 - betas[:200]).tolist()), rel=1e-6)
    assert (found.diff() < 0).all()


@pytest.mark.parametrize("t", [1, 60, 200, 1000])
def test_diffused_images_carry_the_stated_noise(t: int) -> None:
    clean, t_B = torch.rand(1, 1, 128, 128), torch.tensor([t])
    white = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    kept = float(alpha_bar(t_B))
    as_published = math.sqrt(kept) * (2 * clean - 1) + math.sqrt(1 - kept) * white
    torch.testing.assert_close((as_published / math.sqrt(kept) + 1) / 2, diffuse(clean, t_B, white), rtol=1e-4, atol=1e-4)
    assert float((diffuse(clean, t_B, white) - clean).std()) == pytest.approx(float(sigma_of(t_B)), rel=0.03)


def test_time_zero_is_the_image() -> None:
    clean = torch.rand(1, 1, 8, 8)
    assert torch.equal(diffuse(clean, torch.tensor([0]), torch.ones_like(clean)), clean)


def random_prior() -> Prior:
    torch.manual_seed(0)
    prior = Prior(widths=(16, 16, 32), depth=1)
    torch.nn.init.normal_(prior.net.head[0].weight, 0, 0.5)
    return prior.eval()


def test_no_pixel_moves_further_than_the_bound() -> None:
    y, sigma = torch.rand(1, 1, 32, 32), torch.full((1, 1, 32, 32), 0.02)
    with torch.no_grad():
        moved = random_prior()(torch.rand(1, 1, 32, 32) * 50, y, sigma, torch.tensor([300]), random_condition()) - y
    assert moved.abs().max() <= BOUND * 0.02 * 1.0001
    assert moved.abs().max() > 0.02


def test_a_noiseless_measurement_stays() -> None:
    y = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(random_prior()(torch.rand_like(y), y, torch.zeros_like(y), torch.tensor([5]), random_condition()), y)


def test_samples_of_a_batch_have_times_of_their_own() -> None:
    prior, y, condition = random_prior(), torch.rand(2, 1, 32, 32), random_condition(2)
    for block in prior.net.attend:
        torch.nn.init.normal_(block.out.weight, 0, 0.5)
    x, sigma, t = y + 0.1, torch.full_like(y, 0.05), torch.tensor([10, 700])
    with torch.no_grad():
        both = prior(x, y, sigma, t, condition)
        alone = torch.cat([prior(x[i : i + 1], y[i : i + 1], sigma[:1], t[i : i + 1], random_condition()) for i in range(2)])
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=1e-5)


def test_it_begins_as_the_restoration() -> None:
    restoration, prior = random_restoration(), Prior(widths=(16, 16, 32), depth=1).eval()
    prior.begin_at(restoration.net)
    y, sigma = torch.rand(1, 1, 32, 32), torch.full((1, 1, 32, 32), 0.05)
    with torch.no_grad():
        torch.testing.assert_close(prior(y, y, sigma, torch.tensor([50]), random_condition()), restoration(y, sigma, random_condition()))
