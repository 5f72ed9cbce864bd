"""The phrases the product knows: one for each value of each slot, and "unknown" for each slot."""

from __future__ import annotations

from collections.abc import Mapping

from onenex.errors import OutOfDomain
from onenex.series import ORGANS, PLANES, SEQUENCES, UNKNOWN, VENDORS

FIELDS_T = (0.2, 0.3, 0.55, 1.0, 1.5, 3.0, 5.0, 7.0)
"""Static magnetic fields, tesla."""
ACCELERATIONS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
"""Total in-plane accelerations."""
AVERAGES = (1, 2, 3, 4, 6, 8)
"""Numbers of signal averages."""

PREFIXES: Mapping[str, str] = {
    "vendor": "Vendor",
    "organ": "Organ",
    "sequence": "Sequence",
    "plane": "Plane",
    "field": "Field",
    "acceleration": "Acceleration",
    "nex": "Averages",
}
"""Slot → the word its phrases begin with, in slot order."""

SLOTS: tuple[str, ...] = tuple(PREFIXES)
"""What a prompt says, in the order it says it."""

_VALUES: Mapping[str, tuple[str, ...]] = {
    "vendor": VENDORS,
    "organ": ORGANS,
    "sequence": SEQUENCES,
    "plane": PLANES,
    "field": (*(f"{field} T" for field in FIELDS_T), UNKNOWN),
    "acceleration": (*(str(acceleration) for acceleration in ACCELERATIONS), UNKNOWN),
    "nex": (*(str(averages) for averages in AVERAGES), UNKNOWN),
}


def phrase(slot: str, value: str) -> str:
    """Return the phrase that says `value` of `slot`, e.g. "Organ: knee"."""
    return f"{PREFIXES[slot]}: {value}"


TABLE: tuple[str, ...] = tuple(phrase(slot, value) for slot in SLOTS for value in _VALUES[slot])
"""Every phrase the product knows, slot by slot."""

UNKNOWNS: tuple[str, ...] = tuple(phrase(slot, UNKNOWN) for slot in SLOTS)
"""The phrase that says nothing, one a slot, in slot order."""


def slot_index(text: str) -> int:
    """Return the place in `SLOTS` of the slot that a phrase speaks of.

    Raises
    ------
    OutOfDomain
        The text doesn't begin with the word of any slot.
    """
    start, separator, _ = text.partition(": ")
    words = tuple(PREFIXES.values())
    if not separator or start not in words:
        raise OutOfDomain(f"'{text}' is no phrase of a prompt: begin it with one of {', '.join(f'{word}: ' for word in words)}")
    return words.index(start)
