"""Whether the differences between methods could be chance: tests on patients, corrected, with intervals, effect sizes and equivalence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onenex.evaluate.cohort.methods import FAST, FULL, INPUT, OURS
from onenex.evaluate.reporting.conclusions import Finding
from onenex.evaluate.reporting.groups import HEADLINE, PSNR, SSIM, Measure
from onenex.evaluate.reporting.page import NONE, Cell, Line, Section, Table
from onenex.evaluate.statistics import Comparison, compare, equivalence

if TYPE_CHECKING:
    import pandas as pd

MARGINS = {PSNR: 0.1, SSIM: 0.002}
"""Within which `fast` and `full` count as the same, either way. Stated before any figure was seen."""
_SEED = 20261123
_NOTE = (
    "Scans and conditions of one patient are averaged first; p is of Wilcoxon's signed-rank test, two-sided, after Holm's correction over "
    "the lines of a table; intervals are 95 %, by bootstrap over patients; r is the matched-pairs rank-biserial correlation, d Cohen's d "
    "of the differences."
)


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What the tests say."""

    findings: tuple[Finding, ...]
    sections: tuple[Section, ...]


def significance(cells: pd.DataFrame) -> Tested:
    """Compare each of our modes with every other method, patient by patient, in each of `HEADLINE`."""
    findings, tables = [], []
    for measure in HEADLINE:
        wide, patients = _wide(cells, measure)
        for name in (one for one in OURS if one in wide):
            values = {other: np.asarray(wide[other]) for other in wide}
            found = compare(values, name, patients, generator=np.random.default_rng(_SEED))
            if found:
                tables.append(_table(found, measure, name))
                findings.append(_finding(found, measure, name))
    findings += _equivalent(cells)
    nothing = () if tables else (Finding(text="Nothing to compare: only one method ran."),)
    section = Section(title="Tests", note=_NOTE, tables=tuple(tables), findings=nothing)
    return Tested(findings=tuple(findings), sections=(section,))


def _wide(cells: pd.DataFrame, measure: Measure) -> tuple[pd.DataFrame, list[str]]:
    """Return scans and conditions × methods, those where every method has a finite value, and whose each is."""
    wide = cells.pivot(index=["patient", "file", "condition"], columns="method", values=measure.column)
    wide = wide[list(dict.fromkeys(cells["method"]))].replace([np.inf, -np.inf], np.nan).dropna()
    return wide, [str(patient) for patient in wide.index.get_level_values("patient")]


def _table(found: list[Comparison], measure: Measure, name: str) -> Table:
    lines = []
    for one in found:
        low_high = one.difference.interval
        interval = NONE if low_high is None else f"{low_high.low:+.{measure.digits}f} … {low_high.high:+.{measure.digits}f}"
        effects = (NONE if value is None else f"{value:+.2f}" for value in (one.test.rank_biserial, one.test.d_z))
        texts = (f"{one.difference.value:+.{measure.digits}f}", interval, one.test.text, *effects)
        lines.append(Line(names=(one.baseline,), cells=tuple(Cell(text=text) for text in texts)))
    n = found[0].test.n_patients
    head = (f"{name} against", "difference", "95 % interval", "p", "r", "d")
    return Table(title=f"{measure.title}, {name}, n = {n} patients", head=head, lines=tuple(lines), n_names=1)


def _finding(found: list[Comparison], measure: Measure, name: str) -> Finding:
    """Say from how many rivals a mode differs for the better by more than chance."""
    rivals = [one for one in found if one.baseline not in OURS and one.baseline != INPUT]
    better = [one for one in rivals if one.test.p_holm is not None and one.test.p_holm < 0.05 and measure.better * one.difference.value > 0]
    worse = [one for one in rivals if one.test.p_holm is not None and one.test.p_holm < 0.05 and measure.better * one.difference.value < 0]
    text = f"{measure.title}, {name}: better than {len(better)} of {len(rivals)} rivals by more than chance (p < 0.05, corrected)"
    if worse:
        text += f"; worse than {', '.join(one.baseline for one in worse)}"
    return Finding(text=text, good=len(better) == len(rivals) if rivals else None)


def _equivalent(cells: pd.DataFrame) -> list[Finding]:
    """Say whether our two modes are the same for all practical purposes."""
    found = []
    for measure, margin in MARGINS.items():
        wide, patients = _wide(cells, measure)
        if FAST in wide and FULL in wide:
            one = equivalence(np.asarray(wide[FULL]), np.asarray(wide[FAST]), patients, margins=(-margin, margin))
            found.append(Finding(text=f"{measure.title}, {FULL} and {FAST}: {one.text} (difference {one.difference:+.{measure.digits}f})"))
    return found
