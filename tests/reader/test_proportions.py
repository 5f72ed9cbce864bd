"""Shares against published intervals and design effects."""

from __future__ import annotations

import pytest

from onenex.errors import StudyError
from onenex.reader.statistics.proportions import proportion

CONTROL = (
    (13, 13),
    (12, 12),
    (9, 9),
    (9, 9),
    (8, 8),
    (8, 8),
    (12, 13),
    (11, 12),
    (9, 10),
    (9, 10),
    (8, 9),
    (11, 13),
    (4, 5),
    (5, 7),
    (7, 10),
    (7, 10),
)
TREATED = ((12, 12), (11, 11), (10, 10), (9, 9), (10, 11), (9, 10), (9, 10), (8, 9), (8, 9), (4, 5), (7, 9), (4, 7), (5, 10), (3, 6), (3, 10), (0, 7))
"""Pups that lived, of each litter: Weil (1970), as in R's aod::rats."""


def answers(litters: tuple[tuple[int, int], ...]) -> tuple[list[int], list[str]]:
    hits = [hit for alive, born in litters for hit in [1] * alive + [0] * (born - alive)]
    return hits, [f"L{number}" for number, (_, born) in enumerate(litters) for _ in range(born)]


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
)
def test_wilson_of_newcombe(hits: int, n: int, low: float, high: float) -> None:
    """Newcombe, Stat. Med. 17:857 (1998), table I, method 3."""
    found = proportion([True] * hits + [False] * (n - hits), [str(number) for number in range(n)]).interval
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("litters", "value", "effect"), [(CONTROL, 142 / 158, 1.2325), (TREATED, 112 / 145, 3.9529)])
def test_design_effect_of_rats(litters: tuple[tuple[int, int], ...], value: float, effect: float) -> None:
    """As R's aod::raoscott has it for the same litters."""
    found = proportion(*answers(litters))
    assert (found.value, found.design_effect) == pytest.approx((value, effect), abs=5e-5)


def test_patients_are_counted_where_all_answers_are_alike() -> None:
    single = proportion([True] * 10, [str(n) for n in range(10)]).interval
    double = proportion([True] * 20, [str(n) for n in range(10)] * 2).interval
    assert single is not None
    assert double is not None
    assert double.low < single.low
    assert double.high == 1.0


def test_nothing_is_no_share() -> None:
    assert proportion([], []).value is None
    with pytest.raises(StudyError, match="one patient an answer"):
        proportion([True], [])
