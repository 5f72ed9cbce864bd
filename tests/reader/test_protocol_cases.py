"""Cases in a table beside the protocol."""

from pathlib import Path
from typing import Any

import pytest

from onenex.errors import StudyError
from onenex.reader.protocol import Protocol, load_protocol
from tests.reader.studies import tables
from tests.reader.test_protocol import write

HEADER = "name,patient,training,fast,denoised,reference,truth:acl_tear,truth:pfirrmann@L4/L5\n"


def load(folder: Path, text: str, encoding: str = "utf-8", **more: Any) -> Protocol:
    (folder / "lists").mkdir(exist_ok=True)
    (folder / "lists" / "cases.csv").write_text(text, encoding=encoding)
    value = tables(**more) | {"cases_file": "lists/cases.csv"}
    if "cases" not in more:
        del value["cases"]
    return load_protocol(write(folder, value))


def test_cases_come_from_a_table(tmp_path: Path) -> None:
    protocol = load(tmp_path, HEADER + "a,P1,yes,a/f,a/d,a/r,,\nb,P2,,b/f,/b/d,b/r,1,3\n")
    first, second = protocol.cases
    assert (first.name, first.is_training, first.truth) == ("a", True, {})
    assert (second.is_training, second.truth) == (False, {"acl_tear": 1, "pfirrmann@L4/L5": 3})
    assert second.series == {"fast": str(tmp_path / "lists/b/f"), "denoised": "/b/d", "reference": str(tmp_path / "lists/b/r")}
    assert protocol.cases_file == tmp_path / "lists" / "cases.csv"


def test_a_spreadsheet_may_write_semicolons_and_a_byte_order_mark(tmp_path: Path) -> None:
    protocol = load(tmp_path, "name;patient;fast;denoised;reference\na;P1;1;2;3\n", encoding="utf-8-sig")
    assert protocol.cases[0].patient == "P1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column name, patient, fast, denoised, reference; it has none"),
        (HEADER.replace("denoised,", ""), "has no column denoised; it has name, patient"),
        (HEADER.replace("training", "age"), "has a column 'age', which is no arm"),
        (HEADER, "has no rows"),
        (HEADER + "a,P1\n", "row 1 has more or fewer cells than the header"),
        (HEADER + "a,P1,,f,d,r,,,,\n", "row 1 has more or fewer cells than the header"),
        (HEADER + "a,P1,maybe,f,d,r,,\n", "row 1, column 'training': 'maybe' is neither yes nor no"),
        (HEADER + "a,P1,,f,d,r,x,\n", "row 1, column 'truth:acl_tear': 'x' is no whole number"),
        (HEADER + "a,P1,,f,d,,,\n", r"\[\[cases\]\] 'a': reading '\w+' shows arm 'reference'"),
        (HEADER + ",P1,,f,d,r,,\n", r"\[\[cases\]\] number 1 name: "),
        (HEADER + "a,P1,,f,d,r,7,\n", "truth 'acl_tear': 7 is not a value"),
    ],
)
def test_mistakes_name_row_and_column(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        load(tmp_path, text)


def test_one_place_for_cases(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"cases_file: there are \[\[cases\]\] too"):
        load(tmp_path, HEADER, cases=[])
    with pytest.raises(StudyError, match=r"cases_file: .*cannot be read"):
        load_protocol(write(tmp_path, {"cases_file": "none.csv", **{key: one for key, one in tables().items() if key != "cases"}}))
    with pytest.raises(StudyError, match="cases_file: give the name"):
        load_protocol(write(tmp_path, {"cases_file": 3, **{key: one for key, one in tables().items() if key != "cases"}}))
