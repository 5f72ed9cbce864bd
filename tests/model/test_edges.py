"""What runs along edges comes back: soft edges become sharp again, flat tissue and plain edges stay as they are, and no pixel leaves its bound."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from onenex.model import edges
from onenex.model.restoration import BOUND
from onenex.model.smoothing import smoothed
from onenex.physics import noise

SIGMA = 0.05


def tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(image, dtype=np.float32))[None, None]


def disc(step: float, radius: float = 14.0, side: int = 64) -> np.ndarray:
    """A disc on a bright ground, its edge as soft as a scanner's."""
    rows, columns = np.indices((side, side)) - (side - 1) / 2
    return ndimage.gaussian_filter(0.5 + step * (np.hypot(rows, columns) < radius), 0.5)


def scene(step: float, blur: float = 1.2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, np.ndarray]:
    """Return a scan, a result whose edges are too soft, σ, and the truth."""
    truth = disc(step)
    measured = noise.rician(truth.astype(np.float32), SIGMA, np.random.default_rng(seed))
    return tensor(measured), tensor(ndimage.gaussian_filter(truth, blur)), torch.full((1, 1, *truth.shape), SIGMA), truth


def misfit(image: Tensor, truth: np.ndarray) -> np.ndarray:
    return np.asarray(image[0, 0].numpy() - truth)


def test_a_soft_edge_becomes_sharp_again() -> None:
    """The mean misfit by distance from the edge: that is what makes an edge wide. Noise at one place is another matter."""
    found, soft = [], []
    for seed in range(12):
        measured, restored, sigma, truth = scene(0.2, seed=seed)
        found.append(misfit(edges.sharpened(measured, restored, sigma, sigma), truth))
        soft.append(misfit(restored, truth))
    rows, columns = np.indices(truth.shape) - (len(truth) - 1) / 2
    ring = np.round(np.hypot(rows, columns)).astype(int)
    by_ring = [np.array([np.mean(images, axis=0)[ring == r].mean() for r in range(11, 18)]) for images in (found, soft)]
    assert np.abs(by_ring[1]).max() > 0.02
    assert np.abs(by_ring[0]).max() < 0.4 * np.abs(by_ring[1]).max()


def test_at_the_edge_the_error_falls() -> None:
    measured, restored, sigma, truth = scene(0.2)
    near = np.abs(np.hypot(*(np.indices(truth.shape) - (len(truth) - 1) / 2)) - 14) < 2
    after, before = (np.square(misfit(image, truth))[near].mean() for image in (edges.sharpened(measured, restored, sigma, sigma), restored))
    assert after < 0.8 * before


def test_flat_tissue_stays_as_it_is() -> None:
    measured, _, sigma, _ = scene(0.0)
    flat = torch.full_like(measured, 0.5)
    assert torch.equal(edges.sharpened(measured, flat, sigma, sigma), flat)


def test_plain_edges_stay_as_they_are() -> None:
    """An edge of fifty σ needs no help; noise along it would be all that comes back."""
    truth = disc(0.4)
    measured = noise.rician(truth.astype(np.float32), 0.005, np.random.default_rng(0))
    sigma = torch.full((1, 1, *truth.shape), 0.005)
    found = misfit(edges.sharpened(tensor(measured), tensor(truth), sigma, sigma), truth)
    steep = np.hypot(*np.gradient(truth)) > 0.06
    assert np.abs(found[steep]).max() < 0.002


def test_where_there_is_no_noise_nothing_comes_back() -> None:
    measured, restored, sigma, _ = scene(0.3)
    assert torch.equal(edges.sharpened(measured, restored, torch.zeros_like(sigma), sigma), restored)


def test_no_pixel_leaves_its_bound() -> None:
    measured, restored, sigma, _ = scene(0.2)
    tight = torch.full_like(sigma, 0.001)
    found = edges.sharpened(measured, restored, sigma, tight)
    changed = found != restored
    assert bool(changed.any())
    assert float((found - measured)[changed].abs().max()) <= BOUND * 0.001 + 1e-6


@pytest.mark.parametrize("turn", [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)])
def test_flips_and_turns_commute(turn: object) -> None:
    measured, restored, sigma, _ = scene(0.2)
    one = turn(edges.sharpened(measured, restored, sigma, sigma))  # type: ignore[operator]
    other = edges.sharpened(*(turn(image) for image in (measured, restored, sigma, sigma)))  # type: ignore[operator]
    assert float((one - other).abs().max()) < 0.02 * SIGMA


def test_slices_of_a_batch_do_not_meet() -> None:
    first, second = scene(0.2, seed=1), scene(0.1, seed=2)
    both = edges.sharpened(*(torch.cat([a, b]) for a, b in zip((*first[:3], first[2]), (*second[:3], second[2]), strict=True)))
    torch.testing.assert_close(both[:1], edges.sharpened(*first[:3], first[2]))
    torch.testing.assert_close(both[1:], edges.sharpened(*second[:3], second[2]))


def test_scale_changes_nothing() -> None:
    measured, restored, sigma, _ = scene(0.2)
    plain, scaled = (edges.sharpened(*(f * image for image in (measured, restored, sigma, sigma))) / f for f in (1.0, 37.0))
    torch.testing.assert_close(plain, scaled, atol=1e-4, rtol=1e-4)


def test_edges_are_looked_for_nowhere_in_vain_and_nowhere_missed() -> None:
    """Weights are reckoned at a few pixels only: those are all that count."""
    _, restored, sigma, _ = scene(0.2)
    noisy = restored + 0.02 * torch.randn(restored.shape, generator=torch.Generator().manual_seed(0))
    rows, columns = (smoothed(noisy, edges.SCALE, derived=axis) for axis in (0, 1))
    one, both, other = (smoothed(product, edges.INTEGRATION) for product in (rows * rows, rows * columns, columns * columns))
    total = one + other
    slope = total.sqrt()
    coherence = ((one - other).square() + 4 * both.square()).sqrt() / total
    faint, plain = (slope / (edges.FAINT * sigma)) ** 12, (slope / (edges.PLAIN * sigma)) ** 12
    weight = (coherence**4 * faint / (1 + faint) / (1 + plain))[0, 0]
    found, at, _ = edges.edge_weights(noisy, sigma)
    expected = torch.where(weight > 0.02, weight, 0)
    assert 50 < len(found) < expected.numel() / 2
    torch.testing.assert_close(torch.zeros_like(weight).index_put(at, found), expected, rtol=1e-4, atol=1e-5)
