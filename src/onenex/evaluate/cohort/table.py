"""All measurements as one table: a row an image and method, written a scan at a time, so that memory does not grow with the cohort."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from onenex.built import pyarrow_parquet
from onenex.evaluate.cohort.kept import Line
from onenex.evaluate.cohort.samples import Unit
from onenex.evaluate.cohort.work import Order, bench, file_of, patient_of
from onenex.evaluate.measures.record import Measures
from onenex.output import atomic_file
from onenex.series import UNKNOWN

IMAGES, TISSUES = "images", "tissues"
"""Names of the tables: `images.parquet`, `images.csv`, …"""
TEXTS = ("file", "patient", "kind", "condition", "organ", "vendor", "model", "sequence", "plane", "method")
COUNTS = ("input", "slice", "rows", "columns", "n_not_finite")
FLAGS = ("simulated", "unseen", "guard_passed")
_REGIONS = ("foreground", "whole")
NUMBERS = ("field_strength_T", "nex", "acceleration", "sigma", "seconds", "guard_kept",
    *(f"{region}_{one.name}" for region in _REGIONS for one in fields(Measures)))  # fmt: skip
TISSUE_NUMBERS = ("dice", "volume_ml", "reference_ml")
_AT_ONCE = 5_000
"""Rows of one group in a Parquet file."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Where the tables lie."""

    images: Path
    tissues: Path


def write(units: Sequence[Unit], order: Order, folder: Path, patients: str | None) -> Tables:
    """Write everything that was measured as Parquet and as CSV.

    Parameters
    ----------
    patients
        Pattern that finds the patient in the id of a scan whose manifest names none; see `work.patient_of`.

    Raises
    ------
    DataError
        pyarrow is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images, tissues = (folder / f"{name}.parquet" for name in (IMAGES, TISSUES))
    _write(images, _columns(COUNTS, FLAGS, NUMBERS), image_rows(units, order, patients))
    _write(
        tissues,
        _columns(("input", "slice"), ("simulated", "unseen"), TISSUE_NUMBERS, (*TEXTS, "segmenter", "tissue")),
        tissue_rows(units, order, patients),
    )
    return Tables(images=images, tissues=tissues)


def image_rows(units: Iterable[Unit], order: Order, patients: str | None) -> Iterator[dict[str, Any]]:
    """Yield a row for each image and method, of what is finished."""
    for about, line in _lines(units, order, patients):
        yield about | {name: line[name] for name in (*COUNTS[1:2], "n_not_finite", "seconds", "guard_passed", "guard_kept")} | {
            name: value for name, value in line.items() if name.startswith(_REGIONS)
        }  # fmt: skip


def tissue_rows(units: Iterable[Unit], order: Order, patients: str | None) -> Iterator[dict[str, Any]]:
    """Yield a row for each image, method and tissue that was segmented."""
    for about, line in _lines(units, order, patients):
        for one in line.get("tissues", ()):
            yield about | {"slice": line["slice"]} | one


def _lines(units: Iterable[Unit], order: Order, patients: str | None) -> Iterator[tuple[dict[str, Any], Line]]:
    tools = bench(order.choice)
    for unit in units:
        told = _about(unit, patients)
        for method in tools.methods:
            for line in file_of(unit, method, order, tools).of(order.plan):
                yield told | {"method": method.name, "input": line["number"]}, line


def _about(unit: Unit, patients: str | None) -> dict[str, Any]:
    """Return what all rows of a unit say."""
    info = unit.info
    named = {name: getattr(info, name) or UNKNOWN for name in ("organ", "vendor", "model", "sequence", "plane")}
    told = {"file": info.id, "patient": patient_of(info, patients), "kind": info.kind, "condition": unit.condition.name, **named}
    numbers = {"field_strength_T": info.field_strength_T, "nex": info.nex, "acceleration": unit.acceleration, "sigma": unit.condition.sigma}
    return told | numbers | {"rows": info.rows, "columns": info.columns, "simulated": unit.condition.sigma is not None, "unseen": unit.unseen}


def _columns(counts: Sequence[str], flags: Sequence[str], numbers: Sequence[str], texts: Sequence[str] = TEXTS) -> Mapping[str, str]:
    return dict.fromkeys(texts, "string") | dict.fromkeys(counts, "int32") | dict.fromkeys(flags, "bool") | dict.fromkeys(numbers, "float64")


def _write(path: Path, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows to a Parquet file and, under the same name, as CSV."""
    import pyarrow as pa

    types = {"string": pa.string(), "int32": pa.int32(), "bool": pa.bool_(), "float64": pa.float64()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    with (
        atomic_file(path) as partial,
        atomic_file(path.with_suffix(".csv")) as plain,
        pyarrow_parquet().ParquetWriter(partial, schema) as writer,
        plain.open("w", newline="", encoding="utf-8") as stream,
    ):
        sheet = csv.DictWriter(stream, list(columns), lineterminator="\n")
        sheet.writeheader()
        for chunk in _chunks(rows):
            full = [{name: row.get(name) for name in columns} for row in chunk]
            sheet.writerows(full)
            writer.write_table(pa.Table.from_pylist(full, schema=schema))


def _chunks(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    chunk: list[Mapping[str, Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
