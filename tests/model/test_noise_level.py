"""The noise map network: ordered quantiles, any size, windows."""

import itertools

import pytest
import torch

from onenex.model.noise_level import SIGMA_RANGE, NoiseLevel, blur
from onenex.model.windows import blend_windows, starts


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


@pytest.mark.parametrize("size", [(1, 1), (5, 90), (192, 192), (193, 500)])
def test_any_size_gets_a_map(network: NoiseLevel, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert network(image(*size)).sigma.shape == (1, 1, *size)


def test_what_lies_far_away_does_not_matter(network: NoiseLevel) -> None:
    """A window sees only itself: changing pixels over a window away leaves the map as it was."""
    whole = image(200, 600)
    changed = whole.clone()
    changed[..., 400:] = 3
    with torch.inference_mode():
        torch.testing.assert_close(network(changed).sigma[..., :200], network(whole).sigma[..., :200])


@pytest.mark.parametrize("n", [192, 193, 352, 353, 1000])
def test_windows_cover_everything_evenly(n: int) -> None:
    first = starts(n, 192, 160)
    assert first[0] == 0
    assert first[-1] + 192 == n
    assert all(0 < after - before <= 160 for before, after in itertools.pairwise(first))


def test_blending_the_identity_is_the_identity() -> None:
    whole = image(250, 70)
    torch.testing.assert_close(blend_windows(lambda window: window, whole, side=96, step=64), whole)


def test_blur_keeps_the_mean_of_flat_images_and_their_borders() -> None:
    torch.testing.assert_close(blur(torch.full((1, 1, 5, 7), 0.3)), torch.full((1, 1, 5, 7), 0.3))
