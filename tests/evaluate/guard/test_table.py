"""The guard's benchmark from end to end on a folder made of the phantom, and what it says of rows it is given."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from onenex.errors import DataError
from onenex.evaluate.guard import faults
from onenex.evaluate.guard import report as guard_report
from onenex.evaluate.guard import table as guard_table
from onenex.evaluate.guard.report import HONEST, MODEL, TRUTH, GuardRow
from onenex.model import Model
from onenex.model.modes import Settings
from onenex.scans import read_manifest
from onenex.series import Acquisition, Denoised
from tests.train.packed import write_packed

ROW = GuardRow(
    file="a",
    index=0,
    condition="as it is",
    result=MODEL,
    fault=HONEST,
    radius=0,
    contrast=0,
    snr=0,
    touched=False,
    caught=False,
    kept=1,
    left=0,
    reasons="",
)


@pytest.mark.parametrize("split", ["train", "test"])
def test_from_end_to_end(tmp_path: Path, split: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, output = write_packed(tmp_path / "data", size=64), tmp_path / "out" / "deep"
    path = guard_table.run(data, output, split=split, device="cpu")
    assert path == output / "guard.csv"
    assert (output / "guard.png").stat().st_size > 10_000
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    honest = [row for row in rows if row["fault"] == HONEST and row["result"] == MODEL]
    truths = [row for row in rows if row["fault"] == HONEST and row["result"] == TRUTH]
    n_slices = 1 if split == "train" else guard_table.MAX_SLICES
    n_repeated = 1 if split == "train" else 8
    assert len(honest) == n_slices * (1 + guard_table.SIMULATIONS) + n_repeated
    assert len(truths) == n_slices * guard_table.SIMULATIONS
    assert {row["condition"] for row in rows} == {"as it is", "simulated 1", "simulated 2", "real repeat"}
    assert {row["file"] for row in rows} == {f"clean_{split}", f"repeats_{split}"}
    assert {row["fault"] for row in rows} >= {HONEST, faults.ERASED, faults.ADDED, faults.SWAPPED}
    printed = capsys.readouterr().out
    for words in ("honest slices touched", "lesion erased caught", "slice swapped caught", "radius 2"):
        assert words in printed


def test_rows_do_not_depend_on_what_ran_before(tmp_path: Path) -> None:
    info = next(one for one in read_manifest(write_packed(tmp_path)) if one.id == "clean_test")
    first, second = list(guard_table.slices_of(info)), list(guard_table.slices_of(info))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.measured, other.measured)
    assert not np.array_equal(first[1].measured, first[2].measured)
    simulated = first[1]
    assert simulated.noise is not None
    assert 0.7 < simulated.noise.std() < 1.3


def test_results_are_judged_as_the_model_made_them(tmp_path: Path) -> None:
    """A result that the engine's own guard has put right passes: it would say nothing of how many slices are touched."""
    asked = []

    class Recorder:
        def denoise(self, images: np.ndarray, acquisition: Acquisition, *, mode: Settings, scale: float) -> Denoised:
            asked.append((mode.mode, mode.guard, scale))
            assert acquisition == info.acquisition
            sigma = np.full_like(images, 0.05)
            return Denoised(images=images, noise_sigma=sigma, mode=mode.mode, strength=1.0, seed=0, weights_hash="")

    info = next(one for one in read_manifest(write_packed(tmp_path)) if one.id == "clean_test")
    one = next(guard_table.slices_of(info))
    rows = list(guard_table.rows_of(one, cast("Model", Recorder()), Settings(mode="full")))
    assert asked == [("full", False, 1.0)]
    assert rows[0].fault == HONEST


def test_a_folder_without_the_split_is_refused(tmp_path: Path) -> None:
    data = write_packed(tmp_path, splits=("train",))
    with pytest.raises(DataError, match="'test'"):
        guard_table.run(data, split="test")


def test_rates_are_held_against_their_bars() -> None:
    honest = [replace(ROW, touched=index == 0, reasons="why") for index in range(50)]
    lesions = [replace(ROW, fault=faults.ADDED, radius=4.0, contrast=-3.0, snr=20.0, caught=index > 2) for index in range(40)]
    swapped = [replace(ROW, fault=faults.SWAPPED, snr=90.0, caught=True) for _ in range(5)]
    lines = guard_report.findings(honest + lesions + swapped)
    verdicts = {line.text.split(":")[0]: line.passed for line in lines if line.passed is not None}
    assert verdicts == {"honest slices touched": True, "lesion added caught": False, "slice swapped caught": True}
    assert any("why" in line.text for line in lines)
    assert any("3 σ 37/40 (20)" in line.text for line in lines)
    hard = guard_report.findings([*honest, replace(ROW, result=TRUTH, touched=True)])
    assert hard[0].passed
    assert sum("honest slices touched: 1 of 1" in line.text and line.passed is None for line in hard) == 1
    worse = guard_report.findings([replace(row, touched=index < 2) for index, row in enumerate(honest)])
    assert worse[0].passed is False
