"""Lesions are small, faint, bright and dark, and lie where an image shows something."""

import numpy as np
from scipy import ndimage

from onenex.physics.lesions import with_lesions


def body(side: int = 96) -> np.ndarray:
    rows, columns = np.indices((side, side)) - side / 2
    return np.where(np.hypot(rows, columns) < 40, 0.6, 0).astype(np.float32)


def changes(seed: int) -> np.ndarray:
    return np.asarray(with_lesions(body(), np.random.default_rng(seed)) - body())


def test_they_are_bright_and_dark_small_and_faint() -> None:
    found = np.stack([changes(seed) for seed in range(12)])
    assert found.max() > 0.1
    assert found.min() < -0.1
    assert np.median(np.abs(found[np.abs(found) > 0.005])) < 0.15
    labels, n = ndimage.label(np.abs(found[0]) > 0.005)
    sizes = ndimage.sum_labels(np.ones_like(found[0]), labels, np.arange(1, n + 1))
    assert np.median(sizes) < 100


def test_they_lie_in_tissue() -> None:
    outside = ndimage.distance_transform_edt(body() == 0) > 12
    for seed in range(6):
        assert not changes(seed)[outside].any()


def test_amplitudes_stay_amplitudes() -> None:
    dark = np.full((40, 40), 0.11, dtype=np.float32)
    assert all(with_lesions(dark, np.random.default_rng(seed)).min() >= 0 for seed in range(8))


def test_an_image_of_air_comes_back_as_it_was() -> None:
    air = np.full((32, 32), 0.05, dtype=np.float32)
    np.testing.assert_array_equal(with_lesions(air, np.random.default_rng(0)), air)


def test_the_image_that_was_given_is_not_changed() -> None:
    image = body()
    with_lesions(image, np.random.default_rng(1))
    np.testing.assert_array_equal(image, body())
