"""The series scale: linear in the images, blind to background, shared by all stacks."""

import numpy as np
import pytest

from onenex.physics.phantom import head_phantom
from onenex.physics.scale import series_scale


@pytest.fixture(scope="module")
def phantom() -> np.ndarray:
    return head_phantom((2, 96, 96), seed=0)


@pytest.mark.parametrize("gain", [1e-6, 0.5, 3.0, 4e4])
def test_scale_is_linear(phantom: np.ndarray, gain: float) -> None:
    assert series_scale([phantom * np.float32(gain)]) == pytest.approx(gain * series_scale([phantom]), rel=1e-4)


def test_empty_background_does_not_matter(phantom: np.ndarray) -> None:
    padded = np.pad(phantom, ((0, 0), (200, 200), (200, 200)))
    assert series_scale([padded]) == pytest.approx(series_scale([phantom]), rel=0.02)


def test_a_few_bright_pixels_do_not_matter(phantom: np.ndarray) -> None:
    spiked = phantom.copy()
    spiked[0, 5, 5:8] = 100 * phantom.max()
    assert series_scale([spiked]) == pytest.approx(series_scale([phantom]), rel=0.05)


def test_stacks_share_one_scale(phantom: np.ndarray) -> None:
    assert series_scale(iter([phantom, 0.2 * phantom])) == pytest.approx(series_scale([phantom]), rel=0.1)


@pytest.mark.parametrize("empty", [np.zeros((1, 4, 4), np.float32), np.full((1, 4, 4), -1, np.float32)])
def test_nothing_positive_gives_one(empty: np.ndarray) -> None:
    assert series_scale([empty]) == 1.0
