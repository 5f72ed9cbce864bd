"""Non-inferiority, superiority and equivalence: the numbers by hand, the words by the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from onenex.errors import StudyError
from onenex.reader.statistics.non_inferiority import lower_bounds, non_inferiority

SLEEP = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
"""Hours of sleep that one drug gained over another, ten patients: Student, Biometrika 6:1 (1908). t = 4.0621, mean 1.58."""
PATIENTS = [f"P{number}" for number in range(10)]


def test_student_s_own_data() -> None:
    found = non_inferiority(SLEEP, PATIENTS, margin=0.5)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-7)
    assert found.p_superiority == pytest.approx(0.002832890 / 2, rel=1e-5)
    assert found.p == pytest.approx(stats.ttest_1samp(SLEEP, -0.5, alternative="greater").pvalue)
    assert found.verdict == "superior"


@pytest.mark.parametrize(
    ("shift", "margin", "verdict", "said"),
    [
        (0.0, 0.5, "superior", "Denoised is non-inferior to reference in snr, and superior: mean difference +1.580 grades"),
        (1.6, 1.0, "non-inferior", "Denoised is non-inferior to reference in snr: mean difference −0.020 grades"),
        (1.6, 0.5, "not shown", "Denoised was not shown to be non-inferior to reference in snr"),
    ],
)
def test_the_words_follow_from_the_bound(shift: float, margin: float, verdict: str, said: str) -> None:
    found = non_inferiority(SLEEP - shift, PATIENTS, margin=margin, equivalence_margin=1.0, generator=np.random.default_rng(0))
    assert found.verdict == verdict
    sentence = found.conclusion("denoised", "reference", "snr")
    assert sentence.startswith(said)
    assert f"margin −{margin:.3f} set before reading" in sentence
    assert "n = 10 patients" in sentence
    details = " ".join(found.details("denoised", "reference"))
    assert ("Superiority was not tested" in details) == (verdict == "not shown")
    assert found.bootstrap_bound is not None
    assert found.bootstrap_bound == pytest.approx(found.bound, abs=0.35)


def test_cases_and_readers_of_a_patient_count_once() -> None:
    thrice = non_inferiority(np.repeat(SLEEP, 3) + np.tile((-0.4, 0.0, 0.4), 10), [one for one in PATIENTS for _ in range(3)], margin=0.5)
    once = non_inferiority(SLEEP, PATIENTS, margin=0.5)
    assert (thrice.n_patients, thrice.n_pairs) == (10, 30)
    assert thrice.bound == pytest.approx(once.bound)


def test_it_refuses_too_few_patients_and_no_spread() -> None:
    few = non_inferiority(SLEEP[:5], PATIENTS[:5], margin=0.5, equivalence_margin=0.5)
    assert (few.verdict, few.non_inferior, few.superior, few.details("a", "b")) == ("not tested", None, None, [])
    assert "was not tested: n = 5 patients, at least 6 needed" in few.conclusion("denoised", "reference", "snr")
    flat = non_inferiority(np.zeros(10), PATIENTS, margin=0.5)
    assert "no spread" in flat.conclusion("denoised", "reference", "snr")


@pytest.mark.parametrize(("margin", "alpha"), [(0.0, 0.025), (-1.0, 0.025), (0.5, 0.0), (0.5, 0.5)])
def test_it_refuses_margins_and_alphas_that_make_no_sense(margin: float, alpha: float) -> None:
    with pytest.raises(StudyError, match="margin"):
        non_inferiority(SLEEP, PATIENTS, margin=margin, alpha=alpha)


def test_many_studies_at_once_are_as_one_by_one() -> None:
    many = np.random.default_rng(0).normal(size=(4, 10))
    assert lower_bounds(many, 0.025) == pytest.approx([non_inferiority(one, PATIENTS, margin=0.5).bound for one in many])
