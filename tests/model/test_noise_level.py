"""The noise map network: ordered quantiles, shape, and independence of tiling."""

import pytest
import torch

from onenex.model.noise_level import SIGMA_RANGE, NoiseLevel, blur
from onenex.model.tiling import apply_tiled


@pytest.fixture(scope="module")
def network() -> NoiseLevel:
    torch.manual_seed(1)
    return NoiseLevel().eval()


def image(*size: int) -> torch.Tensor:
    return torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("level", [1e-5, 0.05, 1.0, 300.0])
def test_cautious_is_never_above_the_median_and_both_stay_in_range(network: NoiseLevel, level: float) -> None:
    noise = network(level * image(48, 64))
    assert noise.sigma.shape == noise.cautious.shape == (1, 1, 48, 64)
    assert bool((noise.cautious <= noise.sigma).all())
    assert noise.cautious.min() >= SIGMA_RANGE[0] * 0.999
    assert noise.sigma.max() <= SIGMA_RANGE[1] * 1.001


def test_encoder_reaches_no_further_than_its_halo(network: NoiseLevel) -> None:
    whole = image(240, 200)
    with torch.inference_mode():
        tiled = apply_tiled(network.encode, whole, core=40, halo=40, shrink=8)
        torch.testing.assert_close(tiled, network.encode(whole), atol=1e-5, rtol=1e-5)


def test_blur_keeps_the_mean_of_flat_images_and_their_borders() -> None:
    torch.testing.assert_close(blur(torch.full((1, 1, 5, 7), 0.3)), torch.full((1, 1, 5, 7), 0.3))
