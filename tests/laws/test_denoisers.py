"""Laws of denoising, with the bundled weights: silence without noise, determinism, mirror images, bounds; and better than the classical peers."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from onenex.evaluate.peers import classical_peers
from onenex.model import load
from onenex.model.weights import load_weights
from onenex.physics import noise
from onenex.physics.phantom import head_phantom

SIGMA = 0.06
Denoise = Callable[[np.ndarray, np.ndarray], np.ndarray]


def onenex(images: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """The restoration with bundled weights, told σ as the peers are."""
    restoration = load_weights().restoration
    with torch.inference_mode():
        return restoration(torch.from_numpy(images)[:, None], torch.from_numpy(sigma)[:, None])[:, 0].numpy()


DENOISERS: dict[str, Denoise] = {"OneNEX": onenex, **{peer.name: peer for peer in classical_peers(n_threads=1)}}


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    images = head_phantom((2, 192, 192), supersampling=2)
    return images / np.percentile(images, 99)


@pytest.fixture(scope="module")
def measured(clean: np.ndarray) -> np.ndarray:
    return noise.rician(clean, SIGMA, np.random.default_rng(0))


def test_without_noise_nothing_changes(clean: np.ndarray) -> None:
    np.testing.assert_array_equal(onenex(clean, np.zeros_like(clean)), clean)


def test_same_input_same_output(measured: np.ndarray) -> None:
    sigma = np.full_like(measured, SIGMA)
    np.testing.assert_array_equal(onenex(measured, sigma), onenex(measured, sigma))


@pytest.mark.parametrize("flip", [(slice(None), slice(None), slice(None, None, -1)), (slice(None), slice(None, None, -1))])
def test_mirror_image_gives_mirror_image(measured: np.ndarray, flip: tuple[slice, ...]) -> None:
    """Up to a small part of the noise: a network that strides is not exactly symmetric."""
    sigma = np.full_like(measured, SIGMA)
    difference = onenex(np.ascontiguousarray(measured[flip]), sigma)[flip] - onenex(measured, sigma)
    assert np.sqrt(np.mean(difference**2)) < 0.2 * SIGMA


def test_most_of_the_noise_is_gone(clean: np.ndarray, measured: np.ndarray) -> None:
    inside = clean > 0.15
    restored = onenex(measured, np.full_like(measured, SIGMA))
    assert np.mean((restored - clean)[inside] ** 2) < 0.4 * np.mean((measured - clean)[inside] ** 2)


def test_ours_moves_no_pixel_by_more_than_four_sigma(measured: np.ndarray) -> None:
    result = load(device="cpu").denoise(measured)
    assert (np.abs(result.images - measured) <= 4.001 * result.noise_sigma).all()


def test_ours_beats_every_classical_peer_on_the_phantom(clean: np.ndarray, measured: np.ndarray) -> None:
    inside, sigma = clean > 0.15, np.full_like(measured, SIGMA)
    errors = {name: float(np.mean((denoise(measured, sigma) - clean)[inside] ** 2)) for name, denoise in DENOISERS.items()}
    assert min(errors, key=lambda name: errors[name]) == "OneNEX", errors
