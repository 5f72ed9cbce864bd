"""The scan-time ledger of a small archive: minutes, savings, examinations, and what isn't known."""

from pathlib import Path

import pytest

from onenex.errors import DataError
from onenex.evaluate.ledger import Ledger, ledger_of
from onenex.evaluate.reporting.scan_time import findings, scan_time_section, section
from tests.dicom.make import make_series

PROTOCOL = {
    "FrameOfReferenceUID": "1.2.9", "RepetitionTime": 3000, "EchoTime": 90, "EchoTrainLength": 16, "MRAcquisitionType": "2D",
    "BodyPartExamined": "KNEE",
}  # fmt: skip


def scan(folder: Path, study: str, number: int, **attrs: object) -> None:
    known = PROTOCOL | {"StudyInstanceUID": f"1.2.{study}", "PatientID": study, "SeriesNumber": number, "AcquisitionTime": f"12{number:02d}00"}
    make_series(folder / f"{study}-{number}", n_slices=6, rows=64, columns=64, seed=number, **(known | attrs))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Two knees: of one both times are stated, of the other the fast one follows from its protocol and the reference is unknown."""
    folder = tmp_path_factory.mktemp("archive")
    scan(folder, "7", 1, NumberOfAverages=1, AcquisitionDuration=50.0)
    scan(folder, "7", 2, NumberOfAverages=4, AcquisitionDuration=200.0)
    scan(folder, "8", 1, NumberOfAverages=1, NumberOfPhaseEncodingSteps=256)
    scan(folder, "8", 2, NumberOfAverages=4)
    return ledger_of(folder)


def test_pairs_have_their_times_and_sources(found: Ledger) -> None:
    first, second = sorted(found.pairs, key=lambda pair: pair.study)
    assert (first.fast.seconds, first.reference.seconds, first.saved_s) == (50.0, 200.0, 150.0)
    assert first.fast.source == "AcquisitionDuration (0018,9073)"
    assert (second.fast.seconds, second.reference.seconds, second.saved_s) == (pytest.approx(48.0), None, None)
    assert second.fast.source.startswith("estimated from TR, lines, NEX, ETL")
    assert found.saved_min == pytest.approx(2.5)
    assert {pair.organ for pair in found.pairs} == {"knee"}


def test_examinations_fit_under_a_minute_or_not_or_cannot_be_told(found: Ledger) -> None:
    assert [(one.fast_under_a_minute, one.reference_under_a_minute) for one in found.studies] == [(True, False), (True, None)]
    assert sorted((one.n_scans, one.n_known) for one in found.examinations) == [(2, 1), (2, 2)]


def test_the_section_says_so(found: Ledger) -> None:
    said = " ".join(one.text for one in findings(found))
    assert "Fast scans with their references: 2, of which 1 with both times known." in said
    assert "0:50 on average, its reference 3:20; 2.5 minutes are saved" in said
    assert "the fast protocol of 2 (0 cannot be told), the reference protocol of 0 (1 cannot be told)" in said
    by_group, by_source = section(found).tables
    assert [cell.text for cell in by_group.lines[0].cells] == ["2", "1", "0:50", "3:20", "2:30"]
    assert sum(int(line.cells[0].text) for line in by_source.lines) == 4


def test_nothing_of_the_source_gets_into_the_ledger(found: Ledger) -> None:
    assert "1.2." not in repr(found)


def test_a_folder_without_pairs_and_no_folder(tmp_path: Path) -> None:
    scan(tmp_path, "9", 1, NumberOfAverages=1, AcquisitionDuration=50.0)
    told = scan_time_section(tmp_path)
    assert told.tables == ()
    assert "1 examination, 1 with all scan times known; 0:50 of known scan time; 1 under a minute" in told.findings[-1].text
    with pytest.raises(DataError, match="is no folder"):
        scan_time_section(tmp_path / "missing")
