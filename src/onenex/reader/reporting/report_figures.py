"""The report's figures, as SVG in the page: grades by arm as stacked bars, the primary endpoint against its margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from onenex.reader.analysis import Analysis, Endpoint, words
from onenex.reader.reporting.report_tables import EVERYBODY, fixed, spanned
from onenex.reader.statistics.frames import ALL

WIDTH, LABEL, ROW = 860.0, 230.0, 22.0
"""Pixels: a figure, its names, a bar."""
_BAD, _MIDDLE, _GOOD = (196, 122, 82), (226, 226, 222), (31, 111, 141)
"""Colours of the lowest, a middle and the highest grade; told apart by lightness too, and by the numbers in them."""
_PLAIN = ((236, 240, 243), (31, 61, 90))
"""Colours of grades of which neither end is better."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Shares of one line, from the left."""

    name: str
    counts: tuple[int, ...]


def stacked(bars: Sequence[Bar], labels: Sequence[str], caption: str, *, better: bool | None) -> str:
    """Return stacked bars, each as wide as all of its answers, with a key.

    Parameters
    ----------
    labels
        Of the parts, from the left.
    better
        Whether higher parts are better; None for neither.
    """
    colours = [_colour(place, len(labels), better) for place in range(len(labels))]
    width, parts, top = WIDTH - LABEL - 10, [], 30.0
    for number, bar in enumerate(bars):
        y, x, total = top + number * ROW, LABEL, max(1, sum(bar.counts))
        parts.append(_text(LABEL - 8, y + 14, bar.name, anchor="end"))
        for count, (fill, ink) in zip(bar.counts, colours, strict=True):
            wide = width * count / total
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{ROW - 5:.0f}" fill="{fill}"/>')
            if wide > 24:
                parts.append(_text(x + wide / 2, y + 13, str(count), anchor="middle", ink=ink, size=11))
            x += wide
    return _svg(parts + _key(labels, colours), top + len(bars) * ROW + 4, caption)


def _key(labels: Sequence[str], colours: Sequence[tuple[str, str]]) -> list[str]:
    parts, x = [], LABEL
    step = min(170.0, (WIDTH - LABEL - 10) / max(1, len(labels)))
    for label, (fill, _) in zip(labels, colours, strict=True):
        short = label if len(label) <= step / 6.4 else label[: int(step / 6.4) - 1] + "…"
        parts += [f'<rect x="{x:.1f}" y="8" width="11" height="11" fill="{fill}"/>', _text(x + 15, 18, short, size=11)]
        x += step
    return parts


def _colour(place: int, n: int, better: bool | None) -> tuple[str, str]:
    """Return fill and ink."""
    share = place / max(1, n - 1)
    if better is None:
        red, green, blue = (round(low + (high - low) * share) for low, high in zip(*_PLAIN, strict=True))
    else:
        share = share if better else 1 - share
        low, high, within = (_BAD, _MIDDLE, 2 * share) if share < 0.5 else (_MIDDLE, _GOOD, 2 * share - 1)
        red, green, blue = (round(one + (two - one) * within) for one, two in zip(low, high, strict=True))
    light = 0.299 * red + 0.587 * green + 0.114 * blue
    return f"rgb({red},{green},{blue})", "#1c2226" if light > 130 else "#fff"


def grades(analysis: Analysis) -> list[tuple[str, str]]:
    """Return (caption, SVG) of every item: a bar an arm, all readers and places together."""
    found = []
    keys = dict.fromkeys((one.reading, one.item) for one in analysis.ratings)
    for reading, name in keys:
        item = analysis.plan.items[name]
        rows = [one for one in analysis.ratings if (one.reading, one.item, one.where, one.reader) == (reading, name, ALL, ALL)]
        bars = [Bar(name=one.arm, counts=tuple(one.counts.get(grade, 0) for grade in item.values)) for one in rows]
        caption = f"{reading}: {words(name)}" + (" (all places)" if len(item.where) > 1 else "")
        found.append((caption, stacked(bars, item.labels, caption, better=item.higher_is_better)))
    return found


def preferences(analysis: Analysis) -> list[tuple[str, str]]:
    """Return (caption, SVG) of every comparison: a bar a reader."""
    found = []
    for reading, arm, baseline in dict.fromkeys((one.reading, one.arm, one.baseline) for one in analysis.preferences):
        rows = [one for one in analysis.preferences if (one.reading, one.arm, one.baseline) == (reading, arm, baseline)]
        bars = [Bar(name=one.reader or EVERYBODY, counts=(one.against.n_hits, one.neither.n_hits, one.preferred.n_hits)) for one in rows]
        caption = f"{reading}: {arm} or {baseline}"
        found.append((caption, stacked(bars, (f"{baseline} preferred", "no difference", f"{arm} preferred"), caption, better=True)))
    return found


def forest(endpoints: Sequence[tuple[str, Endpoint]], caption: str) -> str:
    """Return differences with their intervals, against 0 and the margin."""
    tested = [(name, one.result) for name, one in endpoints]
    margin = tested[0][1].margin
    ends = [value for _, one in tested for value in (one.difference, *((one.interval.low, one.interval.high) if one.interval else ()))]
    low, high = min(-1.4 * margin, *ends), max(0.8 * margin, *ends)
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    left, right, top = LABEL, WIDTH - 200, 34.0
    bottom = top + len(tested) * 26

    def x(value: float) -> float:
        return float(left + (right - left) * (value - low) / (high - low))

    upright = f'y1="{top - 6:.0f}" y2="{bottom:.0f}"'
    parts = [
        f'<rect x="{x(-margin):.1f}" y="{top - 6:.0f}" width="{right - x(-margin):.1f}" height="{bottom - top + 6:.0f}" fill="#e2f0f5"/>',
        f'<line x1="{x(-margin):.1f}" x2="{x(-margin):.1f}" {upright} stroke="#a3401b" stroke-width="1.5" stroke-dasharray="5 3"/>',
        f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" {upright} stroke="#5c676e"/>',
        _text(x(-margin), 20, f"margin {fixed(-margin)}", anchor="middle", ink="#a3401b", size=12),
        _text(x(0), 20, "no difference", anchor="middle", ink="#5c676e", size=12),
    ]
    for number, (name, one) in enumerate(tested):
        y = top + 26 * number + 12
        parts.append(_text(LABEL - 8, y + 4, name, anchor="end"))
        parts += [] if one.interval is None else _whiskers(x(one.interval.low), x(one.interval.high), y)
        parts.append(f'<circle cx="{x(one.difference):.1f}" cy="{y:.0f}" r="4.5" fill="#1f6f8d"/>')
        parts.append(_text(right + 12, y + 4, spanned(one.difference, one.interval), size=12))
    return _svg(parts, bottom + 8, caption)


def _whiskers(low: float, high: float, y: float) -> list[str]:
    ends = ((low, high, y, y), (low, low, y - 4, y + 4), (high, high, y - 4, y + 4))
    return [f'<line x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.0f}" y2="{y2:.0f}" stroke="#1c2226" stroke-width="2"/>' for x1, x2, y1, y2 in ends]


def _text(x: float, y: float, text: str, *, anchor: str = "start", ink: str = "#1c2226", size: int = 13) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{ink}">{escape(text)}</text>'


def _svg(parts: Sequence[str], height: float, caption: str) -> str:
    body = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" width="{WIDTH:.0f}" role="img" aria-label="{escape(caption)}">{body}</svg>'
