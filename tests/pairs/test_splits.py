"""Splits: by patient, stable, near the share wanted, with something to test on in every stratum."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onenex.errors import DataError
from onenex.pairs.packing.splits import assign, place
from tests.pairs.built_folder import name_of

ORGANS, VENDORS = ("head", "knee", "L-spine"), ("GE", "Siemens", "Philips", "UIH")

Patients = dict[str, list[tuple[str, str]]]


def hospital(n: int, seed: int = 0) -> Patients:
    """Patients with one or two scans."""
    generator = np.random.default_rng(seed)
    return {
        name_of(seed, number): [(ORGANS[generator.integers(3)], VENDORS[generator.integers(4)]) for _ in range(1 + number % 2)] for number in range(n)
    }


def by_stratum(patients: Patients, splits: dict[str, str]) -> dict[tuple[str, ...], list[str]]:
    strata: dict[tuple[str, ...], list[str]] = {}
    for patient, where in patients.items():
        for stratum in {one for organ, vendor in where for one in ((organ, vendor), (organ,), (vendor,))}:
            strata.setdefault(stratum, []).append(splits[patient])
    return strata


@given(n=st.integers(1, 60), seed=st.integers(0, 50), share=st.sampled_from([0.05, 0.15, 0.3, 0.5]))
@settings(max_examples=40, deadline=None)
def test_every_stratum_has_both_sides(n: int, seed: int, share: float) -> None:
    patients = hospital(n, seed)
    splits = assign(patients, {}, test_share=share)
    assert set(splits) == set(patients)
    for stratum, sides in by_stratum(patients, splits).items():
        if len(sides) >= (5 if len(stratum) == 2 else 2):
            assert "test" in sides, stratum


@pytest.mark.parametrize("vendor", VENDORS)
def test_one_patient_is_trained_on(vendor: str) -> None:
    assert set(assign({name_of(1): [("head", vendor)]}, {}, test_share=0.99).values()) == {"train"}
    both = assign({name_of(number): [("head", vendor)] for number in range(2)}, {}, test_share=0.99)
    assert sorted(both.values()) == ["test", "train"]


@given(seed=st.integers(0, 30), cuts=st.lists(st.integers(0, 80), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_nobody_changes_sides_when_data_are_added(seed: int, cuts: list[int]) -> None:
    """Eighty patients arrive in portions; those known get new strata, too."""
    everyone = hospital(80, seed)
    earlier: dict[str, str] = {}
    for _, n in pairwise(sorted({0, *cuts, 80})):
        known = {patient: where[: 1 if n < 80 else None] for patient, where in list(everyone.items())[:n]}
        splits = assign(known, earlier)
        assert earlier.items() <= splits.items()
        earlier = splits


def test_a_small_hospital_keeps_most_for_training() -> None:
    """Forty patients in 24 strata."""
    shares = []
    for seed in range(20):
        patients = {name_of(seed, number): [(("head", "knee", "spine")[number % 3], VENDORS[number // 3 % 4])] for number in range(40)}
        shares.append(np.mean([side == "test" for side in assign(patients, {}).values()]))
    assert 0.1 < np.mean(shares) < 0.25
    assert max(shares) < 0.35


def test_the_order_of_patients_does_not_matter() -> None:
    patients = hospital(50)
    assert assign(patients, {}) == assign(dict(reversed(patients.items())), {})


def test_large_strata_are_split_by_the_hash_alone() -> None:
    """So it does not matter what was built first."""
    patients = {name_of(number): [("knee", VENDORS[number % 4])] for number in range(2000)}
    splits = assign(patients, {}, test_share=0.2)
    assert splits == {patient: "test" if place(patient) < 0.2 else "train" for patient in patients}
    halves = [dict(list(patients.items())[half::2]) for half in (0, 1)]
    assert assign(halves[1], {}, test_share=0.2) | assign(halves[0], {}, test_share=0.2) == splits
    for sides in by_stratum(patients, splits).values():
        assert sides.count("test") / len(sides) == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize(("share", "side"), [(0.0, "train"), (1.0, "test")])
def test_all_on_one_side(share: float, side: str) -> None:
    assert set(assign(hospital(20), {}, test_share=share).values()) == {side}


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(DataError, match="from 0 to 1"):
        assign({}, {}, test_share=share)
