"""A scored row of the benchmark, and what all rows together say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from onenex.evaluate.cases import PrototypeB, Score

INPUT = "input"
ONENEX = "OneNEX fast"
Metric = Literal["psnr", "ssim"]
NOISY_INPUT_dB = 25.0
"""Single real repeats that score less count as noisy (Siemens b1000, spine); the others are nearly clean."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One file under one condition, scored for every method."""

    file: str
    condition: str
    simulated: bool
    unseen: bool
    nex: int = 1
    scores: Mapping[str, Score]
    """Method → score, `INPUT` and `ONENEX` among them."""
    seconds: Mapping[str, float]
    """Method → time per 256 × 256 pixels in this row (OneNEX with its noise estimate, the others without)."""
    sigma_ratio: float | None
    """Median of estimated over true σ inside the foreground; None where the truth is unknown."""
    prototype: PrototypeB | None

    def value(self, method: str, metric: Metric) -> float:
        """One score."""
        score = self.scores[method]
        return score.psnr if metric == "psnr" else score.ssim

    def best(self, metric: Metric) -> str:
        """The method that scores highest; the first of equals, in the order of the columns."""
        return max(self.scores, key=lambda method: self.value(method, metric))

    def best_peer(self, metric: Metric) -> str | None:
        """The same among the rivals alone, the untouched input not counted; None without rivals."""
        peers = [method for method in self.scores if method not in (INPUT, ONENEX)]
        return max(peers, key=lambda method: self.value(method, metric)) if peers else None

    @property
    def gain_dB(self) -> float:
        """OneNEX over the untouched input."""
        return self.scores[ONENEX].psnr - self.scores[INPUT].psnr

    def as_dict(self) -> dict[str, Any]:
        """Return the row for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sentence that follows from the rows."""

    text: str
    passed: bool | None = None
    """Whether its bar is met; None when it has no bar."""


def findings(rows: Sequence[Row]) -> list[Finding]:
    """Return what the rows say, each with the bar of the release where it has one."""
    lines = [*_wins(rows, "psnr"), *_wins(rows, "ssim"), *_leads(rows)]
    noisy = [row for row in rows if not row.simulated and row.nex == 1 and row.scores[INPUT].psnr < NOISY_INPUT_dB]
    if noisy:
        gain = _mean([row.gain_dB for row in noisy])
        text = f"gain over the input on noisy real repeats ({_names(noisy)}): mean {gain:+.2f} dB (bar +2)"
        lines.append(Finding(text=text, passed=gain >= 2))
    repeats = [row for row in rows if not row.simulated]
    if repeats:
        worst = min(repeats, key=lambda row: row.gain_dB)
        text = f"do no harm: least gain over the input on real repeats {worst.gain_dB:+.3f} dB ({worst.file}, {worst.condition}; bar −0.05)"
        lines.append(Finding(text=text, passed=worst.gain_dB >= -0.05))
    lines += _without_floor(rows)
    lines += [_against_prototype(row, row.prototype) for row in rows if row.prototype is not None]
    ratios = [row.sigma_ratio for row in rows if row.sigma_ratio is not None]
    if ratios:
        lines.append(
            Finding(text=f"estimated over true σ on simulated rows: median {np.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")
        )
    return lines


def _wins(rows: Sequence[Row], metric: Metric) -> list[Finding]:
    lost = [row for row in rows if row.best(metric) != ONENEX]
    won = len(rows) - len(lost)
    lines = [Finding(text=f"{metric.upper()}: {ONENEX} is best on {won} of {len(rows)} rows (bar: all)", passed=not lost)]
    digits = 2 if metric == "psnr" else 4
    for row in lost:
        best = row.best(metric)
        behind = row.value(best, metric) - row.value(ONENEX, metric)
        lines.append(Finding(text=f"  {row.file}, {row.condition}: {best} leads by {behind:.{digits}f}"))
    return lines


def _leads(rows: Sequence[Row]) -> list[Finding]:
    """Mean lead over the best peer of each simulated row (the prototype's extra ones left out), by kin in training."""
    lines = []
    simulated = [row for row in rows if row.simulated and row.prototype is None]
    for label, chosen, bar in (
        ("all files", simulated, 3.0),
        ("files unseen in training", [row for row in simulated if row.unseen], None),
        ("files with kin in training (†)", [row for row in simulated if not row.unseen], None),
    ):
        leads = [row.scores[ONENEX].psnr - row.scores[peer].psnr for row in chosen if (peer := row.best_peer("psnr")) is not None]
        if leads:
            mean = _mean(leads)
            text = f"lead over the best peer of each simulated row, {label}: mean {mean:+.2f} dB, least {min(leads):+.2f}"
            lines.append(Finding(text=text + (f" (bar +{bar:.0f})" if bar else ""), passed=None if bar is None else mean >= bar))
    return lines


def _without_floor(rows: Sequence[Row]) -> list[Finding]:
    """Say how the methods compare on noisy repeats when the reference has no Rician floor."""
    lines = []
    for row in rows:
        squared = {method: score.second_moment_psnr for method, score in row.scores.items() if score.second_moment_psnr is not None}
        if not squared or row.scores[INPUT].psnr >= NOISY_INPUT_dB:
            continue
        cells = ", ".join(f"{method} {value:.2f}" for method, value in sorted(squared.items(), key=lambda item: -item[1]))
        lines.append(Finding(text=f"without the Rician floor (PSNR of squares, dB), {row.file}, {row.condition}: {cells}"))
    return lines


def _against_prototype(row: Row, prototype: PrototypeB) -> Finding:
    """Gains are compared, for B's scores had another data range and mask."""
    text = (
        f"prototype B on {row.file}, {row.condition}: ours {row.scores[INPUT].psnr:.2f} → {row.scores[ONENEX].psnr:.2f} ({row.gain_dB:+.2f} dB), "
        f"B {prototype.input_dB:.2f} → {prototype.output_dB:.2f} ({prototype.gain_dB:+.2f} dB)"
    )
    return Finding(text=text, passed=row.gain_dB >= prototype.gain_dB)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _names(rows: Sequence[Row]) -> str:
    return ", ".join(row.file.removeprefix("repeats_") for row in rows)
