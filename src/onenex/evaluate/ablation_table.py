"""What the ablation's rows say: means, paired differences with confidence intervals, per organ and vendor, and the release's bars."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import bootstrap

from onenex.evaluate import perceptual
from onenex.evaluate.rows import Finding
from onenex.evaluate.table import console, finding_line

INPUT, FAST, DEFAULT_NAME = "input", "restoration only (fast)", "default (full)"
NO_TEXT, WRONG_TEXT = "without text", "wrong text"
RESAMPLES = 2_000
METRICS = ("psnr", "ssim", "lpips")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One variant on one row."""

    file: str
    condition: str
    organ: str
    vendor: str
    simulated: bool
    variant: str
    psnr: float
    """dB, foreground; unbiased on repeats."""
    ssim: float
    lpips: float | None
    """Mean over slices, everything outside the foreground set equal; None on repeats, whose reference is noisy, and without its weights."""
    seconds: float
    """Per 256 × 256 pixels."""


class Difference(NamedTuple):
    """A mean of paired differences and its 95 % interval."""

    mean: float
    low: float
    high: float
    n_files: int

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def paired(found: Sequence[Measured], variant: str, baseline: str, metric: str) -> Difference | None:
    """Return variant − baseline, mean over files, each file the mean of its rows; None where no file has the metric.

    The interval is a bootstrap of files (BCa), since rows of one file are not independent; equal to the mean with one file.
    """
    by_file: dict[str, list[float]] = {}
    values = {(one.file, one.condition, one.variant): getattr(one, metric) for one in found}
    for (file, condition, name), value in values.items():
        other = values.get((file, condition, baseline))
        if name == variant and value is not None and other is not None:
            by_file.setdefault(file, []).append(value - other)
    if not by_file:
        return None
    means = np.array([np.mean(one) for one in by_file.values()])
    mean = float(means.mean())
    if len(means) < 2 or np.ptp(means) < 1e-12:
        return Difference(mean, mean, mean, len(means))
    interval = bootstrap((means,), np.mean, n_resamples=RESAMPLES, rng=np.random.default_rng(0)).confidence_interval
    return Difference(mean, float(interval.low), float(interval.high), len(means))


def bars(found: Sequence[Measured]) -> list[Finding]:
    """Return the bars of mode `full` (issue 2 of 7), each with its figure."""
    lines = []
    simulated, repeats = ([one for one in found if one.simulated == kind] for kind in (True, False))
    for metric, better, text in (("ssim", 1, "SSIM, full − fast (bar ≥ 0)"), ("lpips", -1, "LPIPS, full − fast (bar < 0, less is better)")):
        gain = paired(simulated, DEFAULT_NAME, FAST, metric)
        if gain is not None:
            lines.append(Finding(text=f"{text}: {gain}", passed=better * gain.mean >= 0))
    lines += _worst(repeats, INPUT, 0.0, "real repeats, full − input (bar ≥ 0)")
    lines += _worst(repeats, FAST, -0.1, "real repeats, full − fast, unbiased PSNR (bar ≥ −0.1 dB)")
    for name, bar in ((NO_TEXT, 0.0), (WRONG_TEXT, -0.1)):
        first, second = (DEFAULT_NAME, NO_TEXT) if name == NO_TEXT else (WRONG_TEXT, NO_TEXT)
        gain = paired(found, first, second, "psnr")
        if gain is not None:
            label = "right text − none" if name == NO_TEXT else "wrong text − none"
            lines.append(Finding(text=f"{label}, PSNR (bar ≥ {bar:g} dB): {gain}", passed=gain.mean >= bar))
    return lines


def _worst(found: Sequence[Measured], baseline: str, bar: float, text: str) -> list[Finding]:
    values = {(one.file, one.condition, one.variant): one.psnr for one in found}
    gains = {(file, condition): value - values[file, condition, baseline] for (file, condition, name), value in values.items()
             if name == DEFAULT_NAME and (file, condition, baseline) in values}  # fmt: skip
    if not gains:
        return []
    file, condition = min(gains, key=lambda key: gains[key])
    least = gains[file, condition]
    return [Finding(text=f"{text}: least {least:+.3f} dB ({file}, {condition})", passed=least >= bar)]


def begin(header: str, with_lpips: bool) -> Console:
    """Print what is measured, and return the console."""
    screen = console()
    screen.print(f"OneNEX ablation: {header}")
    if not with_lpips:
        screen.print(perceptual.NOT_INSTALLED)
    return screen


def show_row(screen: Console, row: Sequence[Measured]) -> None:
    """Print one row as it is measured: every variant's PSNR / SSIM / LPIPS."""
    screen.print(f"{row[0].file}, {row[0].condition}", style="bold")
    for one in row:
        lpips = "" if one.lpips is None else f" {one.lpips:.4f}"
        screen.print(f"    {one.variant:26s} {one.psnr:6.2f} {one.ssim:.4f}{lpips}  {one.seconds * 1000:7.0f} ms")


def show_summary(screen: Console, found: Sequence[Measured]) -> None:
    """Print the table of variants, the tables by organ and vendor, and the bars."""
    variants = list(dict.fromkeys(one.variant for one in found))
    screen.print()
    screen.print(overall(found, variants))
    for title, key in (("organ", lambda one: one.organ), ("vendor", lambda one: one.vendor)):
        screen.print(grouped(found, title, key))
    for finding in bars(found):
        screen.print(finding_line(finding))


def overall(found: Sequence[Measured], variants: Sequence[str]) -> Table:
    """Return the table of variants: means, and differences to mode `fast` with their intervals."""
    table = Table(title="simulated rows: PSNR, SSIM, LPIPS; real repeats: unbiased PSNR; differences to fast, 95 % intervals over files")
    for head in ("variant", "PSNR", "Δ", "SSIM", "Δ", "LPIPS", "Δ", "repeats", "Δ", "ms"):
        table.add_column(head, no_wrap=True)
    for name in variants:
        mine = [one for one in found if one.variant == name]
        simulated, repeats = ([one for one in mine if one.simulated == kind] for kind in (True, False))
        cells = [name]
        for metric in METRICS:
            values = [value for one in simulated if (value := getattr(one, metric)) is not None]
            gain = paired([one for one in found if one.simulated], name, FAST, metric)
            cells += [f"{np.mean(values):.3f}" if values else "-", "-" if gain is None else str(gain)]
        gain = paired([one for one in found if not one.simulated], name, FAST, "psnr")
        cells += [f"{np.mean([one.psnr for one in repeats]):.3f}" if repeats else "-", "-" if gain is None else str(gain)]
        table.add_row(*cells, f"{np.median([one.seconds for one in mine]) * 1000:.0f}")
    return table


def grouped(found: Sequence[Measured], title: str, key: Callable[[Measured], str]) -> Table:
    """Return full − fast by organ or vendor."""
    table = Table(title=f"full − fast by {title}")
    for head in (title, "files", "PSNR", "SSIM", "LPIPS", "repeats, PSNR"):
        table.add_column(head, no_wrap=True)
    for name in sorted({key(one) for one in found}):
        mine = [one for one in found if key(one) == name]
        simulated, repeats = ([one for one in mine if one.simulated == kind] for kind in (True, False))
        gains = [paired(simulated, DEFAULT_NAME, FAST, metric) for metric in METRICS] + [paired(repeats, DEFAULT_NAME, FAST, "psnr")]
        table.add_row(name, str(len({one.file for one in mine})), *("-" if gain is None else str(gain) for gain in gains))
    return table


def write(found: Sequence[Measured], weights_hash: str, output: Path) -> None:
    """Write `ablation.csv` (a line per row and variant) and `ablation.json` (with the bars) into `output`."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / "ablation.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [one.name for one in fields(Measured)])
        writer.writeheader()
        writer.writerows(asdict(one) for one in found)
    document = {
        "weights": weights_hash,
        "rows": [asdict(one) for one in found],
        "findings": [{"text": one.text, "passed": one.passed} for one in bars(found)],
    }
    (output / "ablation.json").write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
