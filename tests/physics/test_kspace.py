"""Laws of k-space windows: what they keep, and how much noise they leave."""

import numpy as np
import pytest

from onenex.physics import kspace, noise

SHAPE = (64, 96)
WINDOWS = {
    "zero-filled": kspace.zero_filled(SHAPE, 0.6, 0.8),
    "ellipse": kspace.elliptical(SHAPE, 0.9, 0.7),
    "partial Fourier": kspace.partial_fourier(SHAPE, 0.75),
    "Hann": kspace.tukey(SHAPE, 1.0, 1.0),
    "Gaussian": kspace.gaussian_transfer(SHAPE, 1.0),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_noise_power_spectrum_is_the_window_squared(name: str) -> None:
    window = WINDOWS[name]
    generator = np.random.default_rng(0)
    power = np.zeros(SHAPE)
    for _ in range(200):
        image = kspace.apply_window(noise.gaussian(SHAPE, generator), window)
        power += np.abs(np.fft.fftshift(np.fft.fft2(image))) ** 2 / (2 * image.size) / 200
    np.testing.assert_allclose(power[window == 0], 0, atol=1e-9)
    inside = window > 0.2
    np.testing.assert_allclose((power[inside] / window[inside] ** 2).mean(), 1, atol=0.02)
    assert np.corrcoef(power.ravel(), window.ravel() ** 2)[0, 1] > 0.97


@pytest.mark.parametrize("name", WINDOWS)
def test_noise_gain_is_what_is_measured(name: str) -> None:
    image = kspace.apply_window(noise.gaussian(SHAPE, np.random.default_rng(1)), WINDOWS[name])
    assert image.real.std() == pytest.approx(kspace.noise_gain(WINDOWS[name]), rel=0.05)


def test_full_window_is_identity() -> None:
    image = np.random.default_rng(2).random(SHAPE, dtype=np.float32)
    np.testing.assert_allclose(kspace.apply_window(image, np.ones(SHAPE, np.float32)).real, image, atol=1e-6)


def test_fraction_of_samples_kept() -> None:
    assert WINDOWS["zero-filled"].mean() == pytest.approx(0.48, abs=0.03)
    assert WINDOWS["partial Fourier"].mean() == pytest.approx(0.75, abs=0.01)
    assert kspace.elliptical(SHAPE).mean() == pytest.approx(np.pi / 4, abs=0.02)


def test_the_centre_of_kspace_survives_everywhere() -> None:
    for name, window in WINDOWS.items():
        assert window[SHAPE[0] // 2, SHAPE[1] // 2] == 1, name


def test_windows_commute_with_shifts() -> None:
    image = np.random.default_rng(3).random(SHAPE, dtype=np.float32)
    window = WINDOWS["Hann"]
    shifted = kspace.apply_window(np.roll(image, (5, -3), (0, 1)), window)
    np.testing.assert_allclose(shifted, np.roll(kspace.apply_window(image, window), (5, -3), (0, 1)), atol=1e-6)
