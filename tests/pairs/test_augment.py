"""Synthetic fast scans: their noise is what was drawn, of the reference's resolution, the scanner's colour; seeds decide everything."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from onenex.errors import DataError, OutOfDomain
from onenex.model.condition import tell
from onenex.model.degradation import power_spectrum
from onenex.model.weights import Networks, Weights, load_weights, save
from onenex.pairs.augment import REFERENCE_SIGMA, TIMES_OWN_NOISE, Setting, draw, own_window, synthesise
from onenex.physics import kspace, noise
from onenex.physics.noise import rician
from onenex.series import Acquisition, FloatImages
from onenex.text.prompt import phrases_of
from tests.model.weights import random_networks

ABOUT = Acquisition(vendor="GE", organ="knee", sequence="T2w", nex=4.0)
QUICK = Setting(nex=1.0, reference_nex=4.0)


def references(n: int = 3, rows: int = 96, columns: int = 80, *, own_noise: float = 0.0, seed: int = 0) -> FloatImages:
    """Smooth bright slices with an unblanked dark edge, in thousands, with Rician noise of their own."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    body = 900 / (1 + np.exp(40 * (np.hypot(x, y) - 0.8))) * (1 + 0.1 * np.cos(3 * x) * np.cos(2 * y))
    volume = np.stack([body * (1 - 0.1 * place) for place in range(n)]).astype(np.float32) + 1
    return rician(volume, 900 * own_noise, np.random.default_rng(seed)) if own_noise else volume


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save(path, random_networks(3), card={"recipe": "none"})
    return load_weights(path)


def inner(images: FloatImages) -> FloatImages:
    """The bright middle of slices, where a magnitude's noise is Gaussian."""
    rows, columns = images.shape[-2:]
    return images[..., rows // 3 : -rows // 3, columns // 3 : -columns // 3]


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_physics_adds_the_noise_that_was_drawn(factor: float) -> None:
    clean = references(6)
    drawn = draw(clean, ABOUT, replace(QUICK, acceleration=factor), seed=5)
    drawn = replace(drawn, scan=replace(drawn.scan, n_coils=1))
    fast = synthesise(clean, drawn)
    expected = drawn.sigma * drawn.scale * np.sqrt(np.mean(inner(drawn.scan.relative_sigma) ** 2))
    assert inner(fast - clean).std() == pytest.approx(expected, rel=0.05)
    assert np.ptp(drawn.scan.relative_sigma) == pytest.approx(0, abs=1e-6) if factor == 1 else np.ptp(drawn.scan.relative_sigma) > 0.1


@pytest.mark.parametrize("setting", [QUICK, Setting(reference_nex=1, acceleration=3), Setting(nex=2, reference_nex=3)])
def test_the_level_is_in_the_stated_range_of_its_setting(setting: Setting) -> None:
    sigmas = [draw(references(1), ABOUT, setting, seed=seed).sigma for seed in range(60)]
    low, high = (np.array(REFERENCE_SIGMA) * np.sqrt(setting.time_ratio)).tolist()
    assert low <= min(sigmas) < 1.6 * low
    assert high / 1.6 < max(sigmas) <= high


def test_a_noisy_reference_gets_more_noise_and_a_noisier_one_none() -> None:
    images = references(4, own_noise=0.01)
    drawn = [draw(images, ABOUT, QUICK, seed=seed) for seed in range(20)]
    assert drawn[0].own_noise == pytest.approx(0.01, rel=0.25)
    assert min(one.sigma for one in drawn) >= TIMES_OWN_NOISE * drawn[0].own_noise
    with pytest.raises(DataError, match="too much for a scan 4 times as fast"):
        draw(references(4, own_noise=0.05), ABOUT, QUICK, seed=0)


@pytest.mark.parametrize(("rows", "columns"), [(1.0, 1.0), (0.8, 1.0), (0.75, 0.6)])
def test_noise_fills_the_part_of_k_space_that_the_reference_fills(rows: float, columns: float) -> None:
    shape = (120, 96)
    window = kspace.zero_filled(shape, rows, columns)
    generator = np.random.default_rng(1)
    complex_noise = 9 * noise.gaussian((4, *shape), generator)
    images = np.abs(kspace.apply_window(references(4, *shape) + complex_noise, window)).astype(np.float32)
    found = own_window(images / np.float32(900))
    assert [np.ptp(np.flatnonzero(found.any(axis))) + 1 for axis in (1, 0)] == pytest.approx(
        [n * part for n, part in zip(shape, (rows, columns), strict=True)], abs=3
    )
    drawn = draw(images, ABOUT, QUICK, seed=2)
    true = 9 * kspace.noise_gain(window) / drawn.scale
    assert drawn.own_noise == pytest.approx(true, rel=0.3)  # the low percentile of few pixels, also for fillings that hide the finest detail
    added = synthesise(images, replace(drawn, scan=replace(drawn.scan, n_coils=1))) - images
    power = np.square(np.abs(np.fft.fft2(added))).mean(axis=0)
    outside = np.fft.ifftshift(window) == 0
    assert not outside.any() or power[outside].mean() < 0.2 * power[~outside].mean()


def test_learnt_noise_has_the_level_and_the_colour_of_the_learnt_scanner(weights: Weights) -> None:
    clean = np.repeat(references(1, 64, 64), 60, axis=0)
    drawn = draw(clean, ABOUT, QUICK, seed=1, weights=weights)
    fast = synthesise(clean, drawn)
    degradation, told = weights.degradation, replace(ABOUT, nex=1.0, acceleration=1.0)
    assert degradation is not None
    assert weights.phrases is not None
    condition = tell(weights.phrases, [phrases_of(told)])[0]
    image = torch.from_numpy(clean[:1] / np.float32(drawn.scale))[None]
    with torch.no_grad():
        mean, deviation = degradation(image, torch.full_like(image, drawn.sigma), condition)
        spectrum = power_spectrum(degradation.colour(image, condition), (64, 64))[0].numpy()
    standard = (fast / drawn.scale - mean[0, 0].numpy()) / deviation[0, 0].numpy()
    bright = standard[:, 20:44, 20:44]
    assert bright.mean() == pytest.approx(0, abs=0.05)
    assert bright.std() == pytest.approx(1, abs=0.05)
    found = np.array([np.mean(bright * np.roll(standard, shift, axis)[:, 20:44, 20:44]) for shift, axis in ((1, 1), (1, 2), (2, 1), (2, 2))])
    lags = np.fft.ifft2(spectrum).real
    np.testing.assert_allclose(found, [lags[1, 0], lags[0, 1], lags[2, 0], lags[0, 2]], atol=0.08)


@pytest.mark.parametrize("learnt", [False, True])
def test_seeds_decide_everything_and_chunks_nothing(weights: Weights, learnt: bool) -> None:
    clean, holder = references(5, 50, 42), weights if learnt else None
    kept = clean.copy()
    drawn = draw(clean, ABOUT, QUICK, seed=11, weights=holder)
    whole = synthesise(clean, drawn)
    np.testing.assert_array_equal(clean, kept)
    np.testing.assert_array_equal(whole, synthesise(clean, draw(clean, ABOUT, QUICK, seed=11, weights=holder)))
    parts = [synthesise(clean[first:last], drawn, first=first) for first, last in ((0, 1), (1, 4), (4, 5))]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    other = draw(clean, ABOUT, QUICK, seed=12, weights=holder)
    assert other.sigma != drawn.sigma
    assert learnt or abs(np.corrcoef(inner(whole - clean)[:2].reshape(2, -1))[0, 1]) < 0.2
    assert whole.dtype == np.float32
    assert whole.min() >= 0


def test_what_is_synthetic_says_so(weights: Weights) -> None:
    clean = references(1)
    drawn = draw(clean, ABOUT, replace(QUICK, acceleration=2.0), seed=4, weights=weights)
    assert drawn.weights_hash == weights.hash
    assert len(drawn.weights_hash) == 12
    assert drawn.recipe.startswith("learnt scanner: sigma ")
    assert re.search(r", NEX 1 of 4, R 2, coils \d, seed 4$", drawn.recipe)
    assert (drawn.acquisition.nex, drawn.acquisition.acceleration) == (1.0, 2.0)
    assert drawn.setting.time_ratio == 8
    plain = draw(clean, ABOUT, QUICK, seed=4)
    assert (plain.weights_hash, plain.method) == ("", "physics")
    assert "seed 4" in plain.recipe


def test_a_blanked_background_stays_blank() -> None:
    clean = references(1)
    clean[:, :20] = 0
    fast = synthesise(clean, draw(clean, ABOUT, QUICK, seed=0))
    assert not fast[:, :18].any()
    assert fast[:, 22:].all()


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    clean = references(2)
    with pytest.raises(OutOfDomain, match="no faster than its reference"):
        draw(clean, ABOUT, Setting(nex=2, reference_nex=2), seed=0)
    with pytest.raises(OutOfDomain, match="shape"):
        draw(clean[0], ABOUT, QUICK, seed=0)
    with pytest.raises(OutOfDomain, match="shape"):
        synthesise(clean[:, :50], draw(clean, ABOUT, QUICK, seed=0))
    holes = clean.copy()
    holes[0, 3, 3] = np.nan
    with pytest.raises(OutOfDomain, match="NaN"):
        draw(holes, ABOUT, QUICK, seed=0)
    networks = random_networks()
    save(tmp_path / "fast.safetensors", Networks(noise_level=networks.noise_level, restoration=networks.restoration), card={})
    with pytest.raises(OutOfDomain, match="no learnt scanner"):
        draw(clean, ABOUT, QUICK, seed=0, weights=load_weights(tmp_path / "fast.safetensors"))


def test_the_bundled_scanner_makes_noise_of_about_the_drawn_level() -> None:
    clean = references(2)
    drawn = draw(clean, ABOUT, QUICK, seed=3, weights=load_weights())
    fast = synthesise(clean, drawn)
    assert inner(fast - clean).std() / drawn.scale == pytest.approx(drawn.sigma, rel=0.5)
