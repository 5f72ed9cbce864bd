"""Words for coefficients of agreement, as published: of both ends of an interval, not of its middle."""

from __future__ import annotations

from collections.abc import Sequence

from onenex.evaluate.statistics import Interval

LANDIS_KOCH = ((0.0, "poor"), (0.2, "slight"), (0.4, "fair"), (0.6, "moderate"), (0.8, "substantial"), (1.0, "almost perfect"))
"""Highest kappa of each word; Landis & Koch, Biometrics 33:159 (1977)."""
KOO_LI = ((0.5, "poor"), (0.75, "moderate"), (0.9, "good"), (1.0, "excellent"))
"""Intraclass correlation below which each word holds; Koo & Li, J. Chiropr. Med. 15:155 (2016)."""


def in_words(interval: Interval, scale: Sequence[tuple[float, str]]) -> str:
    """Return the words for both ends of an interval: "moderate to good", or "good" when they are the same."""
    low, high = word(interval.low, scale), word(interval.high, scale)
    return low if low == high else f"{low} to {high}"


def word(value: float, scale: Sequence[tuple[float, str]]) -> str:
    """Return the word for one coefficient.

    Landis and Koch's classes include their upper end (0.20 is slight); Koo and Li's good reaches from 0.75 to 0.9 inclusive, and
    moderate starts at 0.5.
    """
    if scale is KOO_LI:
        return "poor" if value < 0.5 else "moderate" if value < 0.75 else "good" if value <= 0.9 else "excellent"
    if value < 0:
        return scale[0][1]
    return next((said for highest, said in scale[1:] if value <= highest), scale[-1][1])
