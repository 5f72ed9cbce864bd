"""From what is known of a scan to the phrases of its prompt, and their dropout in training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from onenex.errors import OutOfDomain
from onenex.series import ORGANS, PLANES, SEQUENCES, UNKNOWN, VENDORS, Acquisition
from onenex.text.phrases import ACCELERATIONS, AVERAGES, FIELDS_T, SLOTS, UNKNOWNS, phrase, slot_index

MAX_WORD = 80
"""Longest free text that is kept, characters."""


def phrases_of(acquisition: Acquisition) -> tuple[str, ...]:
    """Return the prompt of a scan: one phrase a slot, in the order of `SLOTS`.

    Numbers go to the nearest value of the table (halfway: to the lower one); None, NaN, infinity and numbers that are
    not above 0 become "unknown". Words are matched to the product's spelling whatever their case; a word that the
    product doesn't know stays as it is ("Organ: ankle").
    """
    field = _nearest(acquisition.field_strength_T, FIELDS_T)
    values = {
        "vendor": _word(acquisition.vendor, VENDORS),
        "organ": _word(acquisition.organ, ORGANS),
        "sequence": _word(acquisition.sequence, SEQUENCES),
        "plane": _word(acquisition.plane, PLANES),
        "field": field if field == UNKNOWN else f"{field} T",
        "acceleration": _nearest(acquisition.acceleration, ACCELERATIONS),
        "nex": _nearest(acquisition.nex, AVERAGES),
    }
    return tuple(phrase(slot, values[slot]) for slot in SLOTS)


def drop(phrases: Sequence[str], probability: float, generator: np.random.Generator, *, all_probability: float | None = None) -> tuple[str, ...]:
    """Return the prompt with phrases replaced by their slot's unknown phrase, for training.

    Parameters
    ----------
    phrases
        A prompt; nothing happens to a phrase that is unknown already.
    probability
        Of losing a phrase, 0…1, independently for each.
    generator
        Source of the draws; it gives one number a phrase and one for the whole, whatever the outcome.
    all_probability
        Of losing all phrases together, 0…1, so that the network also learns to work without any text; the same as
        `probability` when None.

    Raises
    ------
    OutOfDomain
        A probability outside 0…1, or a text that is no phrase.
    """
    whole = probability if all_probability is None else all_probability
    for value in (probability, whole):
        if not 0 <= value <= 1:
            raise OutOfDomain(f"probability of phrase dropout is {value}: give a number from 0 to 1")
    draw_of_all, *draws = generator.random(1 + len(phrases))
    lost = [draw_of_all < whole or draw < probability for draw in draws]
    return tuple(UNKNOWNS[slot_index(text)] if gone else text for text, gone in zip(phrases, lost, strict=True))


def _word(text: str, known: Sequence[str]) -> str:
    """Return the product's spelling of a word, or the word itself with its white space tidied and its length bounded."""
    tidy = " ".join(text.split())[:MAX_WORD].rstrip()
    spelling = {word.casefold(): word for word in known}
    return spelling.get(tidy.casefold(), tidy) or UNKNOWN


def _nearest(value: float | None, table: Sequence[float]) -> str:
    """Return the nearest number of a rising table as it is written in phrases."""
    if value is None or not math.isfinite(value) or value <= 0:
        return UNKNOWN
    return str(min(table, key=lambda entry: abs(entry - value)))
