"""The answers for other programs: all of them as CSV, and findings in the formats of R's programs for many readers and many cases."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from onenex.errors import StudyError
from onenex.output import atomic_file
from onenex.reader.records import Item, Kind, Response, Scale

COLUMNS = (
    "reader", "reading", "kind", "session", "position", "case", "patient", "arm", "arm_right", "repeat", "item", "where", "value", "seconds", "truth",
)  # fmt: skip
"""Of the CSV of answers. `arm_right` is empty unless two arms were side by side; `truth` where it isn't known."""
TRUTH = "truth"
"""iMRMC's reader and arm of the rows that tell which cases have the finding."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """How sure a reader was of a finding."""

    reader: str
    arm: str
    case: str
    """With its place where the item has several: `case@place`."""
    patient: str
    truth: int
    """1 present, 0 absent."""
    value: int


def write_responses(responses: Sequence[Response], path: Path) -> None:
    """Write one row an answer; `read_responses` returns the same."""
    rows = []
    for one in responses:
        values = {field.name: getattr(one, field.name) for field in fields(one) if field.name != "arms"}
        arms = {"arm": one.arms[0], "arm_right": one.arms[1] if len(one.arms) > 1 else ""}
        rows.append({**values, **arms, "kind": str(one.kind), "seconds": repr(float(one.seconds)), "truth": "" if one.truth is None else one.truth})
    _write(path, COLUMNS, [[row[name] for name in COLUMNS] for row in rows])


def read_responses(path: Path) -> list[Response]:
    """Read what `write_responses` wrote.

    Raises
    ------
    StudyError
        The file cannot be read, has other columns, or a value that makes no sense; the message names the line.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise StudyError(f"{path} has other columns than a study's answers: {', '.join(COLUMNS)} are needed, in this order")
            return [_response(row, f"{path}, line {reader.line_num}") for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"{path} cannot be read ({error}): give the CSV of a study's answers") from error


def _response(row: Mapping[str, str | None], where: str) -> Response:
    try:
        cells = {name: row[name] or "" for name in COLUMNS}
        if None in row or any(row[name] is None for name in COLUMNS):
            raise ValueError("another number of cells than of columns")
        return Response(
            reader=cells["reader"],
            reading=cells["reading"],
            kind=Kind(cells["kind"]),
            session=int(cells["session"]),
            position=int(cells["position"]),
            case=cells["case"],
            patient=cells["patient"],
            arms=(cells["arm"], cells["arm_right"]) if cells["arm_right"] else (cells["arm"],),
            repeat=int(cells["repeat"]),
            item=cells["item"],
            where=cells["where"],
            value=int(cells["value"]),
            seconds=float(cells["seconds"]),
            truth=int(cells["truth"]) if cells["truth"] else None,
        )
    except ValueError as error:
        raise StudyError(f"{where}: {error}; write the file anew from the study, or correct the line") from error


def scores(responses: Sequence[Response], items: Mapping[str, Item]) -> dict[tuple[str, str], list[Score]]:
    """Return (reading, item) → scores of findings with a truth. Repeats and comparisons are left out."""
    found: dict[tuple[str, str], list[Score]] = {}
    for one in responses:
        if one.kind is Kind.PREFERENCE or one.repeat or one.truth is None or items[one.item].scale is not Scale.FINDING:
            continue
        case = f"{one.case}@{one.where}" if one.where else one.case
        score = Score(reader=one.reader, arm=one.arms[0], case=case, patient=one.patient, truth=one.truth, value=one.value)
        found.setdefault((one.reading, one.item), []).append(score)
    return found


def export(responses: Sequence[Response], items: Mapping[str, Item], folder: Path) -> list[Path]:
    """Write the answers, and for every finding with a truth what R reads; return the files.

    - `responses.csv`: all answers.
    - `READING.ITEM.imrmc.csv`: list mode of the R package iMRMC (`doIMRMC(read.csv(…))`): readerID, caseID, modalityID, score, and a
      row a case by the reader `truth`, score 1 present or 0 absent.
    - `READING.ITEM.imrmc`: the same for the program iMRMC and for RJafroc (`DfReadDataFile(…, format = "iMRMC")`), which want numbers
      for names; `READING.ITEM.names.csv` says whose. Only cases that every reader read in every arm are in it (a factorial design);
      without any, it isn't written.
    - `READING.ITEM.mrmcaov.csv`: for MRMCaov, `mrmc(empirical_auc(truth, rating), treatment, reader, case, data)`; with the patient,
      for analyses that cluster by it.

    Raises
    ------
    StudyError
        A reader or case named `truth` or `-1`, which iMRMC would take for the truth.
    DataError
        The folder cannot be written to.

    Source
    ------
    iMRMC 2.1 reference, `dfMRMC_example` and `undoIMRMCdf`; RJafroc's `DfReadDataFile`; MRMCaov 0.3, `mrmc` and `VanDyke`.
    """
    files = [folder / "responses.csv"]
    write_responses(responses, files[0])
    for (reading, item), found in scores(responses, items).items():
        reserved = {TRUTH, "-1"} & {name for one in found for name in (one.reader, one.arm)}
        if reserved:
            raise StudyError(f"a reader or arm is called '{reserved.pop()}', which iMRMC takes for the truth: give it another name")
        stem = f"{reading}.{item}"
        paths = [folder / f"{stem}{end}" for end in (".imrmc.csv", ".imrmc", ".names.csv", ".mrmcaov.csv")]
        truths = {one.case: one.truth for one in found}
        listed = [(TRUTH, case, TRUTH, truth) for case, truth in truths.items()]
        _write(paths[0], ("readerID", "caseID", "modalityID", "score"), [*listed, *((one.reader, one.case, one.arm, one.value) for one in found)])
        _write_numbered(_crossed(found), stem, paths[1], paths[2])
        rows = [(one.reader, one.arm, one.case, one.truth, one.value, one.patient) for one in found]
        _write(paths[3], ("reader", "treatment", "case", "truth", "rating", "patient"), rows)
        files += [path for path in paths if path.is_file()]
    return files


def _write_numbered(crossed: Sequence[Score], title: str, path: Path, key: Path) -> None:
    if not crossed:
        return
    with atomic_file(path) as partial:
        partial.write_text("\n".join(_imrmc(crossed, title)) + "\n", encoding="ascii")
    names = [(kind, number, name) for kind, numbers in _numbers(crossed).items() for name, number in numbers.items()]
    _write(key, ("kind", "number", "name"), names)


def _crossed(found: Sequence[Score]) -> list[Score]:
    """Return the scores of cases that every reader read in every arm."""
    wanted = {(one.reader, one.arm) for one in found}
    read: dict[str, set[tuple[str, str]]] = {}
    for one in found:
        read.setdefault(one.case, set()).add((one.reader, one.arm))
    return [one for one in found if read[one.case] == wanted]


def _numbers(found: Sequence[Score]) -> dict[str, dict[str, int]]:
    """Return kind → name → number from 1: those without the finding first among cases."""
    cases = sorted({(one.truth, one.case) for one in found})
    names = {"reader": sorted({one.reader for one in found}), "modality": sorted({one.arm for one in found}), "case": [case for _, case in cases]}
    return {kind: {name: number for number, name in enumerate(listed, 1)} for kind, listed in names.items()}


def _imrmc(found: Sequence[Score], title: str) -> Iterator[str]:
    numbers, truths = _numbers(found), {one.case: one.truth for one in found}
    n_present = sum(truths.values())
    yield from (title, "", f"NR: {len(numbers['reader'])}", f"N0: {len(truths) - n_present}", f"N1: {n_present}", f"NM: {len(numbers['modality'])}")
    yield from ("", "BEGIN DATA:")
    for case, number in numbers["case"].items():
        yield f"-1,{number},0,{truths[case]}"
    for one in found:
        yield f"{numbers['reader'][one.reader]},{numbers['case'][one.case]},{numbers['modality'][one.arm]},{one.value}"


def _write(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
