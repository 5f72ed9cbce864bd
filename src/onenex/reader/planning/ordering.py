"""In which order a reader sees what: no arm earlier than another, no case twice running."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NEAR = 5
"""Presentations within which a case is not shown again, where that costs no balance."""


@dataclass(frozen=True, kw_only=True)
class Due:
    """One thing to be shown in one part of a session."""

    case: str
    arms: tuple[str, ...]
    """One, or two in order of the alphabet: sides are drawn elsewhere."""


def williams(n: int) -> list[tuple[int, ...]]:
    """Return orders of n treatments, each in each place equally often, and each following each other one equally often.

    Parameters
    ----------
    n
        Treatments, 1 or more: n orders where n is even, 2 n where it is odd.

    Source
    ------
    Williams, Aust. J. Sci. Res. A 2:149 (1949).
    """
    zigzag = [place // 2 if place % 2 == 0 else n - 1 - place // 2 for place in range(n)]
    rows = [tuple((start + step) % n for step in zigzag) for start in range(n)]
    return rows if n % 2 == 0 or n == 1 else rows + [row[::-1] for row in rows]


def arrange(due: Sequence[Due], rng: np.random.Generator, before: str | None = None) -> list[Due]:
    """Return one part of a session in the order in which it is read.

    Time is cut into as many stretches as there are presentations of an arm, and each arm is shown once in each stretch, at places that
    follow Williams' orders: early and late, fresh and tired, before and after any other arm alike. Which case comes at which place of its
    arm is drawn by lot, except that the same case never comes twice running where any order can avoid it, and, where it costs nothing, not
    within `NEAR`.

    Parameters
    ----------
    due
        What is shown.
    rng
        Draws.
    before
        The case that is shown just before this part, if any.
    """
    waiting = [due[i] for i in rng.permutation(len(due))]
    left = Counter(one.case for one in waiting)
    recent: deque[str | None] = deque([before], maxlen=NEAR)
    ordered: list[Due] = []
    for arms in _sequence(due, rng):
        pick = _pick(waiting, arms, left, recent)
        left[pick.case] -= 1
        recent.append(pick.case)
        ordered.append(pick)
        waiting.remove(pick)
    return ordered


def _sequence(due: Sequence[Due], rng: np.random.Generator) -> list[tuple[str, ...]]:
    """Return the arms, place by place."""
    counts = Counter(one.arms for one in due)
    kinds = sorted(counts)
    rows: dict[int, tuple[int, ...]] = {}
    table = williams(len(kinds))
    for stretch in range(max(counts.values(), default=0)):
        if stretch % len(table) == 0:
            shuffled = [table[i] for i in rng.permutation(len(table))]
        rows[stretch] = shuffled[stretch % len(table)]
    names = rng.permutation(len(kinds))
    times: list[tuple[float, tuple[str, ...]]] = []
    for place, kind in zip(names, kinds, strict=True):
        for stretch in range(counts[kind]):
            within = (rows[stretch].index(int(place)) + rng.uniform(0.25, 0.75)) / len(kinds)
            times.append(((stretch + within) / counts[kind], kind))
    return [kind for _, kind in sorted(times)]


def _pick(waiting: Sequence[Due], arms: tuple[str, ...], left: Counter[str], recent: deque[str | None]) -> Due:
    """Return the first that may come now: of this arm rather than another, of a case not seen lately rather than lately."""
    crowded = {case for case, n in left.items() if 2 * n > len(waiting)}

    def price(one: Due) -> tuple[bool, bool, bool, bool]:
        return (one.case == recent[-1], bool(crowded) and one.case not in crowded, one.arms != arms, one.case in recent)

    return min(waiting, key=price)
