"""What of k-space was measured is seen in the images, and noise is compared there alone."""

import numpy as np
import pytest

from onenex.pairs.scoring import figure, scores
from onenex.pairs.scoring.noise import INNER, Noise, as_measured, noise
from onenex.physics import noise as physics
from tests.pairs.hospital.scan import resized

Images = np.ndarray


@pytest.fixture(scope="module")
def clean() -> Images:
    return figure.phantom_stacks(1, (4, 112, 112))[0].images


def scanned(clean: Images, sigma: float, seed: int, measured: tuple[int, int], shown: tuple[int, int]) -> Images:
    """A scan of a matrix of `measured`, filled with zeros to `shown`."""
    small = resized(clean, measured)
    return np.abs(resized(small + sigma * physics.gaussian(small.shape, np.random.default_rng(seed)), shown)).astype(np.float32)


def test_what_was_measured_throughout_stays_as_it_is(clean: Images) -> None:
    pair = scores.align(*(physics.rician(clean, sigma, np.random.default_rng(3)) for sigma in (0.06, 0.03)))
    found, shares = as_measured(pair)
    assert found is pair
    assert shares == (1.0, 1.0)


@pytest.mark.parametrize(("measured", "shares"), [((112, 84), (0.67, 0.5)), ((168, 100), (1.0, 0.6)), ((84, 168), (0.5, 1.0))])
def test_filling_is_found_along_either_axis(measured: tuple[int, int], shares: tuple[float, float]) -> None:
    wide, shown = figure.phantom_stacks(1, (3, 168, 168))[0].images, (168, 168)
    pair = scores.align(scanned(wide, 0.06, 0, measured, shown), scanned(wide, 0.03, 1, shown, shown))
    found, own = as_measured(pair)
    assert own == pytest.approx(shares, abs=0.04)
    assert found.fast.shape[1:] == found.mask.shape[1:] == tuple(round(168 * share) for share in own)
    assert found.mask.mean() == pytest.approx(pair.mask.mean(), abs=0.01)


@pytest.mark.parametrize("shown", [(112, 112), (168, 168), (112, 168)])
def test_the_ratio_of_noises_does_not_depend_on_the_matrix_shown(clean: Images, shown: tuple[int, int]) -> None:
    fast, reference = scanned(clean, 0.08, 0, (112, 80), shown), scanned(clean, 0.04, 1, (112, 112), shown)
    assert noise(as_measured(scores.align(fast, reference), INNER)[0]).ratio == pytest.approx(0.5, abs=0.12)


def test_noise_on_a_larger_matrix_is_as_much_more() -> None:
    wide = Noise(fast=1.0, reference=0.25, anatomy=0.5).on(0.5)
    assert wide == Noise(fast=2.0, reference=0.5, anatomy=1.0)
    assert wide.ratio == pytest.approx(Noise(fast=1.0, reference=0.25, anatomy=0.5).ratio)
