"""Ghosts and zippers lie where they are told, with their amplitude; spoilt images keep what they showed."""

import numpy as np
import pytest
from scipy import fft

from onenex.physics import artefacts

SIDE = 128


def image_of(k: np.ndarray) -> np.ndarray:
    return np.asarray(fft.ifft2(fft.ifftshift(k)))


def vessel() -> np.ndarray:
    rows, columns = np.indices((SIDE, SIDE)) - SIDE // 2
    return (np.hypot(rows, columns) < 8).astype(np.float32)


def test_ghosts_lie_where_they_are_told_with_their_amplitude() -> None:
    k = fft.fftshift(fft.fft2(vessel()))
    ghosts = (image_of(artefacts.ghosted(k, 0.2, 40)) - image_of(k)).real
    middle = SIDE // 2
    for row in (middle - 40, middle + 40):
        assert ghosts[row, middle] == pytest.approx(0.2, abs=0.01)
    assert abs(ghosts[middle, middle]) < 0.01
    assert abs(ghosts[middle, middle + 40]) < 0.01


def test_a_zipper_is_one_column_of_its_amplitude() -> None:
    image = image_of(artefacts.zipper((SIDE, 96), 60, 0.3, np.random.default_rng(1)))
    assert image.shape == (SIDE, 96)
    assert np.sqrt(np.mean(np.abs(image[:, 60]) ** 2)) == pytest.approx(0.3, rel=1e-6)
    assert np.abs(np.delete(image, 60, axis=1)).max() < 1e-9


def test_spoilt_images_differ_from_the_image_along_both_axes_and_stay_near_it() -> None:
    image = vessel()
    found = [artefacts.spoilt(image, np.random.default_rng(seed)) for seed in range(40)]
    for one in found:
        assert one.dtype == np.float32
        assert one.shape == image.shape
        assert (one >= 0).all()
        assert np.abs(one - image).max() > 0.003
    in_air = np.array([[one[SIDE // 2, 10:40].mean(), one[10:40, SIDE // 2].mean()] for one in found])
    assert (in_air.max(axis=0) > 0.01).all()


def test_same_generator_same_artefacts() -> None:
    one, other = (artefacts.spoilt(vessel(), np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
