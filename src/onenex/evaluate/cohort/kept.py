"""What was measured, kept on the disk image by image: a run that was stopped goes on, and another choice of methods measures only what is new."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from onenex.evaluate.cohort.samples import Plan, Unit
from onenex.scans import ScanInfo

Place = tuple[int, int]
"""(number of the input, slice) within a unit."""
Line = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The file of one unit and one method: JSON lines, one an image, and one for each plan that was carried out to its end."""

    path: Path

    def lines(self) -> dict[Place, Line]:
        """Return what was measured so far; a last line that was cut off is removed from the file."""
        return {(line["number"], line["slice"]): line for line in self._read() if "images" not in line}

    def finished(self, plan: Plan) -> list[Place] | None:
        """Return the images of a plan when all of them are measured; None when not."""
        for line in self._read():
            if line.get("plan") == repr(plan):
                return [(number, k) for number, k in line["images"]]
        return None

    def add(self, line: Line) -> None:
        """Add what was measured on one image."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def finish(self, plan: Plan, images: Sequence[Place]) -> None:
        """Note that all images of a plan are measured, and see the file to the disk."""
        self.add({"plan": repr(plan), "images": [list(place) for place in images]})
        with self.path.open("rb") as stream:
            os.fsync(stream.fileno())

    def of(self, plan: Plan) -> Iterator[Line]:
        """Yield the measurements of a finished plan in its order; nothing of one that isn't finished."""
        images = self.finished(plan)
        if images is not None:
            lines = self.lines()
            yield from (lines[place] for place in images)

    def _read(self) -> list[Line]:
        if not self.path.is_file():
            return []
        whole = self.path.read_bytes()
        complete = whole[: whole.rfind(b"\n") + 1]
        if len(complete) < len(whole):
            self.path.write_bytes(complete)
        return [json.loads(line) for line in complete.splitlines()]


def kept(folder: Path, unit: Unit, *depends_on: str) -> Kept:
    """Return where the measurements of a unit are kept.

    Parameters
    ----------
    folder
        The cache.
    depends_on
        All that the measurements depend on beside the scan and its condition: code, method, what else is measured.
    """
    info = unit.info
    told = (content(info), info.kind, info.note, info.n_repeats, info.acquisition, unit.condition, *depends_on)
    key = hashlib.sha256(repr(told).encode()).hexdigest()[:24]
    return Kept(path=folder / key[:2] / f"{key}.jsonl")


def content(info: ScanInfo) -> str:
    """Return the checksum of a scan's pixels: SHA-256 of its file; in a built folder that of its shard, and which entries are its own."""
    if info.stored is not None:
        one = info.stored
        return hashlib.sha256(repr((one.sha256, one.index.tolist(), one.which, one.scales.tobytes())).encode()).hexdigest()
    facts = info.path.stat()
    return _checksum(info.path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=4096)
def _checksum(path: Path, _size: int, _mtime_ns: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
