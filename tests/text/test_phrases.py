"""The phrase table: spelt as the product spells, each phrase once, its slot readable from its first word."""

import pytest

from onenex.errors import OutOfDomain
from onenex.series import ORGANS, PLANES, SEQUENCES, VENDORS
from onenex.text.phrases import SLOTS, TABLE, UNKNOWNS, slot_index


def test_the_order_of_the_slots_is_part_of_the_weights() -> None:
    assert SLOTS == ("vendor", "organ", "sequence", "plane", "field", "acceleration", "nex")
    assert [slot_index(text) for text in TABLE] == sorted(slot_index(text) for text in TABLE)
    assert [slot_index(text) for text in UNKNOWNS] == list(range(len(SLOTS)))


def test_the_table_holds_each_phrase_once_and_unknown_for_each_slot() -> None:
    assert len(set(TABLE)) == len(TABLE)
    assert set(UNKNOWNS) <= set(TABLE)
    assert sum(text.endswith(": unknown") for text in TABLE) == len(SLOTS)
    known = ["Vendor: Siemens", "Organ: knee", "Sequence: PDw", "Plane: axial", "Field: 3.0 T", "Field: 0.55 T", "Acceleration: 2.0", "Averages: 2"]
    assert set(known) <= set(TABLE)
    for prefix, words in (("Vendor", VENDORS), ("Organ", ORGANS), ("Sequence", SEQUENCES), ("Plane", PLANES)):
        assert {f"{prefix}: {word}" for word in words} <= set(TABLE)
    assert {f"Acceleration: {1 + step / 2}" for step in range(7)} <= set(TABLE)


@pytest.mark.parametrize("text", ["", "knee", "Organ:knee", "Colour: red", ": knee"])
def test_a_text_without_slot_is_refused(text: str) -> None:
    with pytest.raises(OutOfDomain, match="is no phrase"):
        slot_index(text)


def test_free_text_may_hold_colons() -> None:
    assert slot_index("Organ: knee: left") == SLOTS.index("organ")
