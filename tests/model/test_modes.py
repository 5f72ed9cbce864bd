"""Laws of both modes, for any weights: sizes, batches, seeds, text, tiles, samples; and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from onenex.errors import OutOfDomain
from onenex.model import Settings, tiling
from onenex.model.engine import Model
from onenex.model.modes import turn, turn_back
from onenex.model.reddiff import Preset
from onenex.series import Acquisition
from tests.model.test_engine import scan
from tests.model.weights import random_model

FAST, FULL = Settings(guard=False), Settings(mode="full", guard=False)  # the guard rightly refuses what random networks make
HASTY = Preset(t_start=60, n_steps=4, prior_weight=8.0, likelihood=True, learning_rate=0.8)
EVERY_MODE = pytest.mark.parametrize("mode", [FAST, FULL, replace(FULL, preset="paper", n_steps=3), replace(FULL, n_samples=2)])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return random_model(tmp_path_factory.mktemp("weights"), unified=True)


@EVERY_MODE
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 65)])
def test_any_size_comes_back(model: Model, mode: Settings | str, size: tuple[int, int]) -> None:
    images = scan(2, *size)
    result = model.denoise(images, mode=mode)
    assert result.images.shape == images.shape
    assert np.isfinite(result.images).all()
    if size != (1, 1):  # a single pixel is a constant slice
        assert (result.images != images).any()


@EVERY_MODE
def test_a_slice_does_not_depend_on_the_slices_after_it(model: Model, mode: Settings | str) -> None:
    images = scan(3, 24, 32)
    together = model.denoise(images, mode=mode, scale=1.0).images
    np.testing.assert_array_equal(model.denoise(images[:1], mode=mode, scale=1.0).images, together[:1])


def test_a_slice_alone_draws_as_the_first_of_a_stack_does(model: Model) -> None:
    images = np.repeat(scan(1, 24, 32), 2, axis=0)
    first, second = model.denoise(images, mode=FULL, scale=1.0).images
    assert (first != second).any()


@EVERY_MODE
def test_same_seed_same_images(model: Model, mode: Settings | str) -> None:
    images = scan(1, 24, 32)
    np.testing.assert_array_equal(*(model.denoise(images, mode=mode, seed=3).images for _ in range(2)))


def test_another_seed_gives_another_image_of_mode_full_only(model: Model) -> None:
    images = scan(1, 24, 32)
    for mode, differs in ((FAST, False), (FULL, True)):
        first, second = (model.denoise(images, mode=mode, seed=seed).images for seed in (0, 1))
        assert (first != second).any() == differs


@EVERY_MODE
def test_threads_do_not_matter(model: Model, mode: Settings | str) -> None:
    images, results = scan(1, 24, 32), []
    threads = torch.get_num_threads()
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            results.append(model.denoise(images, mode=mode).images)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(*results, atol=1e-4)


@EVERY_MODE
def test_strength_blends(model: Model, mode: Settings | str) -> None:
    images = scan(1, 24, 32) + 2  # far from zero, where results are cut
    full = model.denoise(images, mode=mode).images
    np.testing.assert_array_equal(model.denoise(images, mode=mode, strength=0.0).images, images)
    np.testing.assert_allclose(model.denoise(images, mode=mode, strength=0.5).images, (images + full) / 2, atol=1e-5)


@pytest.mark.parametrize("mode", [FAST, FULL])
def test_text_reaches_the_networks(model: Model, mode: Settings) -> None:
    images = scan(1, 24, 32)
    knee, head = (model.denoise(images, Acquisition(organ=organ), mode=mode).images for organ in ("knee", "head"))
    assert (knee != head).any()


def test_what_could_not_be_said_is_noted(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from onenex.text import encoder

    monkeypatch.setattr(encoder, "find_spec", lambda name: None)
    assert model.denoise(scan(1, 16, 16), Acquisition(organ="head")).notes == ()
    (note,) = model.denoise(scan(1, 16, 16), Acquisition(organ="ankle")).notes
    assert "Organ: ankle" in note
    assert "Organ: unknown" in note


def test_samples_give_their_mean_and_spread(model: Model) -> None:
    images = scan(1, 24, 32)
    assert model.denoise(images, mode=FULL).uncertainty is None
    result = model.denoise(images, mode=replace(FULL, n_samples=3))
    assert result.uncertainty is not None
    assert result.uncertainty.shape == images.shape
    assert result.uncertainty.mean() > 0
    half = model.denoise(images, mode=replace(FULL, n_samples=3), strength=0.5)
    assert half.uncertainty is not None
    np.testing.assert_allclose(half.uncertainty, result.uncertainty / 2, rtol=1e-4, atol=1e-7)


def test_large_slices_are_cut_and_still_reproducible(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "TILE_CORE", 16)
    monkeypatch.setattr(tiling, "TILE_HALO", 16)
    images = scan(1, 80, 72)
    first, second = (model.denoise(images, mode=FULL).images for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first != images).any()


@pytest.mark.parametrize("way", range(8))
def test_turning_is_undone(way: int) -> None:
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert torch.equal(turn_back(turn(image, way), way), image)


def test_the_eight_ways_differ() -> None:
    square = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert len({tuple(turn(square, way).flatten().tolist()) for way in range(16)}) == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(mode="slow"), "mode 'slow'"),
        (Settings(mode="full", preset="mine"), "preset 'mine'"),
        (Settings(mode="full", n_steps=0), "0 steps"),
        (Settings(mode="full", n_steps=5000), "5000 steps"),
        (Settings(mode="full", n_samples=0), "0 samples"),
    ],
)
def test_settings_without_sense_are_refused(model: Model, settings: Settings, message: str) -> None:
    with pytest.raises(OutOfDomain, match=message):
        model.denoise(scan(1, 16, 16), mode=settings)


def test_the_guard_refuses_what_random_networks_make(model: Model) -> None:
    images = np.stack([scan(64, 64), np.full((64, 64), 0.5, np.float32)])
    result = model.denoise(images, mode=replace(FULL, guard=True, preset=HASTY))
    assert result.guard is not None
    first, constant = result.guard
    assert not first.passed
    assert first.reasons
    assert first.kept < 1
    assert first.suspicion.shape == (64, 64)
    unguarded = model.denoise(images, mode=replace(FULL, preset=HASTY))
    assert np.abs(result.images - images).mean() < np.abs(unguarded.images - images).mean()
    assert constant.passed


def test_pixels_that_came_back_are_as_uncertain_as_the_measurement(model: Model) -> None:
    images = scan(1, 64, 64)
    result = model.denoise(images, mode=Settings(mode="full", preset=HASTY, n_samples=2))
    assert result.uncertainty is not None
    returned = result.images == images
    assert returned.any()
    np.testing.assert_allclose(result.uncertainty[returned], result.noise_sigma[returned], rtol=1e-4)


def test_the_guard_says_nothing_when_it_is_off_or_nothing_changed(model: Model) -> None:
    assert model.denoise(scan(1, 64, 64), mode=FAST).guard is None
    assert model.denoise(scan(1, 64, 64), strength=0.0).guard is None


def test_mode_full_needs_its_networks(tmp_path: Path) -> None:
    with pytest.raises(OutOfDomain, match="use --mode fast"):
        random_model(tmp_path).denoise(scan(1, 16, 16), mode="full")
