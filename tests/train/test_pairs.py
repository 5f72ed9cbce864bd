"""Pairs: σ, brightness and floor as they were simulated; batches that losses for repeats can use; and clear words for what cannot be used."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from onenex.errors import DataError
from onenex.model.degradation import Measurement
from onenex.physics import kspace, noise
from onenex.physics.estimate import spread_of_repeats
from onenex.physics.scale import brightness
from onenex.scans import ScanInfo, load_images, read_manifest, write_scan
from onenex.text.phrases import UNKNOWNS
from onenex.train.config import PhaseConfig, TrainConfig
from onenex.train.dataset import Batch, draw_batch, load_scans
from onenex.train.losses import restoration_loss
from onenex.train.pairs import prepare, raise_floor, shift, spread_of_pair
from onenex.train.recipes import RECIPES
from onenex.train.validate import validate_degradation, validate_restoration
from tests.train.packed_pairs import ABOUT, SIGMA, magnitude, pair_of, phantom, write_site

PHASE = PhaseConfig(steps=2, patch=48, simulated_per_batch=2, real_per_batch=2, text_dropout=0.0)
CONFIG = TrainConfig(name="tiny", noise=PHASE, restoration=PHASE, adaptation=PHASE, holdout_every=3, tune=True)


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return phantom(n_slices=3, size=160)


def info_of(tmp_path: Path, images: np.ndarray, **about: object) -> ScanInfo:
    write_scan(tmp_path, "own", images, "pairs", ABOUT | {"reference_nex": 4} | about)
    return read_manifest(tmp_path)[0]


@pytest.mark.parametrize("reference_nex", [None, 2, 4])
@pytest.mark.parametrize("kind", ["white", "varying", "interpolated"])
def test_sigma_is_what_was_simulated(clean: np.ndarray, tmp_path: Path, kind: str, reference_nex: float | None) -> None:
    for sigma in (0.01, 0.03, 0.08):
        generator = np.random.default_rng(1)
        level = sigma * (noise.g_factor_map((160, 160), generator) if kind == "varying" else np.ones((160, 160), np.float32))
        fast = scanned(clean, level, kind, generator)
        reference = scanned(clean, level / np.sqrt(reference_nex), kind, generator) if reference_nex else clean
        images = np.stack([fast, 1.4 * reference], axis=1)
        found = prepare(images, info_of(tmp_path, images, reference_nex=reference_nex))
        factor = float(np.median(found.fast[fast > 0.3] / fast[fast > 0.3]))
        assert np.median((found.sigma / level)[clean > 0.1]) / factor == pytest.approx(1, abs=0.05), sigma
        bright = clean > 0.5
        assert np.median(found.reference[bright] / clean[bright]) / factor == pytest.approx(1, abs=0.02), sigma


def scanned(clean: np.ndarray, level: np.ndarray, kind: str, generator: np.random.Generator) -> np.ndarray:
    white = noise.gaussian(clean.shape, generator)
    if kind == "interpolated":
        window = kspace.zero_filled((160, 160), 0.6, 0.6)
        white = np.stack([kspace.apply_window(one, window) / kspace.noise_gain(window) for one in white])
    return np.abs(clean + level * white).astype(np.float32)


def test_sigma_of_the_air_is_that_of_the_channels() -> None:
    generator = np.random.default_rng(0)
    air = np.zeros((128, 128), np.float32)
    assert np.median(spread_of_pair(magnitude(air, 0.04, generator), magnitude(air, 0.02, generator), 0.25)) == pytest.approx(0.04, rel=0.08)


def test_edges_that_moved_are_not_noise() -> None:
    """A mean of |difference| would be twice σ."""
    generator = np.random.default_rng(0)
    stripes = np.repeat((np.arange(8) % 2 + 1.0)[None], 160, axis=0).repeat(20, axis=1).astype(np.float32)
    moved = np.roll(stripes, 1, axis=1)
    sigma = spread_of_pair(magnitude(stripes, 0.05, generator), magnitude(moved, 0.025, generator), 0.25)[20:-20, 20:-20]
    assert np.median(sigma) == pytest.approx(0.05, rel=0.1)


def test_a_blank_background_says_nothing() -> None:
    """Where a scanner masks both scans, σ of the tissue beside it is not diluted."""
    generator = np.random.default_rng(0)
    body = np.zeros((128, 128), np.float32)
    body[:, 64:] = 1
    fast, reference = (magnitude(body, sigma, generator) * body for sigma in (0.05, 0.025))
    assert np.median(spread_of_pair(fast, reference, 0.25)[:, 64:68]) == pytest.approx(0.05, rel=0.1)
    assert raise_floor(fast, reference, np.full_like(fast, 0.05), 0.25)[:, :60].max() == 0


@pytest.mark.parametrize("amplitude", [0.0, 0.05, 0.15, 0.6])
@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5])
def test_the_raised_reference_has_the_mean_of_fast_scans(amplitude: float, ratio: float) -> None:
    generator = np.random.default_rng(0)
    flat = np.full((400, 400), amplitude, np.float32)
    fast = magnitude(flat, 0.05, generator)
    raised = raise_floor(fast, magnitude(flat, 0.05 * np.sqrt(ratio), generator), np.full_like(flat, 0.05), ratio)
    assert raised.mean() == pytest.approx(fast.mean(), abs=0.002)


def test_brightness_is_one_factor(clean: np.ndarray) -> None:
    images = pair_of(clean, gain=0.4)
    assert brightness(images[:, 0], images[:, 1]) == pytest.approx(2.5, rel=0.02)


def test_shifts_are_seen(clean: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    fast = magnitude(clean[1], 0.08, generator)
    assert shift(fast, magnitude(clean[1], 0.04, generator)) == (0, 0)
    assert shift(fast, np.roll(magnitude(clean[1], 0.04, generator), (2, -3), axis=(0, 1))) == (2, -3)


def test_a_pair_makes_a_real_patch(tmp_path: Path) -> None:
    scans = load_scans(write_site(tmp_path), CONFIG, holdout=False)
    assert [scan.info.kind for scan in scans] == ["pairs", "clean"]
    batch = draw_batch(scans, PHASE, np.random.default_rng(0))
    assert batch.is_real_B.tolist() == [False, False, True, True]
    assert torch.equal(batch.target_B1HW[2:], batch.second_B1HW[2:])
    assert (batch.nex_B / batch.target_nex_B).tolist()[2:] == [0.25, 0.25]
    assert {"Averages: 1", "Acceleration: unknown", "Vendor: Siemens"} <= set(batch.prompts[2])
    inside = batch.target_B1HW[2:] > 0.3
    difference = (batch.measured_B1HW - batch.target_B1HW)[2:][inside]
    expected = (batch.sigma_B1HW[2:][inside].square().mean() * 1.25).sqrt()
    assert float(difference.std()) == pytest.approx(float(expected), rel=0.15)
    assert abs(float(difference.mean())) < 0.1 * float(expected)


def test_a_reference_of_unknown_averages_is_noise_free(tmp_path: Path) -> None:
    images = pair_of(phantom(), reference_nex=None)
    info_of(tmp_path, images, reference_nex=None, acceleration=2.0)
    batch = draw_batch(load_scans(tmp_path, CONFIG, holdout=False), PHASE, np.random.default_rng(0))
    assert torch.isinf(batch.target_nex_B[2:]).all()
    assert "Acceleration: 2.0" in batch.prompts[2]
    assert all(torch.isfinite(getattr(batch, name)).all() for name in ("measured_B1HW", "target_B1HW", "sigma_B1HW"))


def test_the_loss_of_pairs_is_least_at_the_truth() -> None:
    """In dark tissue as well: there the reference's own floor is far below that of the fast scan."""
    generator = np.random.default_rng(2)
    flat = np.full((1, 1, 256, 256), 0.06, np.float32)
    fast, reference = (magnitude(flat, sigma, generator) for sigma in (SIGMA, SIGMA / 2))
    sigma = np.full_like(flat, SIGMA)
    raised = torch.from_numpy(raise_floor(fast, reference, sigma, 0.25))
    ones = torch.ones(1)
    batch = Batch(
        measured_B1HW=torch.from_numpy(fast), target_B1HW=raised, sigma_B1HW=torch.from_numpy(sigma), is_real_B=ones > 0, nex_B=ones,
        target_nex_B=4 * ones, second_B1HW=raised, prompts=(UNKNOWNS,),
    )  # fmt: skip
    candidates = [0.0, 0.03, 0.06, 0.09]
    losses = [restoration_loss(torch.full_like(raised, level), batch, batch.sigma_B1HW).item() for level in candidates]
    assert candidates[int(np.argmin(losses))] == 0.06


def test_a_reference_is_scanned_with_more_noise_than_its_own(tmp_path: Path) -> None:
    """σ of the reference is half of that of the fast scan; the gain of a patch scales both."""
    both, reference = load_scans(write_site(tmp_path, n_slices=3, size=160), CONFIG, holdout=False)
    assert both.pairs is not None
    own = float(np.median(both.pairs.sigma)) / 2
    assert reference.least_sigma == pytest.approx(4 * own, rel=0.3)
    plain = replace(PHASE.ranges, sigma=(0.002, 0.6), g_factor=0.0, filtered=0.0, averaged=0.0)
    batch = draw_batch([reference], replace(PHASE, simulated_per_batch=16, real_per_batch=0, ranges=plain), np.random.default_rng(0))
    assert float(batch.sigma_B1HW.min()) > 0.4 * reference.least_sigma
    careless = draw_batch(
        [replace(reference, least_sigma=0.0)], replace(PHASE, simulated_per_batch=16, real_per_batch=0, ranges=plain), np.random.default_rng(0)
    )
    assert float(careless.sigma_B1HW.min()) < 0.4 * reference.least_sigma


def test_pairs_and_other_kinds_mix(tmp_path: Path) -> None:
    scans = load_scans(write_site(tmp_path, kinds=("pairs", "repeats", "clean")), CONFIG, holdout=False)
    assert sorted(scan.info.kind for scan in scans) == ["clean", "clean", "pairs", "repeats"]
    batches = [draw_batch(scans, PHASE, np.random.default_rng(seed)) for seed in range(8)]
    ratios = {ratio for batch in batches for ratio in (batch.nex_B / batch.target_nex_B)[batch.is_real_B].tolist()}
    assert 0.25 in ratios
    assert ratios & {0.5, 2.0}


def test_validation_takes_the_noise_of_the_reference_off(tmp_path: Path) -> None:
    """The input gains nothing over itself; as much noise again costs 3 dB, though the difference from the reference grows by less than that."""
    held = load_scans(write_site(tmp_path, n_slices=3), CONFIG, holdout=True)
    generator = torch.Generator().manual_seed(0)

    def worse(batch: Batch) -> torch.Tensor:
        return batch.measured_B1HW + batch.sigma_B1HW * torch.randn(batch.measured_B1HW.shape, generator=generator)

    assert validate_restoration(lambda batch: batch.measured_B1HW, held, PHASE)["gain_db_own_pairs"] == pytest.approx(0, abs=1e-6)
    assert validate_restoration(worse, held, PHASE)["gain_db_own_pairs"] == pytest.approx(-10 * np.log10(2), abs=0.3)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
def test_validation_of_the_degradation_finds_the_true_noise(tmp_path: Path, factor: float) -> None:
    held = load_scans(write_site(tmp_path, n_slices=3), CONFIG, holdout=True)

    def foresee(batch: Batch, clean: torch.Tensor) -> Measurement:
        return Measurement(clean, factor * batch.sigma_B1HW)

    figures = validate_degradation(foresee, held, PHASE)
    assert figures["variance_own_pairs"] * factor**2 == pytest.approx(1, abs=0.15)
    told_right = validate_degradation(lambda batch, clean: Measurement(clean, batch.sigma_B1HW), held, PHASE)
    assert figures["nll_own_pairs"] >= told_right["nll_own_pairs"]


def damaged(how: str) -> tuple[np.ndarray, dict[str, object]]:
    images, about = pair_of(phantom(3)), {}
    if how == "one slice":
        images = images[:1]
    elif how == "constant fast":
        images[1, 0] = 7
    elif how == "constant reference":
        images[2, 1] = 0
    elif how == "same":
        images[1, 1] = images[1, 0]
    elif how == "not a number":
        images[0, 0, 5, 5] = np.nan
    elif how == "negative":
        images[0, 1, 5, 5] = -3
    elif how == "other slices":
        images[1, 1] = np.random.default_rng(0).random(images.shape[2:]) * 1000
    elif how == "shifted":
        images[:, 1] = np.roll(images[:, 1], 3, axis=2)
    elif how == "averages":
        about["reference_nex"] = 1
    return images, about


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("one slice", "at least two slices"),
        ("constant fast", "slice 1 of the fast scan is constant: leave the slice out"),
        ("constant reference", "slice 2 of the reference is constant"),
        ("same", "slice 1: fast scan and reference are the same image"),
        ("not a number", "1 pixels are negative, NaN or infinite: store magnitudes"),
        ("negative", "1 pixels are negative"),
        ("other slices", "slice 1: the two scans show different things"),
        ("shifted", r"lies \+0 rows and \+3 columns .* register"),
        ("averages", "put the fast scan first"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(tmp_path: Path, how: str, message: str) -> None:
    images, about = damaged(how)
    info_of(tmp_path, images, **about)
    with pytest.raises(DataError, match=message):
        load_scans(tmp_path, CONFIG, holdout=False)


def test_too_few_slices_to_hold_out(tmp_path: Path) -> None:
    write_scan(tmp_path, "one", phantom(1) * 1000, "clean", ABOUT)
    with pytest.raises(DataError, match="too few slices to hold any out"):
        load_scans(tmp_path, CONFIG, holdout=True)


def test_a_swapped_pair_is_pointed_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = pair_of(phantom(3, 160))[:, ::-1]
    info_of(tmp_path, images)
    load_scans(tmp_path, CONFIG, holdout=False)
    assert "event=reference_noisier" in caplog.text


def test_the_recipe_holds_out_of_short_series(tmp_path: Path) -> None:
    folder = write_site(tmp_path, n_slices=3)
    (held, _), (learnt, _) = (load_scans(folder, RECIPES["site"](), holdout=holdout) for holdout in (True, False))
    assert (held.slices.tolist(), learnt.slices.tolist()) == ([2], [0, 1])


@pytest.mark.data
def test_sigma_of_real_pairs_is_that_of_their_repeats(data_dir: Path) -> None:
    """One of six Philips repeats against the mean of the others: less than the spread of all six, in which pulsation counts, but not by much."""
    info = next(one for one in read_manifest(data_dir) if one.split == "train" and one.kind == "repeats" and one.n_repeats >= 5)
    repeats = load_images(info)[:2]
    images = np.stack([repeats[:, 0], repeats[:, 1:].mean(axis=1)], axis=1)
    found = prepare(images, replace(info, kind="pairs", nex=1, reference_nex=info.n_repeats - 1))
    bright = found.reference > 0.2
    scale = float(np.median(found.fast[bright] / images[:, 0][bright]))
    expected = np.stack([spread_of_repeats(one) for one in repeats]) * scale
    assert 0.7 < np.median(found.sigma[bright] / expected[bright]) < 1.05
