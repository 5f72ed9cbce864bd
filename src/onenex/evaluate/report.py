"""The report of a cohort: measured, brought together, tested, concluded from, and written as one page with its tables beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onenex.evaluate.cohort import work
from onenex.evaluate.cohort.work import Order
from onenex.evaluate.evaluation import Progress, measure
from onenex.evaluate.reporting import conclusions, figures, groups, page, provenance, worst
from onenex.evaluate.reporting.conclusions import Finding
from onenex.evaluate.reporting.downstream import downstream
from onenex.evaluate.reporting.groups import HEADLINE
from onenex.evaluate.reporting.page import Section
from onenex.evaluate.reporting.significance import significance

if TYPE_CHECKING:
    import pandas as pd

PAGE, SUMMARY = "report.html", "summary.json"
REGIONS = {"foreground": "inside the foreground", "whole": "over the whole image"}
_NOISY_REFERENCES = (
    "References of repeats hold noise of their own. PSNR allows for it without bias; SSIM, LPIPS and ring correlation do not, and favour images that "
    "are as noisy as such a reference."
)
KINDS = (("organ",), ("vendor",), ("sequence",), ("acceleration",), ("condition",))


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report that was written."""

    page: Path
    findings: tuple[Finding, ...]
    n_new: int
    """Measurements that were not there already."""


def run(  # noqa: PLR0913 - keyword-only settings of a verb
    data: Path,
    output: Path,
    order: Order,
    *,
    workers: int = 0,
    patients: str | None = None,
    allow_seen: bool = False,
    ledger: Sequence[Section] = (),
    progress: Progress | None = None,
) -> Report:
    """Evaluate a cohort; write `report.html`, `images.csv`, `images.parquet`, `tissues.csv`, `tissues.parquet`, `summary.json` into `output`.

    Parameters
    ----------
    ledger
        More sections for the page, such as the scan-time ledger.

    Raises
    ------
    DataError
        As `evaluation.measure`; or nothing was measured.
    """
    done = measure(data, order, workers=workers, patients=patients, allow_seen=allow_seen, progress=progress)
    if progress is not None:
        progress("writing the report", 0, 1)
    frame = groups.load(done.tables.images, "foreground")
    told = {"foreground": groups.cells(frame, "foreground"), "whole": groups.cells(groups.load(done.tables.images, "whole"), "whole")}
    tools = work.bench(order.choice)
    foreground = told["foreground"]
    concluded = (*conclusions.ranking(foreground), *conclusions.harm(foreground), *conclusions.guard(frame))
    tested, segmented = significance(foreground), downstream(done.tables.tissues)
    sections = [
        Section(title="Conclusions", findings=(*concluded, *tested.findings, *segmented.findings)),
        *_results(told),
        *tested.sections,
        *segmented.sections,
        *ledger,
    ]
    cases = worst.worst(frame, done.units, order, tools)
    facts = provenance.facts(data, done.units, order, tools, done.seen)
    page.write(output / PAGE, facts, sections, cases)
    findings = (*concluded, *tested.findings, *segmented.findings)
    document = {"facts": facts, "findings": [asdict(one) for one in findings]}
    (output / SUMMARY).write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
    return Report(page=output / PAGE, findings=findings, n_new=done.n_new)


def _results(told: dict[str, pd.DataFrame]) -> list[Section]:
    """Return the sections with tables and figures of what was measured on images."""
    cells = told["foreground"]
    best = worst.best_mode(list(cells["method"].unique()))
    said = "quartiles, median, whiskers of 1.5 quartile ranges"
    boxes = [(f"Box plots {where}: {said}.", figures.boxes(told[region], where)) for region, where in REGIONS.items()]
    split = cells.assign(simulated=cells["simulated"].map({True: "simulated noise", False: "real noise"}))
    return [
        Section(
            title="All scans",
            tables=tuple(page.overview(told[region], f"All measures, {where}") for region, where in REGIONS.items()),
            figures=(*boxes[:1], *([] if best is None else [(f"What {best} gains, scan by scan.", figures.gains(cells, best))])),
        ),
        Section(
            title="Real and simulated noise",
            note=_NOISY_REFERENCES,
            tables=tuple(page.by(split, ("simulated",), measure, ("noise",)) for measure in HEADLINE),
        ),
        *(Section(title=f"By {by[0]}", tables=tuple(page.by(cells, by, measure) for measure in HEADLINE)) for by in KINDS),
        Section(
            title="By organ, vendor, sequence and acceleration",
            tables=tuple(page.by(cells, ("organ", "vendor", "sequence", "acceleration"), measure) for measure in HEADLINE),
            folded=True,
        ),
        Section(title="Every scan and condition", tables=tuple(page.by(cells, ("file", "condition"), measure) for measure in HEADLINE), folded=True),
        Section(
            title="The whole image",
            tables=tuple(page.by(told["whole"], ("organ",), measure) for measure in HEADLINE),
            figures=tuple(boxes[1:]),
            folded=True,
        ),
    ]
