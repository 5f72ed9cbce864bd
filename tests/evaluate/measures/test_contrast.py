"""CNR: contrast over noise where both are known."""

import math

import numpy as np
import pytest
from scipy import ndimage

from onenex.evaluate.measures import contrast
from onenex.physics import noise

MASK = np.zeros((120, 140), dtype=np.bool_)
MASK[10:110, 10:130] = True
LEVELS = (0.3, 0.7, 0.9)


def tissue() -> np.ndarray:
    """Three levels in stripes; the two brighter ones have the least contrast, 0.2."""
    image = np.zeros(MASK.shape, dtype=np.float32)
    for index, first in enumerate(range(10, 130, 20)):
        image[10:110, first : first + 20] = LEVELS[index % 3]
    return image


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.1])
def test_noise_lowers_the_ratio_as_predicted(sigma: float) -> None:
    clean = tissue()
    found = contrast.tissues(clean, MASK)
    assert found is not None
    noisy = clean + np.random.default_rng(0).normal(0, sigma, clean.shape)
    assert found.contrast == pytest.approx(0.2, rel=0.1)
    assert contrast.contrast(noisy, clean, found).cnr == pytest.approx(found.contrast / sigma, rel=0.05)


def test_averages_raise_it_by_their_root() -> None:
    clean, generator = tissue(), np.random.default_rng(1)
    found = contrast.tissues(clean, MASK)
    assert found is not None
    one, four = (contrast.contrast(noise.nex_average(clean, 0.05, nex, generator), clean, found).cnr for nex in (1, 4))
    assert four / one == pytest.approx(2, rel=0.06)


def test_a_perfect_image_has_no_noise_and_all_contrast() -> None:
    clean = tissue()
    found = contrast.tissues(clean, MASK)
    assert found is not None
    assert contrast.contrast(clean, clean, found) == contrast.Contrast(cnr=math.inf, ratio=1.0)


def test_anatomy_inside_a_tissue_is_no_noise() -> None:
    clean = tissue() * (1 + 0.02 * np.sin(np.arange(140) / 7)).astype(np.float32)
    noisy = clean + np.random.default_rng(2).normal(0, 0.01, clean.shape)
    found = contrast.tissues(clean, MASK)
    assert found is not None
    assert contrast.contrast(noisy, clean, found).cnr == pytest.approx(found.contrast / 0.01, rel=0.05)


def test_blur_costs_contrast_and_a_scale_changes_only_the_contrast() -> None:
    clean = tissue()
    found = contrast.tissues(clean, MASK)
    assert found is not None
    assert contrast.contrast(ndimage.gaussian_filter(clean, 4), clean, found).ratio < 0.95
    assert contrast.contrast(0.8 * clean, clean, found).ratio == pytest.approx(0.8)


def test_noise_of_the_reference_is_taken_off_and_a_map_takes_its_place() -> None:
    clean, generator = tissue(), np.random.default_rng(3)
    reference = (clean + generator.normal(0, 0.04, clean.shape)).astype(np.float32)
    image = (clean + generator.normal(0, 0.03, clean.shape)).astype(np.float32)
    found = contrast.tissues(clean, MASK)
    assert found is not None
    variance, sigma = np.full(clean.shape, 0.04**2), np.full(clean.shape, 0.06)
    assert contrast.contrast(image, reference, found, reference_variance=variance).cnr == pytest.approx(found.contrast / 0.03, rel=0.06)
    assert contrast.contrast(image, reference, found, noise_sigma=sigma).cnr == pytest.approx(found.contrast / 0.06, rel=0.03)


def test_where_no_tissues_are_told_apart_there_is_none() -> None:
    flat = np.full(MASK.shape, 0.5, dtype=np.float32)
    two = flat.copy()
    two[:, 70:] = 0.9
    assert contrast.tissues(flat, MASK) is None
    assert contrast.tissues(tissue(), np.zeros_like(MASK)) is None
    few = np.zeros_like(MASK)
    few[10:18, 10:18] = True
    assert contrast.tissues(tissue(), few) is None
    found = contrast.tissues(two, MASK)  # of the border between the two, blurred, there are too few pixels to count
    assert found is not None
    assert found.contrast == pytest.approx(0.4, rel=0.1)
