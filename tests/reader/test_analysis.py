"""The analysis of a simulated study: planted effects come back, and nothing counts that shouldn't."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from onenex.errors import StudyError
from onenex.reader.analysis import Analysis, AnalysisPlan, analyse
from onenex.reader.items import BUILT_IN
from onenex.reader.protocol import Protocol, example
from onenex.reader.records import Kind, Presentation, Response
from onenex.reader.statistics.frames import frame, paired_units, units
from onenex.reader.statistics.ratings import pairs_of
from tests.reader.simulated import plan, study


def only(responses: list[Response], *names: str) -> list[Response]:
    """Return the answers of few items: quicker to analyse."""
    return [one for one in responses if one.item in names]


@pytest.fixture(scope="module")
def responses() -> list[Response]:
    return study(n_patients=16)


@pytest.fixture(scope="module")
def analysis(responses: list[Response]) -> Analysis:
    return analyse(responses, plan())


def test_planted_effects_come_back(analysis: Analysis) -> None:
    assert analysis.primary is not None
    assert analysis.primary.result.verdict == "non-inferior"
    assert analysis.conclusion.startswith("Denoised is non-inferior to reference in overall quality: mean difference ")
    better = {(one.arm, one.baseline): one for one in analysis.contrasts if one.item == "overall_quality" and not one.where}
    assert list(better) == [("denoised", "fast"), ("denoised", "reference"), ("fast", "reference")]
    assert better["denoised", "fast"].favours == "denoised"
    assert (better["denoised", "fast"].test.p_holm or 1) < 0.005
    assert better["fast", "reference"].favours == "reference"
    assert (better["denoised", "reference"].test.p_holm or 0) > 0.05
    liked = next(one for one in analysis.preferences if not one.reader)
    assert (liked.arm, liked.baseline) == ("denoised", "fast")
    assert (liked.preferred.value or 0) > 0.6
    assert (liked.against.value or 1) < 0.2
    pace = next(one for one in analysis.paces if (one.reading, one.arm, one.baseline) == ("quality", "denoised", "fast"))
    assert pace.interval is not None
    assert 25 / 35 in pace.interval


def test_holm_counts_items_and_pairs_of_a_reading(analysis: Analysis) -> None:
    family = [one.test for one in analysis.contrasts if one.reading == "quality"]
    assert len(family) == 6
    least = min(family, key=lambda one: one.p or 1)
    assert least.p_holm == pytest.approx(6 * (least.p or 0))
    assert all(one.test.p_holm is None for one in analysis.contrasts if one.where)


def test_repeats_count_for_agreement_within_readers_alone(responses: list[Response], analysis: Analysis) -> None:
    once = analyse([one for one in only(responses, "overall_quality") if not one.repeat], plan())
    assert once.primary is not None
    assert analysis.primary is not None
    assert once.primary.result.difference == analysis.primary.result.difference
    assert [one.counts for one in once.ratings] == [one.counts for one in analysis.ratings if one.item == "overall_quality"]
    assert not [one for one in once.concordances if one.kind == "intra"]
    within = [one for one in analysis.concordances if one.kind == "intra" and one.item == "overall_quality" and not one.arm]
    assert [one.readers for one in within] == [("reader1",), ("reader2",)]
    assert within[0].quadratic.n_pairs == sum(one.repeat and one.item == "overall_quality" and one.reader == "reader1" for one in responses)


def test_grades_by_hand() -> None:
    """Readers are averaged within case, cases within patient: P1 has cases of 2 and 4 (readers 1 and 3; 4 alone), P2 one of 1."""
    rows = [("r1", "c1", "P1", 1), ("r2", "c1", "P1", 3), ("r1", "c2", "P1", 4), ("r1", "c3", "P2", 1)]
    made = [
        Response(
            reader=reader, reading="quality", kind=Kind.RATING, session=1, position=number, case=case, patient=patient, arms=("fast",), repeat=0,
            item="snr", where="", value=value, seconds=1.0,
        )
        for number, (reader, case, patient, value) in enumerate(rows)
    ]  # fmt: skip
    values, patients = units(frame(made, test="denoised", control="reference"))
    assert (list(values), patients) == ([2.0, 4.0, 1.0], ["P1", "P1", "P2"])
    found = analyse(made, plan(readers=("r1", "r2"))).ratings[0]
    assert (found.mean.value, found.median, found.counts, found.n_cases) == (2.0, 2.0, {1: 2, 2: 0, 3: 1, 4: 1}, 3)


def test_only_readings_of_both_arms_by_one_reader_are_paired(responses: list[Response]) -> None:
    mine = [one for one in responses if one.item == "overall_quality" and not one.repeat and one.case == "case000"]
    lost = [one for one in mine if not (one.reader == "reader1" and one.arms == ("denoised",))]
    ours, theirs, _ = paired_units(frame(lost, test="denoised", control="reference"), ("denoised", "reference"))
    second = {one.arms[0]: one.value for one in mine if one.reader == "reader2"}
    assert (list(ours), list(theirs)) == ([second["denoised"]], [second["reference"]])
    unread = [one for one in mine if one not in lost]
    without = [one for one in only(responses, "overall_quality") if one not in unread]
    assert analyse(without, plan()).primary.n_left_out == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("sides", [("denoised", "fast"), ("fast", "denoised")])
def test_preferences_are_turned_whichever_side(sides: tuple[str, str]) -> None:
    made = Response(
        reader="reader1", reading="side_by_side", kind=Kind.PREFERENCE, session=1, position=0, case="c", patient="P", arms=sides, repeat=0,
        item="preference", where="", value=2, seconds=1.0,
    )  # fmt: skip
    table = frame([made], test="denoised", control="reference")
    assert (table["arm"][0], table["value"][0]) == ("denoised vs fast", 2 if sides[1] == "denoised" else -2)


def test_an_item_where_less_is_better_is_turned(responses: list[Response]) -> None:
    flipped = {**plan().items, "overall_quality": replace(BUILT_IN["overall_quality"], higher_is_better=False)}
    mine = only(responses, "overall_quality")
    upright, turned = analyse(mine, plan()).primary, analyse(mine, plan(items=flipped)).primary
    assert upright is not None
    assert turned is not None
    assert turned.result.difference == pytest.approx(-upright.result.difference)


def test_what_was_not_read_is_counted(responses: list[Response]) -> None:
    asked = only(responses, "overall_quality", "snr", "preference")
    keys = dict.fromkeys((one.reader, one.reading, one.session, one.position, one.case, one.arms, one.repeat) for one in asked)
    names = ("reader", "reading", "session", "position", "case", "arms", "repeat")
    planned = [Presentation(key=f"{n:032x}", **dict(zip(names, key, strict=True))) for n, key in enumerate(keys)]
    unread = [one for one in asked if not (one.reader == "reader2" and one.reading == "side_by_side" and one.patient == "P00")]
    gap = [one for one in unread if not (one.item == "snr" and one.reader == "reader1" and one.patient == "P00" and one.arms == ("fast",))]
    counts = {(one.reading, one.reader): one for one in analyse(gap, plan(), presentations=planned).counts}
    compared = counts["side_by_side", "reader2"]
    assert (compared.n_planned, compared.n_read) == (32, 30)
    assert counts["quality", "reader1"].n_gaps == len(unread) - len(gap) > 0
    assert counts["quality", "reader2"].n_gaps == 0


def test_the_same_seed_gives_the_same(responses: list[Response], analysis: Analysis) -> None:
    mine = only(responses, "overall_quality")
    again = analyse(mine, plan(), seed=3)
    assert again == analyse(mine, plan(), seed=3)
    assert again.concordances != analyse(mine, plan(), seed=4).concordances
    assert again.contrasts[0].difference.value == pytest.approx(analysis.contrasts[0].difference.value)


def test_no_primary_endpoint_says_why(responses: list[Response]) -> None:
    mine = only(responses, "overall_quality")
    assert analyse(mine, plan(primary=None, margin=None)).conclusion == "No primary endpoint was tested: the protocol names none."
    alone = [one for one in mine if one.arms != ("reference",)]
    assert "no case was read in both denoised and reference" in analyse(alone, plan()).conclusion


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": 9}, "value 9 of an item"),
        ({"item": "gloss"}, "protocol doesn't know"),
        ({"reader": "stranger"}, "aren't the protocol's"),
        ({"arms": ("vendor",)}, "aren't the protocol's"),
        ({}, "it's there twice"),
    ],
)
def test_answers_that_do_not_fit_are_refused(responses: list[Response], change: dict[str, object], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        analyse([*responses, replace(responses[0], **change)], plan())  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="no answers"):
        analyse([], plan())


def test_drift_is_found_where_it_is() -> None:
    made = only(study(n_patients=12, repeats=0.0), "overall_quality", "snr")
    shuffled = [replace(one, session=1 + (int(one.case[-1]) + len(one.arms[0])) % 2) for one in made]
    table = [
        replace(one, value=int(np.clip(one.value + (one.session == 2), 1, 4)), position=number)
        if one.item == "snr"
        else replace(one, position=number)
        for number, one in enumerate(shuffled)
    ]
    drifts = {(one.item, one.effect): one for one in analyse(table, plan()).drifts}
    assert drifts["snr", "session"].suspicious
    assert drifts["snr", "session"].difference.value > 0.3
    assert not drifts["overall_quality", "session"].suspicious


def test_pairs_put_test_first_and_control_last() -> None:
    assert pairs_of(("a", "b", "c"), "c", "a") == [("c", "b"), ("c", "a"), ("b", "a")]


def test_a_plan_is_made_from_a_protocol() -> None:
    protocol = Protocol.model_validate(tomllib.loads(example()))
    made = AnalysisPlan.of(protocol)
    assert (made.test, made.control, made.arms) == (protocol.analysis.test, protocol.analysis.control, protocol.arms)
    assert made.primary_item is not None
    assert made.primary_item.higher_is_better
    assert set(made.items) == {name for reading in protocol.readings for name in reading.items}
    with pytest.raises(StudyError, match="no answers"):
        analyse([], protocol)
