"""The cases of a protocol: in the file itself, or in a table beside it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onenex.errors import StudyError
from onenex.reader.planning.protocol_tables import CASE_KEYS

_TRUTH = "truth:"
_YES, _NO = ("1", "true", "yes"), ("", "0", "false", "no")


def read_cases(tables: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Return a protocol's tables with the rows of its `cases_file` as `cases`, and every path absolute.

    Parameters
    ----------
    tables
        As `tomllib` read them.
    base
        The protocol's folder, absolute.

    Raises
    ------
    StudyError
        Both cases and a file are given, or the file cannot be read; the message names line and column.
    """
    named = tables.get("cases_file")
    if named is None:
        return {**tables, "cases": _absolute(tables.get("cases", []), base)}
    if "cases" in tables:
        raise StudyError("cases_file: there are [[cases]] too; keep one of both")
    if not isinstance(named, str):
        raise StudyError("cases_file: give the name of a CSV file, in quotes")
    path = base / named
    return {**tables, "cases_file": path, "cases": _absolute(_rows(path, tables.get("arms")), path.parent)}


def _absolute(cases: Any, base: Path) -> Any:
    if not isinstance(cases, list):
        return cases
    return [
        {key: str(base / value) if key not in CASE_KEYS and isinstance(value, str) and value else value for key, value in case.items()}
        if isinstance(case, dict)
        else case
        for case in cases
    ]


def _rows(path: Path, arms: Any) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"cases_file: {path} cannot be read ({error}); give a CSV file in UTF-8") from error
    reader = csv.DictReader(text.splitlines(), restkey="", dialect=_dialect(text))
    try:
        rows = list(reader)
    except csv.Error as error:
        raise StudyError(f"cases_file: {path} is no CSV ({error}); correct that line") from error
    columns = [*(reader.fieldnames or ())]
    wanted = ["name", "patient", *(arm for arm in arms if isinstance(arm, str))] if isinstance(arms, list) else ["name", "patient"]
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise StudyError(f"cases_file: {path} has no column {', '.join(missing)}; it has {', '.join(columns) or 'none'}")
    unknown = [column for column in columns if column not in (*wanted, "training") and not column.startswith(_TRUTH)]
    if unknown:
        raise StudyError(
            f"cases_file: {path} has a column '{unknown[0]}', which is no arm, name, patient, training or truth:ITEM; correct or delete it"
        )
    if not rows:
        raise StudyError(f"cases_file: {path} has no rows; add one for each case")
    return [_case(row, f"cases_file: {path} row {number}") for number, row in enumerate(rows, start=1)]


def _dialect(text: str) -> type[csv.Dialect]:
    """Semicolons, as spreadsheets write them where the comma is the decimal sign, or commas."""
    header = text.partition("\n")[0]

    class Found(csv.excel):
        delimiter = ";" if header.count(";") > header.count(",") else ","

    return Found


def _case(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    if "" in row or None in row.values():
        raise StudyError(f"{where} has more or fewer cells than the header; correct it")
    case: dict[str, Any] = {"truth": {}}
    for column, cell in row.items():
        value = cell.strip()
        if column == "training":
            case["training"] = _yes(value, where)
        elif not column.startswith(_TRUTH):
            if value or column in CASE_KEYS:
                case[column] = value
        elif value:
            case["truth"][column.removeprefix(_TRUTH)] = _whole(value, f"{where}, column '{column}'")
    return case


def _yes(value: str, where: str) -> bool:
    if value.lower() not in (*_YES, *_NO):
        raise StudyError(f"{where}, column 'training': '{value}' is neither yes nor no; write 1 or 0")
    return value.lower() in _YES


def _whole(value: str, where: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise StudyError(f"{where}: '{value}' is no whole number; leave it empty where the truth is unknown") from None
