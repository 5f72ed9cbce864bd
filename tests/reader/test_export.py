"""Answers as CSV, and findings as R's packages read them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from onenex.errors import StudyError
from onenex.reader.export import COLUMNS, export, read_responses, write_responses
from onenex.reader.records import Response
from tests.reader.simulated import plan, study


@pytest.fixture(scope="module")
def responses() -> list[Response]:
    return study(n_patients=8)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_round_trip(responses: list[Response], tmp_path: Path) -> None:
    odd = [replace(responses[0], patient='O\'Neil, "Zoë"\n=1+1', seconds=0.1 + 0.2), *responses[1:]]
    write_responses(odd, tmp_path / "responses.csv")
    assert read_responses(tmp_path / "responses.csv") == odd


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("reader,reading", "reading,reader", "other columns"),
        ("rating", "guess", "line 2: 'guess' is not a valid Kind"),
        (",0,overall", ",none,overall", "line 2: invalid literal"),
    ],
)
def test_a_damaged_file_is_refused_by_line(responses: list[Response], tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "responses.csv"
    write_responses(responses, path)
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(StudyError, match=said):
        read_responses(path)
    with pytest.raises(StudyError, match="cannot be read"):
        read_responses(tmp_path / "none.csv")


def test_a_line_cut_short_is_refused(responses: list[Response], tmp_path: Path) -> None:
    path = tmp_path / "responses.csv"
    write_responses(responses, path)
    path.write_text(path.read_text(encoding="utf-8").rstrip("\n").rsplit(",", 3)[0] + "\n", encoding="utf-8")
    with pytest.raises(StudyError, match="number of cells"):
        read_responses(path)


def test_list_mode_of_imrmc(responses: list[Response], tmp_path: Path) -> None:
    """iMRMC: readerID, caseID, modalityID, score; for every case a row by the reader "truth", modality "truth", score 0 or 1."""
    export(responses, plan().items, tmp_path)
    found = rows(tmp_path / "task.meniscus_tear.imrmc.csv")
    assert list(found[0]) == ["readerID", "caseID", "modalityID", "score"]
    truths = {row["caseID"]: row["score"] for row in found if row["readerID"] == "truth"}
    assert all(row["modalityID"] == "truth" for row in found if row["readerID"] == "truth")
    assert set(truths.values()) == {"0", "1"}
    scored = [row for row in found if row["readerID"] != "truth"]
    assert len(scored) == 16 * 3 * 2
    assert {row["caseID"] for row in scored} == set(truths)
    right = {f"{one.case}@{one.where}": str(one.truth) for one in responses if one.item == "meniscus_tear"}
    assert truths == right
    assert len({(row["readerID"], row["caseID"], row["modalityID"]) for row in found}) == len(found)


def test_numbered_imrmc_reads_as_rjafroc_reads_it(responses: list[Response], tmp_path: Path) -> None:
    """RJafroc's ReadImrmc: N0, N1, NR, NM before "BEGIN DATA:", then rows of four numbers; as many cases as N0 and N1 say."""
    one_unread = [one for one in responses if not (one.reader == "reader1" and one.case == "case000" and one.arms == ("fast",))]
    export(one_unread, plan().items, tmp_path)
    lines = (tmp_path / "task.meniscus_tear.imrmc").read_text(encoding="ascii").splitlines()
    begin = lines.index("BEGIN DATA:")
    said = {key: int(value) for key, _, value in (line.partition(":") for line in lines[:begin]) if key in ("N0", "N1", "NR", "NM")}
    table = [tuple(int(cell) for cell in line.split(",")) for line in lines[begin + 1 :]]
    truths = {case: score for reader, case, modality, score in table if reader == -1 and modality == 0}
    assert (said["NR"], said["NM"], said["N0"] + said["N1"]) == (2, 3, 15)
    assert (list(truths.values()).count(0), list(truths.values()).count(1)) == (said["N0"], said["N1"])
    assert len(table) == 15 + 15 * 2 * 3
    assert {row[1] for row in table} == set(range(1, 16))
    names = {(row["kind"], int(row["number"])): row["name"] for row in rows(tmp_path / "task.meniscus_tear.names.csv")}
    values = {(one.reader, f"{one.case}@{one.where}", one.arms[0]): one.value for one in responses if one.item == "meniscus_tear" and not one.repeat}
    for reader, case, modality, score in table[15:]:
        assert values[names["reader", reader], names["case", case], names["modality", modality]] == score


def test_mrmcaov(responses: list[Response], tmp_path: Path) -> None:
    export(responses, plan().items, tmp_path)
    found = rows(tmp_path / "task.meniscus_tear.mrmcaov.csv")
    assert list(found[0]) == ["reader", "treatment", "case", "truth", "rating", "patient"]
    assert {row["treatment"] for row in found} == {"fast", "denoised", "reference"}


def test_comparisons_repeats_and_grades_are_no_findings(responses: list[Response], tmp_path: Path) -> None:
    files = export(responses, plan().items, tmp_path)
    assert [path.name for path in files] == [
        "responses.csv",
        *(f"task.meniscus_tear{end}" for end in (".imrmc.csv", ".imrmc", ".names.csv", ".mrmcaov.csv")),
    ]
    assert tuple(rows(files[0])[0]) == COLUMNS


def test_without_a_crossed_case_there_is_no_numbered_file(responses: list[Response], tmp_path: Path) -> None:
    apart = [one for one in responses if (one.reader == "reader1") == (one.patient < "P04")]
    assert "task.meniscus_tear.imrmc" not in [path.name for path in export(apart, plan().items, tmp_path)]


def test_a_reader_called_truth_is_refused(responses: list[Response], tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="called 'truth'"):
        export([replace(one, reader="truth") if one.reader == "reader1" else one for one in responses], plan().items, tmp_path)
