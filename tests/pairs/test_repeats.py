"""What counts as the same stack acquired again, and what only looks like it."""

from dataclasses import replace
from typing import Any

import pytest

from onenex.errors import DataError
from onenex.pairs.find import find, settings_of
from onenex.pairs.records import Kind
from tests.pairs.volumes import geometry, many, only, reason, volume

SLOW = {"nex": 4.0}


@pytest.mark.parametrize("label", ["repeat {}", "time {}", "acquisition {}", "time 1, repeat {}"])
def test_repeats_of_one_series_in_the_scanners_order(label: str) -> None:
    scans = many(12, label)
    assert only(find(scans[::-1])).volumes == tuple(scans)


@pytest.mark.parametrize(
    ("label", "word"),
    [
        ("echo {} (TE 30 ms)", "echo"), ("b 1000, direction {}", "diffusion direction"), ("TI {} ms", "inversion time"),
        ("flip angle {}°", "flip angle"),
        ("coil {}", "coil"),
        ("type m{}", "image type"), ("phase {}", "cardiac phases"), ("phase {} (trigger 30 ms), repeat 1", "cardiac phases"),
        ("stack {}", "stack"),
    ],
)  # fmt: skip
def test_stacks_that_differ_in_what_they_show_are_no_repeats(label: str, word: str) -> None:
    scans = many(4, label, b_value=1000.0 if "direction" in label else None)
    told = find(scans)
    assert word in reason(told)
    assert [len(one.volumes) for one in told[1]] == [4]


def test_repeats_inside_each_echo() -> None:
    scans = [volume("a", label=f"echo {echo} (TE {30 * echo} ms), repeat {n}", n_stacks=6) for echo in (1, 2) for n in (1, 2, 3)]
    assert [one.volumes for one in find(scans)[0]] == [tuple(scans[:3]), tuple(scans[3:])]


@pytest.mark.parametrize(("b_value", "n"), [(5.0, 1), (5.1, 0)])
def test_weak_diffusion_weighting_from_both_sides(b_value: float, n: int) -> None:
    plain = {"acquisition": {"sequence": "DWI"}, "n_stacks": 3}
    scans = [volume("a", label="b 0", b_value=0.0, **plain)]
    scans += [volume("a", label=f"b {b_value:g}, direction {k}", b_value=b_value, direction=(float(k), 1.0, 0.0), **plain) for k in (1, 2)]
    candidates, _ = find(scans)
    assert len(candidates) == n
    assert all(len(one.volumes) == 3 and "counts as none" in one.why for one in candidates)


def test_unstated_diffusion_directions_are_no_repeats() -> None:
    scans = many(6, "b 1000, repeat {}", b_value=1000.0, direction=None, acquisition={"sequence": "DWI"})
    assert "directions are not stated" in reason(find(scans))
    assert only(find([replace(one, direction=(0.0, 0.0, 1.0)) for one in scans])).kind is Kind.REPEATS


@pytest.mark.parametrize(("n", "found"), [(16, 1), (17, 0)])
def test_time_series_from_both_sides(n: int, found: int) -> None:
    candidates, rejected = find(many(n, "time {}"))
    assert (len(candidates), len(rejected)) == (found, 1 - found)
    assert all("time series" in one.reason and len(one.volumes) == n for one in rejected)


@pytest.mark.parametrize("sign", [{"contrast_agent": True}, {"perfusion": True}])
def test_dynamic_series_are_no_repeats(sign: dict[str, Any]) -> None:
    assert "made to show change" in reason(find(many(5, "time {}", **sign)))


def test_time_series_and_cine_are_no_half_of_a_pair() -> None:
    reference = volume("r", acquisition=SLOW)
    assert find([*many(20, "time {}"), reference])[0] == []
    assert find([*many(2, "phase {}"), reference])[0] == []


def test_a_repeat_with_a_gap_is_left_out() -> None:
    scans = many(3)
    short = replace(scans[1], geometry=geometry(9))
    candidates, rejected = find([scans[0], short, scans[2]])
    assert only((candidates, rejected)).volumes == (scans[0], scans[2])
    assert [(one.volumes, one.reason) for one in rejected] == [((short,), "its slices are not those of the other repeats")]


def test_series_run_again_are_repeats_in_the_order_of_time() -> None:
    late, early = volume("a", started_s=900.0, description="AX T2 1"), volume("b", started_s=100.0, description="AX T2 rpt")
    candidate = only(find([late, early]))
    assert (candidate.kind, candidate.volumes) == (Kind.REPEATS, (early, late))
    assert "at different times" in candidate.why


@pytest.mark.parametrize(
    "change",
    [
        {"started_s": None}, {"echo_time_ms": 97.0}, {"place": geometry(first_mm=0.6)}, {"place": geometry(9)}, {"contrast_agent": True},
        {"phase_encoding": "COL"}, {"description": "AX T2 PA"}, {"coil": "BODY"}, {"image_type": ("OTHER", "NORM")}, {"study_uid": "1.2"},
        {"description": "AX T2 FAST"}, {"duration_s": 30.0}, {"acquisition": {"nex": 2.0}},
    ],
)  # fmt: skip
def test_series_with_anything_changed_are_no_repeats(change: dict[str, Any]) -> None:
    candidates, _ = find([volume("a", duration_s=60.0), volume("b", **({"duration_s": 60.0} | change))])
    assert not any(one.kind is Kind.REPEATS for one in candidates)


def test_repeats_after_contrast_agent_are_none() -> None:
    assert find([volume("a", contrast_agent=True), volume("b", contrast_agent=True)])[0] == []


def test_two_fast_runs_are_repeats_and_both_have_the_reference() -> None:
    first, second, reference = volume("a"), volume("b"), volume("c", acquisition=SLOW)
    found = [(one.kind, one.volumes) for one in find([first, second, reference])[0]]
    assert found == [(Kind.PAIR, (first, reference)), (Kind.PAIR, (second, reference)), (Kind.REPEATS, (first, second))]


@pytest.mark.parametrize(
    ("n_repeats", "accelerations", "expected"),
    [
        (6, (3, 2, 1.5), [(3, 2), (2, 3), (1.5, 4)]), (3, (3, 2, 1.5), [(3, 1), (1.5, 2)]), (2, (3, 2, 1.5), [(2, 1)]), (5, (3, 2, 1.5), []),
        (5, (5, 2.5), [(5, 1), (2.5, 2)]), (4, (1,), []), (1, (1, 2), []), (3, (6,), []),
    ],
)  # fmt: skip
def test_settings_leave_a_reference(n_repeats: int, accelerations: tuple[float, ...], expected: list[tuple[float, int]]) -> None:
    assert settings_of(n_repeats, accelerations) == expected


@pytest.mark.parametrize("bad", [(0, (2.0,)), (6, (0.0,)), (6, (-1.0,)), (6, (float("nan"),))])
def test_settings_refuse_nonsense(bad: tuple[int, tuple[float, ...]]) -> None:
    with pytest.raises(DataError, match="above 0"):
        settings_of(*bad)
