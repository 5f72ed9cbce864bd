"""Rows of a build on their way to the manifest, a line a scan: a build that is stopped loses the scan it was at, no more."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onenex.errors import DataError
from onenex.pairs.manifest import Row

NAME = "journal.jsonl"


def note(folder: Path, rows: Sequence[Row]) -> None:
    """Append the rows of one scan, on the disk when this returns.

    Raises
    ------
    DataError
        The journal cannot be written.
    """
    try:
        with (folder / NAME).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([asdict(row) for row in rows], allow_nan=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise DataError(f"{folder / NAME} cannot be written ({error.strerror}): free some space, then build again; what is made is kept") from error


def read(folder: Path) -> list[Row]:
    """Return all rows noted, [] without a journal; a last line that was cut off counts as not there.

    Raises
    ------
    DataError
        Another line is damaged.
    """
    path, rows = folder / NAME, list[Row]()
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            found = json.loads(line)
            rows += [_row(one) for one in found]
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}, line {number} is damaged ({error}): delete the file; what it lists is made again") from error
    return rows


def _row(values: dict[str, Any]) -> Row:
    told: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return Row(**told)


def clear(folder: Path) -> None:
    """Remove the journal, once its rows are in the manifest."""
    (folder / NAME).unlink(missing_ok=True)
