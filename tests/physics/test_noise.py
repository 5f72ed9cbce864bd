"""Laws of magnitude noise, each against its textbook constant."""

import numpy as np
import pytest

from onenex.physics import noise

N = (400, 400)
SIGMA = 0.1


def test_rician_air_has_rayleigh_moments() -> None:
    air = noise.rician(np.zeros(N, np.float32), SIGMA, np.random.default_rng(0))
    assert air.mean() == pytest.approx(1.2533 * SIGMA, rel=0.01)
    assert air.std() == pytest.approx(0.6551 * SIGMA, rel=0.01)


def test_rician_far_above_the_floor_is_gaussian() -> None:
    bright = noise.rician(np.ones(N, np.float32), SIGMA, np.random.default_rng(1))
    assert bright.std() == pytest.approx(SIGMA, rel=0.01)
    assert bright.mean() == pytest.approx(1 + SIGMA**2 / 2, abs=0.001)


def test_zero_sigma_is_identity() -> None:
    image = np.random.default_rng(2).random((20, 30), dtype=np.float32)
    np.testing.assert_array_equal(noise.rician(image, 0.0, np.random.default_rng(3)), image)
    np.testing.assert_allclose(noise.noncentral_chi(image, 0.0, 4, np.random.default_rng(3)), image, atol=1e-7)


@pytest.mark.parametrize("snr", [0.0, 0.5, 1.0, 2.0, 5.0, 50.0])
def test_rice_moments_match_draws(snr: float) -> None:
    amplitude = np.full(N, snr * SIGMA, np.float32)
    drawn = noise.rician(amplitude, SIGMA, np.random.default_rng(4))
    assert drawn.mean() == pytest.approx(float(noise.rice_mean(amplitude, SIGMA)[0, 0]), rel=0.005)
    assert drawn.var() == pytest.approx(float(noise.rice_variance(amplitude, SIGMA)[0, 0]), rel=0.02)


@pytest.mark.parametrize(("n_coils", "air_mean"), [(1, 1.2533), (2, 1.8800), (4, 2.7416)])
def test_noncentral_chi_air_mean(n_coils: int, air_mean: float) -> None:
    """Mean of a chi distribution with 2L degrees of freedom: √2 Γ(L + ½) / Γ(L)."""
    air = noise.noncentral_chi(np.zeros(N, np.float32), SIGMA, n_coils, np.random.default_rng(5))
    assert air.mean() == pytest.approx(air_mean * SIGMA, rel=0.01)


@pytest.mark.parametrize("nex", [1, 2, 4, 8])
def test_variance_falls_with_nex_and_the_floor_stays(nex: int) -> None:
    bright = noise.nex_average(np.ones(N, np.float32), SIGMA, nex, np.random.default_rng(6))
    air = noise.nex_average(np.zeros(N, np.float32), SIGMA, nex, np.random.default_rng(7))
    assert bright.var() == pytest.approx(SIGMA**2 / nex, rel=0.03)
    assert air.mean() == pytest.approx(1.2533 * SIGMA, rel=0.01)


@pytest.mark.parametrize("shape", [(64, 64), (36, 97)])
def test_g_factor_map_is_smooth_positive_and_normalised(shape: tuple[int, int]) -> None:
    relative = noise.g_factor_map(shape, np.random.default_rng(8))
    assert relative.shape == shape
    assert relative.min() > 0
    assert relative.max() / relative.min() > 1.1
    assert np.sqrt(np.mean(relative**2)) == pytest.approx(1, abs=1e-5)
    assert np.abs(np.diff(relative, axis=0)).max() < 0.25


def test_varying_sigma_is_followed() -> None:
    relative = noise.g_factor_map((300, 300), np.random.default_rng(9))
    image = np.ones((300, 300), np.float32)
    drawn = np.stack([noise.rician(image, 0.05 * relative, np.random.default_rng(10 + i)) for i in range(60)])
    np.testing.assert_allclose(np.median(drawn.std(0) / (0.05 * relative)), 1, atol=0.02)


def test_same_generator_same_draw() -> None:
    image = np.ones((8, 8), np.float32)
    first, second = (noise.rician(image, 0.1, np.random.default_rng(11)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
