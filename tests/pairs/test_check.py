"""`pairs check`: a whole folder has no problem, and every kind of damage is found."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from onenex import built
from onenex.pairs import manifest
from onenex.pairs.check import check
from onenex.pairs.manifest import Row
from tests.pairs.built_folder import SALT_CHECK, noise_images, rows_of


def rows_and_folder(folder: Path) -> list[Row]:
    rows = rows_of(folder, "aa1", noise_images(seed=1), patient="f1")
    rows += rows_of(folder, "bb2", noise_images(2, 4, seed=2), "repeats", patient="f2", split="test")
    blank = np.zeros((2, 1, 8, 6))
    return rows + rows_of(folder, "cc3", blank, "clean", patient="f3") + rows_of(folder, "dd4", blank, "clean", patient="f4", split="test")


def write_unchecked(folder: Path, rows: list[Row]) -> None:
    """Write rows that `manifest.add` would refuse."""
    table = manifest.schema(SALT_CHECK).empty_table().from_pylist([vars(row) for row in rows], schema=manifest.schema(SALT_CHECK))
    parquet.write_table(table, folder / built.MANIFEST)


def test_a_whole_folder_has_no_problem(tmp_path: Path) -> None:
    rows = rows_and_folder(tmp_path)
    rows[1] = replace(rows[1], accepted=False, reason="moved")
    manifest.add(tmp_path, rows, salt_check=SALT_CHECK)
    assert check(tmp_path) == []


def damage_file(folder: Path, how: str) -> None:
    shard = folder / "shards" / "aa" / "aa1.npy"
    content = bytearray(shard.read_bytes())
    if how == "missing":
        shard.unlink()
    elif how == "changed":
        content[-7] ^= 1
        shard.write_bytes(content)
    elif how == "cut":
        shard.write_bytes(content[:-20])
    elif how == "float":
        np.save(shard, np.full((3, 2, 8, 6), np.nan, np.float32))
    elif how == "other":
        np.save(shard, np.zeros((3, 2), np.int64))
    elif how == "stray":
        np.save(folder / "shards" / "aa" / "zz9.npy", np.zeros(3))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "aa1.npy: missing, though 3 slices are in it"),
        ("changed", "aa1.npy: its checksum is another"),
        ("cut", "aa1.npy: unreadable"),
        ("float", "aa1.npy, entry 0: holds NaN"),
        ("other", "not uint16"),
        ("stray", "zz9.npy: no row points at it"),
    ],
)
def test_damaged_files_are_found(tmp_path: Path, how: str, message: str) -> None:
    manifest.add(tmp_path, rows_and_folder(tmp_path), salt_check=SALT_CHECK)
    damage_file(tmp_path, how)
    assert any(message in str(problem) for problem in check(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [*rows, replace(rows[0], id="ee5", index=7)], "slice 0 points at (2, 8, 6), the shard has (3, 2, 8, 6)"),
        (lambda rows: [*rows, rows[0]], "scan aa1, slice 0: there twice"),
        (lambda rows: [*rows, replace(rows[0], id="ee5")], "points at the entry of scan aa1"),
        (lambda rows: [replace(rows[0], split="test"), *rows[1:]], "patient f1 is in both splits"),
        (lambda rows: [replace(row, split="test", kind="synthetic") for row in rows[:3]] + rows[3:], "synthetic, and in the test split"),
        (lambda rows: [replace(row, rows=9) for row in rows[:3]] + rows[3:], "points at (2, 9, 6)"),
    ],
)
def test_rows_that_mislead_are_found(tmp_path: Path, change: Callable[[list[Row]], list[Row]], message: str) -> None:
    write_unchecked(tmp_path, change(rows_and_folder(tmp_path)))
    assert any(message in str(problem) for problem in check(tmp_path)), check(tmp_path)


def test_pixels_in_both_splits_are_found(tmp_path: Path) -> None:
    """The same reference under two patients' names, beside another fast scan."""
    train, test = noise_images(seed=1), noise_images(seed=2)
    test[1, 1] = train[2, 1]
    rows = rows_of(tmp_path, "aa1", train, patient="f1") + rows_of(tmp_path, "bb2", test, patient="f2", split="test")
    manifest.add(tmp_path, rows, salt_check=SALT_CHECK)
    (problem,) = check(tmp_path)
    assert str(problem).startswith("shards/bb/bb2.npy, entry 1: image 1 is also in shards/aa/aa1.npy, entry 2")
