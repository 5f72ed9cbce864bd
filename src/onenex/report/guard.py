"""What the QA page says of the guard: its reasons in plain words, and suspicion laid over a slice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onenex.report.png import Bytes
from onenex.results import GuardSummary, given_up
from onenex.series import FloatImages

MAX_ROWS = 20
"""Slices listed on the page; the JSON of the command line has all."""
SHOWN_FROM, SHOWN_TO = 0.6, 1.4
"""Suspicion that begins to colour, and that has the full colour; 1 is the limit."""

_GREYS, _LEVELS, _PLAIN = 16, 8, 128

_WORDS = (
    ("spread of the residual", "what was taken away is far stronger than the noise found: the noise estimate cannot be right here"),
    ("single pixel", "a single pixel moved further than noise explains"),
    ("spot of radius", "a spot was taken away or added that noise does not explain"),
    ("edge shifted", "an edge does not lie where the scan has it"),
    ("interference along", "a line of interference that the scan shows is missing"),
)
_TEXTURE = {"invented": "fine structure that the scan does not show", "removed": "fine structure of the scan is missing"}


def plain(reason: str) -> str:
    """Return a reason of the guard in plain words; "" for one that isn't known here."""
    for start, words in _WORDS:
        if reason.startswith(start):
            return words
    head = reason.split(" at row", maxsplit=1)[0].split(":", maxsplit=1)[0]
    return next((words for end, words in _TEXTURE.items() if head.startswith("structure of") and head.endswith(end)), "")


def described(guard: GuardSummary | None, on: bool) -> dict[str, Any]:
    """Return what the page's template shows of a series.

    Parameters
    ----------
    guard
        None where nothing was judged.
    on
        Whether the guard was on.
    """
    if guard is None:
        return {"on": on, "headline": "nothing to judge" if on else "off", "rows": [], "more": 0}
    n = len(guard.touched)
    passed = f"all {guard.n_slices} slices passed" if guard.n_slices != 1 else "the slice passed"
    rows = [
        {"label": one.label, "what": given_up(one.share_given_up, one.kept), "reasons": [(plain(reason), reason) for reason in one.reasons]}
        for one in guard.touched[:MAX_ROWS]
    ]
    return {"on": on, "headline": f"{n} of {guard.n_slices} slices did not pass" if n else passed, "rows": rows, "more": max(0, n - MAX_ROWS)}


def overlay(grey: NDArray[np.floating], suspicion: FloatImages) -> Bytes:
    """Return palette indices of a slice with its suspicion: grey below `SHOWN_FROM`, grey tinted by level above.

    Parameters
    ----------
    grey
        (row, column), 0…1.
    suspicion
        (row, column), 1 = the limit.
    """
    level = np.clip(np.ceil((suspicion - SHOWN_FROM) / (SHOWN_TO - SHOWN_FROM) * _LEVELS), 0, _LEVELS).astype(np.int64)
    plain_index = np.rint(grey * (_PLAIN - 1)).astype(np.int64)
    tinted = _PLAIN + (level - 1) * _GREYS + np.rint(grey * (_GREYS - 1)).astype(np.int64)
    return np.where(level > 0, tinted, plain_index).astype(np.uint8)


def overlay_palette() -> Bytes:
    """Return the (256, 3) colours of `overlay`: 128 greys, then 8 levels of 16 greys each, from amber below the limit to red above."""
    colours = np.zeros((256, 3))
    colours[:_PLAIN] = np.linspace(0, 255, _PLAIN)[:, None]
    for level in range(_LEVELS):
        share = (level + 1) / _LEVELS
        tint = (1 - share) * np.array([255, 196, 60]) + share * np.array([255, 40, 60])
        strength = 0.35 + 0.35 * share
        greys = np.linspace(0, 255, _GREYS)[:, None]
        first = _PLAIN + level * _GREYS
        colours[first : first + _GREYS] = (1 - strength) * greys + strength * tint
    return np.rint(colours).astype(np.uint8)


def overlay_bar() -> Bytes:
    """Return a (1, 8) scale of the levels on mid grey."""
    return (_PLAIN + np.arange(_LEVELS, dtype=np.uint8)[None, :] * _GREYS + _GREYS // 2).astype(np.uint8)
