"""What documentation shows of a report: a page of tables, the box plots, and the lines between two marks of the README.

`python -m onenex.evaluate.reporting.excerpt REPORT REPOSITORY` writes `docs/explanation/evaluation.md`, `docs/images/evaluation.png` and the block
of `README.md`; nothing in them is written by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from onenex.errors import DataError
from onenex.evaluate.cohort.table import IMAGES, TISSUES
from onenex.evaluate.report import SUMMARY
from onenex.evaluate.reporting import figures, groups, page
from onenex.evaluate.reporting.downstream import downstream
from onenex.evaluate.reporting.groups import HEADLINE
from onenex.evaluate.reporting.page import Cell, Line, Table

BEGIN, END = "<!-- evaluation: begin -->", "<!-- evaluation: end -->"
PAGE, PICTURE = Path("docs", "explanation", "evaluation.md"), Path("docs", "images", "evaluation.png")
_HEADLINE_COLUMNS = ("method", "PSNR, dB", "SSIM", "LPIPS", "edge width / reference's", "time a slice")


def write(report: Path, repository: Path) -> None:
    """Write the excerpts of a report.

    Raises
    ------
    DataError
        The report is not whole, or the README has no marks.
    """
    told = _summary(report)
    cells = groups.cells(groups.load(report / f"{IMAGES}.parquet", "foreground"), "foreground")
    overview = page.overview(cells, "All scans, inside the foreground")
    split = cells.assign(simulated=cells["simulated"].map({True: "simulated noise", False: "real noise"}))
    by = [page.by(split, columns, measure) for columns in (("organ",), ("vendor",), ("condition",), ("simulated",)) for measure in HEADLINE]
    segmented = [table for section in downstream(report / f"{TISSUES}.parquet").sections for table in section.tables]
    _page(repository / PAGE, told, [overview, *by, *segmented])
    (repository / PICTURE).write_bytes(figures.boxes(cells, "inside the foreground"))
    _readme(repository / "README.md", _chosen(overview), told)


def _summary(report: Path) -> dict[str, object]:
    try:
        told: dict[str, object] = json.loads((report / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{report} holds no whole report ({error}): run onenex evaluate to its end") from error
    return told


def _page(path: Path, told: dict[str, object], tables: Sequence[Table]) -> None:
    """Write the page of tables."""
    facts, findings = told["facts"], told["findings"]
    if not isinstance(facts, dict) or not isinstance(findings, list):
        raise DataError("summary.json is not one of this version: run onenex evaluate again")
    lines = ["# What the evaluation says", "", "Made by `make figures` from the report of `onenex evaluate`; nothing here is written by hand.", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items() if name not in ("made", "machine")]
    lines += ["", "## Conclusions"] + [f"- {_mark(one['good'])}{one['text']}" for one in findings]
    lines += ["", "![Box plots of every method by organ](../images/evaluation.png)", "", "## Tables"]
    for table in tables:
        lines += ["", f"### {table.title}", *markdown(table)]
        lines += ["", table.note] if table.note else []
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _mark(good: object) -> str:
    return "" if good is None else "✓ " if good else "**✗** "


def _chosen(table: Table) -> Table:
    """Return the columns of the overview that a headline has room for."""
    columns = [table.head.index(name) for name in _HEADLINE_COLUMNS if name in table.head]
    lines = [Line(names=line.names, cells=tuple((Cell(text=""), *line.cells)[column] for column in columns[1:])) for line in table.lines]
    return Table(title=table.title, head=tuple(table.head[column] for column in columns), lines=tuple(lines), n_names=1, note=table.note)


def markdown(table: Table) -> list[str]:
    """Return a table as lines of Markdown, the best of each line or column in bold."""
    rows = [[*line.names, *(f"**{cell.text}**" if cell.mark else cell.text for cell in line.cells)] for line in table.lines]
    ruler = ["---"] * table.n_names + ["---:"] * (len(table.head) - table.n_names)
    return [f"| {' | '.join(row)} |" for row in (list(table.head), ruler, *rows)]


def _readme(path: Path, table: Table, told: dict[str, object]) -> None:
    """Replace what lies between the marks."""
    text = path.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise DataError(f"{path} has no lines {BEGIN} and {END} between which the table could go")
    facts = told["facts"] if isinstance(told["facts"], dict) else {}
    block = "\n".join([BEGIN, *markdown(table), "", f"{table.note} Weights {facts.get('weights')}. {facts.get('seen in training')}", END])
    path.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: block, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
