"""Ring correlation: 1 for equals, 0 for strangers, and the predicted value between."""

import numpy as np
import pytest
from scipy import fft, ndimage

from onenex.evaluate.measures import resolution

SHAPES = [(160, 160), (128, 171), (97, 64)]


def white(shape: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def correlation(image: np.ndarray, reference: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    weight = resolution.window(reference.shape, mask)
    return resolution.ring_correlation(image, resolution.spectrum(reference, weight))


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_correlate_up_to_nyquist(shape: tuple[int, int]) -> None:
    reference = white(shape, 0)
    curve = correlation(3 * reference + 7, reference)
    assert len(curve) == min(shape) // 2 + 1
    np.testing.assert_allclose(curve[1:], 1, atol=1e-9)
    assert resolution.cutoff(curve, resolution.SEVENTH) == resolution.NYQUIST


@pytest.mark.parametrize("shape", SHAPES)
def test_strangers_do_not_correlate(shape: tuple[int, int]) -> None:
    """The spread falls as one over the root of the independent coefficients of a ring, π k / √(what the window ties together)."""
    curve = correlation(white(shape, 1), white(shape, 2))
    assert abs(curve[5:].mean()) < 0.05
    assert np.sqrt(np.mean(np.square(curve[20:]))) < 0.16
    assert resolution.cutoff(curve, resolution.HALF) < 0.05


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_noise_lowers_it_as_predicted(ratio: float) -> None:
    reference = white((200, 200), 3)
    curve = correlation(reference + ratio * white((200, 200), 4), reference)
    assert curve[20:].mean() == pytest.approx(1 / np.sqrt(1 + ratio**2), abs=0.03)


@pytest.mark.parametrize("threshold", [resolution.SEVENTH, resolution.HALF])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_cutoff_is_where_likeness_ends(shape: tuple[int, int], threshold: float) -> None:
    """Alike below 0.3 cycles a pixel, strangers beyond."""
    reference, spectra = white(shape, 5), [fft.fft2(white(shape, seed)) for seed in (5, 6)]
    radius = np.hypot(fft.fftfreq(shape[0])[:, None], fft.fftfreq(shape[1])[None])
    image = fft.ifft2(np.where(radius < 0.3, *spectra)).real
    assert resolution.cutoff(correlation(image, reference), threshold) == pytest.approx(0.3, abs=2.5 / min(shape))


def test_it_cannot_see_a_filter() -> None:
    reference = white((160, 160), 7)
    curve = correlation(ndimage.gaussian_filter(reference, 0.8, mode="wrap"), reference)
    assert curve[2:70].min() > 0.97


def test_empty_rings_correlate_with_nothing() -> None:
    shape = (128, 128)
    radius = np.hypot(fft.fftfreq(128)[:, None], fft.fftfreq(128)[None])
    reference = fft.ifft2(np.where(radius < 0.2, fft.fft2(white(shape, 8)), 0)).real
    weight = np.ones(shape)
    curve = resolution.ring_correlation(reference, resolution.spectrum(reference, weight))
    assert resolution.cutoff(curve, resolution.SEVENTH) == pytest.approx(0.2, abs=0.02)
    np.testing.assert_array_equal(resolution.ring_correlation(np.zeros(shape), resolution.spectrum(reference, weight)), 0)


def test_only_the_mask_counts() -> None:
    reference = white((128, 128), 9)
    mask = np.hypot(*(np.indices(reference.shape) - 64)) < 45
    other = np.where(mask, reference, 50.0)
    np.testing.assert_allclose(correlation(other, reference, mask)[1:], 1, atol=1e-9)


def test_a_single_poor_ring_is_not_the_end() -> None:
    curve = np.ones(64)
    curve[20] = 0
    assert resolution.cutoff(curve, resolution.HALF) == resolution.NYQUIST
    curve[20:] = 0
    assert resolution.cutoff(curve, resolution.HALF) == pytest.approx(0.5 * 19 / 63, abs=0.01)


def test_curves_without_rings_have_no_cutoff() -> None:
    assert np.isnan(resolution.cutoff(np.ones(2), 0.5))
    assert resolution.cutoff(np.array([1.0, 0.1, 0.0, 0.0]), 0.5) == 0


def test_a_mask_makes_no_strangers_alike() -> None:
    """Its soft border is the same in both images; without their means it leaves nothing behind."""
    mask = np.hypot(*(np.indices((160, 160)) - 80)) < 50
    curves = [correlation(5 + white(mask.shape, seed), 3 + white(mask.shape, seed + 1), mask) for seed in (20, 30, 40, 50)]
    assert abs(np.mean(curves, axis=0)[2:].mean()) < 0.04
    assert max(resolution.cutoff(curve, resolution.HALF) for curve in curves) < 0.08
