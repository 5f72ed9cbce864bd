"""Which session shows what: a case's arms apart, each arm equally often in each session, hidden repeats somewhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

_OVERFULL = 1e6
"""Price of a place in a session beyond the fair number: only paid where it must be."""


Thing = tuple[str, tuple[str, ...]]
"""A case, and what is shown of it: one arm, or a pair."""


def spread(
    cases: Sequence[str], shown: Sequence[tuple[str, ...]], n_sessions: int, rng: np.random.Generator, fixed: Mapping[Thing, int] | None = None
) -> dict[Thing, int]:
    """Return (case, shown) → session, 1-based.

    What is shown of one case goes to different sessions; where there are more arms than sessions, as few as possible share one.
    Cases come in random order, and each takes the cheapest assignment: an arm costs what a session already has of it. With as many
    arms as sessions that fills one Latin square after the other, so that counts of an arm in two sessions differ by 1 at most.

    Parameters
    ----------
    cases, shown
        Names of cases; single arms, or pairs.
    n_sessions
        At least 1.
    rng
        Draws the order of cases and breaks ties.
    fixed
        What has its session already, by another reading.
    """
    found = {thing: session for thing, session in (fixed or {}).items() if thing[0] in cases and thing[1] in shown}
    had = np.zeros((len(shown), n_sessions))
    for (_, arms), session in found.items():
        had[shown.index(arms), session - 1] += 1
    for index in rng.permutation(len(cases)):
        case = cases[index]
        rows = np.array([row for row, arms in enumerate(shown) if (case, arms) not in found], dtype=int)
        taken = Counter(found[case, arms] - 1 for arms in shown if (case, arms) in found)
        for row, session in _assign(rows, taken, had, rng):
            had[row, session] += 1
            found[case, shown[row]] = session + 1
    return found


def _assign(rows: NDArray[np.int_], taken: Mapping[int, int], had: NDArray[np.float64], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return one case's row of `had` → session, 0-based, for `rows`; `taken` counts what it has in each session already."""
    n_shown, n_sessions = had.shape
    fair = -(-n_shown // n_sessions)
    free = [(session, turn) for session in range(n_sessions) for turn in range(taken.get(session, 0), fair)]
    places = np.array([session for session, _ in free], dtype=int)
    overfull = np.array([turn >= n_shown // n_sessions for _, turn in free])
    load = had.sum(axis=0) / (1 + had.sum()) / 2
    cost = had[np.ix_(rows, places)] + _OVERFULL * overfull + load[places]
    chosen, columns = linear_sum_assignment(cost + rng.uniform(0, 1e-3, cost.shape))
    return [(int(rows[row]), int(places[column])) for row, column in zip(chosen, columns, strict=True)]


def choose_repeats(first: Mapping[Thing, int], share: float, last: int, rng: np.random.Generator) -> list[Thing]:
    """Return what is shown twice: `share` of all, rounded, but at least one where share is not 0; arms and cases equally often.

    What is first shown before the last session is chosen rather than what is not, so that it can come again later.

    Parameters
    ----------
    first
        (case, shown) → session of its first showing.
    share
        0 … 0.5 of the number of presentations.
    last
        The last session.
    rng
        Draws them.
    """
    wanted = max(int(share * len(first) + 0.5), 1) if share > 0 else 0
    things = sorted(first)
    waiting = [things[i] for i in rng.permutation(len(things))]
    of_arm: Counter[tuple[str, ...]] = Counter()
    of_case: Counter[str] = Counter()
    chosen: list[Thing] = []
    for _ in range(wanted):
        best = min(waiting, key=lambda one: (of_arm[one[1]], first[one] == last, of_case[one[0]]))
        waiting.remove(best)
        chosen.append(best)
        of_case[best[0]] += 1
        of_arm[best[1]] += 1
    return chosen


def place_repeats(chosen: Sequence[Thing], first: Mapping[Thing, int], sessions: Sequence[int], rng: np.random.Generator) -> dict[Thing, int]:
    """Return (case, shown) → session of its second showing.

    A later session than that of the first where there is one; of those the one with the least of this case, then the least repeats.

    Parameters
    ----------
    chosen
        What is repeated.
    first
        Session of everything's only or other showing.
    sessions
        Those to choose from.
    rng
        Breaks ties.
    """
    of_case: Counter[tuple[str, int]] = Counter((case, session) for (case, _), session in first.items())
    load: Counter[int] = Counter()
    found: dict[Thing, int] = {}
    for one in chosen:
        shuffled = [sessions[i] for i in rng.permutation(len(sessions))]
        best = min(shuffled, key=lambda session: (session <= first[one], session == first[one], of_case[one[0], session], load[session]))
        found[one] = best
        of_case[one[0], best] += 1
        load[best] += 1
    return found
