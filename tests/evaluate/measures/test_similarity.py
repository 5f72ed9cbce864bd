"""Pixel and window measures: the numbers of scikit-image and torchmetrics, slice by slice, and what a mask does to them."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import normalized_root_mse, peak_signal_noise_ratio, structural_similarity

from onenex.errors import DataError
from onenex.evaluate import metrics
from onenex.evaluate.measures import similarity


def pair(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    reference = ndimage.gaussian_filter(generator.uniform(0, 6, shape), (0, 3, 3))
    return reference + generator.normal(0, 0.15, shape), reference


def as_torch(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images)[:, None]


@pytest.mark.parametrize("shape", [(3, 24, 31), (2, 64, 40)])
def test_batched_psnr_nrmse_and_ssim_are_those_of_scikit_image(shape: tuple[int, int, int]) -> None:
    images, reference = pair(shape)
    mse = similarity.mean_squared_error(images, reference)
    maps = similarity.ssim_maps(images, similarity.scales(reference)[0], 1.7)
    both = list(zip(images, reference, strict=True))
    np.testing.assert_allclose(similarity.psnr(mse, 1.7), [peak_signal_noise_ratio(b, a, data_range=1.7) for a, b in both], atol=1e-6)
    np.testing.assert_allclose(similarity.nrmse(mse, reference), [normalized_root_mse(b, a) for a, b in both], atol=1e-6)
    settings = {"data_range": 1.7, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    np.testing.assert_allclose(similarity.ssim(maps[0]), [structural_similarity(a, b, **settings) for a, b in both], atol=1e-6)


def test_batched_psnr_and_ssim_are_those_of_torchmetrics() -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")
    images, reference = pair((3, 48, 57))
    options = {"data_range": 1.7, "reduction": "none"}
    _, maps = functional.structural_similarity_index_measure(as_torch(images), as_torch(reference), return_full_image=True, **options)
    found = similarity.ssim_maps(images, similarity.scales(reference)[0], 1.7)[0]
    inner = (slice(None), slice(5, -5), slice(5, -5))  # beyond it each library continues images in its own way
    np.testing.assert_allclose(found[inner], maps.numpy()[:, 0][inner], atol=1e-6)
    np.testing.assert_allclose(similarity.ssim(found), maps.numpy()[:, 0][inner].mean(axis=(1, 2)), atol=1e-6)
    expected = functional.peak_signal_noise_ratio(as_torch(images), as_torch(reference), dim=(1, 2, 3), **options)
    np.testing.assert_allclose(similarity.psnr(similarity.mean_squared_error(images, reference), 1.7), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize(("shape", "n_scales"), [((2, 176, 191), 5), ((2, 53, 45), 3), ((1, 22, 90), 2)])
def test_ms_ssim_is_that_of_torchmetrics(shape: tuple[int, int, int], n_scales: int) -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")
    images, reference = pair(shape)
    maps = similarity.pyramid(images, similarity.scales(reference), 2.5)
    assert len(maps) == n_scales
    betas = tuple(np.array(similarity.WEIGHTS[:n_scales]) / sum(similarity.WEIGHTS[:n_scales]))
    expected = functional.multiscale_structural_similarity_index_measure(
        as_torch(images), as_torch(reference), data_range=2.5, betas=betas, reduction="none"
    )
    np.testing.assert_allclose(similarity.ms_ssim(maps), expected.numpy(), atol=1e-6)


def test_ssim_in_a_mask_is_that_of_the_benchmark() -> None:
    images, reference = pair((3, 40, 50))
    mask = np.random.default_rng(1).random(images.shape) < 0.4
    maps = similarity.ssim_maps(images, similarity.scales(reference)[0], 1.7)
    expected = [metrics.ssim(images[[i]], reference[[i]], mask[[i]], 1.7) for i in range(3)]
    np.testing.assert_allclose(similarity.ssim(maps[0], mask), expected, atol=1e-9)


def test_damage_outside_the_mask_counts_over_the_whole_slice_only() -> None:
    _, reference = pair((1, 192, 192))
    mask = np.zeros(reference.shape, dtype=np.bool_)
    mask[:, :32, :32] = True
    images = reference.copy()
    images[:, 130:, 130:] += np.random.default_rng(0).normal(0, 1, (62, 62))
    maps = similarity.pyramid(images, similarity.scales(reference), 1.0)
    assert similarity.mean_squared_error(images, reference, mask) == 0 < similarity.mean_squared_error(images, reference)
    assert similarity.ms_ssim(maps, mask) > 0.999
    assert similarity.ms_ssim(maps) < 0.98


def test_a_perfect_image_has_ideal_values() -> None:
    _, reference = pair((2, 180, 180))
    maps = similarity.pyramid(reference, similarity.scales(reference), 1.0)
    mse = similarity.mean_squared_error(reference, reference)
    np.testing.assert_array_equal(similarity.psnr(mse, 1.0), np.inf)
    np.testing.assert_array_equal(similarity.nrmse(mse, reference), 0)
    np.testing.assert_allclose([similarity.ssim(maps[0][0]), similarity.ms_ssim(maps)], 1, atol=1e-12)


def test_the_references_own_noise_is_taken_off() -> None:
    generator = np.random.default_rng(3)
    truth = generator.uniform(1, 2, (4, 128, 128))
    reference = truth + generator.normal(0, 0.2, truth.shape)
    images = truth + generator.normal(0, 0.1, truth.shape)
    variance = np.full(truth.shape, 0.2**2)
    mse = similarity.mean_squared_error(images, reference, None, variance)
    np.testing.assert_allclose(mse, 0.1**2, rtol=0.1)
    expected = np.sqrt(mse / np.square(truth).mean(axis=(1, 2)))
    np.testing.assert_allclose(similarity.nrmse(mse, reference, None, variance), expected, rtol=0.01)


def test_where_nothing_counts_there_is_no_number() -> None:
    images, reference = pair((2, 24, 24))
    mask = np.ones(images.shape, dtype=np.bool_)
    mask[1] = False
    mse = similarity.mean_squared_error(images, reference, mask)
    np.testing.assert_array_equal(np.isnan(similarity.psnr(mse, 1.0)), [False, True])
    assert np.isnan(similarity.nrmse(np.zeros(1), np.zeros((1, 12, 12)))).all()
    with pytest.raises(DataError, match="at least 11"):
        similarity.scales(np.zeros((10, 40)))
