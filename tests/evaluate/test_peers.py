"""Every rival does its work: less noise, same shape, input untouched."""

import numpy as np
import pytest

from onenex.evaluate.peers import Peer, all_peers
from onenex.evaluate.peers.whiten import unit_noise
from onenex.physics import noise

PEERS = all_peers(n_threads=1)


def phantom(sigma: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[-1:1:48j, -1:1:40j]
    clean = np.stack([0.5 * (np.hypot(rows, columns) < 0.8) + 0.4 * (np.hypot(rows - 0.2, columns) < 0.3)] * 2).astype(np.float32)
    measured = noise.rician(clean, sigma, np.random.default_rng(3))
    return clean, measured, np.full_like(clean, sigma)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_reduces_noise_and_keeps_the_shape(peer: Peer) -> None:
    clean, measured, sigma = phantom(0.08)
    before = measured.copy()
    restored = peer(measured, sigma)
    assert restored.shape == clean.shape
    assert np.isfinite(restored).all()
    np.testing.assert_array_equal(measured, before)
    inside = clean > 0
    assert np.mean((restored - clean)[inside] ** 2) < 0.6 * np.mean((measured - clean)[inside] ** 2)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_survives_an_empty_slice_and_a_masked_background(peer: Peer) -> None:
    clean, measured, sigma = phantom(0.05)
    masked = measured * (clean > 0)
    masked[1] = 0
    restored = peer(masked, sigma * (masked > 0))
    assert np.isfinite(restored).all()
    assert np.abs(restored[1]).max() < 1e-6


def test_names_are_unique() -> None:
    assert len({peer.name for peer in PEERS}) == 5


def test_varying_noise_becomes_uniform() -> None:
    seen = []

    def remember(image: np.ndarray) -> np.ndarray:
        seen.append(image)
        return image

    level = np.broadcast_to(np.linspace(0.02, 0.2, 64, dtype=np.float32), (1, 64, 64))
    images = (1 + level * np.random.default_rng(0).standard_normal(level.shape)).astype(np.float32)
    restored = unit_noise(images, level, remember)
    np.testing.assert_allclose(restored, images, rtol=1e-5)
    in_units = seen[0] - 1 / level[0]
    assert in_units[:, :32].std() == pytest.approx(1, abs=0.1)
    assert in_units[:, 32:].std() == pytest.approx(1, abs=0.1)
