"""Scan times add up to examinations, each scan once, and what isn't known is said to be unknown."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onenex.cli import app
from onenex.scan_time import ScanTime, clock, examinations, summary
from tests.dicom.make import make_series


def time(seconds: float | None, began_s: float | None = None) -> ScanTime:
    return ScanTime(seconds=seconds, source="somewhere", began_s=began_s)


def test_scans_of_a_study_add_up_and_series_of_one_scan_count_once() -> None:
    found = examinations([("a", time(20, 100)), ("b", time(200)), ("a", time(20, 100)), ("a", time(30, 130))])
    assert [(one.study, one.n_scans, one.seconds, one.under_a_minute) for one in found] == [("a", 2, 50, True), ("b", 1, 200, False)]


def test_unknown_times_leave_it_open_unless_the_known_ones_decide() -> None:
    open_, decided = examinations([("a", time(20)), ("a", time(None)), ("b", time(70)), ("b", time(None))])
    assert (open_.n_known, open_.complete, open_.under_a_minute) == (1, False, None)
    assert decided.under_a_minute is False
    assert (
        summary([open_, decided]) == "2 examinations, 0 with all scan times known; 1:30 of known scan time; 0 under a minute, 1 that cannot be told"
    )


def test_a_minute_is_not_under_a_minute() -> None:
    assert [one.under_a_minute for one in examinations([("a", time(59.9)), ("b", time(60))])] == [True, False]


@pytest.mark.parametrize(("seconds", "text"), [(5, "0:05"), (59.6, "1:00"), (302, "5:02"), (3723, "1:02:03")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_inspect_tells_times_their_sources_and_examinations(tmp_path: Path) -> None:
    make_series(tmp_path / "a", StudyInstanceUID="1.2.3", SeriesDescription="quick", AcquisitionDuration=41.0)
    make_series(tmp_path / "b", StudyInstanceUID="1.2.4", SeriesDescription="echo", EchoTrainLength=None, ScanningSequence="EP")
    text = CliRunner().invoke(app, ["inspect", str(tmp_path)]).stdout
    assert "scan_time: 0:41 (AcquisitionDuration (0018,9073))" in text
    assert "scan_time: unknown (no duration stated; echo-planar" in text
    assert "2 examinations, 1 with all scan times known; 0:41 of known scan time; 1 under a minute, 1 that cannot be told" in text
    told = json.loads(CliRunner().invoke(app, ["inspect", str(tmp_path), "--json"]).stdout)
    assert {one["study_uid"]: one["under_a_minute"] for one in told["examinations"]} == {"1.2.3": True, "1.2.4": None}
    assert {one["description"]: one["scan_time"]["seconds"] for one in told["series"]} == {"quick": 41.0, "echo": None}
