"""`onenex benchmark noise`: the estimated σ over the true one, for every clean test file, kind of noise and level."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from onenex import model as models
from onenex.errors import DataError
from onenex.evaluate.cases import load_clean
from onenex.evaluate.denoisers.rows import Finding
from onenex.evaluate.denoisers.table import console, finding_line
from onenex.evaluate.material import Clean
from onenex.physics import degrade, estimate, kspace, noise
from onenex.scans import ScanInfo, read_manifest
from onenex.series import FloatImages

SIGMAS = (0.01, 0.02, 0.05, 0.10, 0.15)
"""Channel σ in units of the series scale, after the k-space window."""
KINDS = ("uniform", "varying", "zero-filled", "masked background")
ZERO_FILLED_FRACTION = 0.7
"""Share of each axis of k-space that the zero-filled case keeps."""
MASK_THRESHOLD = 0.06
"""Share of the scale below which the masked case's scanner writes zeros."""
MAX_SLICES = 2
"""Slices of each file: the first of those that the denoising benchmark scores."""
TOLERANCE = 0.10

Estimator = Callable[[FloatImages], FloatImages]
"""(slice, row, column) images → σ, same shape and unit."""


@dataclass(frozen=True, kw_only=True)
class NoiseRow:
    """One file, one kind of noise, one level."""

    file: str
    kind: str
    sigma: float
    ratio: float
    """Median over the foreground of estimated over added σ."""
    ratio_with_own: float
    """The same over √(added² + own²), own being the file's own noise by its finest scale (`physics.estimate`)."""
    ratio_classical: float
    """As `ratio`, for the classical local estimate (`physics.estimate.local_sigma`), the yardstick."""


def run(
    data: Path, output: Path | None = None, quick: bool = False, *, device: str = "auto", weights: Path | None = None, threads: int | None = None
) -> Path | None:
    """Print the table of ratios and what follows from it.

    Parameters
    ----------
    data
        Folder with `manifest.csv` and `test/`.
    output
        Folder for `noise.csv`; made when missing.
    quick
        The first two files only: a try-out, not a result.
    device, weights
        As in `onenex.load`.
    threads
        CPU threads, all cores when None.

    Returns
    -------
    Path | None
        `noise.csv`, or None without `output`.

    Raises
    ------
    DataError
        No usable data.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    model = models.load(device, weights)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    screen = console()
    rows: list[NoiseRow] = []
    for info in clean_files(data)[: 2 if quick else None]:
        found = list(rows_of(info, model.estimate_sigma))
        rows += found
        screen.print(_table(found, with_head=len(rows) == len(found)))
    screen.print("Median of estimated over added σ in the foreground; σ in units of the series scale. In brackets: over √(added² + the file's own²).")
    for finding in findings(rows):
        screen.print(finding_line(finding))
    if output is None:
        return None
    path = output / "noise.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "kind", "sigma", "ratio", "ratio_with_own", "ratio_classical"])
        for row in rows:
            writer.writerow([row.file, row.kind, row.sigma, *(f"{one:.4f}" for one in (row.ratio, row.ratio_with_own, row.ratio_classical))])
    return path


def clean_files(data: Path) -> list[ScanInfo]:
    """Return the clean test files of `data`.

    Raises
    ------
    DataError
        There is none.
    """
    found = [info for info in read_manifest(data) if info.split == "test" and info.kind == "clean"]
    if not found:
        raise DataError(f"{data}: the manifest lists no clean test file")
    return found


def rows_of(info: ScanInfo, estimator: Estimator) -> Iterator[NoiseRow]:
    """Yield every kind and level of one file."""
    clean = load_clean(info)
    for kind in KINDS:
        for sigma in SIGMAS:
            measured, reference, level = acquire(clean, info, kind, sigma)
            inside = clean.mask[: len(measured)] & (measured > 0)
            estimated = estimator(measured)
            classical = np.stack([estimate.local_sigma(one) for one in measured])
            own = np.array([estimate.noise_floor(one, 0.1) for one in reference], dtype=np.float32)[:, None, None]
            yield NoiseRow(
                file=info.id,
                kind=kind,
                sigma=sigma,
                ratio=float(np.median((estimated / level)[inside])),
                ratio_with_own=float(np.median((estimated / np.sqrt(level**2 + own**2))[inside])),
                ratio_classical=float(np.median((classical / level)[inside])),
            )


def acquire(clean: Clean, info: ScanInfo, kind: str, sigma: float) -> tuple[FloatImages, FloatImages, FloatImages]:
    """Return (measured, noise-free reference, σ map), each (slice, row, column), of the first `MAX_SLICES` slices.

    The draw depends on file, kind and level only.
    """
    generator = np.random.default_rng([zlib.crc32(info.id.encode()), KINDS.index(kind), round(sigma * 10_000)])
    shape = (clean.images.shape[1], clean.images.shape[2])
    flat = np.ones(shape, dtype=np.float32)
    scan = degrade.Scan(
        sigma=sigma,
        window=kspace.zero_filled(shape, ZERO_FILLED_FRACTION, ZERO_FILLED_FRACTION) if kind == "zero-filled" else flat,
        relative_sigma=noise.g_factor_map(shape, generator) if kind == "varying" else flat,
        mask_threshold=MASK_THRESHOLD if kind == "masked background" else 0.0,
    )
    pairs = [degrade.acquire(image, scan, generator) for image in clean.images[:MAX_SLICES]]
    return (
        np.stack([pair.measured for pair in pairs]),
        np.stack([pair.reference for pair in pairs]),
        np.stack([pair.sigma for pair in pairs]),
    )


def findings(rows: Sequence[NoiseRow]) -> list[Finding]:
    """Return the median ratio of each kind and level against the bar, and how many single rows meet it."""
    lines = []
    for kind in KINDS:
        at_level = [[row for row in rows if (row.kind, row.sigma) == (kind, sigma)] for sigma in SIGMAS]
        medians = [float(np.median([row.ratio for row in chosen])) for chosen in at_level]
        text = f"{kind}, median over files: {_listed(medians)} (bar 0.90…1.10)"
        lines.append(Finding(text=text, passed=all(abs(one - 1) <= TOLERANCE for one in medians)))
        with_own = _listed([float(np.median([row.ratio_with_own for row in one])) for one in at_level])
        lines.append(Finding(text=f"  the file's own noise counted in: {with_own}"))
        lines.append(Finding(text=f"  classical estimate: {_listed([float(np.median([row.ratio_classical for row in one])) for one in at_level])}"))
    for label, ratios in (("added σ", [row.ratio for row in rows]), ("added and own σ", [row.ratio_with_own for row in rows])):
        n_within = sum(abs(ratio - 1) <= TOLERANCE for ratio in ratios)
        text = f"{n_within} of {len(ratios)} rows within 10 % of the {label}; from {min(ratios):.3f} to {max(ratios):.3f}"
        lines.append(Finding(text=text))
    return lines


def _listed(medians: Sequence[float]) -> str:
    return ", ".join(f"σ {sigma:g}: {median:.3f}" for sigma, median in zip(SIGMAS, medians, strict=True))


def _table(rows: Sequence[NoiseRow], *, with_head: bool) -> Table:
    """One line a kind of noise, one column a level."""
    table = Table(show_header=with_head, box=None, padding=(0, 1), pad_edge=False)
    for title, width in (("file", 30), ("noise", 18), *((f"σ {sigma:g}", 14) for sigma in SIGMAS)):
        table.add_column(title, width=width, no_wrap=True)
    for kind in KINDS:
        chosen = [row for row in rows if row.kind == kind]
        table.add_row(chosen[0].file, kind, *(f"{row.ratio:.3f} ({row.ratio_with_own:.3f})" for row in chosen))
    return table
