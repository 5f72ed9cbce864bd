"""The contact sheet of a built folder: what to show of each scan, read back from manifest and shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from onenex.built import read_table
from onenex.errors import DataError
from onenex.pairs.manifest import Row, rows_of
from onenex.pairs.showing.sheet import ACCEPTED, Entry, write_sheet
from onenex.series import FloatImages

_SCORES = ("nmi", "correlation", "residual_motion_px", "gain", "clipped", "snr", "reference_snr")


def write_contact_sheet(folder: Path, sheet: Path) -> Path:
    """Write the sheet of a built folder and return its first page: of each scan and setting its middle accepted slice, and its first rejected one.

    Raises
    ------
    DataError
        The folder cannot be read, or the sheet not be written.
    """
    return write_sheet(entries(folder), sheet)


def entries(folder: Path) -> Iterator[Entry]:
    """Yield what the sheet shows, in the manifest's order."""
    rows = rows_of(folder, read_table(folder))
    for _, group in groupby(rows, key=lambda row: (row.id, row.fast_repeats)):
        scan = list(group)
        good, bad = ([row for row in scan if row.accepted is wanted] for wanted in (True, False))
        if good:
            yield _entry(folder, good[len(good) // 2], scan)
        if bad:
            yield _entry(folder, bad[0], scan)


def _entry(folder: Path, row: Row, scan: Sequence[Row]) -> Entry:
    n_like = sum(one.accepted is row.accepted for one in scan)
    fast, reference = _images(folder, row) if row.shard else (None, None)
    setting = "" if not row.fast_repeats else "-" + "".join(str(repeat) for repeat in row.fast_repeats)[:16]
    return Entry(
        id=f"{row.id}-{row.slice}{setting}",
        organ=row.organ,
        vendor=row.vendor,
        sequence=row.sequence,
        acceleration=row.acceleration,
        verdict=ACCEPTED if row.accepted else "rejected",
        reasons=tuple(row.reason.split("; ")) if row.reason else (),
        scores={name: float(value) for name in _SCORES if (value := getattr(row, name)) is not None},
        fast=fast,
        reference=reference,
        difference=None if fast is None or reference is None else fast / np.float32(row.gain or 1.0) - reference,
        aspect=(row.row_spacing_mm or 1.0) / (row.column_spacing_mm or 1.0),
        note=f"{row.kind}, {row.split}, slice {row.slice}, one of {n_like} like it",
    )


def _images(folder: Path, row: Row) -> tuple[FloatImages, FloatImages]:
    """Return fast scan and reference (row, column) of a row.

    Raises
    ------
    DataError
        The shard is missing or damaged.
    """
    try:
        stored = np.load(folder / row.shard, mmap_mode="r", allow_pickle=False)[row.index]
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{folder / row.shard} cannot be read ({error}): `onenex pairs check` says what else is amiss") from error
    images = np.asarray(stored, dtype=np.float32) * np.asarray(row.scales, dtype=np.float32)[:, None, None]
    if row.kind == "repeats":
        return images[list(row.fast_repeats)].mean(axis=0), images[list(row.reference_repeats)].mean(axis=0)
    return images[0], images[-1]
