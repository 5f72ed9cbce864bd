"""The figures of the report, PNG: box plots of every method by organ, and the gain over the input by scan."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onenex.evaluate.cohort.methods import INPUT, OURS
from onenex.evaluate.reporting.groups import HEADLINE, Measure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
_OURS, _INPUT, _RIVALS = "#2a7f9e", "#8c8c8c", "#d9b48f"


def boxes(cells: pd.DataFrame, region: str) -> bytes:
    """Draw PSNR, SSIM and LPIPS of every method, a box each of the scans and conditions of an organ, as Figure 1c of Shao et al. does.

    Boxes span quartiles, whiskers 1.5 times that at most, the line is the median.
    """
    from matplotlib.figure import Figure

    organs = [*sorted(cells["organ"].unique()), ""]
    methods = list(dict.fromkeys(cells["method"]))
    measures = [one for one in HEADLINE if cells[one.column].notna().any()]
    figure = Figure(figsize=(3.0 * len(organs), 0.9 + 0.26 * len(methods) * len(measures)), layout="constrained")
    grid = figure.subplots(len(measures), len(organs), squeeze=False, sharey=True)
    for row, measure in zip(grid, measures, strict=True):
        for axes, organ in zip(row, organs, strict=True):
            part = cells if not organ else cells[cells["organ"] == organ]
            _box(axes, part, measure, methods)
            if measure is measures[0]:
                axes.set_title(f"{organ or 'all organs'} (n = {part.groupby(['file', 'condition'], observed=True).ngroups})", fontsize=9)
    figure.suptitle(f"Scans and conditions, {region}", fontsize=10)
    return _png(figure)


def _box(axes: Axes, part: pd.DataFrame, measure: Measure, methods: Sequence[str]) -> None:
    values = [np.asarray(part.loc[part["method"] == name, measure.column], np.float64) for name in methods]
    values = [one[np.isfinite(one)] for one in values]
    style: dict[str, Any] = {"flierprops": {"markersize": 2}, "medianprops": {"color": "black"}}
    drawn = axes.boxplot(values, orientation="horizontal", widths=0.65, patch_artist=True, **style)
    for box, name in zip(drawn["boxes"], methods, strict=True):
        box.set_facecolor(_OURS if name in OURS else _INPUT if name == INPUT else _RIVALS)
        box.set_linewidth(0.6)
    axes.set_yticks(range(1, len(methods) + 1), methods, fontsize=8)
    axes.set_ylim(len(methods) + 0.6, 0.4)
    unit = f", {measure.unit}" if measure.unit else ""
    axes.set_xlabel(f"{measure.title}{unit} ({'more' if measure.better > 0 else 'less'} is better)", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    axes.grid(axis="x", linewidth=0.3)


def gains(cells: pd.DataFrame, method: str) -> bytes:
    """Draw the PSNR that a method gains over the input on every scan and condition, against the input's PSNR; one colour an organ."""
    from matplotlib.figure import Figure

    keys = ["file", "condition", "organ"]
    before, after = (cells[cells["method"] == name].set_index(keys)["psnr"] for name in (INPUT, method))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    both = before.to_frame("before").assign(gain=after - before).dropna().reset_index()
    both = both[np.isfinite(both["gain"])]
    for organ, part in both.groupby("organ", observed=True):
        axes.plot(part["before"], part["gain"], "o", markersize=4, alpha=0.8, label=str(organ))
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("PSNR of the input, dB", fontsize=9)
    axes.set_ylabel(f"gain of {method}, dB", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    axes.tick_params(labelsize=8)
    axes.grid(linewidth=0.3)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI)
    return stream.getvalue()
