"""The door to a folder of real scans: `manifest.csv` and one `.npz` a series, or `pairs.parquet` and shards as `onenex pairs build` makes them."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onenex import built
from onenex.errors import DataError
from onenex.series import Acquisition, FloatImages

SIGNED_ZERO = 32768
"""Where zero lies in a file whose signed 16-bit magnitudes were stored as unsigned ones."""

KINDS = {"clean": "(slice, row, column)", "repeats": "(slice, repeat, row, column)", "pairs": "(slice, 2, row, column)"}
"""What a file may hold, and the shape of its images."""


@dataclass(frozen=True, kw_only=True)
class ScanInfo:
    """One scan: a row of `manifest.csv`, or all accepted rows of a scan in `pairs.parquet`. None where the manifest says nothing."""

    path: Path
    """The `.npz` file, or the shard."""
    split: str
    """`train` or `test`."""
    id: str
    kind: str
    """A key of `KINDS`. Pairs are a fast scan, then its reference of the same slice; the columns describe the fast scan."""
    organ: str
    vendor: str
    model: str
    field_strength_T: float | None
    sequence: str
    plane: str
    n_slices: int
    n_repeats: int
    rows: int
    columns: int
    echo_time_ms: float | None
    repetition_time_ms: float | None
    inversion_time_ms: float | None
    flip_angle_deg: float | None
    nex: float | None
    pixel_spacing_mm: float | None
    slice_thickness_mm: float | None
    source: str
    licence: str
    note: str
    acceleration: float | None = None
    """Total in-plane acceleration. This column and the next may be missing from a manifest."""
    reference_nex: float | None = None
    """Of pairs: averages in the reference, those of the fast scan being `nex` (1 when unknown). None = the reference counts as noise free."""
    patient: str = field(default="", repr=False)
    """Keyed hash, or what a column of `manifest.csv` says; empty where nobody knows. This and the next are not in `repr`: see `train.claim`."""
    synthetic: bool = field(default=False, repr=False)
    """Whether the fast scan was simulated from its reference."""
    stored: built.Stored | None = field(default=None, repr=False, compare=False)
    """Where the images are, of a built folder."""

    @property
    def acquisition(self) -> Acquisition:
        """What the model may be told about this scan."""
        manifest = "manifest.csv" if self.stored is None else built.MANIFEST
        return Acquisition(
            vendor=self.vendor,
            organ=self.organ,
            sequence=self.sequence,
            plane=self.plane,
            field_strength_T=self.field_strength_T,
            nex=self.nex,
            acceleration=self.acceleration,
            evidence=dict.fromkeys(("vendor", "organ", "sequence", "plane", "field_strength_T", "nex", "acceleration"), manifest),
        )


def read_manifest(folder: Path) -> list[ScanInfo]:
    """Read the manifest of `folder`, in the order of its rows.

    Parameters
    ----------
    folder
        Holds `manifest.csv`, `train/<id>.npz` and `test/<id>.npz`; or `pairs.parquet` and its shards, of which rows that
        were not accepted are left out.

    Raises
    ------
    DataError
        No manifest there, or two; a column is missing, a number cannot be read, or the kind is none that we know.
    """
    manifest = folder / "manifest.csv"
    if (folder / built.MANIFEST).is_file():
        if manifest.is_file():
            raise DataError(f"{folder} has two manifests, manifest.csv and {built.MANIFEST}: keep each with its scans in a folder of its own")
        return [_built_scan(group, folder) for group in built.read_groups(folder)]
    if not manifest.is_file():
        raise DataError(f"no manifest.csv or {built.MANIFEST} in {folder}: give the folder that holds one of them, with its scans beside it")
    with manifest.open(newline="", encoding="utf-8") as stream:
        return [_scan(row, folder, f"{manifest}:{number}") for number, row in enumerate(csv.DictReader(stream), start=2)]


def load_images(info: ScanInfo) -> FloatImages:
    """Load the magnitudes of one scan, arbitrary unit, never negative.

    A file whose smallest value is 32768 or more holds signed numbers stored as unsigned ones (known case:
    `head_patient5_t2flair`); its zero level is moved back by subtracting 32768.

    Returns
    -------
    The shape that `KINDS` gives for its kind.

    Raises
    ------
    DataError
        The file is missing, is no packed scan, its shape contradicts the manifest, or it holds what no magnitude is.
    """
    if info.stored is not None:
        read = np.stack([info.stored.read(number) for number in range(info.n_slices)])
        return read[:, 0] if info.kind == "clean" else read
    stored = load_array(info.path, "images")
    expected: tuple[int, ...] = (info.n_slices, info.rows, info.columns)
    if info.kind != "clean":
        expected = (info.n_slices, 2 if info.kind == "pairs" else info.n_repeats, info.rows, info.columns)
    if stored.shape != expected:
        raise DataError(
            f"{info.path}: images have shape {stored.shape}, the manifest says {expected}: one of the two is out of date "
            f"(kind {info.kind} is {KINDS[info.kind]})"
        )
    images = stored.astype(np.float32)
    if images.size and images.min() >= SIGNED_ZERO:
        images -= SIGNED_ZERO
    n_bad = images.size - int((np.isfinite(images) & (images >= 0)).sum())
    if n_bad:
        raise DataError(f"{info.path}: {n_bad} pixels are negative, NaN or infinite: store magnitudes, with 0 where nothing was measured")
    return images


def load_array(path: Path, name: str) -> NDArray[np.generic]:
    """Load one array of a packed scan; pickled objects are never read.

    Raises
    ------
    DataError
        The file is missing, damaged, or has no such array.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as packed:
            array: NDArray[np.generic] = packed[name]
    except FileNotFoundError:
        raise DataError(f"{path} is missing, though the manifest lists it") from None
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no readable array '{name}': {error}") from error
    return array


def _scan(row: dict[str, str | None], folder: Path, where: str) -> ScanInfo:
    """Type one row; `where` is the file and line for messages."""

    def text(column: str) -> str:
        value = row.get(column)
        if value is None:
            raise DataError(f"{where}: no column '{column}'")
        return value

    def number(column: str) -> float | None:
        value = text(column)
        try:
            return float(value) if value else None
        except ValueError:
            raise DataError(f"{where}: column '{column}' is '{value}', not a number") from None

    def count(column: str) -> int:
        value = number(column)
        if value is None or value < 1 or value != int(value):
            raise DataError(f"{where}: column '{column}' must be a whole number above 0, not '{text(column)}'")
        return int(value)

    if text("kind") not in KINDS:
        raise DataError(f"{where}: kind is '{text('kind')}': write one of {', '.join(KINDS)}")
    return ScanInfo(
        path=folder / text("split") / f"{text('id')}.npz",
        split=text("split"),
        id=text("id"),
        kind=text("kind"),
        organ=text("organ"),
        vendor=text("vendor"),
        model=text("model"),
        field_strength_T=number("field_strength_T"),
        sequence=text("sequence"),
        plane=text("plane"),
        n_slices=count("n_slices"),
        n_repeats=count("n_repeats"),
        rows=count("rows"),
        columns=count("columns"),
        echo_time_ms=number("echo_time_ms"),
        repetition_time_ms=number("repetition_time_ms"),
        inversion_time_ms=number("inversion_time_ms"),
        flip_angle_deg=number("flip_angle_deg"),
        nex=number("nex"),
        pixel_spacing_mm=number("pixel_spacing_mm"),
        slice_thickness_mm=number("slice_thickness_mm"),
        source=text("source"),
        licence=text("licence"),
        note=text("note"),
        acceleration=number("acceleration") if "acceleration" in row else None,
        reference_nex=number("reference_nex") if "reference_nex" in row else None,
        patient=row.get("patient") or "",
    )


def _built_scan(group: built.Group, folder: Path) -> ScanInfo:
    """Type the rows of one scan of a built folder."""
    row, kind = group.common, "pairs" if group.common["kind"] == "synthetic" else group.common["kind"]
    if kind not in KINDS:
        raise DataError(f"{folder / built.MANIFEST}: scan {row['id']}: kind is '{row['kind']}': update OneNEX, or build the folder again")
    if row["kind"] == "synthetic" and row["split"] == "test":
        raise DataError(f"{folder / built.MANIFEST}: scan {row['id']} is synthetic and in the test split: take it out, nothing may be judged by it")
    told: dict[str, Any] = {one.name: row.get(one.name) for one in fields(ScanInfo) if one.default is MISSING}
    told |= {name: told[name] or "" for name in ("organ", "vendor", "model", "sequence", "plane", "source", "licence", "note")}
    told |= {
        "path": group.stored.shard,
        "kind": kind,
        "n_slices": len(group.stored),
        "n_repeats": len(group.stored.which),
        "pixel_spacing_mm": row.get("row_spacing_mm"),
    }
    return ScanInfo(
        **told,
        acceleration=row.get("acceleration") if kind == "pairs" else None,
        reference_nex=row.get("reference_nex"),
        patient=row["patient"],
        synthetic=row["kind"] == "synthetic",
        stored=group.stored,
    )


def write_scan(folder: Path, name: str, images: NDArray[np.generic], kind: str, about: Mapping[str, object]) -> Path:
    """Add one scan to a folder of packed scans, made where it's missing; a scan of the same name and split is replaced.

    Parameters
    ----------
    folder
        Gets `manifest.csv` and `train/<name>.npz` (or `test/`).
    name
        The scan's `id`. It turns up in logs: no name of a patient.
    images
        Magnitudes, any unit, in the shape that `KINDS` gives for `kind`.
    about
        More columns of the manifest, fields of `ScanInfo`; `split` is "train" unless it says otherwise. An `Acquisition` may be
        taken apart with `vars`: what the manifest has no column for is left out.

    Returns
    -------
    Path
        The `.npz` file.

    Raises
    ------
    DataError
        A kind that doesn't exist, images of another shape, a manifest that cannot be read, or a folder that `onenex pairs build` made.
    """
    if (folder / built.MANIFEST).is_file():
        raise DataError(f"{folder} was made by `onenex pairs build`: write scans of your own to another folder")
    if kind not in KINDS:
        raise DataError(f"{name}: kind is '{kind}': write one of {', '.join(KINDS)}")
    if images.ndim != KINDS[kind].count(",") + 1 or 0 in images.shape or (kind == "pairs" and images.shape[1] != 2):
        raise DataError(f"{name}: images have shape {images.shape}, but kind {kind} is {KINDS[kind]}")
    sizes = dict(zip(("n_slices", "rows", "columns"), (images.shape[0], *images.shape[-2:]), strict=True))
    sizes["n_repeats"] = 1 if kind == "clean" else images.shape[1]
    row = {"split": "train"} | dict(about) | {"id": name, "kind": kind} | sizes
    columns = [one.name for one in fields(ScanInfo) if one.name not in ("path", "synthetic", "stored")]
    known = {column: "" if row.get(column) is None else str(row[column]) for column in columns}
    manifest = folder / "manifest.csv"
    info = _scan(dict(known), folder, f"{manifest}: {name}")
    others: list[dict[str, str]] = []
    if manifest.is_file():
        read_manifest(folder)  # refuses a file that we must not write to
        with manifest.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            others = [one for one in reader if (one["split"], one["id"]) != (info.split, name)]
        columns += [column for column in reader.fieldnames or () if column not in columns]
    info.path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(info.path, images=images)
    partial = manifest.with_name("manifest.csv.partial")
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows([*others, known])
    partial.replace(manifest)
    return info.path
