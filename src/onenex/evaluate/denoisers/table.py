"""Shows the benchmark: one line a row as it is scored, the findings, and the same as CSV and JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from onenex.evaluate import cases
from onenex.evaluate.denoisers.rows import ONENEX, Finding, Metric, Row

FILE_WIDTH, CONDITION_WIDTH, CELL_WIDTH = 31, 25, 14
PLAIN_WIDTH = 200
"""Columns of the output when it is no terminal, so that nothing wraps in a file."""

LEGEND = (
    "PSNR in dB / SSIM, inside the foreground; * marks the best of the row; † other slices or directions of the same series were trained on.",
    f"Clean files: adjacent middle slices, {cases.MIN_SLICES} to {cases.MAX_SLICES} of them within {cases.SLICE_BUDGET_PIXELS} pixels; "
    "Rician noise, σ in units of the series scale; 'varying' by one smooth g-factor map.",
    f"Real repeats: all slices of the first {cases.MAX_VOLUMES} volumes; the first {cases.MAX_INPUTS} repeats (or means) are denoised, each scored "
    "against the mean of all other repeats, its own variance subtracted (unbiased PSNR).",
    "Pixels clipped at the container's end are not scored. Caps were fixed before any result was seen. Peers get σ from OneNEX's estimate. "
    "The guard is off.",
)


def console() -> Console:
    """Return the console of the benchmark: stdout, wide enough for a row."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def head(methods: Sequence[str]) -> Table:
    """Return the head line of the table."""
    return _grid(["file", "condition", *methods])


def line(row: Row) -> Table:
    """Return one row as a line."""
    cells: list[str | Text] = [row.file + ("" if row.unseen else " †"), row.condition]
    for method in row.scores:
        scores = f"{_number(row, method, 'psnr', 2)} {_number(row, method, 'ssim', 3)}"
        cells.append(Text(scores, style="bold" if method == ONENEX else ""))
    return _grid(cells)


def finding_line(finding: Finding) -> Text:
    """Return a finding with its verdict."""
    verdict = {True: "PASS  ", False: "SHORT ", None: "      "}[finding.passed]
    return Text(verdict, style={True: "green", False: "red", None: ""}[finding.passed]).append(finding.text, style="default")


def write(rows: Sequence[Row], lines: Sequence[Finding], extra: dict[str, Any], output: Path) -> None:
    """Write `denoisers.csv` (a line per row and method) and `denoisers.json` (everything) into `output`."""
    with (output / "denoisers.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "condition", "simulated", "unseen", "method", "psnr_dB", "ssim", "seconds_per_256x256", "sigma_ratio"])
        for row in rows:
            for method, score in row.scores.items():
                common = [row.file, row.condition, row.simulated, row.unseen, method]
                ratio = "" if row.sigma_ratio is None else f"{row.sigma_ratio:.4f}"
                writer.writerow([*common, f"{score.psnr:.4f}", f"{score.ssim:.5f}", f"{row.seconds.get(method, 0.0):.5f}", ratio])
    document = {
        "rows": [row.as_dict() for row in rows],
        "findings": [{"text": one.text.strip(), "passed": one.passed} for one in lines],
        "legend": LEGEND,
        **extra,
    }
    (output / "denoisers.json").write_text(json.dumps(_finite(document), indent=1, ensure_ascii=False), encoding="utf-8")


def _number(row: Row, method: str, metric: Metric, digits: int) -> str:
    text = f"{row.value(method, metric):.{digits}f}"
    if metric == "ssim":
        text = text.replace("0.", ".", 1)
    return text + ("*" if row.best(metric) == method else "")


def _grid(cells: Sequence[str | Text]) -> Table:
    grid = Table.grid(padding=(0, 1))
    for index in range(len(cells)):
        grid.add_column(width=(FILE_WIDTH, CONDITION_WIDTH)[index] if index < 2 else CELL_WIDTH, no_wrap=True, overflow="ellipsis")
    grid.add_row(*cells)
    return grid


def _finite(value: Any) -> Any:
    """Replace infinite numbers, which JSON does not know, by None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
