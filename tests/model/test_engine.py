"""Laws of the public Model: units, sizes, tiling, determinism, strength, refusals."""

from pathlib import Path

import numpy as np
import pytest

from onenex.errors import OutOfDomain
from onenex.model import Settings, engine, tiling
from onenex.model.engine import Model
from onenex.physics.noise import rician
from tests.model.weights import random_model

RAW = Settings(guard=False)
"""The guard rightly refuses what random networks make."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return random_model(tmp_path_factory.mktemp("weights"))


def scan(*shape: int, seed: int = 0) -> np.ndarray:
    rows = np.linspace(0, 6, shape[-2])[:, None]
    columns = np.linspace(0, 5, shape[-1])[None]
    clean = np.broadcast_to(0.6 + 0.3 * np.sin(rows) * np.cos(columns), shape).astype(np.float32)
    return rician(clean, 0.05, np.random.default_rng(seed))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3), (33, 65), (64, 64)])
def test_any_size_comes_back(model: Model, size: tuple[int, int]) -> None:
    images = scan(2, *size)
    result = model.denoise(images, mode=RAW)
    assert result.images.shape == result.noise_sigma.shape == images.shape
    assert result.images.dtype == np.float32
    assert np.isfinite(result.images).all()


@pytest.mark.parametrize("unit", [1e-4, 1.0, 3e4])
def test_unit_does_not_matter(model: Model, unit: float) -> None:
    images = scan(1, 48, 48)
    expected = model.denoise(images, mode=RAW)
    scaled = model.denoise(images * np.float32(unit), mode=RAW)
    np.testing.assert_allclose(scaled.images / unit, expected.images, atol=2e-5)
    np.testing.assert_allclose(scaled.noise_sigma / unit, expected.noise_sigma, rtol=1e-3)


def test_tiled_equals_untiled(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    images = scan(1, 400, 328)
    whole = model.denoise(images, mode=RAW, scale=1.0)
    monkeypatch.setattr(tiling, "TILE_CORE", 64)
    monkeypatch.setattr(tiling, "TILE_HALO", 128)
    tiled = model.denoise(images, mode=RAW, scale=1.0)
    np.testing.assert_allclose(tiled.noise_sigma, whole.noise_sigma, atol=1e-6)
    np.testing.assert_allclose(tiled.images, whole.images, atol=1e-5)


def test_slices_do_not_influence_each_other(model: Model) -> None:
    images = scan(3, 40, 40)
    together = model.denoise(images, mode=RAW, scale=1.0).images
    for index in range(3):
        np.testing.assert_array_equal(model.denoise(images[index : index + 1], mode=RAW, scale=1.0).images[0], together[index])


def test_same_input_same_output(model: Model) -> None:
    images = scan(1, 64, 64)
    np.testing.assert_array_equal(model.denoise(images, mode=RAW, seed=3).images, model.denoise(images, mode=RAW, seed=3).images)


def test_strength_blends_from_the_exact_input(model: Model) -> None:
    images = scan(1, 64, 64)
    full = model.denoise(images, mode=RAW).images
    np.testing.assert_array_equal(model.denoise(images, mode=RAW, strength=0.0).images, images)
    np.testing.assert_allclose(model.denoise(images, mode=RAW, strength=0.5).images, (images + full) / 2, atol=1e-5)
    assert not np.array_equal(full, images)


@pytest.mark.parametrize("value", [0.0, 7.0, -2.0])
def test_constant_slice_is_left_alone(model: Model, value: float) -> None:
    images = np.full((1, 20, 20), value, np.float32)
    np.testing.assert_array_equal(model.denoise(images, mode=RAW).images, images)


def test_blanked_background_stays_exactly_zero(model: Model) -> None:
    images = scan(1, 64, 64)
    images[:, :20] = 0
    assert (model.denoise(images, mode=RAW).images[:, :17] == 0).all()


def test_magnitudes_do_not_become_negative(model: Model) -> None:
    images = scan(1, 64, 64)
    images[:, 30:] *= 0.02
    assert model.denoise(images, mode=RAW).images.min() >= 0


def test_progress_counts_slices(model: Model) -> None:
    seen: list[tuple[int, int]] = []
    model.denoise(scan(3, 16, 16), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "slow"}, "mode 'slow'"),
        ({"strength": 1.5}, "strength is 1.5"),
        ({"scale": -1.0}, "scale is -1"),
    ],
)
def test_wrong_settings_are_refused(model: Model, change: dict[str, object], message: str) -> None:
    with pytest.raises(OutOfDomain, match=message):
        model.denoise(scan(1, 16, 16), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_pixels_are_refused_with_their_place(model: Model, bad: float) -> None:
    images = scan(2, 16, 16)
    images[1, 3, 4] = bad
    with pytest.raises(OutOfDomain, match="slice 1 holds 1 NaN"):
        model.denoise(images, mode=RAW)


@pytest.mark.parametrize("shape", [(4,), (0, 8, 8), (2, 2, 8, 8)])
def test_wrong_shapes_are_refused(model: Model, shape: tuple[int, ...]) -> None:
    with pytest.raises(OutOfDomain, match="stack"):
        model.denoise(np.ones(shape, np.float32))


def test_huge_slice_is_refused(model: Model) -> None:
    huge = np.broadcast_to(np.float32(1), (1, 20_000, 20_000))
    with pytest.raises(OutOfDomain, match="larger than"):
        model.denoise(huge)


def test_unknown_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutOfDomain, match="try --device cpu"):
        engine.load(device="cuda:77")
