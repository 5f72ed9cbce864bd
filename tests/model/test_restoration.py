"""Laws of the restoration network: bounded, silent without noise, any weights."""

import pytest
import torch

from onenex.model.restoration import BOUND, Restoration
from tests.model.weights import random_restoration


@pytest.fixture(scope="module")
def network() -> Restoration:
    return random_restoration()


def noisy(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(16, 16), (64, 48), (8, 120)])
def test_shape_is_kept(network: Restoration, size: tuple[int, int]) -> None:
    image = noisy(2, 1, *size)
    assert network(image, torch.full_like(image, 0.05)).shape == image.shape


def test_zero_sigma_is_identity(network: Restoration) -> None:
    image = noisy(1, 1, 32, 32)
    torch.testing.assert_close(network(image, torch.zeros_like(image)), image, atol=0, rtol=0)


@pytest.mark.parametrize("sigma", [0.002, 0.05, 0.15])
def test_no_pixel_moves_by_more_than_the_bound(network: Restoration, sigma: float) -> None:
    with torch.no_grad():
        network.net.head[0].weight.mul_(50)
    image = noisy(1, 1, 64, 64)
    moved = (network(image, torch.full_like(image, sigma)) - image).abs().max()
    with torch.no_grad():
        network.net.head[0].weight.div_(50)
    assert sigma < moved <= BOUND * sigma * 1.0001


def test_untrained_network_is_identity() -> None:
    image = noisy(1, 1, 32, 32)
    torch.testing.assert_close(Restoration()(image, torch.full_like(image, 0.1)), image)


def test_shifts_by_the_stride_commute(network: Restoration) -> None:
    """Away from borders a shift by the network's multiple moves the result and changes nothing else."""
    image, step = noisy(1, 1, 256, 256), network.multiple
    sigma = torch.full_like(image, 0.05)
    with torch.inference_mode():
        shifted = network(torch.roll(image, (step, 2 * step), (2, 3)), sigma)
        expected = torch.roll(network(image, sigma), (step, 2 * step), (2, 3))
    inner = (..., slice(112, 144), slice(112, 144))
    torch.testing.assert_close(shifted[inner], expected[inner], atol=1e-5, rtol=0)


def test_batch_does_not_matter(network: Restoration) -> None:
    images = noisy(3, 1, 32, 40)
    sigma = torch.full_like(images, 0.05)
    with torch.inference_mode():
        together = network(images, sigma)
        alone = torch.cat([network(images[i : i + 1], sigma[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_it_learns() -> None:
    """A few steps on one batch of pure noise on a flat image must remove most of that noise."""
    torch.manual_seed(0)
    network = Restoration(widths=(16, 32), depth=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    clean = torch.full((4, 1, 32, 32), 0.5)
    image = clean + 0.05 * torch.randn(clean.shape)
    for _ in range(40):
        optimizer.zero_grad()
        loss = (network(image, torch.full_like(image, 0.05)) - clean).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss.item() < 0.2 * 0.05**2
