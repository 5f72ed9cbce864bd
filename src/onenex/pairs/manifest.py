"""The manifest of a built folder, `pairs.parquet`: one row a slice pair. `onenex.scans.read_manifest` reads it for training."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from onenex import built
from onenex.errors import DataError
from onenex.output import atomic_file
from onenex.series import UNKNOWN

log = logging.getLogger(__name__)

KINDS = ("pairs", "repeats", "clean", "synthetic")
"""A fast scan and its reference; one of several settings of repeats; a reference without a fast scan; a simulated fast scan and its reference."""
SPLITS = ("train", "test")
SALT_KEY = b"onenex.salt_check"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One slice pair. A field is a column; None or empty where nothing is known. No field may name a patient, a date or a path of the source."""

    id: str
    """Of the scan: a keyed hash, the same for all of its slices."""
    kind: str
    """One of `KINDS`."""
    split: str
    """One of `SPLITS`, the same for all scans of a patient."""
    patient: str
    """Keyed hashes: `deidentify.keyed_hash`."""
    study: str = ""
    series: str = ""
    """Of the fast scan."""
    reference_series: str = ""
    slice: int
    """Number of the slice in its scan."""
    accepted: bool
    """Rows that are not stay in the manifest and are never loaded; they may lack images."""
    reason: str = ""
    """Why the row was not accepted."""
    shard: str = ""
    """File below the built folder, with / between folders; empty when there are no images."""
    shard_sha256: str = ""
    index: int = -1
    """Entry of the shard; rows of the same repeats share one."""
    scales: tuple[float, ...] = ()
    """By what the stored integers are multiplied, one an image of the entry."""
    rows: int
    columns: int
    n_repeats: int = 1
    """Images of an entry: 2 of pairs, 1 of clean scans."""
    fast_repeats: tuple[int, ...] = ()
    """Which repeats are averaged for the fast scan of this setting, from 0."""
    reference_repeats: tuple[int, ...] = ()
    """Which ones for its reference; none of them is in the fast scan."""
    organ: str = UNKNOWN
    vendor: str = UNKNOWN
    model: str = ""
    field_strength_T: float | None = None
    sequence: str = UNKNOWN
    plane: str = UNKNOWN
    fat_suppressed: bool | None = None
    nex: float | None = None
    """Averages in the fast scan; of repeats, in each of them."""
    reference_nex: float | None = None
    """Averages in the reference, in units of which `nex` counts; None = noise free."""
    acceleration: float | None = None
    """Scan time of the reference over that of the fast scan; of a setting of repeats, all of them over those averaged."""
    echo_time_ms: float | None = None
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None
    b_value: float | None = None
    row_spacing_mm: float | None = None
    """Between rows."""
    column_spacing_mm: float | None = None
    slice_thickness_mm: float | None = None
    transform: tuple[float, ...] = ()
    """Rows of a 3 × 4 matrix from patient coordinates (LPS, mm) of the reference to those of the fast scan; empty = as they lie."""
    nmi: float | None = None
    """Normalised mutual information of the registered pair."""
    residual_motion_px: float | None = None
    correlation: float | None = None
    structure: float | None = None
    """Correlation of edges; this and the others: `quality.Scores`."""
    noise_ratio: float | None = None
    """σ of the reference over that of the fast scan, both of one brightness."""
    clipped: float | None = None
    """Share 0…1 of saturated pixels."""
    gain: float | None = None
    """Of the linear map from the reference's intensities to those of the fast scan, one a scan, …"""
    offset: float | None = None
    """… and its offset, unit of the fast scan."""
    snr: float | None = None
    reference_snr: float | None = None
    recipe: str = ""
    """Of synthetic rows: what simulated the fast scan, and its settings."""
    weights: str = ""
    """Of synthetic rows: first 12 hex digits of the weights' SHA-256, where a learnt scanner was used."""
    source: str = ""
    """What a model card may say of where the scans are from, in the site's words."""
    licence: str = ""
    note: str = ""

    @property
    def key(self) -> tuple[str, int, tuple[int, ...]]:
        """What no other row of a manifest has."""
        return self.id, self.slice, self.fast_repeats


def schema(salt_check: str = "") -> Any:
    """Return the `pyarrow.Schema` of the manifest, with its version.

    Parameters
    ----------
    salt_check
        `deidentify.salt_check` of the salt that made the hashes.
    """
    built.pyarrow_parquet()
    import pyarrow as pa

    plain = {str: pa.string(), int: pa.int32(), float: pa.float64(), bool: pa.bool_()}
    lists = {tuple[int, ...]: pa.list_(pa.int32()), tuple[float, ...]: pa.list_(pa.float64())}
    optional = {float | None: pa.float64(), bool | None: pa.bool_()}
    types = plain | lists | optional
    hints = get_type_hints(Row)
    columns = [pa.field(one.name, types[hints[one.name]]) for one in fields(Row)]
    metadata = {built.FORMAT_KEY: built.FORMAT, built.VERSION_KEY: str(built.VERSION).encode(), SALT_KEY: salt_check.encode()}
    return pa.schema(columns, metadata)


def add(folder: Path, rows: Iterable[Row], *, salt_check: str) -> int:
    """Add rows to the manifest of `folder`, made where it is missing, and return how many were new.

    Rows that are there stay as they are, also columns that this version doesn't know; of the new ones those whose `Row.key` is
    there already are left out. The file is written beside the old one and renamed.

    Parameters
    ----------
    salt_check
        `deidentify.salt_check`: another salt would give the same patient another hash, and maybe another split.

    Raises
    ------
    DataError
        The hashes there were made with another salt, a row contradicts itself or the others, or nothing can be written.
    """
    import pyarrow as pa

    parquet = built.pyarrow_parquet()
    folder.mkdir(parents=True, exist_ok=True)
    path, wanted = folder / built.MANIFEST, schema(salt_check)
    old = built.read_table(folder) if path.is_file() else wanted.empty_table()
    if (old.schema.metadata or {}).get(SALT_KEY, b"") != salt_check.encode():
        raise DataError(
            f"{path} was made with another salt, so its patients cannot be known again: give the salt file it was made with, or a new folder"
        )
    known = keys(old)
    fresh: dict[tuple[str, int, tuple[int, ...]], Row] = {}
    for row in rows:
        if row.key not in known:
            fresh.setdefault(row.key, row)
    _check_rows(folder, old, list(fresh.values()))
    new = [pa.Table.from_pylist([vars(row) for row in part], schema=wanted) for part in _parts(list(fresh.values()))]
    joined = pa.concat_tables([old, *new], promote_options="default").combine_chunks().replace_schema_metadata(wanted.metadata)
    with atomic_file(path) as partial:
        parquet.write_table(joined, partial, compression="zstd")
    log.info("event=manifest_written rows=%d new=%d", len(joined), len(fresh))
    return len(fresh)


def _parts(rows: list[Row], size: int = 5000) -> Iterator[list[Row]]:
    """Yield the rows in parts, so that they are Python objects and columns at once only in part."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def keys(table: Any) -> set[tuple[str, int, tuple[int, ...]]]:
    """Return the `Row.key` of every row of a table."""
    columns = (table[name].to_pylist() for name in ("id", "slice", "fast_repeats"))
    return {(scan, number, tuple(repeats)) for scan, number, repeats in zip(*columns, strict=True)}


def read_rows(folder: Path) -> list[Row]:
    """Return all rows of a built folder, accepted or not. For some 100,000 rows use `built.read_table`: columns are smaller than objects.

    Raises
    ------
    DataError
        See `built.read_table`; or a column without default is missing.
    """
    return list(rows_of(folder, built.read_table(folder)))


def rows_of(folder: Path, table: Any) -> Iterable[Row]:
    """Yield the rows of a table one by one; columns of a newer version are passed over, those that lack have their defaults."""
    missing = [one.name for one in fields(Row) if one.default is MISSING and one.name not in table.column_names]
    if missing:
        raise DataError(f"{folder / built.MANIFEST}: no column {', '.join(missing)}: build the folder again")
    known = table.select([one.name for one in fields(Row) if one.name in table.column_names])
    for batch in known.to_batches(max_chunksize=1000):
        for values in batch.to_pylist():
            told: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if value is not None}
            yield Row(**told)


def patients(folder: Path) -> dict[str, str]:
    """Return the split of every patient in the manifest, {} where there is none yet; what `splits.assign` must keep."""
    if not (folder / built.MANIFEST).is_file():
        return {}
    table = built.read_table(folder, ("patient", "split"))
    return dict(zip(table["patient"].to_pylist(), table["split"].to_pylist(), strict=True))


def _check_rows(folder: Path, old: Any, rows: Sequence[Row]) -> None:
    """Refuse rows that no reader could use, and patients on two sides."""
    sides = dict(zip(old["patient"].to_pylist(), old["split"].to_pylist(), strict=True))
    for row in rows:
        fault = fault_of(row)
        if not fault and sides.setdefault(row.patient, row.split) != row.split:
            fault = f"patient {row.patient} is in split '{sides[row.patient]}' already: ask `splits.assign` with the splits of the manifest"
        if fault:
            raise DataError(f"{folder / built.MANIFEST}: scan {row.id}, slice {row.slice}: {fault}")


def fault_of(row: Row) -> str:
    """Return what is wrong with a row by itself; empty when nothing is."""
    n_images = len(row.scales)
    expected = {"clean": 1, "repeats": row.n_repeats}.get(row.kind, 2)
    if row.kind not in KINDS or row.split not in SPLITS:
        return f"kind '{row.kind}' in split '{row.split}': write one of {', '.join(KINDS)} and one of {', '.join(SPLITS)}"
    if row.kind == "synthetic" and row.split == "test":
        return "synthetic, and in the test split: nothing may be judged by it"
    if not row.id or not row.patient or row.slice < 0 or min(row.rows, row.columns) < 1:
        return "no id, no patient, no slice or no size"
    if row.accepted and (not row.shard or row.index < 0 or not row.shard_sha256):
        return "accepted, but without an entry of a shard"
    if row.shard and (n_images != expected or not all(math.isfinite(scale) and scale > 0 for scale in row.scales)):
        return f"{n_images} scales for {expected} images, or one that is no number above 0"
    if len(row.transform) not in (0, 12) or not all(math.isfinite(value) for value in row.transform):
        return "a transform that is no 3 × 4 matrix of numbers"
    if set(row.fast_repeats) & set(row.reference_repeats):
        return "a repeat is in the fast scan and in its reference: the score would favour keeping noise"
    if not set(row.fast_repeats) | set(row.reference_repeats) <= set(range(row.n_repeats)):
        return f"names a repeat that is none of the {row.n_repeats}"
    if not row.accepted and not row.reason:
        return "not accepted, and no reason"
    return ""
