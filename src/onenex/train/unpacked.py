"""Packed scans too large for memory: each `.npz` is unpacked once, beside the others, and read slice by slice from then on.

`prepared/<key>.npy` has the images (slice, image, row, column), as integers where they are such; `prepared/<key>.json` their checksum.
Training sees what it would have seen in memory, to the last bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onenex.built import Stored
from onenex.errors import DataError
from onenex.output import atomic_file
from onenex.scans import ScanInfo, load_images
from onenex.train.prepared import cache_of

_VERSION = 1
"""To be raised when `scans.load_images` reads other pixels from the same file."""


def n_bytes(infos: Sequence[ScanInfo]) -> int:
    """Return the size of all images in single precision; those in shards need no memory."""
    return sum(4 * info.n_slices * _n_images(info) * info.rows * info.columns for info in infos if info.stored is None)


def on_disk(info: ScanInfo, folder: Path) -> ScanInfo:
    """Return a scan whose images are read slice by slice: as it is when it is in a shard, else from its unpacked copy, made where there is none.

    Parameters
    ----------
    folder
        That of the manifest; the copy goes to `prepared` in it, or to the user's cache where it cannot be written to.

    Raises
    ------
    DataError
        The file cannot be read, or the copy cannot be written.
    """
    if info.stored is not None:
        return info
    copy, checksum = _copy_of(info, folder)
    n, each = info.n_slices, _n_images(info)
    stored = Stored(
        shard=copy, sha256=checksum, index=np.arange(n, dtype=np.int32), scales=np.ones((n, each), np.float32), which=tuple(range(each))
    )  # fmt: skip
    return replace(info, stored=stored)


def _n_images(info: ScanInfo) -> int:
    return {"clean": 1, "pairs": 2}.get(info.kind, info.n_repeats)


def _copy_of(info: ScanInfo, folder: Path) -> tuple[Path, str]:
    """Return the unpacked copy and its checksum; the size and the time of the file say whether it is up to date."""
    try:
        facts = info.path.stat()
    except FileNotFoundError:
        raise DataError(f"{info.path} is missing, though the manifest lists it") from None
    told = (_VERSION, info.split, info.id, info.kind, info.n_slices, info.n_repeats, facts.st_size, facts.st_mtime_ns)
    key = "unpacked-" + hashlib.sha256(repr(told).encode()).hexdigest()[:24]
    copy, note = (cache_of(folder) / f"{key}{ending}" for ending in (".npy", ".json"))
    if copy.is_file() and note.is_file():
        return copy, str(json.loads(note.read_text(encoding="utf-8"))["sha256"])
    images = _smallest(load_images(info))
    images = images[:, None] if info.kind == "clean" else images
    with atomic_file(copy) as partial, partial.open("wb") as stream:
        np.save(stream, images, allow_pickle=False)
    checksum = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
    with atomic_file(note) as partial:  # after the copy, which is then whole
        partial.write_text(json.dumps({"sha256": checksum}), encoding="utf-8")
    return copy, checksum


def _smallest(images: NDArray[np.float32]) -> NDArray[np.generic]:
    """Return the images as 16-bit integers where that loses nothing."""
    if images.size and images.max() <= np.iinfo(np.uint16).max:
        integers = images.astype(np.uint16)
        if np.array_equal(integers, images):
            return integers
    return images
