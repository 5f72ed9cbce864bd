"""The bundled weights in mode full: same seed, same bits; clean slices stay; what was measured is not left."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from onenex.model import Model, Settings, load
from onenex.physics.noise import rician
from onenex.physics.phantom import head_phantom
from onenex.physics.scale import series_scale
from onenex.scans import load_images, read_manifest
from onenex.series import Acquisition

SEEN = Acquisition(organ="head", sequence="T2w", vendor="Siemens")
FULL = Settings(mode="full")


@pytest.fixture(scope="module")
def model() -> Model:
    return load("cpu")


@pytest.fixture(scope="module")
def clean() -> NDArray[np.float32]:
    """Eight slices (slice, row, column), brightest tissue about 1."""
    slices = head_phantom((16, 96, 96))[4:12]
    return slices / np.percentile(slices, 99)


def noisy(clean: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return rician(clean, np.full_like(clean, sigma), np.random.default_rng(0))


def test_the_number_of_slices_denoised_together_changes_no_bit(model: Model, clean: NDArray[np.float32]) -> None:
    fast = noisy(clean, 0.06)
    eight = model.denoise(fast, SEEN, mode=FULL, seed=5, scale=1.0).images
    for n in (1, 3):
        np.testing.assert_array_equal(model.denoise(fast[:n], SEEN, mode=FULL, seed=5, scale=1.0).images, eight[:n])


def test_the_number_of_threads_changes_nothing_that_counts(model: Model, clean: NDArray[np.float32]) -> None:
    fast, found, threads = noisy(clean[:1], 0.06), [], torch.get_num_threads()
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            found.append(model.denoise(fast, SEEN, mode=FULL, scale=1.0).images)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(*found, atol=1e-4)


def test_full_denoises_the_phantom(model: Model, clean: NDArray[np.float32]) -> None:
    fast = noisy(clean[:2], 0.08)
    full = model.denoise(fast, SEEN, mode=FULL, scale=1.0).images
    inside = clean[:2] > 0.1
    before, after = (float(np.square(image - clean[:2])[inside].mean()) for image in (fast, full))
    assert after < before / 2


def test_a_clean_phantom_stays_as_it_is(model: Model, clean: NDArray[np.float32]) -> None:
    """Changed by less than half of what the noise map takes for its noise."""
    result = model.denoise(clean[:2], SEEN, mode=FULL, scale=1.0)
    inside = clean[:2] > 0.1
    change, sigma = (float(np.sqrt(np.square(image)[inside].mean())) for image in (result.images - clean[:2], result.noise_sigma))
    assert change < 0.5 * sigma


@pytest.mark.data
def test_references_are_changed_by_less_than_half_of_their_noise(model: Model, data_dir: Path) -> None:
    """The middle of the middle slice of each file."""
    ratios = {}
    for info in read_manifest(data_dir):
        if info.split == "test" and info.kind == "clean":
            images = load_images(info)
            scale = series_scale([images])
            top, left = (max(0, n - 160) // 2 for n in images.shape[1:])
            middle = images[len(images) // 2, top : top + 160, left : left + 160][None]
            result = model.denoise(middle, info.acquisition, mode=FULL, scale=scale)
            inside = middle > 0.1 * scale
            change, sigma = (np.sqrt(np.square(image)[inside].mean()) for image in (result.images - middle, result.noise_sigma))
            ratios[info.id] = float(change / sigma)
    print("change over noise", {name: round(ratio, 3) for name, ratio in ratios.items()})
    assert np.median(list(ratios.values())) < 0.5, ratios
