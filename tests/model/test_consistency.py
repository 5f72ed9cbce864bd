"""Local Fourier rings: what the result shares with the slice, what it invented, what it removed."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from onenex.model.consistency import RINGS, RingConsistency, ring_consistency
from onenex.model.residual import residual

Image = NDArray[np.float32]


def scene(size: int = 128) -> tuple[Image, Image]:
    """Return a result (row, column) and a slice with unit noise around it."""
    rows, columns = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    truth = (40 + 6 * np.sin(rows / 5.0) * np.cos(columns / 4.0)).astype(np.float32)
    return truth, truth + np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)


def rings(measured: Image, mean: Image) -> RingConsistency:
    sigma = np.ones_like(mean)
    return ring_consistency(mean, sigma, residual(measured, mean, sigma))


def blob(size: int, height: float) -> Image:
    rows, columns = np.ogrid[:size, :size]
    return (height * (np.hypot(rows - size // 2, columns - size // 2) < 4)).astype(np.float32)


def test_an_honest_result_is_consistent() -> None:
    truth, measured = scene()
    found = rings(measured, truth)
    assert found.invented_WR.shape == (len(found.rows_W), len(RINGS) - 1)
    assert found.invented_WR[:, :2].max() < 2.5
    assert found.removed_WR[:, :2].max() < 6


@pytest.mark.parametrize("what", ["invented", "removed"])
def test_structure_on_one_side_only_is_found_in_its_window(what: str) -> None:
    truth, measured = scene()
    extra = blob(128, 5.0)
    found = rings(measured, truth + extra) if what == "invented" else rings(measured + extra, truth)
    scores_WR = found.invented_WR if what == "invented" else found.removed_WR
    map_ = found.paint(scores_WR[:, 0], truth.shape)
    assert map_.max() == map_[56:72, 56:72].max() > (3.5 if what == "invented" else 12)
    assert np.abs(map_[:16]).max() < map_.max() / 3


def test_a_trace_of_the_noise_against_the_slice_invents_nothing() -> None:
    """In flat tissue a result that takes off a tenth more than the noise at one scale runs against the slice, at a hundredth of its power."""
    generator = np.random.default_rng(1)
    flat = np.full((128, 128), 40, dtype=np.float32)
    drawn = generator.standard_normal(flat.shape).astype(np.float32)
    measured, trace = flat + drawn, (ndimage.gaussian_filter(drawn, 1.0) - ndimage.gaussian_filter(drawn, 2.0)).astype(np.float32)
    assert rings(measured, flat - 0.1 * trace).invented_WR[:, :2].max() < 2


def test_inverted_structure_is_invented() -> None:
    truth, measured = scene()
    inverted = truth.copy()
    inverted[48:80, 48:80] = 2 * truth[48:80, 48:80].mean() - truth[48:80, 48:80]
    found = rings(measured, inverted)
    assert found.paint(found.invented_WR[:, :2].max(axis=1), truth.shape)[56:72, 56:72].max() > 6


def test_small_and_odd_slices_have_windows_too() -> None:
    truth, measured = scene(21)
    found = rings(measured, truth)
    assert found.side == 20
    assert found.paint(found.invented_WR[:, 0], truth.shape).shape == truth.shape


def test_without_anything_judged_there_is_no_score() -> None:
    dark = np.zeros((64, 64), dtype=np.float32)
    found = rings(dark, dark)
    assert len(found.rows_W) == 0
    assert not found.paint(found.invented_WR[:, 0], dark.shape).any()
