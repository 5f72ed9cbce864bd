"""The summary counts what is in the manifest, in tables and in a figure."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from onenex.errors import DataError
from onenex.pairs import manifest
from onenex.pairs.summary import Summary, headline, plot, summarise, tables
from onenex.scans import write_scan
from tests.pairs.built_folder import SALT_CHECK, noise_images, rows_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    knee = {"organ": "knee", "vendor": "GE", "sequence": "PDw", "acceleration": 2.2, "patient": "f1"}
    rows = rows_of(folder, "aa1", noise_images(5), **knee)
    rows[1:3] = [replace(row, accepted=False, reason=f"residual motion {number}.5 px is over 0.7 px") for number, row in enumerate(rows[1:3])]
    rows += rows_of(folder, "bb2", noise_images(2, 6), "repeats", organ="head", vendor="Philips", sequence="DWI", patient="f2", split="test")
    rows += rows_of(folder, "cc3", noise_images(4, 1), "clean", organ="elbow", vendor="Acme", sequence="CISS", patient="f1")
    rows += rows_of(folder, "dd4", noise_images(3), "synthetic", **(knee | {"acceleration": 4.0, "patient": "f3"}))
    manifest.add(folder, rows, salt_check=SALT_CHECK)
    return folder


def text_of(found: Summary) -> list[list[str]]:
    """The words of each line of the tables."""
    console = Console(width=200, record=True, file=StringIO())
    console.print(*tables(found))
    return [[word.strip() for word in line.replace("┃", "│").split("│")[1:-1]] for line in console.export_text().splitlines()]


def test_rows_are_counted(folder: Path) -> None:
    found = summarise(folder)
    assert found.n_pairs == 3 + 2 * 5 + 3
    assert found.by("organ", "vendor") == {("knee", "GE"): 6, ("head", "Philips"): 10, ("elbow", "Acme"): 4}
    assert found.by("acceleration") == {("2×",): 5, ("6×",): 2, ("3×",): 2, ("1.5×",): 2, ("1×",): 2, ("4×",): 3, ("–",): 4}
    assert found.by("split", "kind") == {("train", "pairs"): 3, ("test", "repeats"): 10, ("train", "clean"): 4, ("train", "synthetic"): 3}
    assert found.patients == {"train": 2, "test": 1}
    assert found.rejected == {"residual motion … px is over … px": 2}
    assert headline(found) == "16 slice pairs · 4 slices of references alone · 2 patients in train, 1 patient in test · 2 rejected"


def test_tables_say_it_in_order(folder: Path) -> None:
    lines = text_of(summarise(folder))
    first = [line for line in lines if len(line) == 6]
    assert first[0] == ["organ", "vendor", "sequence", "acceleration", "train", "test"]
    assert first[1:6] == [["head", "Philips", "DWI", "1×", "·", "2"], *(["", "", "", f"{a}×", "·", "2"] for a in ("1.5", "2", "3", "6"))]
    assert first[6:] == [["knee", "GE", "PDw", "2×", "3", "·"], ["", "", "", "4×", "3", "·"], ["elbow", "Acme", "CISS", "–", "4", "·"]]
    assert ["organ", "GE", "Philips", "Acme", "all"] in lines
    assert ["all", "6", "10", "4", "20"] in lines
    assert ["residual motion … px is over … px", "2"] in lines


def test_the_figure_has_three_panels(folder: Path, tmp_path: Path) -> None:
    """Something is drawn in the left, middle and right third; the file says nothing but its pixels."""
    assert plot(folder, tmp_path / "one.png") == summarise(folder)
    with Image.open(tmp_path / "one.png") as picture:
        assert set(picture.info) <= {"dpi"}
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    coloured = np.ptp(pixels, axis=2) > 40
    assert all(third.mean() > 0.03 for third in np.array_split(coloured, 3, axis=1))
    plot(folder, tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_what_is_not_accepted_draws_an_empty_figure(tmp_path: Path) -> None:
    rows = [replace(row, accepted=False, reason="moved") for row in rows_of(tmp_path, "aa1", noise_images())]
    manifest.add(tmp_path, rows, salt_check=SALT_CHECK)
    assert plot(tmp_path, tmp_path / "one.png").n_pairs == 0
    assert headline(summarise(tmp_path)) == "0 slice pairs · 3 rejected"
    assert tables(summarise(tmp_path))


def test_plain_folders_are_counted_too(tmp_path: Path) -> None:
    write_scan(tmp_path, "one", np.ones((3, 2, 4, 5)), "pairs", {"organ": "knee", "vendor": "GE", "acceleration": 2})
    write_scan(tmp_path, "two", np.ones((2, 4, 5)), "clean", {"split": "test"})
    found = summarise(tmp_path)
    assert found.by("organ", "vendor", "acceleration", "split") == {("knee", "GE", "2×", "train"): 3, ("unknown", "unknown", "–", "test"): 2}
    assert headline(found) == "3 slice pairs · 2 slices of references alone"
    with pytest.raises(DataError, match=r"no manifest\.csv or pairs\.parquet"):
        summarise(tmp_path / "nowhere")
