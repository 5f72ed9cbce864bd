"""BM3D runs only when its user named it and has it; a stand-in for the package shows what it's given."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest

from onenex.errors import DataError
from onenex.evaluate.peers import all_peers
from onenex.evaluate.peers.bm3d import Bm3d

Call = tuple[np.ndarray, float]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Put a package `bm3d` in place that halves images, and return what it was called with."""
    seen: list[Call] = []

    def halve(image: np.ndarray, sigma_psd: float) -> np.ndarray:
        seen.append((image, sigma_psd))
        return image[..., None] / 2

    package = ModuleType("bm3d")
    package.__spec__ = ModuleSpec("bm3d", None)
    package.bm3d = halve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bm3d", package)
    return seen


@pytest.fixture
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onenex.evaluate.peers.bm3d.find_spec", lambda _: None)


def names(asked: list[str]) -> list[str]:
    return [peer.name for peer in all_peers(1, asked)]


@pytest.mark.usefixtures("calls")
def test_it_is_there_only_when_named() -> None:
    assert "BM3D" not in names([])
    assert "BM3D" not in names(["tv"])
    asked = names(["u-net", " bm3d"])
    assert asked[asked.index("TV") + 1 :][:2] == ["BM3D", "U-Net"]


@pytest.mark.usefixtures("_nowhere")
def test_who_has_it_not_is_told_why() -> None:
    assert "BM3D" not in names([])
    with pytest.raises(DataError, match="non-commercial use only"):
        names(["BM3D"])
    with pytest.raises(DataError, match="pip install bm3d"):
        Bm3d()(np.ones((1, 8, 8), np.float32), np.ones((1, 8, 8), np.float32))


def test_noise_is_made_even_and_the_level_of_the_image_stays(calls: list[Call]) -> None:
    level = np.broadcast_to(np.linspace(0.02, 0.1, 33, dtype=np.float32), (2, 33, 33))
    generator = np.random.default_rng(0)
    images = (1 + level * generator.standard_normal(level.shape)).astype(np.float32)
    before = images.copy()
    restored = Bm3d()(images, level)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_allclose(restored, images / 2, rtol=1e-5)
    assert restored.dtype == np.float32
    assert len(calls) == 2
    image, sigma = calls[0]
    assert sigma == pytest.approx(0.06)
    np.testing.assert_allclose(image * level[0] / sigma, images[0], rtol=1e-5)
    assert np.median(image) == pytest.approx(1, abs=0.05)


def test_slices_without_noise_or_contrast_come_back(calls: list[Call]) -> None:
    images = np.stack([np.eye(8), np.zeros((8, 8)), np.eye(8)]).astype(np.float32)
    sigma = np.stack([np.zeros((8, 8)), np.ones((8, 8)), np.ones((8, 8))]).astype(np.float32)
    restored = Bm3d()(images, sigma)
    assert len(calls) == 1
    np.testing.assert_array_equal(restored[:2], images[:2])
    np.testing.assert_allclose(restored[2], images[2] / 2)
