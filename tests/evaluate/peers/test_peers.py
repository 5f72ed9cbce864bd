"""Every classical rival does its work: less noise, same shape, input untouched."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onenex.errors import DataError
from onenex.evaluate.peers import Peer, all_peers, classical_peers
from onenex.evaluate.peers.dipy_nlm import blockwise, classic
from onenex.evaluate.peers.gaussian import Gaussian
from onenex.evaluate.peers.learnt import learnt_peers
from onenex.evaluate.peers.wavelet import Wavelet
from onenex.evaluate.peers.whiten import unit_noise
from onenex.physics import noise

PEERS = classical_peers(n_threads=1)


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


def test_the_order_of_the_tables() -> None:
    classical, learnt = ["Gaussian", "NLM classic", "NLM blockwise", "ANTs", "wavelet", "TV"], [peer.name for peer in learnt_peers()]
    names = [peer.name for peer in all_peers(1, learnt)]
    assert names == classical + learnt
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("trained", [True, False])
def test_learnt_rivals_without_weights_are_left_out_unless_named(trained: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rivals.safetensors"
    if trained:
        file.touch()
    monkeypatch.setattr("onenex.rivals.weights.bundled_path", lambda: file)
    learnt = {peer.name for peer in learnt_peers()}
    assert {peer.name for peer in all_peers(1)} & learnt == (learnt if trained else set())
    assert {peer.name for peer in all_peers(1, ["tv", "red-diff"])} & learnt == (learnt if trained else {"RED-diff"})


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onenex.evaluate.peers.find_spec", lambda name: None if name == "dipy" else object())
    with pytest.raises(DataError, match=r"need dipy: pip install 'onenex\[evaluate\]'"):
        all_peers(1)


def test_the_blur_grows_with_the_noise_as_its_rule_says() -> None:
    peer = Gaussian(rate=4.0)
    assert peer.width(np.full((4, 4), 0.125, np.float32)) == pytest.approx(4 * 0.25)
    masked = np.zeros((4, 4), np.float32)
    masked[:2] = 0.001
    assert peer.width(masked) == pytest.approx(4 * 0.01)
    assert Gaussian(rate=0.7, exponent=0.0).width(masked) == pytest.approx(0.7)


def test_a_point_is_spread_by_that_width() -> None:
    point = np.zeros((1, 65, 65), np.float32)
    point[0, 32, 32] = 1
    blurred = Gaussian(rate=2.0)(point, np.ones_like(point))[0].astype(np.float64)
    rows = np.arange(65) - 32
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    assert np.sqrt((blurred.sum(axis=1) * rows**2).sum()) == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize("peer", [classic(1), Wavelet()], ids=lambda peer: peer.name)
def test_told_more_noise_it_smooths_more(peer: Peer) -> None:
    _, measured, sigma = phantom(0.08)
    weak, strong = (replace(peer, sigma_factor=factor)(measured[:1], sigma[:1]) for factor in (0.5, 1.5))  # type: ignore[type-var]
    assert np.abs(strong - measured[:1]).mean() > 1.2 * np.abs(weak - measured[:1]).mean()


@pytest.mark.parametrize("peer", [classic(1), blockwise(1)], ids=lambda peer: peer.name)
def test_non_local_means_leave_a_nearly_clean_slice(peer: Peer) -> None:
    """DIPY blurs a lone slice, or reads beyond it."""
    clean, measured, sigma = phantom(0.005)
    inside = clean[:1] > 0
    restored = peer(measured[:1], sigma[:1])
    assert np.mean((restored - clean[:1])[inside] ** 2) < np.mean((measured - clean)[:1][inside] ** 2)


@pytest.mark.parametrize("peer", [classic(1), blockwise(1)], ids=lambda peer: peer.name)
def test_what_lies_around_in_memory_does_not_matter(peer: Peer) -> None:
    _, measured, sigma = phantom(0.08)
    first = peer(measured[:1], sigma[:1])
    for n in (1_000, 20_000, 200_000):
        rubbish = [np.full(n, 1e300) for _ in range(8)]
        del rubbish
        np.testing.assert_array_equal(peer(measured[:1], sigma[:1]), first)


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
