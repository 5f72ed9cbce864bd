"""Unbiased scores slice by slice: together they are the score of the stack."""

import numpy as np
import pytest

from onenex.errors import DataError
from onenex.evaluate import metrics
from onenex.evaluate.measures import repeats as of_repeats
from onenex.evaluate.measures.record import measure, pooled_mse


def scans(n_repeats: int, sigma: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return repeats, truth, and a mask that is empty in one slice."""
    generator = np.random.default_rng(n_repeats)
    truth = generator.uniform(0.3, 1, (4, 48, 56)).astype(np.float32)
    repeats = (truth[:, None] + generator.normal(0, sigma, (4, n_repeats, 48, 56))).astype(np.float32)
    mask = generator.random(truth.shape) < np.array([0.9, 0.4, 0.0, 0.7])[:, None, None]
    return repeats, truth, mask


@pytest.mark.parametrize("n_repeats", [2, 3, 5])
def test_slices_weighted_by_their_pixels_are_the_stack(n_repeats: int) -> None:
    repeats, truth, mask = scans(n_repeats)
    groups = [(index,) for index in range(n_repeats)]
    restored = [(truth + repeats[:, index]) / 2 for index in range(n_repeats)]
    by_slice = of_repeats.unbiased_mse_by_slice(restored, groups, repeats, mask)
    np.testing.assert_array_equal(np.isnan(by_slice), [False, False, True, False])
    pixels = mask.sum(axis=(1, 2))
    together = np.nansum(by_slice * pixels) / pixels.sum()
    assert together == pytest.approx(metrics.unbiased_mse(restored, groups, repeats, mask), rel=1e-6)


@pytest.mark.parametrize(("n_repeats", "group"), [(2, (0,)), (2, (1,)), (4, (2,)), (5, (0, 1, 2))])
def test_measure_scores_repeats_without_bias(n_repeats: int, group: tuple[int, ...]) -> None:
    repeats, truth, mask = scans(n_repeats)
    reference, variance = of_repeats.independent_reference(repeats, group)
    restored = (0.7 * truth + 0.3 * repeats[:, list(group)].mean(axis=1)).astype(np.float32)
    found = measure(restored, reference, mask, 1.0, reference_variance=variance)
    expected = of_repeats.unbiased_mse_by_slice([restored], [group], repeats, mask)
    np.testing.assert_allclose([one.foreground.mse for one in found], expected, rtol=1e-4, atol=1e-8)
    whole = metrics.unbiased_mse([restored], [group], repeats, mask)
    assert pooled_mse([one.foreground for one in found]) == pytest.approx(whole, rel=1e-4)


def test_every_slice_recovers_a_known_error() -> None:
    generator = np.random.default_rng(0)
    truth = generator.uniform(0.3, 1, (3, 200, 200)).astype(np.float32)
    repeats = (truth[:, None] + generator.normal(0, 0.08, (3, 4, 200, 200))).astype(np.float32)
    bias = np.array([0.0, 0.05, 0.1])[:, None, None]
    restored = (truth + bias + 0.5 * (repeats[:, 1] - truth)).astype(np.float32)
    found = of_repeats.unbiased_mse_by_slice([restored], [(1,)], repeats, np.ones(truth.shape, dtype=np.bool_))
    np.testing.assert_allclose(found, bias.ravel() ** 2 + 0.04**2, atol=2e-4)


def test_the_second_moment_by_slice_is_that_of_each_slice() -> None:
    repeats, truth, mask = scans(3)
    found = of_repeats.second_moment_mse_by_slice([truth], [(0,)], repeats, mask)
    assert np.isnan(found[2])
    assert found[3] == metrics.second_moment_mse([truth[3:]], [(0,)], repeats[3:], mask[3:])


@pytest.mark.parametrize("group", [(0, 1, 2), (0, 1)])
def test_a_reference_needs_repeats_that_are_left(group: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="no unbiased reference"):
        of_repeats.independent_reference(np.zeros((1, 3, 12, 12), np.float32), group)
