"""Sensitivity, specificity and ROC areas: published data, and what readers were made to do."""

from __future__ import annotations

import numpy as np
import pytest

from onenex.errors import StudyError
from onenex.reader.items import BUILT_IN
from onenex.reader.records import Item, Kind, Response, Scale
from onenex.reader.statistics.diagnosis import accuracies, area, areas, cut_of, gains, graded
from onenex.reader.statistics.frames import frame

NORMAL, ABNORMAL = (33, 6, 6, 11, 2), (3, 2, 2, 11, 33)
"""109 CT images by grade of suspicion: Hanley & McNeil, Radiology 143:29 (1982), table I."""
SCORES = [grade for counts in (NORMAL, ABNORMAL) for grade, n in enumerate(counts, 1) for _ in range(n)]
TRUTH = [0] * sum(NORMAL) + [1] * sum(ABNORMAL)
PATIENTS = [f"P{number}" for number in range(len(TRUTH))]
ITEMS = {"meniscus_tear": BUILT_IN["meniscus_tear"]}


def test_area_of_hanley_and_mcneil() -> None:
    """Area 0.8932; DeLong's standard error 0.0307 and interval as Stata's manual prints for these data (roctab)."""
    found = area(np.array(SCORES)[:, None], TRUTH, PATIENTS, [1.0])
    assert found.interval is not None
    assert (found.value, found.standard_error) == pytest.approx((0.8932, 0.0307), abs=5e-5)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.83295, 0.95339), abs=5e-6)
    assert found.p is None


def test_covariance_is_what_the_bootstrap_finds() -> None:
    generator = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 2)
    truth = (generator.random(120) < 0.5).astype(int)
    shared = generator.normal(size=60)[patients] + 1.2 * truth
    scores = shared[:, None] + generator.normal(size=(120, 2)) * (0.7, 1.3)
    value, covariance = areas(scores, list(truth), [str(one) for one in patients])
    drawn = []
    for _ in range(400):
        rows = np.concatenate([np.nonzero(patients == one)[0] for one in generator.integers(60, size=60)])
        drawn.append(areas(scores[rows], list(truth[rows]), [str(one) for one in patients[rows]])[0])
    found = np.cov(np.array(drawn).T)
    assert value[0] > value[1]
    assert np.sqrt(np.diag(covariance)) == pytest.approx(np.sqrt(np.diag(found)), rel=0.15)
    assert covariance[0, 1] == pytest.approx(found[0, 1], rel=0.35)


def test_several_findings_of_a_patient_widen_the_interval() -> None:
    alone = areas(np.array(SCORES)[:, None], TRUTH, PATIENTS)[1]
    doubled = areas(np.array(SCORES * 2)[:, None], TRUTH * 2, PATIENTS * 2)[1]
    assert doubled == pytest.approx(alone, rel=1e-9)


def test_an_area_needs_both_kinds_of_patients() -> None:
    with pytest.raises(StudyError, match="two patients with the finding and two without"):
        areas(np.ones((4, 1)), [1, 1, 1, 0], list("abcd"))
    found = area(np.ones((4, 1)), [1, 1, 1, 0], list("abcd"), [1.0])
    assert (found.value, found.n_present, found.n_absent) == (None, 3, 1)
    assert found.undefined


@pytest.mark.parametrize(("n_labels", "cut", "present"), [(5, None, 4), (2, None, 2), (4, None, 3), (3, None, 3), (5, 3, 3)])
def test_cut(n_labels: int, cut: int | None, present: int) -> None:
    item = Item(name="x", question="?", scale=Scale.FINDING, labels=tuple(str(number) for number in range(n_labels)), cut=cut)
    assert cut_of(item) == present


def answers(arm: str, values: list[int], truth: list[int], reader: str = "reader1", repeat: int = 0) -> list[Response]:
    return [
        Response(
            reader=reader, reading="task", kind=Kind.TASK, session=1, position=number, case=f"c{number}", patient=f"P{number}", arms=(arm,),
            repeat=repeat, item="meniscus_tear", where="medial", value=value, seconds=1.0, truth=right,
        )
        for number, (value, right) in enumerate(zip(values, truth, strict=True))
    ]  # fmt: skip


def test_sensitivity_and_specificity_by_hand() -> None:
    truth = [1] * 8 + [0] * 8
    table = frame(
        [
            *answers("fast", [5, 4, 4, 3, 2, 5, 1, 4, 1, 2, 3, 4, 5, 1, 1, 2], truth),
            *answers("denoised", [5] * 8 + [1] * 8, truth),
            *answers("denoised", [1] * 8 + [5] * 8, truth, repeat=1),
        ],
        test="denoised",
        control="reference",
    )
    fast, denoised = (one for one in accuracies(table, ITEMS, ("fast", "denoised")) if not one.reader)
    assert (fast.sensitivity.n_hits, fast.sensitivity.n, fast.specificity.n_hits, fast.specificity.n) == (5, 8, 6, 8)
    assert (denoised.sensitivity.value, denoised.specificity.value, denoised.area.value) == (1.0, 1.0, 1.0)
    assert denoised.area.interval is None
    gained = gains(table, ITEMS, [("denoised", "fast")], np.random.default_rng(0), 200)[0]
    assert gained.sensitivity is not None
    assert gained.specificity is not None
    assert (gained.sensitivity.value, gained.specificity.value) == pytest.approx((3 / 8, 2 / 8))
    assert gained.area.value == pytest.approx(1 - (fast.area.value or 0))


def test_a_mean_of_readers_uses_what_all_read() -> None:
    truth = [1] * 6 + [0] * 6
    first, second = (
        answers("fast", [5, 4, 5, 3, 5, 4, 1, 2, 1, 3, 2, 1], truth),
        answers("fast", [1, 4, 5, 3, 5, 4, 1, 2, 1, 3, 5, 1], truth, "reader2"),
    )
    every, one, two = (one.area for one in accuracies(frame([*first, *second], test="a", control="b"), ITEMS, ("fast",)))
    assert every.value == pytest.approx(((one.value or 0) + (two.value or 0)) / 2)
    fewer = accuracies(frame([*first, *second[1:]], test="a", control="b"), ITEMS, ("fast",))[0].area
    assert (fewer.n_present, fewer.n_absent) == (5, 6)


def test_grades_against_true_grades() -> None:
    items = {"pfirrmann": BUILT_IN["pfirrmann"]}
    rows = [
        Response(
            reader="r", reading="task", kind=Kind.TASK, session=1, position=number, case=f"c{number}", patient=f"P{number}", arms=("fast",),
            repeat=0, item="pfirrmann", where="L1/L2", value=min(5, right + number % 2), seconds=1.0, truth=right,
        )
        for number, right in enumerate([1, 2, 3, 4, 5, 1, 2, 3, 4, 5])
    ]  # fmt: skip
    (found,) = graded(frame(rows, test="a", control="b"), items, ("fast",), np.random.default_rng(0), 200)
    assert (found.exact.n_hits, found.exact.n) == (6, 10)
    assert found.quadratic.value == pytest.approx(0.9, abs=0.06)
