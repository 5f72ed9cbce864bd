"""What was removed: noise of any colour shows no edges, damage does."""

import numpy as np
import pytest
from scipy import ndimage

from onenex.evaluate.measures import removed
from onenex.physics import noise
from onenex.physics.phantom import head_phantom

EVERYWHERE = np.ones((160, 160), dtype=np.bool_)


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    clean = head_phantom((1, 160, 160), sequence="T1w", supersampling=2)[0]
    return (clean / np.percentile(clean[clean > 0], 99)).astype(np.float32)


def correlation(image: np.ndarray, measured: np.ndarray, reference: np.ndarray) -> float:
    found = removed.patterns(*removed.edge_patterns(reference), EVERYWHERE, (reference, measured))
    assert found is not None
    return removed.edge_correlation(image - measured, found)


@pytest.mark.parametrize("colour", [0.0, 1.0])
@pytest.mark.parametrize("sigma", [0.02, 0.1])
def test_noise_shows_no_edges(head: np.ndarray, colour: float, sigma: float) -> None:
    drawn = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, sigma, head.shape), colour)
    measured = head + drawn
    assert correlation(head, measured, head) < 0.08
    assert correlation(head + drawn / 2, measured, head) < 0.08


def test_nor_does_the_rician_floor_that_a_right_answer_removes(head: np.ndarray) -> None:
    measured = noise.rician(head, 0.08, np.random.default_rng(1))
    assert correlation(head, measured, head) < 0.08


def test_untouched_images_lost_nothing(head: np.ndarray) -> None:
    measured = noise.rician(head, 0.05, np.random.default_rng(2))
    assert correlation(measured, measured, head) == 0


@pytest.mark.parametrize("sigma", [0.02, 0.05])
def test_blur_shows_edges_and_more_blur_more(head: np.ndarray, sigma: float) -> None:
    measured = head + np.random.default_rng(3).normal(0, sigma, head.shape)
    slight, strong = (correlation(ndimage.gaussian_filter(measured, width), measured, head) for width in (0.5, 1.0))
    assert 0.2 < slight < strong


def test_detail_alone_and_shifts_correlate_almost_wholly(head: np.ndarray) -> None:
    smooth = ndimage.gaussian_filter(head, 1.5)
    assert correlation(ndimage.gaussian_filter(smooth, 0.5), smooth, smooth) > 0.95
    assert correlation(ndimage.shift(smooth, (0.2, -0.1)), smooth, smooth) > 0.95


def test_the_strength_of_what_was_removed_does_not_matter(head: np.ndarray) -> None:
    measured = head + np.random.default_rng(4).normal(0, 0.05, head.shape)
    gone = ndimage.gaussian_filter(measured, 0.7) - measured
    assert correlation(measured + 0.1 * gone, measured, head) == pytest.approx(correlation(measured + gone, measured, head), abs=1e-6)


def test_chance_is_taken_off() -> None:
    """Four patterns explain 4 of 64 pixels of anything: on average nothing is left of that."""
    reference = ndimage.gaussian_filter(np.random.default_rng(1).random((16, 16)), 2)
    found = removed.patterns(*removed.edge_patterns(reference), reference > 0, (reference, np.zeros_like(reference)))
    assert found is not None
    assert found.edges.sum() == 64
    shares = [removed.edge_correlation(np.random.default_rng(seed).normal(size=(16, 16)), found) for seed in range(60)]
    assert 20 <= sum(share == 0 for share in shares) <= 45


def test_flat_and_tiny_regions_say_nothing() -> None:
    flat = np.ones((40, 40))
    tiny = np.zeros((40, 40), dtype=np.bool_)
    tiny[:5, :5] = True
    textured = np.random.default_rng(0).random((40, 40))
    assert removed.patterns(*removed.edge_patterns(flat), flat > 0, (flat, flat)) is None
    assert removed.patterns(*removed.edge_patterns(textured), tiny, (textured, textured)) is None


@pytest.mark.parametrize(("kernel", "expected"), [((0, 1, 0), 0.0), ((1, 2, 1), 2 / 3), ((1, 0, 1), 0.0), ((-1, 2, -1), -2 / 3)])
def test_neighbours_of_noise_of_known_colour(kernel: tuple[int, int, int], expected: float) -> None:
    """A kernel h along both axes ties neighbours by Σ hᵢ hᵢ₊₁ / Σ hᵢ²."""
    coloured = np.random.default_rng(5).normal(size=(256, 256))
    for axis in (0, 1):
        coloured = ndimage.correlate1d(coloured, kernel, axis=axis)
    where = np.ones(coloured.shape, dtype=np.bool_)
    assert removed.neighbour_correlation(coloured, removed.blocks(where)) == pytest.approx(expected, abs=0.04)


def test_only_the_region_and_only_what_shows_something_counts() -> None:
    white = np.random.default_rng(6).normal(size=(70, 90))
    region = np.zeros(white.shape, dtype=np.bool_)
    region[:, :40] = True
    other = white.copy()
    other[:, 40:] = 1e3
    found = removed.blocks(region)
    assert removed.neighbour_correlation(other, found) == removed.neighbour_correlation(white, found)
    assert np.isnan(removed.neighbour_correlation(np.zeros_like(white), found))
    assert np.isnan(removed.neighbour_correlation(white, removed.blocks(np.zeros_like(region))))
