"""Rows of the benchmark: the same draw every time, scored against what they should be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onenex.evaluate import cases, metrics
from onenex.scans import ScanInfo, load_images, read_manifest
from tests.train.packed import write_packed


@pytest.fixture
def infos(tmp_path: Path) -> dict[str, ScanInfo]:
    return {info.id: info for info in read_manifest(write_packed(tmp_path))}


def test_every_condition_of_every_file(tmp_path: Path) -> None:
    found = list(cases.cases(write_packed(tmp_path)))
    assert [case.condition for case in found] == ["real repeats"] + [f"σ {s:.2f} {k}" for s in cases.SIGMAS for k in ("uniform", "varying")]
    assert all(case.unseen for case in found)
    assert len(list(cases.cases(tmp_path, quick=True))) == 3


def test_kin_in_training_is_noticed(tmp_path: Path) -> None:
    folder = write_packed(tmp_path)
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("train,clean_train", "train,clean_test"), encoding="utf-8")
    assert {case.info.id: case.unseen for case in cases.cases(folder)} == {"repeats_test": True, "clean_test": False}


@pytest.mark.parametrize("varying", [False, True])
def test_simulated_rows_hold_the_noise_they_say(infos: dict[str, ScanInfo], varying: bool) -> None:
    info = infos["clean_test"]
    clean = cases.load_clean(info)
    measured, sigma = cases.simulate(clean, info, 0.05, varying)
    again, _ = cases.simulate(clean, info, 0.05, varying)
    np.testing.assert_array_equal(measured, again)
    other, _ = cases.simulate(clean, info, 0.06, varying)
    assert not np.array_equal(measured, other)
    bright = clean.images > 0.5
    normalised = ((measured - clean.images) / sigma)[bright]
    assert normalised.std() == pytest.approx(1, abs=0.05)
    assert np.sqrt(np.mean(sigma**2)) == pytest.approx(0.05, rel=1e-3)
    assert (np.ptp(sigma) > 0.005) == varying


def test_the_clean_image_is_the_reference(infos: dict[str, ScanInfo], tmp_path: Path) -> None:
    case = next(case for case in cases.cases(tmp_path) if case.simulated)
    clean = cases.load_clean(infos["clean_test"]).images
    perfect = case.score([clean])
    assert perfect.psnr == np.inf
    assert perfect.ssim == pytest.approx(1)
    assert case.score(case.stacks).psnr == pytest.approx(-20 * np.log10(0.03), abs=0.7)


def test_repeats_are_scored_in_the_order_they_were_given_out(infos: dict[str, ScanInfo]) -> None:
    case = next(cases.repeats_cases(infos["repeats_test"], unseen=True))
    untouched, swapped = case.score(case.stacks), case.score(case.stacks[::-1])
    # the phantom's noise is 0.08 of 4000; its scale is the 99th percentile of the foreground, close to 0.9 of 4000
    assert untouched.psnr == pytest.approx(-20 * np.log10(0.08 / 0.9), abs=0.7)
    assert swapped.psnr > untouched.psnr + 3  # a repeat handed back for another is in its own reference
    mean = np.mean(case.stacks, axis=0)
    assert case.score([mean] * len(case.stacks)).ssim > untouched.ssim


def test_directions_are_kept_apart(infos: dict[str, ScanInfo]) -> None:
    info = replace(infos["repeats_test"], note="b1000; 2 slices per direction, directions in order")
    case = next(cases.repeats_cases(info, unseen=True))
    assert [len(stack) for stack in case.stacks] == [2] * (cases.MAX_VOLUMES * cases.MAX_INPUTS)
    assert len(case.mask) == 2 * cases.MAX_VOLUMES


def test_the_prototype_row_starts_from_the_prototype_input(infos: dict[str, ScanInfo]) -> None:
    info = infos["clean_test"]
    clean = cases.load_clean(info)
    sigma = cases.sigma_for_input(clean, info, 24.0)
    measured, _ = cases.simulate(clean, info, sigma, varying=True)
    assert metrics.psnr(metrics.mean_squared_error(measured, clean.images, clean.mask), 1.0) == pytest.approx(24, abs=0.2)


def test_means_are_scored_where_a_reference_is_left(tmp_path: Path) -> None:
    folder = write_packed(tmp_path)
    (info,) = (one for one in read_manifest(folder) if one.id == "repeats_test")
    generator = np.random.default_rng(4)
    truth = load_images(info)[:, :1]
    repeats = np.abs(truth + generator.normal(0, 300, (8, 5, 64, 64)))
    np.savez(info.path, images=repeats.astype(np.uint16))
    singles, twos, threes = cases.repeats_cases(replace(info, n_repeats=5), unseen=True)
    assert [(case.nex, len(case.stacks)) for case in (singles, twos, threes)] == [(1, 3), (2, 2), (3, 1)]
    assert twos.condition == "real repeats, means of 2"
    gain = twos.score(twos.stacks).psnr - singles.score(singles.stacks).psnr
    assert gain == pytest.approx(10 * np.log10(2), abs=0.3)


@pytest.mark.data
def test_real_test_files_have_a_sensible_foreground(data_dir: Path) -> None:
    for info in read_manifest(data_dir):
        if info.split == "test" and info.kind == "clean":
            clean = cases.load_clean(info)
            assert 0.1 < clean.mask.mean() < 0.8, info.id
            assert cases.MIN_SLICES <= len(clean.images) <= cases.MAX_SLICES
            assert clean.images[clean.mask].mean() > 3 * clean.images[~clean.mask & (clean.images < 0.9)].mean(), info.id
