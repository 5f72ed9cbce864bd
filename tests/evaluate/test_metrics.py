"""Metrics: they agree with their library, and recover errors that are known."""

import math

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from onenex.errors import DataError
from onenex.evaluate import metrics
from onenex.physics import noise

EVERYWHERE = np.ones((2, 24, 30), dtype=np.bool_)


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    reference = generator.uniform(0, 1, (2, 24, 30)).astype(np.float32)
    return reference + generator.normal(0, 0.1, reference.shape).astype(np.float32), reference


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_psnr_equals_scikit_image(seed: int) -> None:
    images, reference = pair(seed)
    ours = metrics.psnr(metrics.mean_squared_error(images, reference, EVERYWHERE), 1.7)
    assert ours == pytest.approx(peak_signal_noise_ratio(reference, images, data_range=1.7), abs=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ssim_equals_scikit_image(seed: int) -> None:
    images, reference = pair(seed)
    inner = np.zeros((24, 30), dtype=np.bool_)
    inner[5:-5, 5:-5] = True  # scikit-image leaves the border of half a window out of its mean
    expected = [
        structural_similarity(a.astype(float), b.astype(float), data_range=1.7, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        for a, b in zip(images, reference, strict=True)
    ]
    assert metrics.ssim(images, reference, np.stack([inner, inner]), 1.7) == pytest.approx(np.mean(expected), abs=1e-6)


def test_ssim_follows_the_paper() -> None:
    image, reference = (one[0].astype(np.float64) for one in pair(3))

    def blur(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, 1.5, truncate=3.5, mode="reflect")

    mean_a, mean_b, c1, c2 = blur(image), blur(reference), 0.01**2, 0.03**2
    covariance = blur(image * reference) - mean_a * mean_b
    variances = blur(image**2) - mean_a**2 + blur(reference**2) - mean_b**2
    expected = (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))
    np.testing.assert_allclose(metrics.ssim_map(image, reference, 1.0), expected, atol=1e-6)


def test_only_the_mask_counts() -> None:
    images, reference = pair(4)
    mask = EVERYWHERE.copy()
    mask[:, :, 20:] = False
    worse = images.copy()
    worse[:, :, 20:] = 1e6
    assert metrics.mean_squared_error(worse, reference, mask) == metrics.mean_squared_error(images, reference, mask)


def test_psnr_of_no_error_is_infinite() -> None:
    assert metrics.psnr(0.0, 1.0) == math.inf
    assert metrics.psnr(-1e-9, 1.0) == math.inf


@pytest.mark.parametrize("n_repeats", [2, 3, 5])
def test_unbiased_score_recovers_a_known_error(n_repeats: int) -> None:
    generator = np.random.default_rng(n_repeats)
    truth = generator.uniform(0.3, 1, (12, 64, 64)).astype(np.float32)
    sigma, shrink, bias = 0.08, 0.6, 0.03
    repeats = truth[:, None] + generator.normal(0, sigma, (12, n_repeats, 64, 64)).astype(np.float32)
    groups = [(index,) for index in range(n_repeats)]
    singles = list(repeats.transpose(1, 0, 2, 3))
    restored = [truth + bias + shrink * (one - truth) for one in singles]  # error known: bias² + shrink² σ²
    mask = np.ones(truth.shape, dtype=np.bool_)
    known = bias**2 + (shrink * sigma) ** 2
    # standard error of the estimate is below 4 σ² / √N with N = 49152 pixels
    assert metrics.unbiased_mse(restored, groups, repeats, mask) == pytest.approx(known, abs=4 * 4 * sigma**2 / math.sqrt(mask.sum()))
    assert metrics.unbiased_mse(singles, groups, repeats, mask) == pytest.approx(sigma**2, rel=0.05)


@pytest.mark.parametrize("nex", [2, 3])
def test_means_of_repeats_score_their_own_noise(nex: int) -> None:
    generator = np.random.default_rng(nex)
    truth = generator.uniform(0.3, 1, (12, 64, 64)).astype(np.float32)
    repeats = truth[:, None] + generator.normal(0, 0.1, (12, 6, 64, 64)).astype(np.float32)
    group = tuple(range(nex))
    found = metrics.unbiased_mse([repeats[:, :nex].mean(axis=1)], [group], repeats, np.ones(truth.shape, dtype=np.bool_))
    assert found == pytest.approx(0.1**2 / nex, rel=0.05)


def test_two_repeats_score_the_input_by_half_their_difference() -> None:
    repeats = np.random.default_rng(0).uniform(0, 1, (2, 2, 24, 30)).astype(np.float32)
    half = np.mean((repeats[:, 0].astype(np.float64) - repeats[:, 1]) ** 2) / 2
    assert metrics.unbiased_mse([repeats[:, 0], repeats[:, 1]], [(0,), (1,)], repeats, EVERYWHERE) == pytest.approx(half, rel=1e-6)


def test_the_scored_repeat_is_not_in_its_reference() -> None:
    repeats = np.random.default_rng(1).uniform(0, 1, (1, 4, 12, 12)).astype(np.float32)
    np.testing.assert_allclose(metrics.others_mean(repeats, (2,)), repeats[:, [0, 1, 3]].mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize("n_repeats", [2, 5])
def test_the_second_moment_knows_no_floor(n_repeats: int) -> None:
    """Against magnitudes their own mean wins; in the second moment the amplitude does, and a known error is recovered."""
    amplitude = np.full((2, 160, 160), 0.3, dtype=np.float32)
    generator = np.random.default_rng(0)
    repeats = np.stack([noise.rician(amplitude, 0.15, generator) for _ in range(n_repeats)], axis=1)
    with_floor = noise.rice_mean(amplitude, 0.15).astype(np.float32)
    mask, groups = np.ones(amplitude.shape, dtype=np.bool_), [(0,)]
    plain = [metrics.unbiased_mse([one], groups, repeats, mask) for one in (amplitude, with_floor)]
    squared = [metrics.second_moment_mse([one], groups, repeats, mask) for one in (amplitude, with_floor, np.sqrt(amplitude**2 + 0.05))]
    assert plain[1] < plain[0]
    assert squared[0] < squared[1]
    assert squared[0] == pytest.approx(0, abs=3e-4)
    assert squared[2] == pytest.approx(0.05**2, abs=5e-4)


def test_leave_one_out_ssim_prefers_the_truth_to_a_repeat() -> None:
    generator = np.random.default_rng(5)
    truth = ndimage.gaussian_filter(generator.uniform(0, 4, (2, 48, 48)), (0, 3, 3)).astype(np.float32)
    repeats = truth[:, None] + generator.normal(0, 0.1, (2, 3, 48, 48)).astype(np.float32)
    mask = np.ones(truth.shape, dtype=np.bool_)
    groups, singles = [(0,), (1,), (2,)], list(repeats.transpose(1, 0, 2, 3))
    perfect = metrics.leave_one_out_ssim([truth] * 3, groups, repeats, mask, 1.0)
    assert perfect > metrics.leave_one_out_ssim(singles, groups, repeats, mask, 1.0) + 0.05


def disc(noise: float, floor: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[-1:1:96j, -1:1:96j]
    inside = np.stack([np.hypot(rows, columns) < 0.7] * 3)
    hole = np.stack([np.hypot(rows, columns) < 0.15] * 3)
    images = inside * 1.0 - hole * 0.95 + floor
    return np.abs(images + np.random.default_rng(0).normal(0, noise, images.shape)).astype(np.float32), inside


@pytest.mark.parametrize(("noise", "unit"), [(0.0, 1.0), (0.1, 1.0), (0.15, 4000.0)])
def test_foreground_is_the_body_with_its_holes(noise: float, unit: float) -> None:
    images, body = disc(noise)
    mask = metrics.foreground(images * np.float32(unit))
    assert (mask & body).sum() / (mask | body).sum() > 0.9
    assert mask[1, 48, 48]


def test_a_constant_stack_has_no_foreground() -> None:
    mask = metrics.foreground(np.full((2, 16, 16), 7, dtype=np.float32))
    assert not mask.any()
    with pytest.raises(DataError, match="empty"):
        metrics.ssim(np.zeros((2, 16, 16), np.float32), np.zeros((2, 16, 16), np.float32), mask, 1.0)


def test_clipped_pixels_are_found_only_where_many_are_clipped() -> None:
    images = np.random.default_rng(2).uniform(0, 4000, (2, 40, 40)).astype(np.float32)
    assert not metrics.saturated(images)[images < images.max()].any()
    clipped = np.minimum(images, 3000)
    np.testing.assert_array_equal(metrics.saturated(clipped), images >= 3000)


def test_bad_requests_are_refused() -> None:
    repeats = np.zeros((2, 3, 24, 30), np.float32)
    for group in ((0, 1), (0, 1, 2)):
        with pytest.raises(DataError, match="no unbiased score"):
            metrics.unbiased_mse([repeats[:, 0]], [group], repeats, EVERYWHERE)
    with pytest.raises(DataError, match="at least 11"):
        metrics.ssim_map(np.zeros((8, 30), np.float32), np.zeros((8, 30), np.float32), 1.0)
