"""What the ablation's rows say: means, paired differences with confidence intervals, by organ and by vendor, and the release's bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from onenex.evaluate import perceptual
from onenex.evaluate.denoisers.rows import Finding
from onenex.evaluate.denoisers.table import console, finding_line
from onenex.evaluate.trials import SEEN

INPUT, FAST, DEFAULT_NAME, GUARDED = "input", "restoration only (fast)", "default (full)", "default + guard"
NO_TEXT, WRONG_TEXT = "without text", "wrong text"
CONFIDENCE = 0.95
NOISE_DROP_dB = 0.1
"""What mode `full` may lose to `fast` on real repeats, and wrong text to none."""
Metric = Literal["psnr", "ssim", "lpips"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One variant on one row."""

    file: str
    condition: str
    organ: str
    vendor: str
    simulated: bool
    unseen: bool
    """False when the training split holds other slices or directions of the same series."""
    n_slices: int
    variant: str
    psnr: float
    """dB, foreground; unbiased on repeats. Infinite where the repeats show no error."""
    ssim: float
    lpips: float | None
    """Mean over slices, everything outside the foreground set equal; None on repeats, whose reference is noisy, and without its weights."""
    seconds: float
    """Per 256 × 256 pixels."""


class Column(NamedTuple):
    """One measure of the tables."""

    name: str
    simulated: bool
    """On which rows."""
    metric: Metric
    digits: int


COLUMNS = (
    Column("PSNR", True, "psnr", 2),
    Column("SSIM", True, "ssim", 4),
    Column("LPIPS", True, "lpips", 4),
    Column("PSNR, repeats", False, "psnr", 2),
)
GROUPINGS: Mapping[str, Callable[[Measured], str]] = {
    "organ": lambda one: one.organ,
    "vendor": lambda one: one.vendor,
    "training": lambda one: "unseen" if one.unseen else "slice seen" if one.condition.endswith(SEEN) else "other slices seen",
}


class Difference(NamedTuple):
    """A mean of paired differences and its 95 % interval."""

    mean: float
    low: float | None
    """None with a single file: nothing tells the spread between files. `high` likewise."""
    high: float | None
    n_files: int

    def text(self, digits: int) -> str:
        """Return e.g. "+0.12 [−0.03, +0.27]"."""
        if self.low is None or self.high is None:
            return f"{self.mean:+.{digits}f} (one file)"
        return f"{self.mean:+.{digits}f} [{self.low:+.{digits}f}, {self.high:+.{digits}f}]"


class Grid(NamedTuple):
    """A table before it is drawn."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


def gains(found: Sequence[Measured], variant: str, baseline: str, metric: Metric) -> dict[tuple[str, str], float]:
    """Return variant − baseline for each row (file, condition) that has both; ±inf where repeats show no error of one of them, 0 of neither."""
    values = {(one.file, one.condition, one.variant): getattr(one, metric) for one in found}
    pairs = {key[:2]: (value, values.get((*key[:2], baseline))) for key, value in values.items() if key[2] == variant}
    return {row: 0.0 if value == other else value - other for row, (value, other) in pairs.items() if value is not None and other is not None}


def paired(found: Sequence[Measured], variant: str, baseline: str, metric: Metric) -> Difference | None:
    """Return variant − baseline, mean over files, each file the mean of its rows; None where no file has the metric.

    The interval is Student's, over files, for rows of one file are not independent; a bootstrap of so few files would come out too narrow.
    Infinite differences don't count: `bars` shows them.
    """
    by_file: dict[str, list[float]] = {}
    for (file, _), gain in gains(found, variant, baseline, metric).items():
        if math.isfinite(gain):
            by_file.setdefault(file, []).append(gain)
    if not by_file:
        return None
    means = np.array([np.mean(one) for one in by_file.values()])
    mean, n_files = float(means.mean()), len(means)
    if n_files < 2:
        return Difference(mean, None, None, n_files)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, n_files - 1) * means.std(ddof=1) / math.sqrt(n_files))
    return Difference(mean, mean - reach, mean + reach, n_files)


def bars(found: Sequence[Measured]) -> list[Finding]:
    """Return the bars of mode `full` (issue 2 of 7), without and with guard, and of the text, each with its figure."""
    present = {one.variant for one in found}
    lines = [line for full in (DEFAULT_NAME, GUARDED) if full in present for line in quality(found, full)]
    for first, bar, label in ((DEFAULT_NAME, 0.0, "right text"), (WRONG_TEXT, -NOISE_DROP_dB, "wrong text")):
        gain = paired(found, first, NO_TEXT, "psnr")
        if gain is not None:
            least = _least(gains(found, first, NO_TEXT, "psnr"))
            text = f"{label} − no text, PSNR, all rows, mean (bar ≥ {bar:g} dB): {gain.text(3)} dB; {least[1]}"
            lines.append(Finding(text=text, passed=gain.mean >= bar))
    return lines


def quality(found: Sequence[Measured], full: str) -> list[Finding]:
    """Return the bars of one variant of mode `full` against `FAST` and `INPUT`.

    SSIM and LPIPS count on average over files. On real repeats every row counts, each averaging of each file, which is
    stricter than the mean of a file.
    """
    simulated, repeats = ([one for one in found if one.simulated == kind] for kind in (True, False))
    lines = []
    ssim, lpips = (paired(simulated, full, FAST, metric) for metric in ("ssim", "lpips"))
    if ssim is not None:
        lines.append(Finding(text=f"{full} − fast, SSIM, mean (bar ≥ 0): {ssim.text(4)}", passed=ssim.mean >= 0))
        lines.append(
            Finding(text=f"{full} − fast, LPIPS (bar < 0, less is better): not measured")
            if lpips is None
            else Finding(text=f"{full} − fast, LPIPS, mean (bar < 0, less is better): {lpips.text(4)}", passed=lpips.mean < 0)
        )
    for baseline, bar in ((INPUT, 0.0), (FAST, -NOISE_DROP_dB)):
        worst = gains(repeats, full, baseline, "psnr")
        if worst:
            least, text = _least(worst)
            name = "fast" if baseline == FAST else baseline
            lines.append(Finding(text=f"{full} − {name}, every row of real repeats, unbiased PSNR (bar ≥ {bar:g} dB): {text}", passed=least >= bar))
    least_simulated = gains(simulated, full, FAST, "psnr")
    if least_simulated:
        lines.append(Finding(text=f"  {full} − fast, simulated rows, PSNR: {_least(least_simulated)[1]}"))
    return lines


def _least(by_row: Mapping[tuple[str, str], float]) -> tuple[float, str]:
    """Return the smallest difference, and a phrase that says where."""
    file, condition = min(by_row, key=lambda row: by_row[row])
    return by_row[file, condition], f"least {by_row[file, condition]:+.3f} dB ({file}, {condition})"


def mean_of(found: Sequence[Measured], column: Column) -> float | None:
    """Return the mean over files of one measure, each file the mean of its rows; None without any, or when only infinite."""
    by_file: dict[str, list[float]] = {}
    for one in found:
        value = getattr(one, column.metric)
        if one.simulated == column.simulated and value is not None and math.isfinite(value):
            by_file.setdefault(one.file, []).append(value)
    return float(np.mean([np.mean(values) for values in by_file.values()])) if by_file else None


def lines_of(found: Sequence[Measured]) -> list[tuple[str, list[Measured]]]:
    """Return (label, measurements) of each line of a table.

    A variant that was measured on part of the rows only is followed by fast and full on those rows, all marked ‡.
    """
    by_variant: dict[str, list[Measured]] = {}
    for one in found:
        by_variant.setdefault(one.variant, []).append(one)
    every = {(one.file, one.condition) for one in found}
    lines = []
    for name, mine in by_variant.items():
        rows = {(one.file, one.condition) for one in mine}
        lines.append((name if rows == every else f"{name} ‡", mine))
        for beside in () if rows == every else (FAST, DEFAULT_NAME):
            same = [one for one in by_variant.get(beside, []) if (one.file, one.condition) in rows]
            lines += [(f"  {beside} ‡", same)] if same else []
    return lines


def milliseconds(found: Sequence[Measured]) -> float:
    """Return the median time of 256 × 256 pixels."""
    return 1000 * float(np.median([one.seconds for one in found]))


def overall(found: Sequence[Measured], title: str = "all rows") -> Grid:
    """Return the table of variants: means over files, and differences to mode `fast` with their intervals."""
    head = ("variant", *(cell for column in COLUMNS for cell in (column.name, "Δ to fast")), "ms")
    rows = []
    for label, mine in lines_of(found):
        cells = [label]
        for column in COLUMNS:
            mean, gain = mean_of(mine, column), _gain(found, mine, column)
            cells += ["-" if mean is None else f"{mean:.{column.digits}f}", "-" if gain is None else gain.text(column.digits)]
        rows.append((*cells, f"{milliseconds(mine):.0f}"))
    marked = "; ‡ on one row of each file" if any("‡" in row[0] for row in rows) else ""
    return Grid(f"{title}: means over files, differences to fast with 95 % intervals, ms per 256 × 256 pixels{marked}", head, rows)


def _gain(found: Sequence[Measured], mine: Sequence[Measured], column: Column) -> Difference | None:
    """Return the paired difference of a line to mode `fast`; None for that mode itself."""
    if mine[0].variant == FAST:
        return None
    base = [one for one in found if one.variant == FAST]
    return paired([one for one in (*base, *mine) if one.simulated == column.simulated], mine[0].variant, FAST, column.metric)


def grouped(found: Sequence[Measured], grouping: str) -> Grid:
    """Return every variant by organ, vendor or overlap with training: the means of mode `fast`, and differences to it."""
    key = GROUPINGS[grouping]
    rows = []
    for name in sorted({key(one) for one in found}):
        inside = [one for one in found if key(one) == name]
        n_files = len({one.file for one in inside})
        for number, (label, mine) in enumerate(lines_of(inside)):
            cells = []
            for column in COLUMNS:
                mean, gain = mean_of(mine, column), _gain(inside, mine, column)
                is_base = mine[0].variant == FAST and mean is not None
                cells.append(f"{mean:.{column.digits}f}" if is_base else "-" if gain is None else gain.text(column.digits))
            rows.append((f"{name} ({n_files})" if number == 0 else "", label, *cells, f"{milliseconds(mine):.0f}"))
    title = f"by {grouping} (files): means of fast; others as difference to fast with 95 % intervals over files"
    return Grid(title, (grouping, "variant", *(column.name for column in COLUMNS), "ms"), rows)


def open_console() -> Console:
    """Return the console that tables and rows go to."""
    return console()


def begin(screen: Console, title: str, lines: Sequence[str], with_lpips: bool) -> None:
    """Print what is measured."""
    screen.print(title, style="bold")
    for line in lines:
        screen.print(line)
    if not with_lpips:
        screen.print(perceptual.NOT_INSTALLED)


def show_row(screen: Console, row: Sequence[Measured]) -> None:
    """Print one row as it is measured: every variant's PSNR / SSIM / LPIPS."""
    screen.print(f"{row[0].file}, {row[0].condition}, {row[0].n_slices} slices", style="bold")
    for one in row:
        lpips = "" if one.lpips is None else f" {one.lpips:.4f}"
        screen.print(f"    {one.variant:26s} {one.psnr:6.2f} {one.ssim:.4f}{lpips}  {one.seconds * 1000:7.0f} ms")


def show_summary(screen: Console, found: Sequence[Measured]) -> None:
    """Print the table of variants, and the tables by group."""
    screen.print()
    for grid in (overall(found), *(grouped(found, grouping) for grouping in GROUPINGS)):
        screen.print(drawn(grid))


def show_findings(screen: Console, findings: Sequence[Finding]) -> None:
    """Print sentences with their verdicts."""
    for finding in findings:
        screen.print(finding_line(finding))


def drawn(grid: Grid) -> Table:
    """Return a table for the console."""
    table = Table(title=grid.title)
    for name in grid.head:
        table.add_column(name, no_wrap=True)
    for row in grid.rows:
        if row[0] and len(table.rows) and grid.head[1] == "variant":
            table.add_section()
        table.add_row(*row)
    return table
