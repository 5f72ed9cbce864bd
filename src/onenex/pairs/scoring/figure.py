"""What the limits of `quality` part: scores of pairs, of misaligned ones and of wrong ones, drawn from the phantom or from real scans.

`python -m onenex.pairs.scoring.figure PICTURE.png [DATA]` draws it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from onenex.errors import DataError
from onenex.pairs.quality import Limits, Quality, assess
from onenex.physics import noise
from onenex.physics.phantom import TIMINGS, head_phantom
from onenex.physics.scale import series_scale
from onenex.scans import ScanInfo, load_images, read_manifest
from onenex.series import FloatImages

Array = NDArray[np.float32]

SIGMAS = (0.03, 0.06, 0.10)
"""Noise of the fast scan, share of the scale."""
PAIRS = ("pair, 4 averages", "pair, 2 averages", "pair, contrast ± 15 %")
WRONG = ("1 pixel off", "2 pixels off", "turned by 3°", "next slice", "other patient", "other contrast", "no less noisy", "clipped")
GROUPS = PAIRS + WRONG
_SIDE, _SLICES = 192, 4
"""Of real scans, at most."""
_INTERPOLATED = 400
"""Pixels: scans of more are halved."""
_DPI = 85


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Slices without noise (real ones: with the noise they have), and what could be mistaken for their reference."""

    images: Array
    """(slice, row, column), bright foreground about 1."""
    other_patients: tuple[Array, ...] = ()
    other_contrasts: tuple[Array, ...] = ()
    next_slice: bool = True
    """Whether slices are so far apart that the next one shows something else."""


def phantom_stacks(n_heads: int = 3, shape: tuple[int, int, int] = (10, 112, 112)) -> list[Stack]:
    """Return heads of several patients in several contrasts."""
    found: dict[tuple[int, str], Array] = {}
    for seed in range(n_heads):
        for sequence in TIMINGS:
            clean = head_phantom(shape, sequence=sequence, seed=seed, supersampling=2)
            found[seed, sequence] = np.asarray(clean / series_scale([clean]), np.float32)
    return [
        Stack(
            images=images,
            other_patients=(found[(seed + 1) % n_heads, sequence],) if n_heads > 1 else (),
            other_contrasts=tuple(found[seed, other] for other in TIMINGS if other != sequence),
        )
        for (seed, sequence), images in found.items()
    ]


def real_stacks(data: Path) -> list[Stack]:
    """Return the middle of every clean training scan of a folder with a manifest; patients are told apart by their ids.

    Other contrasts are other sequences of the same patient; echoes of one train look so alike that only headers tell them apart.

    Raises
    ------
    DataError
        No manifest, or no clean training scan.
    """
    infos = [info for info in read_manifest(data) if info.split == "train" and info.kind == "clean"]
    if not infos:
        raise DataError(f"{data}: no clean scan to train on: the figure needs some")
    return [_real(info, infos) for info in infos]


def _real(info: ScanInfo, infos: list[ScanInfo]) -> Stack:
    """Return one scan with another patient's of its kind and other contrasts of its own, where there are such."""
    same = [
        one for one in infos if (one.organ, one.sequence, one.plane) == (info.organ, info.sequence, info.plane) and _subject(one) != _subject(info)
    ]
    other = [
        one for one in infos
        if _subject(one) == _subject(info) and one.sequence != info.sequence and (one.rows, one.columns) == (info.rows, info.columns)
        and not 0.5 < (one.echo_time_ms or math.inf) / (info.echo_time_ms or math.inf) < 2
    ]  # fmt: skip
    images = _middle(info)
    return Stack(
        images=images,
        other_patients=tuple(_fitted(_middle(one), images.shape) for one in same[:1]),
        other_contrasts=tuple(_fitted(_middle(one), images.shape) for one in other[:1]),
        next_slice=(info.slice_thickness_mm or 4.0) > 2,
    )


def _subject(info: ScanInfo) -> str:
    return info.id.rsplit("_", 1)[0]


def _middle(info: ScanInfo) -> Array:
    images = load_images(info)
    first = max(0, (len(images) - _SLICES) // 2)
    if min(images.shape[1:]) > _INTERPOLATED:  # noise is drawn on a matrix that a scanner may have measured
        images = ndimage.gaussian_filter(images, (0, 0.7, 0.7))[:, ::2, ::2]
    rows, columns = (slice(max(0, (n - _SIDE) // 2), max(0, (n - _SIDE) // 2) + _SIDE) for n in images.shape[1:])
    return np.asarray(images[first : first + _SLICES, rows, columns] / np.float32(series_scale([images])), np.float32)


def _fitted(images: Array, shape: tuple[int, ...]) -> Array:
    """Return a stack of another shape, cut or continued by its edge; the middle stays in the middle."""
    for axis, wanted in enumerate(shape):
        places = np.clip(np.arange(wanted) + (images.shape[axis] - wanted) // 2, 0, images.shape[axis] - 1)
        images = np.take(images, places, axis=axis)
    return images


def cases(stack: Stack, sigma: float, generator: np.random.Generator) -> Iterator[tuple[str, FloatImages, FloatImages]]:
    """Yield (group of `GROUPS`, fast scan, reference) with drawn noise."""
    clean = stack.images

    def scan(images: Array, level: float) -> Array:
        return noise.rician(images, level, generator)

    fast, half = scan(clean, sigma), sigma / 2
    yield "pair, 4 averages", fast, scan(clean, half)
    yield "pair, 2 averages", fast, scan(clean, sigma / math.sqrt(2))
    yield "pair, contrast ± 15 %", fast, scan(np.asarray(clean ** generator.uniform(0.85, 1.15), np.float32), half)
    yield "1 pixel off", fast, scan(np.roll(clean, 1, axis=int(generator.integers(1, 3))), half)
    yield "2 pixels off", fast, scan(np.roll(clean, 2, axis=int(generator.integers(1, 3))), half)
    yield "turned by 3°", fast, scan(np.maximum(ndimage.rotate(clean, 3.0, axes=(1, 2), reshape=False, order=3), 0), half)
    if stack.next_slice and len(clean) > 1:
        yield "next slice", fast[1:], scan(clean[:-1], half)
    for other in stack.other_patients:
        yield "other patient", fast, scan(other, half)
    for other in stack.other_contrasts:
        yield "other contrast", fast, scan(other, half)
    yield "no less noisy", fast, scan(clean, sigma)
    bright = np.float32(np.percentile(clean[clean > 0.1], 95))
    yield "clipped", fast, np.minimum(scan(clean, half), bright)


def judged(stacks: list[Stack], *, sigmas: tuple[float, ...] = SIGMAS, seed: int = 0) -> dict[str, list[Quality]]:
    """Return group → verdicts on every stack at every noise."""
    generator = np.random.default_rng(seed)
    found: dict[str, list[Quality]] = {group: [] for group in GROUPS}
    for stack in stacks:
        for sigma in sigmas:
            for group, fast, reference in cases(stack, sigma, generator):
                found[group].append(assess(fast, reference))
    return found


_PANELS: tuple[tuple[str, str, tuple[float, float]], ...] = (
    ("correlation", "correlation of brightness", (0.4, 1.02)),
    ("structure", "correlation of structure", (0.4, 1.02)),
    ("nmi", "normalised mutual information", (1.0, 1.7)),
    ("motion_px", "shift of blocks (upper quartile), pixels", (0, 6)),
    ("noise_ratio", "noise, reference / fast scan", (0, 1.4)),
    ("clipped", "saturated share of the foreground", (0, 0.1)),
)
"""Score and limit, title, range drawn: what lies beyond is drawn at its end."""


def figure(data: Path | None, path: Path, *, found: Mapping[str, list[Quality]] | None = None) -> dict[str, tuple[int, int]]:
    """Draw the scores of slices by group, with the limits, to `path` (PNG).

    Parameters
    ----------
    data
        Folder of scans with a manifest, of which training scans are used; None = the phantom.
    found
        What `judged` said, where that's already known.

    Returns
    -------
    dict
        Group → (accepted stacks, stacks).
    """
    from matplotlib.figure import Figure

    found = found or judged(real_stacks(data) if data else phantom_stacks())
    counts = {group: (sum(one.accepted for one in some), len(some)) for group, some in found.items() if some}
    names = [f"{group}  ({100 * good / n:.0f} %)" for group, (good, n) in counts.items()]
    drawing = Figure(figsize=(11, 6.2), layout="constrained")
    generator, limits = np.random.default_rng(0), Limits()
    for axes, (name, title, (low, high)) in zip(drawing.subplots(2, 3, sharey=True).ravel(), _PANELS, strict=True):
        for row, group in enumerate(counts):
            values = np.array([getattr(one, name) for some in found[group] for one in some.slices])
            values = np.clip(values[np.isfinite(values)], low, high)
            heights = row + generator.uniform(-0.3, 0.3, len(values))
            axes.plot(values, heights, ".", markersize=2, alpha=0.4, color="tab:green" if group in PAIRS else "tab:red", rasterized=True)
        axes.axvline(getattr(limits, name), color="black", linewidth=1, linestyle="--")
        axes.set_title(title, fontsize=9)
        axes.set_xlim(low - 0.02 * (high - low), high + 0.02 * (high - low))
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
        axes.set_ylim(len(names) - 0.5, -0.5)
    source = "training scans" if data else "the phantom"
    drawing.suptitle(
        f"Slices of {source} at noise {', '.join(f'{one:g}' for one in SIGMAS)} of the scale; limits dashed; stacks accepted in brackets", fontsize=9
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=_DPI)
    return counts


if __name__ == "__main__":
    for name, (good, n) in figure(Path(sys.argv[2]) if len(sys.argv) > 2 else None, Path(sys.argv[1])).items():
        print(f"{name}: {good} of {n} accepted")
