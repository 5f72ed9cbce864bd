"""Measurements brought together: images to cells (one scan, one condition), cells to groups by organ, vendor, sequence, acceleration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onenex.built import pyarrow_parquet
from onenex.errors import DataError
from onenex.evaluate.cohort.table import TEXTS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A column of the tables."""

    column: str
    """As `measures.record.Measures` calls it."""
    title: str
    unit: str
    better: int
    """+1: more is better, -1: less; 0: neither, 1 is right, or it depends."""
    digits: int


PSNR = Measure(column="psnr", title="PSNR", unit="dB", better=1, digits=2)
SSIM = Measure(column="ssim", title="SSIM", unit="", better=1, digits=4)
LPIPS = Measure(column="lpips", title="LPIPS", unit="", better=-1, digits=4)
HEADLINE = (PSNR, SSIM, LPIPS)
"""By which methods are ranked, as in the paper."""
FURTHER = (
    Measure(column="ms_ssim", title="MS-SSIM", unit="", better=1, digits=4),
    Measure(column="nrmse", title="NRMSE", unit="", better=-1, digits=4),
    Measure(column="edge_fwhm_ratio", title="edge width / reference's", unit="", better=0, digits=3),
    Measure(column="edge_height_ratio", title="edge height / reference's", unit="", better=0, digits=3),
    Measure(column="cnr", title="CNR", unit="", better=1, digits=2),
    Measure(column="contrast_ratio", title="contrast / reference's", unit="", better=0, digits=3),
    Measure(column="frc_half", title="resolution (ring correlation ½)", unit="cycles/pixel", better=1, digits=3),
    Measure(column="removed_edges", title="edges in what was removed", unit="", better=0, digits=3),
    Measure(column="removed_neighbours", title="structure in what was removed", unit="", better=0, digits=3),
)
MEASURES = (*HEADLINE, *FURTHER)
ABOUT = ("file", "patient", "kind", "condition", "organ", "vendor", "sequence", "acceleration", "sigma", "simulated", "unseen")
"""What a cell is, beside its method."""


def load(path: Path, region: str) -> pd.DataFrame:
    """Read what the table of images tells of one region; texts as categories, so that a large cohort stays small in memory.

    Parameters
    ----------
    region
        "foreground" or "whole".

    Raises
    ------
    DataError
        pyarrow or pandas is missing, or the table is empty.
    """
    if find_spec("pandas") is None:
        raise DataError("reports need pandas: pip install 'onenex[evaluate]'")
    measured = [f"{region}_{name}" for name in ("mse", "n_pixels", *(measure.column for measure in MEASURES))]
    columns = [*ABOUT, "method", "input", "slice", "seconds", "guard_passed", "guard_kept", *measured]
    frame = pyarrow_parquet().read_table(path, columns=columns, read_dictionary=[name for name in columns if name in TEXTS]).to_pandas()
    if frame.empty:
        raise DataError(f"{path}: nothing was measured: no slice of the cohort shows anything")
    return frame


def cells(frame: pd.DataFrame, region: str) -> pd.DataFrame:
    """Return one row for each scan, condition and method: means over its images, PSNR of the squared error pooled over their pixels.

    Parameters
    ----------
    frame
        As `load` returns it.
    region
        "foreground" or "whole".
    """
    names = {f"{region}_{measure.column}": measure.column for measure in MEASURES}
    keys = [*ABOUT, "method"]
    told = frame[[*keys, *names, "seconds", f"{region}_mse", f"{region}_n_pixels"]].rename(columns=names)
    told = told.assign(error=told[f"{region}_mse"] * told[f"{region}_n_pixels"], n_pixels=told[f"{region}_n_pixels"])
    told[list(names.values())] = told[list(names.values())].replace([np.inf, -np.inf], np.nan)  # without noise there is no CNR
    grouped = told.groupby(keys, dropna=False, sort=False, observed=True)
    found = grouped[[*names.values(), "seconds"]].mean()
    sums = grouped[["error", "n_pixels"]].sum()
    mse = sums["error"] / sums["n_pixels"]
    found["psnr"] = np.where(mse > 0, -10 * np.log10(mse.where(mse > 0)), np.inf)
    found["n_images"] = grouped.size()
    return found.reset_index()


@dataclass(frozen=True, kw_only=True)
class Group:
    """Cells that have something in common, as a line of a table."""

    names: tuple[str, ...]
    """What they have in common, in the order of the columns asked for."""
    n_files: int
    n_patients: int
    n_images: int
    """Of each method."""
    values: dict[str, dict[str, float]]
    """Column of a measure → method → mean over the cells; NaN where it doesn't exist."""

    def order(self, measure: Measure) -> list[tuple[str, float]]:
        """Return (method, value), the best first; those without a value are left out."""
        found = [(name, value) for name, value in self.values[measure.column].items() if not np.isnan(value)]
        return sorted(found, key=lambda one: -measure.better * one[1])


def groups(found: pd.DataFrame, by: Sequence[str]) -> list[Group]:
    """Return the groups of some cells by columns; with none, a single one of all. Every cell weighs the same, whatever its size."""
    if not by:
        return [_group((), found)]
    made = []
    for key, part in found.groupby(list(by), dropna=False, observed=True):
        names = tuple(_named(column, value) for column, value in zip(by, key, strict=True))
        made.append(_group(names, part))
    return made


def _group(names: tuple[str, ...], part: pd.DataFrame) -> Group:
    columns = [measure.column for measure in MEASURES] + ["seconds"]
    means = part.groupby("method", sort=False, observed=True)[columns].mean()
    n_methods = max(len(means), 1)
    return Group(
        names=names,
        n_files=part["file"].nunique(),
        n_patients=part["patient"].nunique(),
        n_images=int(part["n_images"].sum()) // n_methods,
        values={column: {str(name): float(value) for name, value in means[column].items()} for column in columns},
    )


def _named(column: str, value: Any) -> str:
    """Return a value as tables show it."""
    if column == "acceleration":
        return "simulated noise" if value is None or np.isnan(value) else f"{value:.3g}×"
    return str(value)
