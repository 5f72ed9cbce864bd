"""Which series are pairs, which are repeats, and what is said of the rest; every limit from both sides."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onenex.errors import DataError
from onenex.pairs.archive import scan, volumes
from onenex.pairs.find import find, settings_of
from onenex.pairs.finding.rules import Rules
from onenex.pairs.records import Candidate, Kind, Rejected
from onenex.volume import Volume
from tests.pairs.volumes import geometry, many, only, reason, volume

SLOW = {"nex": 4.0}


def pair(**changes: Any) -> list[Volume]:
    """A fast scan and a reference that differs from it in NEX and in `changes`."""
    acquisition = SLOW | changes.pop("acquisition", {})
    return [volume("a"), volume("b", acquisition=acquisition, **changes)]


def test_a_pair_by_averages() -> None:
    fast, reference = pair()
    candidate = only(find([reference, fast]))
    assert (candidate.kind, candidate.volumes, candidate.acceleration) == (Kind.PAIR, (fast, reference), 4.0)
    assert candidate.why == "NEX 1 against 4 (NumberOfAverages (0018,0083))"


def test_a_pair_by_acceleration_that_only_one_states() -> None:
    fast = volume("a", acquisition={"acceleration": 2.0, "evidence": {"acceleration": "GE private (0043,1083)"}})
    candidate = only(find([fast, volume("b")]))
    assert (candidate.volumes[0], candidate.acceleration) == (fast, 2.0)
    assert candidate.why == "acceleration 2 against none stated (GE private (0043,1083))"


def test_more_averages_do_not_make_up_for_more_acceleration() -> None:
    fast = volume("a", acquisition={"nex": 2.0, "acceleration": 4.0})
    reference = volume("b", acquisition={"nex": 1.0, "acceleration": 1.0})
    assert only(find([fast, reference])).volumes == (fast, reference)


def test_a_pair_by_scan_time() -> None:
    fast, reference = volume("a", duration_s=50.0), volume("b", duration_s=60.0)
    candidate = only(find([fast, reference]))
    assert (candidate.volumes, candidate.acceleration, candidate.why) == ((fast, reference), 1.2, "scan time 50 s against 60 s")
    assert "nothing tells" in reason(find([fast, replace(reference, duration_s=59.9)]))


def test_more_slices_take_longer_and_are_no_cleaner() -> None:
    fast = volume("a", duration_s=50.0, place=geometry(5))
    assert "nothing tells" in reason(find([fast, volume("b", duration_s=100.0, place=geometry(10))]))
    assert only(find([fast, volume("b", duration_s=121.0, place=geometry(10))])).volumes[0] is fast


def test_the_scan_time_is_the_acceleration_where_it_agrees_with_averages() -> None:
    fast, reference = pair(duration_s=180.0)
    assert only(find([replace(fast, duration_s=60.0), reference])).acceleration == 3.0
    assert only(find([replace(fast, duration_s=170.0), reference])).acceleration == 4.0


def test_averages_against_scan_time_is_no_pair() -> None:
    fast, reference = pair(duration_s=60.0)
    assert "scan times the other" in reason(find([replace(fast, duration_s=72.0), reference]))


@pytest.mark.parametrize("name", ["AX T2 FAST", "t2_fast_ax", "快速 Fast"])
def test_a_pair_by_name(name: str) -> None:
    fast, reference = volume("a", description=name), volume("b", description="AX T2")
    candidate = only(find([fast, reference]))
    assert (candidate.volumes, candidate.acceleration, candidate.why) == ((fast, reference), None, 'name rule "*FAST*"')


def test_names_do_not_outvote_numbers() -> None:
    fast, reference = pair(description="AX T2 FAST")
    assert only(find([fast, reference])).volumes == (fast, reference)


def test_names_need_two_acquisitions_of_different_length() -> None:
    fast, reference = volume("a", description="FAST", duration_s=60.0), volume("b", description="AX", duration_s=62.0)
    assert "equally long" in reason(find([fast, reference]))
    assert only(find([replace(fast, duration_s=58.0), reference])).volumes[0].description == "FAST"
    again = replace(reference, started_s=fast.started_s, duration_s=None)
    assert "same instant" in reason(find([fast, again]))


def test_names_are_configurable_for_both_sides() -> None:
    scans = [volume("a", description="T2 schnell"), volume("b", description="T2 lang")]
    assert find(scans)[0] == []
    assert only(find(scans, Rules(fast_names=("*schnell*",)))).volumes == tuple(scans)
    assert only(find(scans, Rules(reference_names=("*lang*",)))).volumes == tuple(scans)


@pytest.mark.parametrize(
    ("inside", "outside", "word"),
    [
        ({"echo_time_ms": 95 / 0.801}, {"echo_time_ms": 95 / 0.799}, "echo time"),
        ({"repetition_time_ms": 4000 / 0.651}, {"repetition_time_ms": 4000 / 0.649}, "repetition time"),
        ({"flip_angle_deg": 90 / 0.751}, {"flip_angle_deg": 90 / 0.749}, "flip angle"),
        ({"contrast_agent": False}, {"contrast_agent": True}, "contrast agent"),
        ({"acquisition": {"fat_suppressed": False}}, {"acquisition": {"fat_suppressed": True}}, "fat"),
        ({"b_value": 5.0}, {"b_value": 5.1}, "b-value"),
        ({"image_type": ("M", "FIL")}, {"image_type": ("M", "DIS2D")}, "corrected"),
        ({"place": geometry(spacing_mm=(3.99, 3.99))}, {"place": geometry(spacing_mm=(4.1, 4.1))}, "pixel size"),
        ({"place": geometry(slice_thickness_mm=4.5)}, {"place": geometry(slice_thickness_mm=4.6)}, "slice thickness"),
        ({"place": geometry(5)}, {"place": geometry(4)}, "covers 40%"),
        ({"place": geometry(first_mm=20.0)}, {"place": geometry(first_mm=24.0)}, "covers 40%"),
        ({"place": geometry(5, first_mm=2.0)}, {"place": geometry(5, first_mm=200.0)}, "no slices in common"),
        ({"frame_of_reference_uid": "another"}, {"model": "another"}, "different scanners"),
        ({"started_s": None}, {"echo_time_ms": None}, "echo time: 95 ms and unknown"),
    ],
)
def test_limits_between_kin(inside: dict[str, Any], outside: dict[str, Any], word: str) -> None:
    assert only(find(pair(**inside))).kind is Kind.PAIR
    told = find(pair(**outside))
    assert word in reason(told)
    assert {len(one.volumes) for one in told[1]} == {2}


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ({"acquisition": {"organ": "unknown"}}, {"acquisition": {"organ": "knee"}}),
        ({"acquisition": {"organ": "unknown"}}, {"acquisition": {"organ": "unknown"}, "frame_of_reference_uid": "1.8"}),
        ({"laterality": "L"}, {"acquisition": {"sequence": "T1w"}}),
        ({"technique": ("2D", "SE")}, {"technique": ("3D", "SE")}),
        ({"place": geometry(orientation=(1, 0, 0, 0, 0.99665, 0.0818))}, {"place": geometry(orientation=(1, 0, 0, 0, 0.996, 0.0894))}),
        ({"study_uid": "1.2"}, {"study_uid": "1.2", "frame_of_reference_uid": "1.8"}),
        ({"study_uid": "1.2"}, {"study_uid": "1.2", "frame_of_reference_uid": ""}),
        ({"frame_of_reference_uid": "1.8"}, {"patient": "P2"}),
    ],
)
def test_limits_of_kinship(inside: dict[str, Any], outside: dict[str, Any]) -> None:
    assert only(find(pair(**inside))).kind is Kind.PAIR
    candidates, rejected = find(pair(**outside))
    assert candidates == []
    assert all("no other series of its examination" in one.reason for one in rejected)


def test_inversion_time_from_both_sides() -> None:
    fast = volume("a", inversion_time_ms=2400.0)
    for other, n in ((2400 / 0.901, 1), (2400 / 0.899, 0), (None, 0)):
        assert len(find([fast, volume("b", inversion_time_ms=other, acquisition=SLOW)])[0]) == n


def test_short_echo_times_may_differ_by_their_rounding() -> None:
    fast = volume("a", echo_time_ms=4.0)
    for other, n in ((6.0, 1), (6.1, 0)):
        assert len(find([fast, volume("b", echo_time_ms=other, acquisition=SLOW)])[0]) == n


@pytest.mark.parametrize(("b_value", "n"), [(1000.0, 1), (971.0, 1), (969.0, 0), (None, 0)])
def test_diffusion_weighting_from_both_sides(b_value: float | None, n: int) -> None:
    plain = {"sequence": "DWI"}
    fast = volume("a", b_value=1000.0, direction=(1.0, 0.0, 0.0), acquisition=plain)
    assert len(find([fast, volume("b", b_value=b_value, direction=(-1.0, 0.0, 0.0), acquisition=plain | SLOW)])[0]) == n


@pytest.mark.parametrize(("degrees", "n"), [(4.9, 1), (5.1, 0)])
def test_diffusion_direction_from_both_sides(degrees: float, n: int) -> None:
    turned = (float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees))), 0.0)
    fast = volume("a", b_value=1000.0, direction=(1.0, 0.0, 0.0), acquisition={"sequence": "DWI"})
    reference = volume("b", b_value=1000.0, direction=turned, acquisition={"sequence": "DWI"} | SLOW)
    assert len(find([fast, reference])[0]) == n
    assert find([fast, replace(reference, direction=None)])[0] == []


def test_left_and_right_knee_are_no_pair() -> None:
    fast, reference = pair(laterality="R")
    assert find([replace(fast, laterality="L"), reference])[0] == []


@pytest.mark.parametrize(("nex", "n"), [(1.2, 1), (1.19, 0)])
def test_effort_from_both_sides(nex: float, n: int) -> None:
    assert len(find([volume("a"), volume("b", acquisition={"nex": nex}, started_s=None)])[0]) == n


def test_who_is_not_named_has_no_pairs() -> None:
    assert "names no patient" in reason(find([replace(one, patient="") for one in pair()]))


def test_a_missing_geometry_is_no_pair() -> None:
    candidates, rejected = find([replace(one, geometry=None) for one in pair()])
    assert candidates == []
    assert any("spacing are missing" in one.reason for one in rejected)


def test_rows_may_run_the_other_way() -> None:
    turned = geometry(orientation=(-1, 0, 0, 0, -1, 0), positions_mm=tuple((63.0, 63.0, 4.0 * index) for index in range(9, -1, -1)))
    assert only(find(pair(place=turned))).kind is Kind.PAIR


def test_the_cleanest_reference_wins_and_the_others_are_told() -> None:
    fast, middle, best = volume("a"), volume("b", acquisition={"nex": 2.0}), volume("c", acquisition={"nex": 4.0})
    candidates, rejected = find([best, middle, fast])
    assert [one.volumes for one in candidates] == [(fast, best), (middle, best)]
    (loser,) = rejected
    assert (loser.volumes, loser.reason) == ((fast, middle), "the fast scan has a better reference: NEX 1 against 4 (NumberOfAverages (0018,0083))")


def test_of_equal_references_the_nearest_in_time_wins() -> None:
    fast = volume("c")
    late, early = volume("z", acquisition=SLOW, description="one"), volume("d", acquisition=SLOW, description="other")
    assert find([fast, late, early])[0][0].volumes == (fast, early)


def test_numbers_are_trusted_before_names() -> None:
    fast = volume("a", description="T2 FAST")
    by_name, by_nex = volume("b", acquisition={"nex": None}), volume("z", acquisition={"nex": 1.5})
    assert [one.volumes for one in find([fast, by_name, by_nex])[0] if one.volumes[0] is fast] == [(fast, by_nex)]


def test_a_copy_is_neither_reference_nor_repeat() -> None:
    fast, reference = pair()
    copy = replace(reference, series_uid="9.9", series_number=99, description="T2 sent again")
    candidates, rejected = find([copy, fast, reference])
    assert [one.volumes for one in candidates] == [(fast, reference)]
    assert [(one.volumes, "copy" in one.reason) for one in rejected] == [((reference, copy), True)]
    assert find([reference, copy])[0] == []


def test_a_copy_under_another_study_is_a_copy() -> None:
    reference = pair()[1]
    copy = replace(reference, study_uid="7.7", series_uid="9.9")
    candidates, rejected = find([reference, copy])
    assert candidates == []
    assert "copy" in {one.reason[9:13] for one in rejected}


def test_without_times_only_the_name_tells_a_copy_from_another_run() -> None:
    one = volume("a", started_s=None)
    assert "copy" in find([one, replace(one, series_uid="9")])[1][0].reason
    candidates, rejected = find([one, replace(one, series_uid="9", description="AX T2 2")])
    assert candidates == []
    assert not any("copy" in other.reason for other in rejected)


def zoo() -> list[Volume]:
    """Everything at once, of three patients."""
    one = [
        volume("a"),
        volume("b", acquisition=SLOW),
        volume("c", description="T2 FAST"),
        *many(4, "time {}", study_uid="1.3", frame_of_reference_uid="x"),
    ]
    one += [volume("d", acquisition={"sequence": "T1w"}), volume("e", refused="a localiser"), *many(18, "time {}", study_uid="1.4", patient="P2")]
    one += [
        replace(one[1], series_uid="9.9"),
        replace(one[0], patient=""),
        volume("f", label="echo 1", n_stacks=2),
        volume("f", label="echo 2", n_stacks=2),
    ]
    return one + [replace(volume(name), patient="P3") for name in "ghi"]


def told(found: tuple[list[Candidate], list[Rejected]]) -> Sequence[object]:
    return [(one.kind, one.volumes, one.why, one.acceleration) for one in found[0]], [(one.volumes, one.reason) for one in found[1]]


def test_the_order_of_the_volumes_does_not_matter() -> None:
    scans, generator = zoo(), np.random.default_rng(0)
    expected = told(find(scans))
    assert len(expected[0]) > 3
    for _ in range(20):
        assert told(find([scans[index] for index in generator.permutation(len(scans))])) == expected


def test_every_volume_is_accounted_for_and_no_reason_names_anything() -> None:
    scans = zoo()
    candidates, rejected = find(scans)
    seen = {id(one) for part in (*candidates, *rejected) for one in part.volumes}
    assert seen == {id(one) for one in scans}
    words = " ".join([one.reason for one in rejected] + [one.why for one in candidates])
    assert not any(secret in words for one in scans for secret in (one.series_uid, one.description, one.patient) if secret)
    assert not any(one.reason.endswith(".") or not one.reason for one in rejected)


@pytest.mark.parametrize("bad", [{"covered": 1.1}, {"pixel_ratio": 0.9}, {"max_repeats": 1}, {"orientation_deg": float("nan")}, {"low_b": -1.0}])
def test_rules_refuse_nonsense(bad: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        Rules(**bad)


@pytest.mark.data
def test_real_series_give_the_philips_repeats_and_nothing_else(data_dir: Path, tmp_path: Path) -> None:
    scan(data_dir / "dicom", tmp_path / "index.sqlite")
    everything = list(volumes(tmp_path / "index.sqlite"))
    candidates, rejected = find(everything)
    candidate = only((candidates, rejected))
    assert (candidate.kind, candidate.volumes[0].acquisition.vendor, len(candidate.volumes)) == (Kind.REPEATS, "Philips", 6)
    assert [one.stack.label for one in candidate.volumes] == ["b 0"] + [f"b 2, direction {index}" for index in range(1, 6)]
    assert settings_of(len(candidate.volumes)) == [(3, 2), (2, 3), (1.5, 4)]
    assert sum(len(one.volumes) for one in rejected) == len(everything) - 6 == 10
    (ge,) = [one for one in everything if one.description == "FM_cv12_1_3mm"]  # one of four temporal positions was kept: nothing repeats
    assert (ge.n_stacks, len(ge.stack.frames)) == (1, 60)
