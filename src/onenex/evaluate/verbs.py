"""What `onenex evaluate` does and prints."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from onenex.errors import DataError
from onenex.evaluate import report
from onenex.evaluate.cohort.methods import Choice
from onenex.evaluate.cohort.samples import Plan
from onenex.evaluate.cohort.work import Order
from onenex.evaluate.evaluation import CACHE, Progress
from onenex.evaluate.reporting.scan_time import scan_time_section


def evaluate(  # noqa: PLR0913 - the options of a command
    data: Path,
    output: Path,
    *,
    methods: str | None = None,
    split: str = "test",
    slices: int | None = 1,
    segmenter: str | None = None,
    segment: bool = True,
    patients: str | None = None,
    ledger: Path | None = None,
    allow_seen: bool = False,
    workers: int | None = None,
    device: str = "cpu",
    weights: Path | None = None,
    progress: Progress | None = None,
) -> report.Report:
    """Evaluate a cohort, and print what was concluded and where the report is.

    Raises
    ------
    DataError
        As `report.run`.
    """
    names = None if methods is None else tuple(name for name in methods.split(",") if name.strip())
    if names == ():
        raise DataError("--methods is empty: name at least one, such as onenex-fast")
    choice = Choice(names=names, weights=weights, device=device)
    order = Order(plan=Plan(split=split, slices=slices), choice=choice, cache=output / CACHE, segmenter=segmenter, segment=segment)
    n_workers = (os.cpu_count() or 1) if workers is None else workers
    sections = () if ledger is None else (scan_time_section(ledger),)
    done = report.run(
        data, output, order, workers=n_workers if n_workers > 1 else 0, patients=patients, allow_seen=allow_seen, ledger=sections, progress=progress
    )
    screen = Console(soft_wrap=True, highlight=False)
    for one in done.findings:
        screen.print(f"{'  ' if one.good is None else 'ok' if one.good else 'NO'}  {one.text}", markup=False)
    screen.print(f"report  {done.page}", markup=False)
    return done
