"""What denoising is worth downstream: Dice of tissues against the reference's segmentation, and the volumes measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onenex.evaluate.cohort.methods import INPUT, OURS
from onenex.evaluate.reporting.conclusions import Finding
from onenex.evaluate.reporting.page import NONE, Cell, Line, Section, Table
from onenex.evaluate.reporting.significance import Tested
from onenex.evaluate.statistics import bland_altman, estimate, relative_gain_percent

if TYPE_CHECKING:
    import pandas as pd

PAPER_PERCENT = 7.05
"""By how much Dice rose in Shao et al., percent."""
_SEED = 20261124
_KEYS = ["file", "condition", "input", "slice", "tissue"]


def downstream(path: Path) -> Tested:
    """Tell Dice by tissue, method and condition, what OneNEX gains over the input, and how volumes agree."""
    import pandas as pd

    frame = pd.read_parquet(path)
    if frame.empty:
        section = Section(title="Segmentation", findings=(Finding(text="No image of this cohort could be segmented."),))
        return Tested(findings=(), sections=(section,))
    tables = [_dice(frame, ("tissue",)), _dice(frame, ("tissue", "condition"))]
    findings: list[Finding] = []
    for name in (one for one in OURS if one in set(frame["method"])):
        table, found = _gain(frame, name)
        tables.append(table)
        findings += found
    volumes = _volumes(frame)
    section = Section(title="Segmentation", tables=(*tables, *([volumes] if volumes else [])), findings=tuple(_used(frame)))
    return Tested(findings=tuple(findings), sections=(section,))


def _used(frame: pd.DataFrame) -> list[Finding]:
    counts = frame[frame["method"] == INPUT].groupby("segmenter", observed=True).size()
    return [Finding(text=f"{name}: {n} segmentations of the input") for name, n in counts.items()]


def _dice(frame: pd.DataFrame, by: tuple[str, ...]) -> Table:
    """Return the mean Dice of every method, a line a group."""
    methods = list(dict.fromkeys(frame["method"]))
    means = frame.groupby([*by, "method"], observed=True)["dice"].mean().unstack("method")[methods]
    lines = []
    for key, row in means.iterrows():
        names = key if isinstance(key, tuple) else (key,)
        best = row.idxmax()
        cells = (Cell(text=NONE if np.isnan(value) else f"{value:.4f}", mark="best" if name == best else "") for name, value in row.items())
        lines.append(Line(names=tuple(map(str, names)), cells=tuple(cells)))
    return Table(title=f"Dice by {' and '.join(by)}", head=(*by, *methods), lines=tuple(lines), n_names=len(by))


def _gain(frame: pd.DataFrame, name: str) -> tuple[Table, list[Finding]]:
    """Return what a mode gains over the input, in percent of its Dice, by tissue and condition, with intervals over patients."""
    wide = frame[frame["method"].isin([INPUT, name])].pivot(index=["patient", *_KEYS], columns="method", values="dice").dropna()
    both = wide.rename(columns={INPUT: "before", name: "after"}).reset_index()
    lines, gains = [], {}
    for (tissue, condition), part in both.groupby(["tissue", "condition"], observed=True):
        one = estimate(
            part[["before", "after"]].to_numpy(), list(part["patient"]), generator=np.random.default_rng(_SEED), statistic=relative_gain_percent
        )  # fmt: skip
        gains[tissue, condition] = one.value
        before, after = part["before"].mean(), part["after"].mean()
        texts = (f"{before:.4f}", f"{after:.4f}", one.text(2, " %"), str(part["patient"].nunique()))
        lines.append(Line(names=(str(tissue), str(condition)), cells=tuple(Cell(text=text) for text in texts)))
    whole = estimate(
        both[["before", "after"]].to_numpy(), list(both["patient"]), generator=np.random.default_rng(_SEED), statistic=relative_gain_percent
    )
    over = [f"{tissue} at {condition} ({value:+.1f} %)" for (tissue, condition), value in gains.items() if value >= PAPER_PERCENT]
    reached = f"; reached for {', '.join(over)}" if over else "; reached nowhere"
    change = f"{both['before'].mean():.3f} → {both['after'].mean():.3f}"
    text = f"Dice, {name} over the input: {change}, {whole.text(2, ' %')}, in the paper +{PAPER_PERCENT} %{reached}"
    head = ("tissue", "condition", "input", name, "gain", "patients")
    return Table(title=f"Dice, gain of {name}", head=head, lines=tuple(lines), n_names=2), [Finding(text=text, good=whole.value >= PAPER_PERCENT)]


def _volumes(frame: pd.DataFrame) -> Table | None:
    """Return how volumes measured on every method's images agree with the reference's (Bland–Altman); None without pixel sizes."""
    known = frame.dropna(subset=["volume_ml", "reference_ml"])
    if known.empty:
        return None
    lines = []
    for (tissue, method), part in known.groupby(["tissue", "method"], sort=False, observed=True):
        found = bland_altman(part["volume_ml"], part["reference_ml"], list(part["patient"]))
        limits = NONE if found.limits is None else f"{found.limits[0]:+.2f} … {found.limits[1]:+.2f}"
        lines.append(
            Line(names=(str(tissue), str(method)), cells=(Cell(text=f"{found.bias:+.3f}"), Cell(text=limits), Cell(text=str(found.n_images))))
        )
    head = ("tissue", "method", "bias, ml", "limits of agreement, ml", "images")
    return Table(title="Volumes against the reference's (Bland–Altman)", head=head, lines=tuple(lines), n_names=2)
