"""Conclusions follow from the figures alone: who is first, by how much, who was harmed, what could be chance."""

import pytest

from onenex.evaluate.cohort.methods import FAST, FULL, INPUT
from onenex.evaluate.reporting import conclusions
from onenex.evaluate.reporting.groups import cells
from onenex.evaluate.reporting.significance import significance
from tests.evaluate.reporting.frames import frame, rows


def said(mse: dict[str, float], **more: object) -> list[conclusions.Finding]:
    return conclusions.ranking(cells(frame(rows(mse, **more)), "foreground"))  # type: ignore[arg-type]


def test_being_first_is_said_with_the_lead() -> None:
    first = said({INPUT: 0.1, FAST: 0.01, "TV": 0.05})[0]
    assert first.good is True
    assert "PSNR, overall: OneNEX is first, by 6.99 dB (OneNEX fast 20.00 dB, TV 13.01 dB)" in first.text


def test_not_being_first_is_said_as_plainly() -> None:
    first = said({INPUT: 0.1, FAST: 0.05, "TV": 0.01, "UNet": 0.02})[0]
    assert first.good is False
    assert "PSNR, overall: OneNEX is number 3, 6.99 dB behind (OneNEX fast 13.01 dB, TV 20.00 dB)" in first.text


def test_the_better_of_our_modes_counts() -> None:
    assert FULL in said({INPUT: 0.1, FAST: 0.05, FULL: 0.01, "TV": 0.02})[0].text


def test_every_organ_has_its_own_sentence() -> None:
    both = frame(rows({INPUT: 0.1, FAST: 0.01, "TV": 0.02}), rows({INPUT: 0.1, FAST: 0.02, "TV": 0.01}, file="b", organ="knee"))
    found = conclusions.ranking(cells(both, "foreground"))
    assert [one.good for one in found if one.text.startswith("PSNR, knee")] == [False]
    assert [one.good for one in found if one.text.startswith("PSNR, head")] == [True]


@pytest.mark.parametrize(("after", "good"), [(0.101, True), (0.102, False)])
def test_harm_begins_beyond_the_tolerance(after: float, good: bool) -> None:
    (found,) = conclusions.harm(cells(frame(rows({INPUT: 0.1, FAST: after}), rows({INPUT: 0.1, FAST: 0.01}, file="b")), "foreground"))
    assert found.good is good
    assert "(a, repeats)" in found.text


def test_the_guard_is_counted() -> None:
    images = rows({INPUT: 0.1, FAST: 0.05}, n=4)
    images[4]["guard_passed"], images[4]["guard_kept"] = False, 0.25
    (found,) = conclusions.guard(frame(images))
    assert found.text == "Guard, OneNEX fast: 1 of 4 images were blended back towards what was measured, on average to 25% of their change"


def test_a_lead_on_every_patient_is_more_than_chance_and_one_on_half_of_them_is_not() -> None:
    always = [rows({INPUT: 0.1, FAST: 0.01 + 0.001 * k, "TV": 0.02 + 0.0011 * k}, file=f"p{k}") for k in range(10)]
    told = {one.text: one.good for one in significance(cells(frame(*always), "foreground")).findings}
    assert told["PSNR, OneNEX fast: better than 1 of 1 rivals by more than chance (p < 0.05, corrected)"] is True
    sometimes = [rows({INPUT: 0.1, FAST: 0.01, "TV": 0.02 if k % 2 else 0.005}, file=f"p{k}") for k in range(10)]
    told = {one.text: one.good for one in significance(cells(frame(*sometimes), "foreground")).findings}
    assert told["PSNR, OneNEX fast: better than 0 of 1 rivals by more than chance (p < 0.05, corrected)"] is False


def test_few_patients_are_not_tested() -> None:
    tested = significance(cells(frame(rows({INPUT: 0.1, FAST: 0.01, "TV": 0.02})), "foreground"))
    assert any("not tested" in cell.text for table in tested.sections[0].tables for line in table.lines for cell in line.cells)
