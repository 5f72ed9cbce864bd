"""Damaged files: skipped with a reason, or refused with one of our errors; never a crash, never at the cost of others."""

from pathlib import Path

import numpy as np
import pytest

from onenex.dicom import read_series
from onenex.errors import OneNexError
from tests.dicom.make import make_enhanced, make_series


def test_a_damaged_file_skips_its_series_and_no_other(tmp_path: Path) -> None:
    paths = make_series(tmp_path, 4, SeriesNumber=1, prefix="bad")
    make_series(tmp_path, 3, SeriesNumber=2, prefix="good")
    paths[2].write_bytes(paths[2].read_bytes()[:-300])
    bad, good = read_series(tmp_path)
    assert bad.skip_reason is not None
    assert bad.skip_reason.startswith("bad0002.dcm is truncated: its pixel data should be 1536 bytes and 1236 are there")
    assert bad.n_images == 4
    assert good.skip_reason is None


def test_an_unreadable_header_is_a_skipped_series_of_its_own(tmp_path: Path) -> None:
    paths = make_series(tmp_path, 3)
    paths[1].write_bytes(paths[1].read_bytes()[:200])
    good, bad = read_series(tmp_path)
    assert (good.n_images, good.skip_reason) == (2, None)
    assert bad.skip_reason is not None
    assert bad.skip_reason.startswith("im0001.dcm has a damaged header")
    assert bad.path == paths[1]
    assert bad.n_images == 0


def test_contradicting_bits_skip_the_series(tmp_path: Path) -> None:
    make_series(tmp_path, 2, RescaleSlope=0)
    (series,) = read_series(tmp_path)
    assert series.skip_reason is not None
    assert "cannot be inverted: send the series again" in series.skip_reason


@pytest.mark.parametrize("enhanced", [False, True])
def test_damaged_bytes_never_escape_as_anything_but_our_errors(tmp_path: Path, enhanced: bool) -> None:
    rng = np.random.default_rng(5)
    whole = (make_enhanced(tmp_path / "whole.dcm", 2) if enhanced else make_series(tmp_path, 1)[0]).read_bytes()
    header_end = whole.index(b"\xe0\x7f\x10\x00")
    outcomes = set()
    for trial in range(60):
        content = bytearray(whole)
        for place in rng.integers(132, header_end + 12, 1 + trial % 8):
            content[place] = rng.integers(256)
        if trial % 5 == 0:
            del content[rng.integers(200, len(content)) :]
        damaged = tmp_path / "damaged.dcm"
        damaged.write_bytes(content)
        try:
            for series in read_series(damaged):
                outcomes.add("skipped" if series.skip_reason else "accepted")
                for stack in series.stacks:
                    if series.skip_reason is None:
                        assert np.isfinite(series.source.images(stack)).all()
        except OneNexError as error:
            outcomes.add(type(error).__name__)
    assert {"skipped", "accepted"} <= outcomes
