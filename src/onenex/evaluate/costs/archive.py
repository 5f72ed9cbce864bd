"""What indexing an archive costs: a generated DICOM tree is scanned twice, each time in a process of its own.

`python -m onenex.evaluate.costs.archive TREE INDEX WORKERS` is one such scan; it prints a line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onenex.dicom.synthesise import Protocol, write_mr_series
from onenex.errors import DataError, ModelError
from onenex.evaluate.costs.memory import own_peak_bytes

FILES_PER_S, PEAK_BYTES, SECOND_SCAN = 300.0, 10**9, 10.0
"""The bars: files a second, memory of all processes together, first scan over second."""
SLICES = 50
_SERIES_A_PATIENT = 10
_SIDE = 32
_LAYOUTS: tuple[Callable[[int, int, int], str], ...] = (
    lambda patient, series, image: f"P{patient:06d}/STUDY_HEAD/T2_TSE_TRA_{series:04d}/P{patient:06d}.MR.{series:04d}.{image:04d}.IMA",
    lambda patient, series, image: f"e{patient}/s{series}/i{image:05d}.MRDC.{image}",
    lambda patient, series, image: f"{patient:08X}/DICOM/IM_{series * 1000 + image:04d}",
    lambda patient, series, image: f"{patient:06d}/1.2.{patient}.{series}.{image}.dcm",
)
"""(patient, series, image) → path: a folder a series, exam and series folders, all of a study together with and without suffix."""


@dataclass(frozen=True, kw_only=True)
class ArchiveSpeed:
    """What was measured."""

    n_files: int
    n_series: int
    n_workers: int
    generated_s: float
    first_s: float
    first_cpu_s: float
    """Of all processes, workers' imports included; on a machine that does other work too it tells what `first_s` would be without that."""
    second_s: float
    peak_bytes: int
    """Of the first scan: this process and each worker at its worst, added up."""
    index_bytes: int

    @property
    def files_per_s(self) -> float:
        """Both levels together, first scan."""
        return self.n_files / self.first_s

    @property
    def ratio(self) -> float:
        """First scan over second."""
        return self.first_s / self.second_s

    @property
    def passed(self) -> bool:
        """Whether all bars are met."""
        return self.files_per_s >= FILES_PER_S and self.peak_bytes < PEAK_BYTES and self.ratio >= SECOND_SCAN

    def __str__(self) -> str:
        return (
            f"{self.n_files} files in {self.n_series} series, {self.n_workers} workers: {self.files_per_s:.0f} files/s "
            f"({self.first_s:.1f} s, {self.first_cpu_s:.1f} s of CPU), again in {self.second_s:.2f} s ({self.ratio:.0f} times faster), "
            f"{self.peak_bytes / 1e6:.0f} MB at most, index {self.index_bytes / 1e6:.1f} MB"
        )


def measure(n_files: int, folder: Path, *, workers: int = 0, seed: int = 0) -> ArchiveSpeed:
    """Generate an archive of small MR files in `folder`, scan it twice, and remove it.

    Parameters
    ----------
    n_files
        At least 1; 50 a series, ten series a patient, four vendors' folder structures in turn.
    folder
        Made when missing; `archive` in it must not exist.
    workers
        Processes that read, as in `archive.scan`.
    seed
        Of the pixels and UIDs.

    Raises
    ------
    DataError
        No files asked for, or `folder/archive` exists.
    ModelError
        A scan failed; the message holds its last line.
    """
    tree, index = folder / "archive", folder / "archive.sqlite"
    if n_files < 1 or tree.exists() or index.exists():
        raise DataError(f"{n_files} files in {folder}: give 1 or more, and a folder without an archive of its own")
    began = time.monotonic()
    n_series = generate(n_files, tree, seed)
    generated_s = time.monotonic() - began
    try:
        first, second = (_scan_apart(tree, index, workers) for _ in range(2))
        if (first["n_new"], second["n_new"], second["n_series"]) != (n_files, 0, n_series):
            raise ModelError(f"the scans found {first['n_new']} and {second['n_new']} new files in {second['n_series']} series: that cannot be")
        return ArchiveSpeed(
            n_files=n_files, n_series=n_series, n_workers=workers, generated_s=generated_s, first_s=first["seconds"], first_cpu_s=first["cpu_s"],
            second_s=second["seconds"], peak_bytes=first["peak_bytes"], index_bytes=index.stat().st_size,
        )  # fmt: skip
    finally:
        shutil.rmtree(tree)
        index.unlink(missing_ok=True)


def generate(n_files: int, tree: Path, seed: int = 0) -> int:
    """Write the archive and return its number of series."""
    n_series = -(-n_files // SLICES)
    images = np.random.default_rng(seed).rayleigh(200.0, (SLICES, _SIDE, _SIDE)).astype(np.float32)
    waiting = tree / "incoming"
    for number in range(n_series):
        patient, series = number // _SERIES_A_PATIENT, number % _SERIES_A_PATIENT + 1
        n_slices = min(SLICES, n_files - number * SLICES)
        protocol = Protocol(description="T2 TSE tra", series_number=series, nex=1 + series % 2, seed=seed * 1_000_000 + patient)
        for image, path in enumerate(write_mr_series(images[:n_slices], waiting, protocol), start=1):
            target = tree / _LAYOUTS[patient % len(_LAYOUTS)](patient, series, image)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    waiting.rmdir()
    return n_series


def _scan_apart(tree: Path, index: Path, workers: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "onenex.evaluate.costs.archive", str(tree), str(index), str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"the scan ended with {done.returncode}: {last}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: list[str]) -> None:
    """Scan once and print what it took."""
    from onenex.pairs.archive import scan

    workers, before = int(arguments[2]), sum(os.times()[:4])
    found = scan(Path(arguments[0]), Path(arguments[1]), workers=workers)
    spent = sum(os.times()[:4]) - before
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    told = {"n_new": found.n_new, "n_series": found.n_series, "seconds": found.seconds, "cpu_s": spent}
    print(json.dumps(told | {"peak_bytes": own_peak_bytes() + workers * child}))


if __name__ == "__main__":
    main(sys.argv[1:])
