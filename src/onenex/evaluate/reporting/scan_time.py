"""The scan-time ledger on the report's page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from onenex.evaluate.ledger import Ledger, PairTimes, ledger_of
from onenex.evaluate.reporting.conclusions import Finding
from onenex.evaluate.reporting.page import NONE, Cell, Line, Section, Table
from onenex.scan_time import clock, summary

TITLE = "Scan time"


def scan_time_section(folder: Path) -> Section:
    """Return what the protocols of a folder of DICOM files cost in minutes, and what a fast one saves.

    Raises
    ------
    DataError
        No such folder.
    """
    return section(ledger_of(folder))


def section(found: Ledger) -> Section:
    """Return the page's section of a ledger."""
    groups: dict[tuple[str, str, str], list[PairTimes]] = {}
    for pair in found.pairs:
        groups.setdefault((pair.organ, pair.vendor, pair.sequence), []).append(pair)
    by_group = Table(
        title="Fast and reference protocols",
        head=("organ", "vendor", "sequence", "pairs", "times known", "fast", "reference", "saved"),
        lines=tuple(Line(names=names, cells=_cells(pairs)) for names, pairs in sorted(groups.items())),
        n_names=3,
        ours=(),
        note="Minutes:seconds, means over the pairs of which both times are known. Of repeats the fast scan is one, the reference all of them.",
    )
    sources = Counter(source for pair in found.pairs for source in (pair.fast.source, pair.reference.source))
    by_source = Table(
        title="Where the times are from",
        head=("source", "scans"),
        lines=tuple(Line(names=(source,), cells=(Cell(text=str(n)),)) for source, n in sources.most_common()),
        n_names=1,
        ours=(),
    )
    tables = (by_group, by_source) if found.pairs else ()
    note = "A scan whose header neither states its time nor implies it counts as unknown, never as an average."
    return Section(title=TITLE, findings=tuple(findings(found)), tables=tables, note=note)


def findings(found: Ledger) -> list[Finding]:
    """Return what a ledger says, in sentences."""
    known = found.known
    lines = [Finding(text=f"Fast scans with their references: {len(found.pairs)}, of which {len(known)} with both times known.")]
    if known:
        fast, reference = (_mean(times) for times in ([pair.fast.seconds for pair in known], [pair.reference.seconds for pair in known]))
        text = f"A fast scan takes {fast} on average, its reference {reference}; {found.saved_min:.1f} minutes are saved over these pairs."
        lines.append(Finding(text=text, good=found.saved_min > 0))
    if found.studies:
        fast_short, reference_short = (
            Counter(flags) for flags in ([one.fast_under_a_minute for one in found.studies], [one.reference_under_a_minute for one in found.studies])
        )
        text = f"Examinations with such pairs: {len(found.studies)}. Under a minute: the fast protocol of {fast_short[True]}"
        text += f" ({fast_short[None]} cannot be told), the reference protocol of {reference_short[True]} ({reference_short[None]} cannot be told)."
        lines.append(Finding(text=text))
    if found.examinations:
        lines.append(Finding(text=f"All scans of the archive, as they were done: {summary(found.examinations)}."))
    return lines


def _cells(pairs: Sequence[PairTimes]) -> tuple[Cell, ...]:
    known = [pair for pair in pairs if pair.saved_s is not None]
    times = ([pair.fast.seconds for pair in known], [pair.reference.seconds for pair in known], [pair.saved_s for pair in known])
    return (Cell(text=str(len(pairs))), Cell(text=str(len(known))), *(Cell(text=_mean(one)) for one in times))


def _mean(seconds: Iterable[float | None]) -> str:
    known = [one for one in seconds if one is not None]
    if not known:
        return NONE
    mean = sum(known) / len(known)
    return f"-{clock(-mean)}" if mean < 0 else clock(mean)
