"""A simulated scan says the truth about its own noise, and leaves the signal where it was."""

from dataclasses import replace

import numpy as np
import pytest

from onenex.physics import degrade, kspace, noise

SHAPE = (128, 128)
FLAT = degrade.Scan(sigma=0.02, window=np.ones(SHAPE, np.float32), relative_sigma=np.ones(SHAPE, np.float32))
SCANS = {
    "white": FLAT,
    "varying": replace(FLAT, relative_sigma=noise.g_factor_map(SHAPE, np.random.default_rng(0))),
    "zero-filled": replace(FLAT, window=kspace.zero_filled(SHAPE, 0.6, 0.7)),
    "averaged": replace(FLAT, nex=3),
    "four coils": replace(FLAT, n_coils=4),
    "smoothed": replace(FLAT, magnitude_filter=kspace.gaussian_transfer(SHAPE, 0.8)),
    "sharpened": replace(FLAT, window=kspace.tukey(SHAPE, 1.0, 0.8), magnitude_filter=2 - kspace.gaussian_transfer(SHAPE, 1.0)),
}


def body() -> np.ndarray:
    rows, columns = np.meshgrid(np.linspace(-1, 1, 128), np.linspace(-1, 1, 128), indexing="ij")
    return np.where(np.hypot(rows, columns) < 0.8, 0.8, 0).astype(np.float32)


@pytest.mark.parametrize("name", SCANS)
def test_sigma_map_is_the_spread_of_repeats(name: str) -> None:
    generator = np.random.default_rng(1)
    repeats = [degrade.acquire(np.full(SHAPE, 0.8, np.float32), SCANS[name], generator) for _ in range(80)]
    spread = np.std([pair.measured for pair in repeats], axis=0)
    assert np.median(spread / repeats[0].sigma) == pytest.approx(1, abs=0.03)


def test_without_noise_the_measurement_is_the_reference() -> None:
    pair = degrade.acquire(body(), replace(SCANS["zero-filled"], sigma=0.0), np.random.default_rng(2))
    np.testing.assert_allclose(pair.measured, pair.reference, atol=1e-6)


def test_white_scan_leaves_the_reference_as_it_was() -> None:
    np.testing.assert_allclose(degrade.acquire(body(), FLAT, np.random.default_rng(3)).reference, body(), atol=1e-5)


def test_masked_background_is_exactly_zero_in_both() -> None:
    pair = degrade.acquire(body(), replace(FLAT, mask_threshold=0.05), np.random.default_rng(4))
    assert (pair.measured[:10, :10] == 0).all()
    assert (pair.reference[:10, :10] == 0).all()
    assert pair.measured[64, 64] > 0


def test_same_seed_same_scan() -> None:
    def make() -> degrade.Degraded:
        generator = np.random.default_rng(5)
        return degrade.acquire(body(), degrade.draw_scan(SHAPE, degrade.ScanRanges(), generator), generator)

    first, second = make(), make()
    np.testing.assert_array_equal(first.measured, second.measured)
    np.testing.assert_array_equal(first.sigma, second.sigma)


def test_drawn_scans_stay_inside_their_ranges() -> None:
    generator = np.random.default_rng(6)
    ranges = degrade.ScanRanges(sigma=(0.01, 0.05))
    scans = [degrade.draw_scan(SHAPE, ranges, generator) for _ in range(200)]
    assert all(0.01 <= scan.sigma <= 0.05 for scan in scans)
    kinds = [(scan.n_coils > 1, scan.nex > 1, scan.mask_threshold > 0, scan.magnitude_filter is not None) for scan in scans]
    assert all(0 < sum(column) < len(scans) for column in zip(*kinds, strict=True))
