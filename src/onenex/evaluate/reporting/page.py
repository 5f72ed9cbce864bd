"""The report's page: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from onenex.evaluate.cohort.methods import OURS
from onenex.evaluate.reporting.conclusions import Finding
from onenex.evaluate.reporting.groups import FURTHER, HEADLINE, Measure, groups
from onenex.evaluate.reporting.worst import Case
from onenex.output import atomic_file

if TYPE_CHECKING:
    import pandas as pd

NONE = "–"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a table."""

    text: str
    mark: str = ""
    """"best" of its line, or nothing."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a table."""

    names: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with a head."""

    title: str
    head: tuple[str, ...]
    lines: tuple[Line, ...]
    n_names: int
    """How many of the head's first words name a line."""
    ours: tuple[str, ...] = OURS
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """What the page says under one headline."""

    title: str
    findings: tuple[Finding, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[tuple[str, bytes], ...] = ()
    """(what it shows, PNG)."""
    note: str = ""
    folded: bool = False
    """Whether the tables are closed until they're asked for."""


def overview(cells: pd.DataFrame, title: str) -> Table:
    """Return a line a method: every measure over all cells, and the time."""
    (group,) = groups(cells, ())
    methods = list(group.values["psnr"])
    shown = [one for one in (*HEADLINE, *FURTHER) if not all(math.isnan(value) for value in group.values[one.column].values())]
    best = {one.column: group.order(one)[0][0] for one in shown if one.better and group.order(one)}
    lines = []
    for name in methods:
        cells_ = [_cell(group.values[one.column][name], one, best=best.get(one.column) == name) for one in shown]
        lines.append(Line(names=(name,), cells=(*cells_, Cell(text=_seconds(group.values["seconds"][name])))))
    head = ("method", *(f"{one.title}{f', {one.unit}' if one.unit else ''}" for one in shown), "time a slice")
    counts = f"{group.n_files} scans of {group.n_patients} patients, {group.n_images} images of each method"
    note = f"{counts}; every scan and condition weighs the same. A slice is 256 × 256."
    return Table(title=title, head=head, lines=tuple(lines), n_names=1, note=note)


def by(cells: pd.DataFrame, columns: Sequence[str], measure: Measure, titles: Sequence[str] | None = None) -> Table:
    """Return a line a group, a column a method, one measure."""
    methods = list(dict.fromkeys(cells["method"]))
    lines = []
    for group in groups(cells, columns):
        order, values = group.order(measure), group.values[measure.column]
        named = [_cell(values.get(name, float("nan")), measure, best=bool(order) and order[0][0] == name) for name in methods]
        lines.append(Line(names=group.names, cells=(*named, Cell(text=str(group.n_images)))))
    unit = f", {measure.unit}" if measure.unit else ""
    return Table(title=f"{measure.title}{unit}", head=(*(titles or columns), *methods, "images"), lines=tuple(lines), n_names=len(columns))


def _cell(value: float, measure: Measure, *, best: bool) -> Cell:
    if math.isnan(value):
        return Cell(text=NONE)
    return Cell(text=f"{value:.{measure.digits}f}", mark="best" if best else "")


def _seconds(value: float) -> str:
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"


def write(path: Path, facts: Mapping[str, str], sections: Sequence[Section], cases: Sequence[Case]) -> None:
    """Write the page.

    Parameters
    ----------
    facts
        What was evaluated, with what, and by which command.
    cases
        The worst images.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("onenex.evaluate.reporting", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["uri"] = lambda png: "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    text = environment.get_template("page.html").render(facts=facts, sections=sections, cases=cases)
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
