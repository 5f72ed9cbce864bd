"""`onenex pairs check`: does a built folder hold what its manifest says, and nothing that would make a test worthless?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onenex import built
from onenex.errors import DataError
from onenex.pairs import manifest
from onenex.pairs.packing import shards


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is wrong with a built folder."""

    where: str
    """A file of the folder, with the scan and slice where it is about one."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class _Rows:
    """What a pass over the manifest keeps of it."""

    shards: dict[str, dict[int, manifest.Row]]
    """Shard → entry → its row, or one of its rows."""
    problems: list[Problem]


def check(folder: Path) -> list[Problem]:
    """Look through a built folder and return what is wrong with it; every shard is read once, one entry at a time.

    Found are shards that are missing, damaged or in nobody's rows, rows that point nowhere or contradict themselves or one
    another, patients in two splits, synthetic rows in the test split, and images of the test split that are also trained on.

    Raises
    ------
    DataError
        The manifest itself cannot be read.
    """
    found = _read(folder)
    problems = found.problems
    seen: dict[bytes, tuple[str, str]] = {}
    for name in sorted(found.shards):
        problems += _shard_problems(folder, name, found.shards[name], seen)
    there = {path.relative_to(folder).as_posix() for path in (folder / shards.FOLDER).rglob("*.npy")}
    problems += [Problem(where=name, what="no row points at it: a stopped build left it; delete it") for name in sorted(there - set(found.shards))]
    return problems


def _read(folder: Path) -> _Rows:
    """Check the rows by themselves and against one another."""
    found = _Rows({}, [])
    sides: dict[str, str] = {}
    keys: set[tuple[str, int, tuple[int, ...]]] = set()
    for row in manifest.rows_of(folder, built.read_table(folder)):
        where = f"{built.MANIFEST}, scan {row.id}, slice {row.slice}"
        faults = [manifest.fault_of(row)]
        if row.key in keys:
            faults.append("there twice")
        if sides.setdefault(row.patient, row.split) != row.split:
            faults.append(f"patient {row.patient} is in both splits")
        found.problems += [Problem(where=where, what=fault) for fault in faults if fault]
        keys.add(row.key)
        if row.shard:
            entries = found.shards.setdefault(row.shard, {})
            other = entries.setdefault(row.index, row)
            if (other.id, other.slice, other.scales) != (row.id, row.slice, row.scales):
                found.problems.append(Problem(where=where, what=f"points at the entry of scan {other.id}, slice {other.slice}"))
            elif row.accepted:
                entries[row.index] = row
    try:
        list(built.read_groups(folder))
    except DataError as error:
        found.problems.append(Problem(where=built.MANIFEST, what=str(error)))
    return found


def _shard_problems(folder: Path, name: str, entries: dict[int, manifest.Row], seen: dict[bytes, tuple[str, str]]) -> Iterator[Problem]:
    """Yield what is wrong with one shard. `seen` gathers the sums of images: → split and place of the first one."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        yield Problem(where=name, what="lies outside the folder: trust nothing here")
        return
    if not path.is_file():
        yield Problem(where=name, what=f"missing, though {len(entries)} slices are in it: copy it again, or build the folder again")
        return
    if {row.shard_sha256 for row in entries.values()} != {shards.sha256(path)}:
        yield Problem(where=name, what="its checksum is another than the manifest's: copy it again, or build the folder again")
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        yield Problem(where=name, what=f"unreadable ({error}): copy it again, or build the folder again")
        return
    if images.ndim != 4 or images.dtype.kind not in "uf":
        yield Problem(where=name, what=f"holds {images.dtype} of shape {images.shape}, not uint16 (entry, image, row, column)")
        return
    for index, row in sorted(entries.items()):
        where = f"{name}, entry {index}"
        expected = (len(row.scales), row.rows, row.columns)
        if not 0 <= index < len(images) or images.shape[1:] != expected:
            yield Problem(where=where, what=f"row of scan {row.id}, slice {row.slice} points at {expected}, the shard has {images.shape}")
        else:
            yield from _image_problems(np.asarray(images[index]), where, row, seen)


def _image_problems(images: NDArray[np.generic], where: str, row: manifest.Row, seen: dict[bytes, tuple[str, str]]) -> Iterable[Problem]:
    """Yield images that are no magnitudes, and those that are in the other split too. Blank images are the same everywhere."""
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        yield Problem(where=where, what="holds NaN or infinite pixels: build the folder again")
    if not row.accepted:
        return
    for number, image in enumerate(images):
        if image.min() == image.max():
            continue
        digest = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest()
        split, first = seen.setdefault(digest, (row.split, where))
        if split != row.split:
            yield Problem(where=where, what=f"image {number} is also in {first}, of the other split: the same scan came under two patients' names")
