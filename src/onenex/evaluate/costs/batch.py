"""What a second worker brings to `onenex batch`: a generated archive, denoised with one and with several in turn."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from onenex.batch.job import Job
from onenex.batch.ledger import Ledger
from onenex.batch.local import run
from onenex.dicom.synthesise import Protocol, write_mr_series
from onenex.errors import DataError, ModelError
from onenex.physics.noise import rician
from onenex.physics.phantom import head_phantom

SPEED_UP = 1.8
"""The bar for two workers on two cores."""
_SIDE = 256
_SIGMA = 20.0


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """What was measured."""

    n_workers: int
    n_slices: int
    one_s: tuple[float, ...]
    """Seconds of each run with one worker, planning and loading of the model included."""
    several_s: tuple[float, ...]

    @property
    def speed_up(self) -> float:
        """Median of the rounds: one worker over several."""
        return median(one / several for one, several in zip(self.one_s, self.several_s, strict=True))

    def __str__(self) -> str:
        """Return it in lines."""
        rounds = ", ".join(f"{one / several:.2f}" for one, several in zip(self.one_s, self.several_s, strict=True))
        return "\n".join(
            (
                f"1 worker    {self.n_slices} slices in {median(self.one_s):.1f} s, {self.n_slices / median(self.one_s):.2f} a second",
                f"{self.n_workers} workers   {self.n_slices} slices in {median(self.several_s):.1f} s, "
                f"{self.n_slices / median(self.several_s):.2f} a second",
                f"{self.speed_up:.2f} times as fast (rounds: {rounds}); the bar of 2 workers on 2 cores is {SPEED_UP}",
            )
        )


def measure(folder: Path, *, n_series: int = 12, n_slices: int = 10, workers: int = 2, rounds: int = 3) -> Scaling:
    """Generate an archive, denoise it with one worker and with `workers`, by turns, and remove everything.

    Parameters
    ----------
    folder
        Must not exist.

    Raises
    ------
    DataError
        The folder exists.
    ModelError
        The results differ.
    """
    if folder.exists():
        raise DataError(f"{folder} exists: choose another folder, this one is removed in the end")
    try:
        generator = np.random.default_rng(0)
        clean = head_phantom((n_slices, _SIDE, _SIDE), seed=0, supersampling=1)
        for number in range(1, n_series + 1):
            protocol = Protocol(description=f"T2w {number}", series_number=number)
            write_mr_series(rician(clean, _SIGMA, generator), folder / "in" / str(number), protocol)
        seconds: dict[int, list[float]] = {1: [], workers: []}
        digests = set()
        for turn in range(rounds):
            for n_workers in (1, workers) if turn % 2 == 0 else (workers, 1):
                destination = folder / f"out-{turn}-{n_workers}"
                job = Job(source=str(folder / "in"), destination=str(destination), device="cpu")
                seconds[n_workers].append(run(job, workers=n_workers).seconds)
                digests.add(tuple((row.unit, row.digest) for row in Ledger(str(destination)).rows()))
                shutil.rmtree(destination)
        if len(digests) != 1:
            raise ModelError("one worker and several made different pixels: please report it")
        return Scaling(n_workers=workers, n_slices=n_series * n_slices, one_s=tuple(seconds[1]), several_s=tuple(seconds[workers]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
