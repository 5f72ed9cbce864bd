"""`onenex pairs summary`: how many slice pairs there are, by organ, vendor, sequence and acceleration; as tables and as a figure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onenex import built
from onenex.scans import read_manifest
from onenex.series import ORGANS, SEQUENCES, UNKNOWN, VENDORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

_COLOURS = ("#4477aa", "#ee8866", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#997700", "#44bb99", "#ffaabb", "#332288", "#bbbbbb")
"""One for each of `SEQUENCES`; Paul Tol's schemes bright and light, which the colour-blind can tell apart."""
_KINDS = {"pairs": "fast scan and reference", "repeats": "means of repeats", "synthetic": "simulated fast scan", "clean": "reference only"}
_COLUMNS = ("organ", "vendor", "sequence", "acceleration", "kind", "split", "patient", "accepted", "reason")


class Cell(NamedTuple):
    """What slices are counted by."""

    organ: str
    vendor: str
    sequence: str
    acceleration: float | None
    """To the nearest half; None where it is unknown, or there is nothing fast."""
    kind: str
    split: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a folder holds."""

    counts: Counter[Cell]
    """Accepted rows: slice pairs, each setting of repeats one; slices without a fast scan are of kind `clean`."""
    patients: dict[str, int]
    """By split; empty where the manifest names none (`manifest.csv`)."""
    rejected: Counter[str]
    """Rows not accepted by reason, … for its numbers."""

    @property
    def n_pairs(self) -> int:
        """Rows with a fast scan and a reference."""
        return sum(n for cell, n in self.counts.items() if cell.kind != "clean")

    def by(self, *names: str) -> Counter[tuple[str, ...]]:
        """Return the counts by some of the fields of `Cell`, as text."""
        found: Counter[tuple[str, ...]] = Counter()
        for cell, n in self.counts.items():
            found[tuple(_text(getattr(cell, name)) for name in names)] += n
        return found


def summarise(folder: Path) -> Summary:
    """Count what a folder holds: one that `onenex pairs build` made, or one with `manifest.csv`.

    Raises
    ------
    DataError
        There is no manifest, or it cannot be read.
    """
    if not (folder / built.MANIFEST).is_file():
        counts: Counter[Cell] = Counter()
        for info in read_manifest(folder):
            about = info.acquisition
            counts[_cell(about.organ, about.vendor, about.sequence, about.acceleration, info.kind, info.split)] += info.n_slices
        return Summary(counts=counts, patients={}, rejected=Counter())
    table = built.read_table(folder, _COLUMNS)
    rows = list(zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True))
    patients = {(split, patient) for *_, split, patient, accepted, _ in rows if accepted}
    return Summary(
        counts=Counter(_cell(*row[:6]) for row in rows if row[7]),
        patients=dict(sorted(Counter(split for split, _ in patients).items(), reverse=True)),
        rejected=Counter(re.sub(r"[-+−]?\d[\d.,]*", "…", row[8]) for row in rows if not row[7]),
    )


def _cell(organ: str, vendor: str, sequence: str, acceleration: float | None, kind: str, split: str) -> Cell:
    halves = None if acceleration is None or kind == "clean" else max(0.5, round(2 * acceleration) / 2)
    return Cell(organ or UNKNOWN, vendor or UNKNOWN, sequence or UNKNOWN, halves, kind, split)


def _text(value: str | float | None) -> str:
    return value if isinstance(value, str) else "–" if value is None else f"{value:g}×"


def _in_order(names: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return each name once, those known in their order, the others by alphabet before "unknown"."""
    return sorted(set(names), key=lambda name: (name == UNKNOWN, known.index(name) if name in known else len(known), name))


def headline(found: Summary) -> str:
    """Return the sums in one line."""
    alone = sum(found.counts.values()) - found.n_pairs
    told = [f"{found.n_pairs:,} slice pairs"] + ([f"{alone:,} slices of references alone"] if alone else [])
    if found.patients:
        told.append(", ".join(f"{n:,} {'patient' if n == 1 else 'patients'} in {split}" for split, n in found.patients.items()))
    return " · ".join(told + ([f"{found.rejected.total():,} rejected"] if found.rejected else []))


def tables(found: Summary) -> list[Table]:
    """Return the counts as tables for the terminal: all four together, and organ × vendor; with the reasons where rows were rejected."""
    from rich.table import Table

    every = Table(title=headline(found), title_justify="left")
    for name in ("organ", "vendor", "sequence", "acceleration"):
        every.add_column(name, justify="right" if name == "acceleration" else "left")
    every.add_column("train", justify="right")
    every.add_column("test", justify="right")
    for line in _lines(found):
        every.add_row(*line)
    grid = Table(title="organ × vendor", title_justify="left")
    grid.add_column("organ")
    organs, vendors, numbers = _grid(found)
    for vendor in (*vendors, "all"):
        grid.add_column(vendor, justify="right")
    for organ, row in zip((*organs, "all"), [*numbers, numbers.sum(axis=0)], strict=True):
        grid.add_row(organ, *(f"{n:,}" if n else "·" for n in (*row, row.sum())))
    if not found.rejected:
        return [every, grid]
    reasons = Table("rejected because", title_justify="left")
    reasons.add_column("rows", justify="right")
    for reason, n in found.rejected.most_common():
        reasons.add_row(reason, f"{n:,}")
    return [every, grid, reasons]


def _lines(found: Summary) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the large table, in the order in which people look for them; what repeats the row above is left blank."""
    sums = found.by("organ", "vendor", "sequence", "acceleration", "split")
    keys = {(cell.organ, cell.vendor, cell.sequence, cell.acceleration) for cell in found.counts}
    ranks = [_in_order([key[place] for key in keys], known) for place, known in enumerate((ORGANS, VENDORS, SEQUENCES))]  # type: ignore[misc]
    last: tuple[str, ...] = ()
    for key in sorted(keys, key=lambda key: (*(rank.index(str(name)) for rank, name in zip(ranks, key, strict=False)), key[3] or 0)):
        words = tuple(_text(value) for value in key)
        same = next((place for place in range(len(words)) if words[: place + 1] != last[: place + 1]), 0)
        shown = tuple("" if place < min(same, 3) else word for place, word in enumerate(words))
        yield (*shown, *(f"{sums[(*words, split)]:,}" if sums[(*words, split)] else "·" for split in ("train", "test")))
        last = words


def _grid(found: Summary) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """Return organs, vendors, and the counts (organ, vendor)."""
    sums = found.by("organ", "vendor")
    organs, vendors = (_in_order((key[place] for key in sums), known) for place, known in enumerate((ORGANS, VENDORS)))
    numbers = np.array([[sums[organ, vendor] for vendor in vendors] for organ in organs], dtype=np.int64)
    return organs, vendors, numbers.reshape(len(organs), len(vendors))


def plot(folder: Path, path: Path) -> Summary:
    """Draw the counts as PNG, like Figure 1 of the paper: sequences stacked by organ, organ × vendor, accelerations.

    Source
    ------
    Shao et al., npj Digit. Med. 9:366 (2026), Figure 1.

    Raises
    ------
    DataError
        See `summarise`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = summarise(folder)
    organs, vendors, _ = _grid(found)
    widths = [max(2.5, 0.85 * len(organs)), max(2.5, 0.8 * len(vendors) + 0.6), 3.6]
    figure = Figure(figsize=(sum(widths) + 3.0, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(headline(found), fontsize=12, x=0.01, ha="left")
    left, middle, right = figure.subplots(1, 3, width_ratios=widths)
    _draw_organs(left, found)
    _draw_grid(middle, found)
    _draw_accelerations(right, found)
    figure.savefig(path, dpi=130, metadata={"Software": None})
    return found


def _draw_organs(axes: Axes, found: Summary) -> None:
    """Draw a bar an organ, its sequences one on the other."""
    sums = found.by("organ", "sequence")
    organs, sequences = (_in_order((key[place] for key in sums), known) for place, known in enumerate((ORGANS, SEQUENCES)))
    below = np.zeros(len(organs))
    others = 0
    for sequence in sequences:
        heights = np.array([sums[organ, sequence] for organ in organs])
        known = sequence in SEQUENCES
        colour = _COLOURS[SEQUENCES.index(sequence)] if known else f"{0.75 - 0.12 * (others % 5)}"
        others += not known
        axes.bar(organs, heights, 0.7, bottom=below, color=colour, label=sequence, edgecolor="white", linewidth=0.6)
        below += heights
    for place, height in enumerate(below):
        axes.annotate(f"{height:,.0f}", (place, height), (0, 3), textcoords="offset points", ha="center", fontsize=9)
    axes.set_title("a  by organ and sequence", loc="left", fontsize=11)
    if sequences:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), reverse=True, handlelength=1.0)
    _finish(axes, "slices", below)


def _draw_grid(axes: Axes, found: Summary) -> None:
    """Draw organ × vendor as a table whose cells are the darker the more they hold; the shade goes by the square root."""
    organs, vendors, numbers = _grid(found)
    axes.set_title("b  by organ and vendor", loc="left", fontsize=11)
    if not numbers.size:
        axes.set_axis_off()
        return
    shade = np.sqrt(numbers / max(1, numbers.max()))
    axes.imshow(shade, cmap="Blues", vmin=-0.08, vmax=1.3, aspect="auto")
    for row, column in np.ndindex(*numbers.shape):
        n = int(numbers[row, column])
        colour = "0.6" if not n else "white" if shade[row, column] > 0.7 else "0.1"
        axes.text(column, row, f"{n:,}" if n else "–", ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(len(vendors)), vendors, rotation=0 if len(vendors) < 5 else 30)
    axes.set_yticks(range(len(organs)), organs)
    axes.set_xticks(np.arange(0.5, len(vendors) - 1), minor=True)
    axes.set_yticks(np.arange(0.5, len(organs) - 1), minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _draw_accelerations(axes: Axes, found: Summary) -> None:
    """Draw how many pairs there are of each acceleration, by what they are made of."""
    sums: Counter[tuple[float | None, str]] = Counter()
    for cell, n in found.counts.items():
        if cell.kind != "clean":
            sums[cell.acceleration, cell.kind] += n
    values = sorted({value for value, _ in sums if value is not None}) + ([None] if any(value is None for value, _ in sums) else [])
    labels = ["unknown" if value is None else _text(value) for value in values]
    below = np.zeros(len(values))
    for kind, colour in zip(("pairs", "repeats", "synthetic"), ("#4477aa", "#66ccee", "#dddddd"), strict=True):
        heights = np.array([sums[value, kind] for value in values])
        if heights.any():
            axes.bar(labels, heights, 0.7, bottom=below, color=colour, label=_KINDS[kind], edgecolor="white", linewidth=0.6)
            below += heights
    for place, height in enumerate(below):
        axes.annotate(f"{height:,.0f}", (place, height), (0, 3), textcoords="offset points", ha="center", fontsize=9)
    if values:
        axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.02, 0.93))
    axes.set_title("c  pairs by acceleration", loc="left", fontsize=11)
    _finish(axes, "slice pairs", below)


def _finish(axes: Axes, label: str, heights: NDArray[np.float64]) -> None:
    """Give the axes of bars a quiet frame, room for the numbers above them, and bars of ordinary width where there are few."""
    from matplotlib.ticker import StrMethodFormatter

    axes.set_ylabel(label)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set(ylim=(0, 1.15 * max(1.0, heights.max(initial=0.0))), xlim=(-0.6, max(len(heights), 3) - 0.4))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", length=0)
