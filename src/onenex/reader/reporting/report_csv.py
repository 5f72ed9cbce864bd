"""The report's numbers as CSV: a file for each kind of result, a line a result."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from onenex.output import atomic_file
from onenex.reader.records import Item


def flat(row: Any) -> Iterator[tuple[str, Any]]:
    """Yield the columns of a result, dataclasses within it as `outer_inner`. What is computed from them, such as words, comes along."""
    for field in fields(row):
        value = getattr(row, field.name)
        if isinstance(value, Item):
            yield field.name, value.name
        elif is_dataclass(value):
            yield from ((f"{field.name}_{name}", inner) for name, inner in flat(value))
        elif isinstance(value, Mapping):
            yield field.name, " ".join(f"{key}:{inner}" for key, inner in value.items())
        elif isinstance(value, tuple):
            yield field.name, " ".join(str(one) for one in value)
        else:
            yield field.name, value
    if hasattr(type(row), "wording"):
        yield "wording", row.wording


def write_csv(path: Path, rows: Sequence[Any]) -> None:
    """Write results as CSV, a line each: columns in the order they first occur, empty where a result has none."""
    found = [dict(flat(row)) for row in rows]
    columns = list(dict.fromkeys(name for row in found for name in row))
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: "" if value is None else value for name, value in row.items()} for row in found)
