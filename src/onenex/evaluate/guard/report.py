"""What the rows of the guard's benchmark amount to: rates against their bars, a table of lesions, curves."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from onenex.evaluate.denoisers.rows import Finding
from onenex.evaluate.guard import faults

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HONEST = "honest"
"""Stands in for the kind of fault where there is none."""
MODEL, TRUTH = "model", "truth"
"""Whose result was judged: the model's, or the noise-free slice of a simulated scan. What remains of the first is quieter than the
noise, for `fast` leaves its coarse part in the result; the second leaves all of it, so faults are as hard to see as they can be."""
TOUCHED_BAR = 0.02
"""Largest share of honest slices that may be touched."""
CAUGHT_BAR = 0.95
"""Least share of the faults of each kind that must be caught."""
VISIBLE_SNR = 6.5
"""Ideal detectors that search a whole slice with 2 % false alarms need about this much to catch 95 %.

Some 20 000 independent places and signs: the limit of 2 % false alarms lies at 4.9 standard deviations, and 1.6 more put 95 % above it.
"""
SNR_BORDERS = (0, 4, 6, 8, 10, 14, 20, 30, 60, np.inf)


@dataclass(frozen=True, kw_only=True)
class GuardRow:
    """What the guard said of one slice, honest or damaged."""

    file: str
    index: int
    condition: str
    result: str
    """`MODEL` or `TRUTH`."""
    fault: str
    """`HONEST`, or one of `faults.KINDS`."""
    radius: float
    """Pixels."""
    contrast: float
    """Signed, in noise standard deviations; lesions only."""
    snr: float
    """Of the best linear detector that knows what to look for (`faults.ideal_snr`); 0 for honest slices."""
    touched: bool
    """Whether the guard changed the slice."""
    caught: bool
    """Whether it flagged at least one pixel of the fault itself."""
    kept: float
    left: float
    """Share of the fault that is left in the slice that the guard hands on, 1 = all; 0 for honest slices."""
    reasons: str


def findings(rows: Sequence[GuardRow]) -> list[Finding]:
    """Return the rates against their bars, then the lesions cell by cell."""
    of_model, truth = ([row for row in rows if row.result == result] for result in (MODEL, TRUTH))
    lines = _rates(of_model, with_bars=True) + _cells(of_model)
    if truth:
        lines += [
            Finding(text="The same with the truth as the result: all of the noise is in the residual."),
            *_rates(truth, with_bars=False),
            *_cells(truth),
        ]
    return lines


def _rates(rows: Sequence[GuardRow], *, with_bars: bool) -> list[Finding]:
    honest = [row for row in rows if row.fault == HONEST]
    touched = [row for row in honest if row.touched]
    within = len(touched) <= TOUCHED_BAR * len(honest) if with_bars else None
    lines = [Finding(text=f"honest slices touched: {_rate(len(touched), len(honest))}", passed=within)]
    lines += [Finding(text=f"  {row.file} {row.index} {row.condition}, {row.kept:.0%} of the change kept: {row.reasons}") for row in touched]
    for kind in faults.KINDS:
        chosen = [row for row in rows if row.fault == kind]
        if not chosen:
            continue
        caught = sum(row.caught for row in chosen)
        left = np.median([row.left for row in chosen])
        visible = [row.caught for row in chosen if row.snr >= VISIBLE_SNR]
        text = f"{kind} caught: {_rate(caught, len(chosen))}; median share of it left {left:.2f}"
        lines.append(Finding(text=text, passed=caught >= CAUGHT_BAR * len(chosen) if with_bars else None))
        lines.append(Finding(text=f"  of ideal SNR {VISIBLE_SNR} or more: {_rate(sum(visible), len(visible))}"))
    return lines


def write_rows(rows: Sequence[GuardRow], path: Path) -> Path:
    """Write a line per row as CSV and return `path`."""
    names = list(GuardRow.__dataclass_fields__)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        for row in rows:
            values = (getattr(row, name) for name in names)
            writer.writerow([f"{value:.4f}" if isinstance(value, float) else value for value in values])
    return path


def write_curves(rows: Sequence[GuardRow], path: Path) -> None:
    """Draw detection against contrast, a line for each radius, and against the ideal SNR, a line for each kind, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _contrast_curves(left, lesions(rows))
    _snr_curves(right, rows)
    for axes in (left, right):
        axes.axhline(CAUGHT_BAR, color="0.6", linewidth=0.8, linestyle="--")
        axes.set(ylim=(-0.03, 1.03), ylabel="share caught")
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


def lesions(rows: Sequence[GuardRow]) -> list[GuardRow]:
    """Return the rows of lesions, erased or added."""
    return [row for row in rows if row.fault in (faults.ERASED, faults.ADDED)]


def _cells(rows: Sequence[GuardRow]) -> list[Finding]:
    """Return one line for each radius: caught of planted, and the median ideal SNR, for each contrast."""
    planted: Counter[tuple[float, float]] = Counter()
    caught: Counter[tuple[float, float]] = Counter()
    snr: dict[tuple[float, float], list[float]] = {}
    for row in lesions(rows):
        cell = (row.radius, abs(row.contrast))
        planted[cell] += 1
        caught[cell] += row.caught
        snr.setdefault(cell, []).append(row.snr)
    lines = [Finding(text="lesions of either kind, by contrast: caught / planted (median ideal SNR)")] if planted else []
    for radius in faults.RADII:
        cells = [(contrast, (radius, contrast)) for contrast in faults.CONTRASTS if planted[radius, contrast]]
        if cells:
            entries = (f"{contrast:g} σ {caught[cell]}/{planted[cell]} ({np.median(snr[cell]):.0f})" for contrast, cell in cells)
            lines.append(Finding(text=f"  radius {radius:g}: " + ", ".join(entries)))
    return lines


def _contrast_curves(axes: Axes, rows: Sequence[GuardRow]) -> None:
    for number, radius in enumerate(faults.RADII):
        for result, style in ((MODEL, "-o"), (TRUTH, "--")):
            chosen = [row for row in rows if (row.radius, row.result) == (radius, result)]
            rates = {contrast: [row.caught for row in chosen if abs(row.contrast) == contrast] for contrast in faults.CONTRASTS}
            points = [(contrast, np.mean(caught)) for contrast, caught in rates.items() if caught]
            label = f"radius {radius:g} pixels" if result == MODEL else None
            axes.plot([x for x, _ in points], [y for _, y in points], style, color=f"C{number}", label=label)
    axes.set(xlabel="contrast of the lesion, standard deviations of the local noise", title="lesions erased or added (dashed: truth as the result)")


def _snr_curves(axes: Axes, rows: Sequence[GuardRow]) -> None:
    for kind in faults.KINDS:
        _snr_curve(axes, [row for row in rows if (row.fault, row.result) == (kind, MODEL)], kind, "-o")
    _snr_curve(axes, [row for row in lesions(rows) if row.result == TRUTH], "lesions, truth as the result", "k--")
    axes.axvline(VISIBLE_SNR, color="0.6", linewidth=0.8, linestyle=":")
    axes.set(xscale="log", xlabel="ideal signal-to-noise ratio of the fault", title="all faults (dotted: what an ideal search sees)")


def _snr_curve(axes: Axes, chosen: Sequence[GuardRow], label: str, style: str) -> None:
    points = []
    for low, high in pairwise(SNR_BORDERS):
        inside = [row for row in chosen if low <= row.snr < high]
        if inside:
            points.append((np.median([row.snr for row in inside]), np.mean([row.caught for row in inside])))
    if points:
        axes.plot([x for x, _ in points], [y for _, y in points], style, label=label)


def _rate(part: int, whole: int) -> str:
    """Return a share with its 95 % interval (Wilson)."""
    if not whole:
        return "none"
    interval = stats.binomtest(part, whole).proportion_ci(method="wilson")
    return f"{part} of {whole} = {part / whole:.1%} (95 % interval {interval.low:.1%} to {interval.high:.1%})"
