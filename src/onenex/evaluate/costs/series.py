"""What reading and writing add: a DICOM series from files to files, against the model and against the networks alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from onenex.dicom.synthesise import Protocol, write_mr_series
from onenex.errors import DataError
from onenex.inputs import read_series
from onenex.model import Model
from onenex.model.modes import Settings
from onenex.physics.noise import rician
from onenex.physics.phantom import head_phantom
from onenex.pipeline import denoise_path

BAR = 1.25
"""Whole over networks."""
_SIDE, _SIGMA = 256, 20.0
_NAMES = ("networks", "model", "whole")


@dataclass(frozen=True, kw_only=True)
class SeriesCost:
    """What was measured."""

    n_slices: int
    seconds: dict[str, tuple[float, ...]]
    """Rounds on the clock: `networks` (noise map and restoration), `model` (with edges, details and guard), `whole` (read,
    denoised, written, with its page)."""
    cpu: dict[str, tuple[float, ...]]
    """The same in CPU seconds of all threads."""

    def ratio(self, over: str, *, cpu: bool = False) -> float:
        """Return the median over rounds of the whole over a part of it."""
        taken = self.cpu if cpu else self.seconds
        return median(whole / part for whole, part in zip(taken["whole"], taken[over], strict=True))

    def __str__(self) -> str:
        """Return it in lines."""
        lines = [
            f"{name:<9} {median(self.seconds[name]):>7.2f} s, {1000 * median(self.seconds[name]) / self.n_slices:>5.0f} ms a slice; "
            f"{median(self.cpu[name]):.2f} s of CPU"
            for name in _NAMES
        ]
        for part in _NAMES[:2]:
            lines.append(f"whole over {part}: {self.ratio(part):.3f} on the clock, {self.ratio(part, cpu=True):.3f} of CPU")
        return "\n".join([*lines, f"the bar is {BAR} on the clock"])


def measure(model: Model, folder: Path, *, n_slices: int = 200, rounds: int = 3) -> SeriesCost:
    """Generate a series of `n_slices` files of 256 × 256, time its parts by turns in mode `fast`, and remove everything.

    Raises
    ------
    DataError
        The folder exists.
    """
    if folder.exists():
        raise DataError(f"{folder} exists: choose another folder, this one is removed in the end")
    try:
        clean = np.resize(head_phantom((min(n_slices, 20), _SIDE, _SIDE), seed=0, supersampling=1), (n_slices, _SIDE, _SIDE))
        write_mr_series(rician(clean, _SIGMA, np.random.default_rng(0)), folder / "in", Protocol(description="T2w"))
        (series,) = read_series(folder / "in")
        images = series.source.images(series.stacks[0])
        parts: dict[str, Callable[[], object]] = {
            "networks": lambda: model.denoise(images, mode=Settings(give_back=False, guard=False)),
            "model": lambda: model.denoise(images),
            "whole": lambda: denoise_path(folder / "in", folder / "out", model=model, overwrite=True),
        }
        model.denoise(images[:2])  # what is done once
        seconds: dict[str, list[float]] = {name: [] for name in _NAMES}
        cpu: dict[str, list[float]] = {name: [] for name in _NAMES}
        for turn in range(rounds):
            for name in _NAMES[turn % 3 :] + _NAMES[: turn % 3]:
                began, busy = time.perf_counter(), time.process_time()
                parts[name]()
                seconds[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - busy)
        return SeriesCost(
            n_slices=n_slices,
            seconds={name: tuple(values) for name, values in seconds.items()},
            cpu={name: tuple(values) for name, values in cpu.items()},
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
