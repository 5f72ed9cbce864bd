"""`onenex benchmark guard`: how many honest slices the guard touches, and how much planted damage it catches."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from onenex import model as models
from onenex.errors import DataError
from onenex.evaluate import metrics
from onenex.evaluate.denoisers.table import console, finding_line
from onenex.evaluate.guard import faults
from onenex.evaluate.guard.report import HONEST, MODEL, TRUTH, GuardRow, findings, write_curves, write_rows
from onenex.model import guard as guards
from onenex.model.engine import Model
from onenex.model.modes import Settings
from onenex.physics import degrade, estimate
from onenex.physics.scale import series_scale
from onenex.scans import ScanInfo, load_images, read_manifest
from onenex.series import Acquisition, FloatImages

HOLDOUT_EVERY = 8
"""Split `train`: slices that training holds out, every 8th (`train.config`)."""
MAX_SLICES = 3
"""Slices of each file, spread evenly over those allowed; of files of repeats `MAX_REPEATED`."""
MAX_REPEATED = 12
SIMULATIONS = 2
"""Simulated scans of each slice of a clean file, besides the slice as it is."""
SIGMAS = (0.01, 0.12)
"""Their noise, units of the series scale, drawn log-uniformly."""
NOISE_WINDOW = 17
"""Pixels: window in which the difference of two repeats is brought to unit spread."""
PER_SLICE = {faults.ERASED: 2, faults.ADDED: 2, faults.SHIFTED: 1, faults.SMOOTHED: 1, faults.SWAPPED: 1}
"""Faults planted in each slice, one at a time; slices are swapped as they are, not simulated."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One measured slice and its neighbour, units of the series scale."""

    file: str
    index: int
    condition: str
    acquisition: Acquisition
    measured: FloatImages
    """(row, column)."""
    neighbour: FloatImages | None = None
    """(row, column), measured alike; None where no slice is swapped."""
    noise: FloatImages | None = None
    """(row, column) a sample of the standardised noise, where one is known."""
    truth: degrade.Degraded | None = None
    """What a simulated scan was made from."""


def run(  # noqa: PLR0913 - the options of a command
    data: Path,
    output: Path | None = None,
    quick: bool = False,
    *,
    split: str = "test",
    mode: str = "fast",
    device: str = "auto",
    weights: Path | None = None,
    threads: int | None = None,
) -> Path | None:
    """Print the rates and write every row and the curves.

    Parameters
    ----------
    data
        Folder with `manifest.csv` and the files of `split`.
    output
        Folder for `guard.csv` and `guard.png`; made when missing.
    quick
        The first two files only: a try-out, not a result.
    split
        `test`, or `train` for the slices that training holds out; of files too short to hold one out, the last slice, which it has seen.
    mode
        Whose results are judged; `fast` or `full`.
    device, weights
        As in `onenex.load`.
    threads
        CPU threads, all cores when None.

    Returns
    -------
    Path | None
        `guard.csv`, or None without `output`.

    Raises
    ------
    DataError
        No usable data.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    model = models.load(device, weights)
    infos = files(data, split)[: 2 if quick else None]
    screen = console()
    rows: list[GuardRow] = []
    for info in infos:
        found = [row for one in slices_of(info) for row in rows_of(one, model, Settings(mode=mode))]
        rows += found
        honest, damaged = ([row for row in found if (row.fault == HONEST) == wanted] for wanted in (True, False))
        caught = sum(row.caught for row in damaged)
        screen.print(f"{info.id:34s} honest touched {sum(row.touched for row in honest)} of {len(honest)}, faults caught {caught} of {len(damaged)}")
    for finding in findings(rows):
        screen.print(finding_line(finding))
    if output is None:
        return None
    output.mkdir(parents=True, exist_ok=True)
    write_curves(rows, output / "guard.png")
    return write_rows(rows, output / "guard.csv")


def files(data: Path, split: str) -> list[ScanInfo]:
    """Return the files of one split that have a slice to judge and one beside it.

    Raises
    ------
    DataError
        There is none.
    """
    found = [info for info in read_manifest(data) if info.split == split and info.kind != "pairs" and info.n_slices >= 2]
    if not found:
        raise DataError(f"{data}: the manifest lists no file of split '{split}' with at least 2 slices")
    return found


def slices_of(info: ScanInfo) -> Iterator[Slice]:
    """Yield the slices of one file: as they are and simulated, or single real repeats. What is drawn depends on file and slice only."""
    images = load_images(info)
    images = images / np.float32(series_scale([images.mean(axis=1) if info.kind == "repeats" else images]))
    everything = np.arange(len(images))
    held_out = everything[HOLDOUT_EVERY - 1 :: HOLDOUT_EVERY]
    allowed = everything if info.split != "train" else held_out if len(held_out) else everything[-1:]
    n_slices = min(len(allowed), MAX_REPEATED if info.kind == "repeats" else MAX_SLICES)
    sliced = partial(Slice, file=info.id, acquisition=info.acquisition)
    between = np.linspace(0, len(allowed) - 1, n_slices + 2)[1:-1].round().astype(int)
    for index in allowed[np.unique(between)] if len(allowed) > n_slices else allowed:
        beside = int(index) - 1 if index else 1
        if info.kind == "repeats":
            (first, second), other = images[index, :2], images[beside, 0]
            difference = first - second
            noise = difference / np.maximum(np.sqrt(ndimage.uniform_filter(np.square(difference), NOISE_WINDOW)), 1e-6)
            yield sliced(index=int(index), condition="real repeat", measured=first, neighbour=other, noise=noise)
            continue
        yield sliced(index=int(index), condition="as it is", measured=images[index], neighbour=images[beside])
        for number in range(SIMULATIONS):
            yield _simulated(info, images, int(index), number)


def _simulated(info: ScanInfo, images: FloatImages, index: int, number: int) -> Slice:
    """Scan a slice once more, with noise."""
    generator = np.random.default_rng([zlib.crc32(info.id.encode()), index, number])
    low = max(SIGMAS[0], min(estimate.noise_floor(images[index], 0.1), SIGMAS[1] / 2))
    scan = degrade.draw_scan((info.rows, info.columns), degrade.ScanRanges(sigma=(low, SIGMAS[1])), generator)
    pair = degrade.acquire(images[index], scan, generator)
    mean, spread = guards.rician_model(pair.sigma)(pair.reference)
    noise = (pair.measured - mean) / np.maximum(spread, 1e-6)
    condition = f"simulated {number + 1}"
    return Slice(file=info.id, acquisition=info.acquisition, index=index, condition=condition, measured=pair.measured, noise=noise, truth=pair)


def rows_of(one: Slice, model: Model, settings: Settings) -> Iterator[GuardRow]:
    """Yield the guard's word on the model's result for one slice, then on each fault planted in it; then the same for the truth, if known.

    The model itself works without its guard here, whatever `settings` say: results that have been put right would all pass.
    """
    stack = [one.measured] if one.neighbour is None else [one.measured, one.neighbour]
    denoised = model.denoise(np.stack(stack), one.acquisition, mode=replace(settings, guard=False), scale=1.0)
    scene = _scene(one.measured, denoised.images[0], denoised.noise_sigma[0])
    yield from _rows(one, MODEL, scene if one.neighbour is None else replace(scene, neighbour=denoised.images[1]))
    if one.truth is not None:
        yield from _rows(one, TRUTH, _scene(one.measured, one.truth.reference, one.truth.sigma))


def _scene(measured: FloatImages, restored: FloatImages, sigma: FloatImages) -> faults.Scene:
    foreground = metrics.foreground(restored[None])[0] & (measured > 0)
    return faults.Scene(measured=measured, restored=restored, sigma=sigma, foreground=foreground, degrade=guards.rician_model(sigma))


def _rows(one: Slice, result: str, scene: faults.Scene) -> Iterator[GuardRow]:
    """Yield the rows of one result of one slice; what is drawn depends on the slice alone."""
    honest = guards.guard(one.measured, scene.restored, scene.degrade).verdict
    yield replace(_row(one, honest, faults.Fault(kind=HONEST)), result=result)
    noise = None if one.noise is None else np.where(scene.foreground, one.noise, np.float32(0))
    generator = np.random.default_rng([zlib.crc32(one.file.encode()), one.index, zlib.crc32(one.condition.encode())])
    for kind, number in PER_SLICE.items():
        for _ in range(number):
            fault = faults.draw(kind, scene, generator)
            if fault is not None:
                yield replace(_damaged_row(one, scene, fault, noise), result=result)


def _damaged_row(one: Slice, scene: faults.Scene, fault: faults.Fault, noise: FloatImages | None) -> GuardRow:
    planted = faults.plant(fault, scene)
    guarded = guards.guard(planted.measured, planted.restored, scene.degrade)
    damage = (planted.restored - planted.honest).astype(np.float64)
    return _row(
        one,
        guarded.verdict,
        fault,
        snr=faults.ideal_snr(planted.signal, noise),
        caught=bool((guarded.verdict.flagged & planted.where).any()),
        left=float(np.sum((guarded.image - planted.honest) * damage) / max(float(np.sum(damage**2)), 1e-12)),
    )


def _row(one: Slice, verdict: guards.Verdict, fault: faults.Fault, *, snr: float = 0.0, caught: bool = False, left: float = 0.0) -> GuardRow:
    return GuardRow(
        file=one.file,
        index=one.index,
        condition=one.condition,
        result=MODEL,
        fault=fault.kind,
        radius=fault.radius,
        contrast=fault.contrast,
        snr=snr,
        touched=not verdict.passed,
        caught=caught,
        kept=verdict.kept,
        left=left,
        reasons="; ".join(verdict.reasons),
    )
