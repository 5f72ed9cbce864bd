"""Packed images of a built folder: written slice by slice, checked against their sums.

A shard is a `.npy` file of uint16 (entry, image, row, column) with the slices of one scan: the format that numpy maps without
reading it, that holds no code, and that any other program can read. One scan a file, since scans differ in size, and one built
again replaces no other's pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from onenex.errors import DataError
from onenex.output import atomic_file

FOLDER = "shards"
TOP = 65535


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What a manifest says of a shard that was written."""

    shard: str
    """Relative to the built folder, with / between folders."""
    sha256: str
    scales: tuple[tuple[float, ...], ...]
    """Of each entry, one an image."""
    shape: tuple[int, int, int, int]
    """(entry, image, row, column)."""


def quantise(image: NDArray[np.generic]) -> tuple[NDArray[np.uint16], float]:
    """Return an image (row, column) as integers, and the number that makes them the image again.

    Whole numbers up to 65535 stay as they are. Others are scaled so that the brightest pixel is 65535: the error is at most
    1/131070 of it, 16 bits.

    Raises
    ------
    DataError
        A pixel is negative, NaN or infinite.
    """
    values = np.asarray(image, dtype=np.float64)
    top = float(values.max(initial=0.0))
    if not np.isfinite(top) or not values.min(initial=0.0) >= 0:
        raise DataError("an image has pixels that are negative, NaN or infinite: give magnitudes, with 0 where nothing was measured")
    if top <= TOP and np.array_equal(values, np.rint(values)):
        return values.astype(np.uint16), 1.0
    scale = float(np.float32(top / TOP))
    scale = scale if scale > 0 else 1.0
    return np.minimum(np.rint(values / scale), TOP).astype(np.uint16), scale


def write(folder: Path, scan: str, entries: Iterable[NDArray[np.generic]]) -> Packed:
    """Write the shard of a scan below `folder`, one entry after the other, so no more than one is held; a stopped run leaves none.

    Parameters
    ----------
    folder
        The built folder.
    scan
        Its hashed id, which names the file.
    entries
        (image, row, column), magnitudes in any unit, all of one shape: of pairs the fast scan and the reference, of repeats
        all of them, of clean scans one image.

    Raises
    ------
    DataError
        There is no entry, shapes differ, pixels are no magnitudes, or nothing can be written.
    """
    if not scan.isalnum():
        raise DataError(f"'{scan}' cannot name a shard: give the scan's hashed id")
    name = f"{FOLDER}/{scan[:2]}/{scan}.npy"
    scales: list[tuple[float, ...]] = []
    shape: tuple[int, ...] = ()
    with atomic_file(folder / name) as partial:
        with partial.open("wb") as stream:
            for number, entry in enumerate(entries):
                if entry.ndim != 3 or 0 in entry.shape or (shape and entry.shape != shape):
                    raise DataError(f"scan {scan}, slice {number}: images have shape {entry.shape}, the first ones {shape or '(image, row, column)'}")
                if not shape:
                    shape = entry.shape
                    _write_header(stream, (0, *shape))
                packed = [quantise(image) for image in entry]
                stream.write(np.stack([stored for stored, _ in packed]).astype("<u2").tobytes())
                scales.append(tuple(scale for _, scale in packed))
            if not scales:
                raise DataError(f"scan {scan} has no slice to pack: leave it out")
            stream.seek(0)
            _write_header(stream, (len(scales), *shape))
        digest = sha256(partial)
    return Packed(shard=name, sha256=digest, scales=tuple(scales), shape=(len(scales), *shape))  # type: ignore[arg-type]


def _write_header(stream: BinaryIO, shape: tuple[int, ...]) -> None:
    """Write the head of a `.npy` file, 128 bytes whatever the number of entries: numpy leaves room for it to grow."""
    np.lib.format.write_array_header_1_0(stream, {"descr": "<u2", "fortran_order": False, "shape": shape})  # type: ignore[no-untyped-call]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
