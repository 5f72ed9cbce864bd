"""Rows of the ablation: slices spread evenly and never trained on, scored without bias, denoised as in the whole series."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onenex.errors import DataError
from onenex.evaluate import trials
from onenex.evaluate.cases import cases
from onenex.evaluate.trials import CONDITIONS, HOLDOUT_EVERY, Plan, chosen, files
from onenex.scans import ScanInfo, read_manifest
from onenex.train.config import TrainConfig
from onenex.train.dataset import load_scans
from onenex.train.recipes.unified_cpu import unified_cpu
from tests.train.packed import write_packed


def rows(data: Path, plan: Plan) -> list[trials.Trial]:
    return list(trials.trials(data, files(data, plan), plan))


def info_of(data: Path, **changed: object) -> ScanInfo:
    return replace(read_manifest(data)[0], **changed)  # type: ignore[arg-type]


def test_held_out_is_what_training_holds_out(tmp_path: Path) -> None:
    data = write_packed(tmp_path)
    assert HOLDOUT_EVERY == TrainConfig.holdout_every == unified_cpu().holdout_every
    held = {scan.info.id: set(scan.slices) for scan in load_scans(data, unified_cpu(), holdout=True)}
    plan = Plan(split="train", slices=50)
    assert {info.id: set(chosen(info, plan)) for info in files(data, plan)} == held


@pytest.mark.data
def test_no_slice_of_the_real_training_files_was_learnt_from(data_dir: Path) -> None:
    plan = Plan(split="train", slices=1, one_a_file=True)
    learnt = {scan.info.id: set(scan.slices) for scan in load_scans(data_dir, unified_cpu(), holdout=False)}
    found = files(data_dir, plan)
    assert len(found) > 20
    for info in found:
        assert not learnt[info.id] & set(chosen(info, plan))


def test_a_file_too_short_to_hold_a_slice_out_takes_part_only_when_asked_for(tmp_path: Path) -> None:
    info = info_of(write_packed(tmp_path), split="train", n_slices=7)
    assert len(trials.allowed(info, Plan(split="train"))) == 0
    assert list(trials.allowed(info, Plan(split="train", short=True))) == [6]
    longer = replace(info, n_slices=17)
    assert list(trials.allowed(longer, Plan(split="train", short=True))) == [7, 15]
    with pytest.raises(DataError, match="split 'holdout'"):
        files(tmp_path, Plan(split="holdout"))


@pytest.mark.parametrize("n_slices", [1, 2, 3, 4, 5, 11, 24, 39])
@pytest.mark.parametrize("wanted", [1, 2, 3, 4, 6])
def test_slices_are_spread_evenly_and_none_twice(tmp_path: Path, n_slices: int, wanted: int) -> None:
    info = info_of(write_packed(tmp_path), split="test", kind="clean", n_slices=n_slices, rows=256, columns=256)
    found = chosen(info, Plan(slices=wanted))
    assert len(set(found)) == len(found) == min(wanted, n_slices)
    gaps = np.diff(found)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
    assert abs(found.mean() - (n_slices - 1) / 2) <= 1


def test_large_slices_count_for_more_but_one_is_always_taken(tmp_path: Path) -> None:
    info = info_of(write_packed(tmp_path), split="test", kind="clean", n_slices=24)
    for side, n in ((128, 8), (256, 2), (512, 1)):
        assert len(chosen(replace(info, rows=side, columns=side), Plan(slices=2))) == n


def test_empty_slices_are_left_out(tmp_path: Path) -> None:
    info = info_of(write_packed(tmp_path), split="test", kind="clean", n_slices=8, rows=256, columns=256)
    mask = np.zeros((8, 4, 4), dtype=np.bool_)
    mask[3:5] = True
    assert list(chosen(info, Plan(slices=2), mask)) == [3, 4]


def test_all_slices_score_as_in_the_other_benchmark(tmp_path: Path) -> None:
    """The same scans, the same noise-free truth, the same score: with every slice chosen the input's figures are those of `cases`."""
    data = write_packed(tmp_path)
    ours = {(one.info.id, one.condition): one.score(one.stacks) for one in rows(data, Plan(slices=100)) if not one.simulated}
    theirs = {(one.info.id, one.condition): one.score(one.stacks) for one in cases(data) if not one.simulated}
    assert ours
    for row, score in ours.items():
        assert (score.psnr, score.ssim) == pytest.approx((theirs[row].psnr, theirs[row].ssim))


def test_what_is_drawn_does_not_depend_on_how_many_slices_are_chosen(tmp_path: Path) -> None:
    data = write_packed(tmp_path, size=256)
    few, many = ([one for one in rows(data, Plan(slices=n)) if one.simulated] for n in (1, 8))
    for one, all_of_them in zip(few, many, strict=True):
        assert one.scales == all_of_them.scales
        assert any(np.array_equal(one.stacks[0][0], image) for image in all_of_them.stacks[0])


def test_volumes_keep_their_own_scale(tmp_path: Path) -> None:
    data = write_packed(tmp_path)
    info = next(one for one in read_manifest(data) if one.id == "repeats_test")
    images = np.load(info.path)["images"]
    images[4:] //= 4  # a second, darker volume
    np.savez_compressed(info.path, images=images)
    (trial,) = trials.repeats_trials(replace(info, note="4 slices per direction"), Plan(slices=100), unseen=True)
    assert [len(stack) for stack in trial.stacks] == [4, 4] * 3
    bright, dark = trial.scales[:2]
    assert bright / dark == pytest.approx(4, rel=0.1)
    clean = trial.score([stack * 0.5 for stack in trial.stacks])
    assert clean.psnr < trial.score(trial.stacks).psnr


def test_every_file_has_its_turn_once(tmp_path: Path) -> None:
    data = write_packed(tmp_path)
    found = rows(data, Plan())
    assert sorted(one.info.id for one in found if one.turn) == ["clean_test", "repeats_test"]
    assert len([one for one in found if one.simulated]) == len(CONDITIONS)
    once = rows(data, Plan(one_a_file=True))
    assert [(one.info.id, one.condition) for one in once] == [(one.info.id, one.condition) for one in found if one.turn]
