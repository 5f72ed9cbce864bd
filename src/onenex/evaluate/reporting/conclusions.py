"""What follows from the figures, in sentences that are put together from them: nobody writes them by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onenex.evaluate.cohort.methods import FAST, FULL, INPUT, OURS
from onenex.evaluate.reporting.groups import HEADLINE, PSNR, Group, Measure, groups

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE_DB = 0.05
"""PSNR that a scan may lose before it counts as harmed (DESIGN §8)."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sentence, and whether it is what we want; None where it's neither."""

    text: str
    good: bool | None = None


def ranking(cells: pd.DataFrame) -> list[Finding]:
    """Say who is first in each of `HEADLINE`, overall and in each organ."""
    places = (("overall", groups(cells, ())), ("", groups(cells, ("organ",))))
    return [_first(measure, label or group.names[0], group) for measure in HEADLINE for label, found in places for group in found]


def _first(measure: Measure, where: str, group: Group) -> Finding:
    order = group.order(measure)
    ours = [(name, value) for name, value in order if name in OURS]
    others = [(name, value) for name, value in order if name not in OURS]
    if not ours or not others:
        return Finding(text=f"{measure.title}, {where}: not measured")
    (name, value), (rival, theirs) = ours[0], others[0]
    lead, unit = measure.better * (value - theirs), f" {measure.unit}" if measure.unit else ""
    shown = f"{name} {value:.{measure.digits}f}{unit}, {rival} {theirs:.{measure.digits}f}{unit}"
    if lead > 0:
        return Finding(text=f"{measure.title}, {where}: OneNEX is first, by {lead:.{measure.digits}f}{unit} ({shown})", good=True)
    rank = 1 + sum(measure.better * (value - one) <= 0 for _, one in others)
    return Finding(text=f"{measure.title}, {where}: OneNEX is number {rank}, {-lead:.{measure.digits}f}{unit} behind ({shown})", good=False)


def harm(cells: pd.DataFrame) -> list[Finding]:
    """Say on how many scans our output is worse than the input, and by how much at most."""
    return list(_harm(cells, (FAST, FULL)))


def _harm(cells: pd.DataFrame, methods: Sequence[str]) -> Iterator[Finding]:
    keys = ["file", "condition"]
    told = {str(name): part.set_index(keys)["psnr"] for name, part in cells.groupby("method", observed=True)}
    for name in methods:
        if name not in told or INPUT not in told:
            continue
        gain = (told[name] - told[INPUT]).dropna()
        n_worse = int((gain < -TOLERANCE_DB).sum())
        least = gain.idxmin()
        text = (
            f"Do no harm, {name}: {n_worse} of {len(gain)} scans and conditions lose more than {TOLERANCE_DB} dB {PSNR.title} against the input; "
            f"least gain {gain.min():+.2f} dB ({', '.join(map(str, least))})"
        )
        yield Finding(text=text, good=n_worse == 0)


def guard(frame: pd.DataFrame) -> list[Finding]:
    """Say how often our guard stepped in."""
    found = []
    for name, part in frame.dropna(subset=["guard_passed"]).groupby("method", observed=True):
        passed, kept = part["guard_passed"].astype(bool), part["guard_kept"]
        stopped = int((~passed).sum())
        text = f"Guard, {name}: {stopped} of {len(part)} images were blended back towards what was measured"
        found.append(Finding(text=text + (f", on average to {kept[~passed].mean():.0%} of their change" if stopped else "")))
    return found
