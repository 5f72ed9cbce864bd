"""MS-SSIM: equal to its definition by scikit-image's maps, 1 for equal images, differentiable."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import structural_similarity

from onenex.errors import OutOfDomain
from onenex.train.msssim import ms_ssim


def pair(size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    clean = ndimage.gaussian_filter(generator.random((size, size)), 3).astype(np.float32) * 4
    return clean, clean + generator.normal(0, 0.05, clean.shape).astype(np.float32)


def test_one_scale_is_the_mean_ssim() -> None:
    clean, noisy = pair()
    _, full = structural_similarity(
        clean.astype(float), noisy.astype(float), data_range=1.5, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    found = ms_ssim(torch.from_numpy(clean)[None, None], torch.from_numpy(noisy)[None, None], data_range=1.5, n_scales=1)
    assert float(found) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-4)


def test_equal_images_score_one_and_noise_less() -> None:
    clean, noisy = (torch.from_numpy(image)[None, None] for image in pair())
    assert float(ms_ssim(clean, clean, data_range=1.0)) == pytest.approx(1)
    assert float(ms_ssim(clean, noisy, data_range=1.0)) < 0.99


def test_coarser_scales_forgive_noise() -> None:
    clean, noisy = (torch.from_numpy(image)[None, None] for image in pair())
    scores = [float(ms_ssim(clean, noisy, data_range=1.0, n_scales=n)) for n in (1, 2, 3)]
    assert scores == sorted(scores)


def test_the_range_is_the_scale_not_the_patch() -> None:
    """The same images in another unit score the same when the range is in that unit, and differ when it isn't."""
    clean, noisy = (torch.from_numpy(image)[None, None] for image in pair())
    first = ms_ssim(clean, noisy, data_range=1.0)
    torch.testing.assert_close(ms_ssim(100 * clean, 100 * noisy, data_range=100.0), first)
    assert abs(float(ms_ssim(100 * clean, 100 * noisy, data_range=1.0) - first)) > 1e-3


def test_every_image_of_a_batch_is_scored_alone() -> None:
    clean, noisy = (torch.from_numpy(image)[None, None] for image in pair())
    found = ms_ssim(torch.cat([clean, clean]), torch.cat([clean, noisy]), data_range=1.0)
    alone = torch.cat([ms_ssim(clean, clean, data_range=1.0), ms_ssim(clean, noisy, data_range=1.0)])
    torch.testing.assert_close(found, alone, rtol=0, atol=1e-4)  # sums in another order, by processor


def test_gradients_lead_towards_the_clean_image() -> None:
    clean, noisy = (torch.from_numpy(image)[None, None] for image in pair())
    guess = noisy.clone().requires_grad_()
    (1 - ms_ssim(guess, clean, data_range=1.0)).sum().backward()
    step = noisy - 0.01 * guess.grad / guess.grad.square().mean().sqrt()
    assert float(ms_ssim(step, clean, data_range=1.0)) > float(ms_ssim(noisy, clean, data_range=1.0))


@pytest.mark.parametrize(("side", "n_scales", "data_range"), [(10, None, 1.0), (40, 3, 1.0), (40, None, 0.0)])
def test_what_cannot_be_scored_is_refused(side: int, n_scales: int | None, data_range: float) -> None:
    image = torch.zeros(1, 1, side, side)
    with pytest.raises(OutOfDomain, match="MS-SSIM"):
        ms_ssim(image, image, data_range=data_range, n_scales=n_scales)
