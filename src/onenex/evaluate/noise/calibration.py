"""`onenex benchmark scanner`: whether f_φ foresees fast scans, mean and σ, of slices that it was not trained on."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from onenex import model as models
from onenex.evaluate import metrics
from onenex.evaluate.denoisers.rows import Finding
from onenex.evaluate.denoisers.table import console, finding_line
from onenex.evaluate.guard import table as guard_table
from onenex.model.engine import Model
from onenex.physics.estimate import spread_of_repeats
from onenex.physics.scale import series_scale
from onenex.scans import ScanInfo, load_images
from onenex.series import Acquisition, FloatImages

BAR = (0.9, 1.1)
"""Variance of the standardised residual of a calibrated likelihood."""
DECILES = 10
PIXELS_PER_PAIR = 3_000
"""Foreground pixels drawn from each pair, so that large slices don't outweigh small ones."""
N_SLICES = 3
"""Of each file."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A fast scan and a clean image of the same slice; (row, column), units of the series scale."""

    file: str
    index: int
    condition: str
    acquisition: Acquisition
    fast: FloatImages
    clean: FloatImages
    shared: float = 0.0
    """Variance of the clean image's own noise, as a share of that of the fast scan."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """One pair, judged in the foreground."""

    file: str
    index: int
    condition: str
    variance: float
    """Of (fast − m_φ) / σ_φ, about zero; 1 when calibrated."""
    bias: float
    """Its mean."""
    elsewhere: float
    """σ_φ of the same noise and text on the clean image of another scan, over σ_φ here: medians of what is bright in both."""


def run(data: Path, output: Path | None = None, *, split: str = "test", weights: Path | None = None, threads: int | None = None) -> list[Calibration]:
    """Print the variances of the standardised residual: by file, by decile of intensity, over all; write them to `output`.

    Parameters
    ----------
    data, output
        Folder with the manifest; folder for `scanner.csv`, made when missing.
    split
        `test`, or `train` for the slices that training holds out.
    weights, threads
        As `onenex benchmark denoisers`.

    Raises
    ------
    DataError
        No usable data.
    OutOfDomain
        The weights know mode `fast` only.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    model = models.load("auto", weights)
    pairs = [pair for info in guard_table.files(data, split) for pair in pairs_of(info)]
    found, samples = [], []
    for number, pair in enumerate(pairs):
        judged, sample = judge(pair, model, pairs[(number + len(pairs) // 2) % len(pairs)].clean)
        found.append(judged)
        samples.append(sample)
    screen = console()
    screen.print(f"OneNEX scanner: weights {model.weights_hash}, split {split}, {len(pairs)} pairs")
    screen.print(by_file(found))
    for finding in findings(found, deciles(samples)):
        screen.print(finding_line(finding))
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        with (output / "scanner.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, [one.name for one in fields(Calibration)])
            writer.writeheader()
            writer.writerows(asdict(one) for one in found)
    return found


def pairs_of(info: ScanInfo) -> Iterator[Pair]:
    """Yield simulated scans of a clean file; of a file of repeats the first one, and what the others say of the slice.

    The amplitude of the others is that of their mean square less 2σ², as magnitudes of single channels have it (Gudbjartsson & Patz 1995).
    """
    if info.kind != "repeats":
        for one in guard_table.slices_of(info):
            if one.truth is not None:
                clean = one.truth.reference
                yield Pair(file=info.id, index=one.index, condition=one.condition, acquisition=info.acquisition, fast=one.measured, clean=clean)
        return
    images = load_images(info)
    images = images / np.float32(series_scale([images.mean(axis=1)]))
    chosen = [one.index for one in guard_table.slices_of(info)]
    for index in chosen[:: max(1, len(chosen) // N_SLICES)]:
        repeats = images[index]
        others = np.square(repeats[1:]).mean(axis=0) - 2 * np.square(spread_of_repeats(repeats))
        yield Pair(
            file=info.id, index=index, condition="real repeat", acquisition=info.acquisition,
            fast=repeats[0], clean=np.sqrt(np.maximum(others, 0)), shared=1 / (len(repeats) - 1),
        )  # fmt: skip


def judge(pair: Pair, model: Model, other_clean: FloatImages) -> tuple[Calibration, NDArray[np.float32]]:
    """Return what a pair says, and a sample (pixel, 2) of (intensity, standardised residual squared) of its foreground."""
    sigma = model.estimate_sigma(pair.fast[None], scale=1.0)[0]
    scanner = model.scanner(sigma, pair.acquisition)
    mean, deviation = scanner(pair.clean)
    inside = metrics.foreground(pair.clean[None])[0] & (pair.fast > 0)
    z = (pair.fast - mean)[inside] / (deviation[inside] * np.float32(np.sqrt(1 + pair.shared)))
    generator = np.random.default_rng([zlib.crc32(pair.file.encode()), pair.index])
    drawn = generator.choice(len(z), size=min(len(z), PIXELS_PER_PAIR), replace=False)
    elsewhere = fitted(other_clean, pair.clean.shape)
    bright = inside & metrics.foreground(elsewhere[None])[0]
    ratio = float(np.median(scanner(elsewhere)[1][bright] / deviation[bright])) if bright.any() else float("nan")
    judged = Calibration(
        file=pair.file, index=pair.index, condition=pair.condition, variance=float(np.mean(z**2)), bias=float(np.mean(z)), elsewhere=ratio
    )
    return judged, np.stack([pair.clean[inside][drawn], z[drawn] ** 2], axis=1)


def fitted(image: FloatImages, shape: tuple[int, ...]) -> FloatImages:
    """Return an image cut, or continued by mirroring, to another shape; the middle stays in the middle."""
    for axis, wanted in enumerate(shape):
        n = image.shape[axis]
        places = (np.arange(wanted) + n // 2 - wanted // 2) % (2 * n)
        image = np.take(image, np.where(places < n, places, 2 * n - 1 - places), axis=axis)
    return image


def deciles(samples: Sequence[NDArray[np.float32]]) -> list[float]:
    """Return the mean squared standardised residual in each tenth of the pixels, from the darkest to the brightest."""
    pooled = np.concatenate(samples)
    order = pooled[np.argsort(pooled[:, 0], kind="stable"), 1]
    return [float(part.mean()) for part in np.array_split(order, DECILES)]


def by_file(found: Sequence[Calibration]) -> Table:
    """Return a line for each file."""
    table = Table(title="standardised residual (fast scan − m_φ) / σ_φ, means over pairs")
    for head in ("file", "pairs", "variance", "bias", "σ_φ on another scan"):
        table.add_column(head, no_wrap=True)
    for name in dict.fromkeys(one.file for one in found):
        mine = [one for one in found if one.file == name]
        numbers = (float(np.mean([getattr(one, field) for one in mine])) for field in ("variance", "bias", "elsewhere"))
        table.add_row(name, str(len(mine)), *(f"{number:.2f}" for number in numbers))
    return table


def findings(found: Sequence[Calibration], tenths: Sequence[float]) -> list[Finding]:
    """Return the release's bars."""
    low, high = BAR
    lines = []
    for title, wanted in (("simulated", False), ("real repeats", True)):
        mine = [one.variance for one in found if (one.condition == "real repeat") == wanted]
        if mine:
            lines.append(Finding(text=f"variance, {title} ({len(mine)} pairs): mean {np.mean(mine):.2f}, median {np.median(mine):.2f}", passed=None))
    overall = float(np.mean([one.variance for one in found]))
    lines.append(Finding(text=f"variance over all {len(found)} pairs: {overall:.3f} (bar {low}…{high})", passed=low <= overall <= high))
    shown = " ".join(f"{tenth:.2f}" for tenth in tenths)
    lines.append(Finding(text=f"by decile of intensity: {shown} (bar {low}…{high})", passed=all(low <= tenth <= high for tenth in tenths)))
    elsewhere = float(np.nanmedian([one.elsewhere for one in found]))
    text = f"σ_φ on the clean image of another scan: {elsewhere:.2f} of its own (bar {low}…{high})"
    return [*lines, Finding(text=text, passed=low <= elsewhere <= high)]
