"""Train or test, by patient: never one patient on two sides, and nobody changes sides when data are added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onenex.errors import DataError

TEST_SHARE = 0.15

LEAST = {"organ": 2, "vendor": 2, "both": 5}
"""From how many patients on an organ, a vendor, and an organ on a vendor's scanners have a patient to test on. With 2 for the last, too,
half of a small hospital would be test."""

Stratum = tuple[str, str]
"""Organ and vendor."""
_Members = dict[tuple[str, ...], set[str]]
"""("organ", …), ("vendor", …), ("both", organ, vendor) → patients."""


def place(patient: str) -> float:
    """Return where a keyed hash (hexadecimal, 12 digits or more) lies in 0…1: below the test share is the test split."""
    return int(patient[:12], 16) / 16.0**12


def assign(patients: Mapping[str, Iterable[Stratum]], earlier: Mapping[str, str], *, test_share: float = TEST_SHARE) -> dict[str, str]:
    """Return the split, "train" or "test", of every patient asked for.

    Who was assigned earlier stays. Of the others each one's hash decides alone, by `test_share`, so two builds agree whatever their
    order. Then small strata are seen to: each organ, vendor, and organ of a vendor has a patient to train on, and one to test on
    from as many patients on as `LEAST` says, where one of the new patients can be it (the one whose hash lies nearest to the
    threshold). Strata fill up as patients arrive, so this is the only thing that depends on the order of builds.
    No split is held for validation: training holds out slices of its own.

    Parameters
    ----------
    patients
        Keyed hash of the patient → the organs and vendors of the scans, those of earlier patients included where they count.
    earlier
        Keyed hash → split, of the existing manifest (`manifest.patients`).
    test_share
        0…1, of all patients. 0 trains on everything, 1 tests on everything: no stratum is seen to then.

    Raises
    ------
    DataError
        The share is none.
    """
    if not 0 <= test_share <= 1:
        raise DataError(f"the test share is {test_share}: give a number from 0 to 1")
    splits = {patient: earlier.get(patient) or ("test" if place(patient) < test_share else "train") for patient in patients}
    if not 0 < test_share < 1:
        return splits
    strata: _Members = {}
    for patient, where in patients.items():
        for organ, vendor in where:
            names: tuple[tuple[str, ...], ...] = (("both", organ, vendor), ("organ", organ), ("vendor", vendor))
            for name in names:
                strata.setdefault(name, set()).add(patient)
    for wanted in ("test", "train"):  # the second round undoes nothing of the first: see _movable
        for stratum in sorted(strata):
            _see_to(stratum, wanted, strata, splits, earlier)
    return splits


def _see_to(stratum: tuple[str, ...], wanted: str, strata: _Members, splits: dict[str, str], earlier: Mapping[str, str]) -> None:
    """Move one new patient of a stratum to the split `wanted` when it has none there and needs one."""
    members = strata[stratum]
    if any(splits[member] == wanted for member in members) or (wanted == "test" and len(members) < LEAST[stratum[0]]):
        return
    new = [member for member in members if member not in earlier and _movable(member, wanted, strata, splits)]
    if new:
        nearest = min(new, key=place) if wanted == "test" else max(new, key=place)
        splits[nearest] = wanted


def _movable(patient: str, wanted: str, strata: _Members, splits: Mapping[str, str]) -> bool:
    """Whether a patient may go to the split `wanted` without being missed: every stratum that has a test patient keeps one, or never needed it."""
    if wanted == "test":
        return True
    for stratum, members in strata.items():
        tested = [member for member in members if splits[member] == "test"]
        if patient in members and tested == [patient] and len(members) >= LEAST[stratum[0]]:
            return False
    return True
