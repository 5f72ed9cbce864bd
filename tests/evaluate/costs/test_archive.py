"""The measurement of the index: it generates what it says, and its bars can fail."""

from dataclasses import replace
from pathlib import Path

import pytest

from onenex.errors import DataError
from onenex.evaluate.costs.archive import ArchiveSpeed, generate, measure
from onenex.pairs.archive import scan, volumes


def test_the_generated_archive_is_what_it_says(tmp_path: Path) -> None:
    assert generate(120, tmp_path / "tree") == 3
    found = scan(tmp_path / "tree", tmp_path / "index.sqlite")
    assert (found.n_files, found.n_dicom, found.n_series, found.n_volumes, found.n_copies) == (120, 120, 3, 3, 0)
    assert [len(one.stack.frames) for one in volumes(tmp_path / "index.sqlite")] == [50, 50, 20]


def test_a_small_measurement(tmp_path: Path) -> None:
    speed = measure(60, tmp_path)
    assert (speed.n_files, speed.n_series) == (60, 2)
    assert 0 < speed.second_s < speed.first_s
    assert 10**7 < speed.peak_bytes < 10**9
    assert list(tmp_path.iterdir()) == []
    assert str(speed).startswith("60 files in 2 series, 0 workers:")


def test_the_bars_can_fail() -> None:
    good = ArchiveSpeed(
        n_files=3000, n_series=60, n_workers=0, generated_s=1.0, first_s=9.0, first_cpu_s=9.0, second_s=0.5, peak_bytes=10**8, index_bytes=10**6
    )
    assert good.passed
    assert not any(one.passed for one in (replace(good, first_s=11.0), replace(good, second_s=1.0), replace(good, peak_bytes=10**9)))


def test_it_touches_nothing_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    with pytest.raises(DataError, match="without an archive"):
        measure(10, tmp_path)
    with pytest.raises(DataError, match="1 or more"):
        measure(0, tmp_path / "other")
