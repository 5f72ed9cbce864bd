"""The learnt peers: any size, slice by slice, whatever the company; and with the bundled weights, less noise."""

import numpy as np
import pytest

from onenex.evaluate.peers import Peer
from onenex.evaluate.peers.learnt import learnt_peers
from onenex.physics import noise
from tests.rivals.files import write_tiny

NAMES = [peer.name for peer in learnt_peers()]
BUNDLED = learnt_peers()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Peer]:
    file = write_tiny(tmp_path_factory.mktemp("rivals") / "rivals.safetensors")
    return {peer.name: peer for peer in learnt_peers(file)}


def phantom(sigma: float, shape: tuple[int, int] = (45, 38)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, columns = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    clean = np.stack([0.5 * (np.hypot(rows, columns) < 0.8) + 0.4 * (np.hypot(rows - 0.2, columns) < 0.3)] * 3).astype(np.float32)
    measured = noise.rician(clean, sigma, np.random.default_rng(3))
    return clean, measured, np.full_like(clean, sigma)


def test_there_are_five() -> None:
    assert len(set(NAMES)) == 5


@pytest.mark.parametrize("name", NAMES)
def test_a_slice_is_denoised_alike_in_any_company(tiny: dict[str, Peer], name: str) -> None:
    _, measured, sigma = phantom(0.08)
    before = measured.copy()
    together = tiny[name](measured, sigma)
    np.testing.assert_array_equal(measured, before)
    assert together.shape == measured.shape
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    assert together.min() >= 0
    assert np.abs(together - measured).max() > 0
    np.testing.assert_array_equal(tiny[name](measured[2:], sigma[2:])[0], together[2])


@pytest.mark.parametrize("name", NAMES)
def test_empty_slices_and_masked_backgrounds(tiny: dict[str, Peer], name: str) -> None:
    clean, measured, sigma = phantom(0.05)
    masked = measured * (clean > 0)
    masked[1] = 0
    restored = tiny[name](masked, sigma * (masked > 0))
    assert np.isfinite(restored).all()
    assert not restored[1].any()


@pytest.mark.parametrize("name", ["U-Net", "DPS"])
def test_large_slices_go_in_tiles(tiny: dict[str, Peer], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, measured, sigma = phantom(0.05, (200, 72))
    whole = tiny[name](measured[:1], sigma[:1])
    monkeypatch.setattr("onenex.evaluate.peers.learnt.TILE_CORE", 48)
    monkeypatch.setattr("onenex.evaluate.peers.learnt.TILE_HALO", 64)
    np.testing.assert_allclose(tiny[name](measured[:1], sigma[:1]), whole, atol=1e-4)


@pytest.mark.parametrize("peer", BUNDLED, ids=NAMES)
def test_bundled_rivals_reduce_noise(peer: Peer) -> None:
    clean, measured, sigma = phantom(0.08, (96, 80))
    restored = peer(measured[:1], sigma[:1])
    inside = clean[:1] > 0
    assert np.mean((restored - clean[:1])[inside] ** 2) < 0.7 * np.mean((measured[:1] - clean[:1])[inside] ** 2)
