"""Kappa and ICC against published worked examples, and their intervals and words."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from onenex.errors import StudyError
from onenex.evaluate.statistics import Interval
from onenex.reader.agreement import FORMS, Weights, icc, kappa
from onenex.reader.statistics.wording import KOO_LI, LANDIS_KOCH, in_words, word

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=np.float64)
"""Six targets, four judges: Shrout & Fleiss (1979), table 2."""
SKIN = np.array([[10, 4, 1, 0], [5, 10, 12, 2], [2, 4, 12, 5], [0, 2, 6, 13]])
"""Two dermatologists, 88 patients, 4 grades: SAS/STAT, PROC FREQ, "Agreement Study"."""
SMALL = np.array([[0, 4, 1], [0, 8, 0], [0, 1, 5]])
"""SAS example, as tested in statsmodels."""


def graded(table: NDArray[np.int64]) -> tuple[list[int], list[int], list[str]]:
    cells = [(i + 1, j + 1) for (i, j), n in np.ndenumerate(table) for _ in range(n)]
    return [i for i, _ in cells], [j for _, j in cells], [f"P{number}" for number in range(len(cells))]


@pytest.mark.parametrize(
    ("table", "weights", "value", "error", "low", "high"),
    [(SKIN, "linear", 0.5082, 0.0655, 0.3798, 0.6366), (SMALL, "linear", 0.4701, 0.1457, 0.1845, 0.7558)],
)
def test_weighted_kappa_of_published_tables(table: NDArray[np.int64], weights: Weights, value: float, error: float, low: float, high: float) -> None:
    first, second, patients = graded(table)
    found = kappa(first, second, range(1, len(table) + 1), patients, weights=weights)
    assert found.asymptotic is not None
    assert (found.value, found.standard_error, found.asymptotic.low, found.asymptotic.high) == pytest.approx((value, error, low, high), abs=5e-5)
    assert found.same == pytest.approx(np.trace(table) / table.sum())


def test_quadratic_kappa_of_anxiety_ratings() -> None:
    """R's irr, data `anxiety`, raters 2 and 3, weights "squared": 0.2520325. That package leaves out grades that nobody used."""
    second = [3, 6, 4, 6, 2, 4, 2, 4, 3, 3, 2, 3, 3, 3, 2, 2, 1, 3, 3, 4]
    third = [2, 1, 4, 4, 3, 2, 1, 6, 1, 1, 1, 2, 3, 3, 1, 1, 3, 3, 2, 2]
    squeezed = {1: 1, 2: 2, 3: 3, 4: 4, 6: 5}
    found = kappa([squeezed[one] for one in second], [squeezed[one] for one in third], range(1, 6), [str(n) for n in range(20)], weights="quadratic")
    assert found.value == pytest.approx(0.2520325, abs=1e-7)


def test_icc_of_shrout_and_fleiss() -> None:
    """Values: their table 4. Intervals: as R's psych::ICC prints for the same data."""
    found = icc(SHROUT_FLEISS, list("abcdef"))
    assert [one.form for one in found] == list(FORMS)
    assert [round(one.value or 0, 2) for one in found] == [0.29, 0.71, 0.62, 0.91]
    ends = [(one.interval.low, one.interval.high) for one in found if one.interval]
    assert np.allclose(ends, [(0.019, 0.761), (0.342, 0.946), (0.071, 0.927), (0.676, 0.986)], atol=6e-4)


def test_quadratic_kappa_is_an_icc_in_large_samples() -> None:
    """Fleiss & Cohen, Educ. Psychol. Meas. 33:613 (1973)."""
    first, second, patients = graded(SKIN * 200)
    agreed = kappa(first, second, range(1, 5), patients, weights="quadratic")
    assert agreed.value == pytest.approx(icc(np.column_stack([first, second]), patients)[0].value, abs=1e-4)


def test_bootstrap_interval_knows_of_patients() -> None:
    first, second, patients = graded(SKIN)
    alone = kappa(first, second, range(1, 5), patients, weights="linear", generator=np.random.default_rng(0))
    fivefold = kappa(first * 5, second * 5, range(1, 5), patients * 5, weights="linear", generator=np.random.default_rng(0))
    assert alone.bootstrap is not None
    assert fivefold.bootstrap is not None
    assert fivefold.asymptotic is not None
    assert (fivefold.bootstrap.low, fivefold.bootstrap.high) == pytest.approx((alone.bootstrap.low, alone.bootstrap.high), abs=1e-9)
    assert fivefold.asymptotic.high - fivefold.asymptotic.low < 0.5 * (fivefold.bootstrap.high - fivefold.bootstrap.low)
    assert fivefold.interval is fivefold.bootstrap
    assert abs((alone.bootstrap.high - alone.bootstrap.low) / (0.6366 - 0.3798) - 1) < 0.15


def test_icc_leaves_out_what_not_everybody_graded() -> None:
    gap = np.vstack([SHROUT_FLEISS, [5, np.nan, 4, 4]])
    found = icc(gap, list("abcdefg"))
    assert (found[0].n_subjects, found[0].n_left_out) == (6, 1)
    assert found[0].value == pytest.approx(icc(SHROUT_FLEISS, list("abcdef"))[0].value)


def test_no_agreement_is_claimed_where_there_is_nothing_to_see() -> None:
    same = kappa([2, 2, 2], [2, 2, 2], range(1, 5), list("abc"), weights="linear", generator=np.random.default_rng(0))
    assert (same.value, same.undefined, same.wording) == (None, "all grades are the same", "")
    flat = icc(np.full((4, 2), 3.0), list("abcd"))
    assert all(one.value is None and one.undefined for one in flat)


def test_perfect_agreement_has_no_interval_rather_than_one_of_no_width() -> None:
    grades = [1, 2, 3, 4] * 5
    found = kappa(grades, grades, range(1, 5), [str(n) for n in range(20)], weights="quadratic", generator=np.random.default_rng(0))
    assert (found.value, found.bootstrap, found.interval) == (1.0, None, None)


@pytest.mark.parametrize(
    ("value", "koo_li", "landis_koch"),
    [
        (-0.1, "poor", "poor"),
        (0.2, "poor", "slight"),
        (0.41, "poor", "moderate"),
        (0.5, "moderate", "moderate"),
        (0.75, "good", "substantial"),
        (0.81, "good", "almost perfect"),
        (0.95, "excellent", "almost perfect"),
    ],
)
def test_words(value: float, koo_li: str, landis_koch: str) -> None:
    assert (word(value, KOO_LI), word(value, LANDIS_KOCH)) == (koo_li, landis_koch)


def test_words_are_of_both_ends() -> None:
    assert in_words(Interval(low=0.6, high=0.8, level=0.95), KOO_LI) == "moderate to good"
    assert in_words(Interval(low=0.76, high=0.8, level=0.95), KOO_LI) == "good"


def test_wrong_grades_are_refused() -> None:
    with pytest.raises(StudyError, match="grade 5 isn't of the scale 1…4"):
        kappa([1, 5], [1, 2], range(1, 5), ["a", "b"], weights="linear")
    with pytest.raises(StudyError, match="same number"):
        kappa([1], [1, 2], range(1, 5), ["a"], weights="linear")
    with pytest.raises(StudyError, match="two readers"):
        icc(np.ones((3, 1)), list("abc"))


def test_few_patients_get_no_interval_of_kappa() -> None:
    few = kappa([1, 2, 3, 4, 4], [1, 2, 3, 3, 4], range(1, 5), list("abcde"), weights="linear", generator=np.random.default_rng(0))
    assert few.asymptotic is not None
    assert (few.bootstrap, few.interval, few.wording) == (None, None, "")
