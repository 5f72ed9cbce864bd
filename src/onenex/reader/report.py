"""The report of a study: one HTML page that needs nothing else, its tables as CSV, and the answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from onenex import __version__
from onenex.output import atomic_file
from onenex.reader.agreement import Icc
from onenex.reader.analysis import Analysis, words
from onenex.reader.export import export
from onenex.reader.reporting import report_figures as figures
from onenex.reader.reporting import report_tables as tables
from onenex.reader.reporting.report_csv import write_csv
from onenex.reader.reporting.report_tables import EVERYBODY, Table

PAGE = "report.html"


@dataclass(frozen=True, kw_only=True)
class Section:
    """What the page says under one headline; left out where it has nothing to say."""

    title: str
    note: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    figures: tuple[tuple[str, str], ...] = ()
    """(caption, SVG)."""
    tables: tuple[Table, ...] = ()


def write(analysis: Analysis, folder: Path, *, facts: Mapping[str, str] | None = None) -> Path:
    """Write `report.html`, a CSV of each kind of result, and the answers in all formats of `export`; return the page.

    Parameters
    ----------
    folder
        Made where it's missing; files of an earlier report are replaced.
    facts
        What the study's folder knows: when it was created and its margins set, when and by whom it was unblinded, checksums.

    Raises
    ------
    DataError
        The folder cannot be written to.
    StudyError
        As in `export`.
    """
    folder = Path(folder)
    files = []
    for name, rows in results(analysis).items():
        if rows:
            files.append(folder / f"{name}.csv")
            write_csv(files[-1], rows)
    files += export(analysis.responses, analysis.plan.items, folder)
    sums = {path.name: f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files}
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("onenex.reader.reporting", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    verdict = analysis.primary.result.verdict if analysis.primary else "not tested"
    text = environment.get_template(PAGE).render(
        title=analysis.plan.title or "Reader study",
        conclusion=analysis.conclusion,
        details=analysis.primary.result.details(analysis.primary.arm, analysis.primary.baseline) if analysis.primary else [],
        tone={"superior": "good", "non-inferior": "good", "not shown": "bad"}.get(verdict, ""),
        sections=[one for one in sections(analysis, facts or {}, sums) if one.facts or one.figures or any(table.lines for table in one.tables)],
        version=__version__,
    )
    with atomic_file(folder / PAGE) as partial:
        partial.write_text(text, encoding="utf-8")
    return folder / PAGE


def results(analysis: Analysis) -> dict[str, Sequence[Any]]:
    """Return file name → results, a line each."""
    primary = [*([analysis.primary] if analysis.primary else []), *analysis.by_reader]
    names = ("counts", "ratings", "contrasts", "preferences", "concordances", "accuracies", "gains", "graded", "durations", "paces", "drifts")
    found: dict[str, Sequence[Any]] = {"primary": primary, **{name: getattr(analysis, name) for name in names}}
    found["correlations"] = [
        _Form(reading=one.reading, item=one.item, where=one.where, arm=one.arm, icc=form) for one in analysis.correlations for form in one.iccs
    ]
    return found


@dataclass(frozen=True, kw_only=True)
class _Form:
    """One intraclass correlation with what it's of: a line of the CSV."""

    reading: str
    item: str
    where: str
    arm: str
    icc: Icc


def sections(analysis: Analysis, facts: Mapping[str, str], sums: Mapping[str, str]) -> list[Section]:
    """Return the page, from the primary endpoint to the checksums."""
    both = (False, True)
    against_truth = (tables.accuracies, tables.gains, tables.graded)
    return [
        _primary(analysis),
        Section(title="Who read what", tables=_filled(tables.counts(analysis))),
        Section(
            title="Grades",
            figures=tuple(figures.grades(analysis)),
            tables=_filled(
                tables.contrasts(analysis, places=False),
                tables.ratings(analysis, places=False),
                tables.contrasts(analysis, places=True),
                tables.ratings(analysis, places=True),
            ),
        ),
        Section(title="Side by side", figures=tuple(figures.preferences(analysis)), tables=_filled(tables.preferences(analysis))),
        Section(
            title="Agreement",
            tables=_filled(
                *(tables.concordances(analysis, "inter", places=one) for one in both),
                *(tables.correlations(analysis, places=one) for one in both),
                *(tables.concordances(analysis, "intra", places=one) for one in both),
            ),
        ),
        Section(title="Diagnosis", tables=_filled(*(table(analysis, places=one) for one in both for table in against_truth))),
        Section(title="Time and order", tables=_filled(*tables.times(analysis), tables.drifts(analysis))),
        Section(title="Protocol", facts={**_protocol(analysis), **facts}),
        Section(title="Files", note="Beside this page. A file whose checksum differs was changed after the analysis.", facts=sums),
    ]


def _filled(*found: Table) -> tuple[Table, ...]:
    return tuple(table for table in found if table.lines)


def _primary(analysis: Analysis) -> Section:
    if analysis.primary is None:
        return Section(title="Primary endpoint")
    one = analysis.primary
    shown = [(EVERYBODY, one), *((reader.readers[0], reader) for reader in analysis.by_reader)]
    level = 100 * (1 - 2 * one.result.alpha)
    caption = f"{words(one.item.name)}: {one.arm} less {one.baseline}, grades (above 0 favours {one.arm}), {level:g} % intervals"
    facts = {
        "Patients": f"{one.result.n_patients} ({one.result.n_pairs} pairs of cases and places, readers averaged)",
        "Left out": f"{one.n_left_out} readings of a case in only one of both arms",
        "Lower bound": f"{tables.fixed(one.result.bound, 3)} (Student), {tables.fixed(one.result.bootstrap_bound, 3)} (bootstrap)",
    }
    note = "Readers one by one are there to look at: only all together were set as the endpoint."
    return Section(title="Primary endpoint", note=note, facts=facts, figures=((caption, figures.forest(shown, caption)),))


def _protocol(analysis: Analysis) -> dict[str, str]:
    plan = analysis.plan
    primary = "none" if plan.primary is None or plan.margin is None else f"{plan.primary}, margin {plan.margin:g} grades"
    return {
        "Arms": ", ".join(plan.arms),
        "Test, control, comparator": ", ".join((plan.test, plan.control, plan.comparator or "none")),
        "Readers": ", ".join(plan.readers),
        "Primary endpoint": primary,
        "Alpha": f"{plan.alpha:g}, one-sided",
        "Equivalence margin": "none" if plan.equivalence_margin is None else f"±{plan.equivalence_margin:g} grades",
        "Bootstrap": f"{plan.bootstrap} draws of patients, seed {analysis.seed}",
        "Answers": f"{len(analysis.responses)}, of {len({one.patient for one in analysis.responses})} patients",
    }
