"""Acquisition → phrases, and phrase dropout."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onenex.errors import OutOfDomain
from onenex.series import ORGANS, PLANES, SEQUENCES, VENDORS, Acquisition
from onenex.text.phrases import ACCELERATIONS, AVERAGES, FIELDS_T, SLOTS, TABLE, UNKNOWNS, slot_index
from onenex.text.prompt import MAX_WORD, drop, phrases_of

NUMBERS = st.none() | st.floats(allow_nan=True, allow_infinity=True)
PROMPT = phrases_of(Acquisition(vendor="GE", organ="knee", sequence="PDw", plane="coronal", field_strength_T=1.5, nex=2, acceleration=2))


def test_every_product_of_known_words_lands_in_the_table() -> None:
    seen: set[str] = set()
    numbers = itertools.cycle(itertools.product((*FIELDS_T, None), (*ACCELERATIONS, None), (*AVERAGES, None)))
    for vendor, organ, sequence, plane in itertools.product(VENDORS, ORGANS, SEQUENCES, PLANES):
        field, acceleration, nex = next(numbers)
        words = Acquisition(vendor=vendor, organ=organ, sequence=sequence, plane=plane, field_strength_T=field, acceleration=acceleration, nex=nex)
        phrases = phrases_of(words)
        assert tuple(map(slot_index, phrases)) == tuple(range(len(SLOTS)))
        seen.update(phrases)
    assert seen == set(TABLE), "every phrase of the table can be said, and nothing else is"


@settings(deadline=None, max_examples=50)
@given(field=NUMBERS, acceleration=NUMBERS, nex=NUMBERS)
def test_any_number_lands_in_the_table(field: float | None, acceleration: float | None, nex: float | None) -> None:
    assert set(phrases_of(Acquisition(field_strength_T=field, acceleration=acceleration, nex=nex))) <= set(TABLE)


@settings(deadline=None, max_examples=50)
@given(organ=st.text())
def test_any_word_is_one_phrase_of_its_slot(organ: str) -> None:
    said = phrases_of(Acquisition(organ=organ))[1]
    assert slot_index(said) == SLOTS.index("organ")
    assert said.isprintable() or not organ.isprintable()
    assert len(said) <= len("Organ: ") + MAX_WORD


def test_nothing_known_is_unknown_everywhere() -> None:
    assert phrases_of(Acquisition()) == UNKNOWNS
    assert phrases_of(Acquisition(vendor="", organ=" \n", sequence="UNKNOWN", nex=0, acceleration=-1, field_strength_T=math.nan)) == UNKNOWNS


@pytest.mark.parametrize(
    ("field", "acceleration", "nex", "said"),
    [
        (2.89, 1.9, 2, ("Field: 3.0 T", "Acceleration: 2.0", "Averages: 2")),
        (1.494, 1.0, 1, ("Field: 1.5 T", "Acceleration: 1.0", "Averages: 1")),
        (0.35, 1.25, 5, ("Field: 0.3 T", "Acceleration: 1.0", "Averages: 4")),
        (0.5, 2.3, 0.5, ("Field: 0.55 T", "Acceleration: 2.5", "Averages: 1")),
        (0.064, 8.0, 16, ("Field: 0.2 T", "Acceleration: 4.0", "Averages: 8")),
        (10.5, 3.3, 2.6, ("Field: 7.0 T", "Acceleration: 3.5", "Averages: 3")),
    ],
)
def test_numbers_go_to_the_nearest(field: float, acceleration: float, nex: float, said: tuple[str, ...]) -> None:
    assert phrases_of(Acquisition(field_strength_T=field, acceleration=acceleration, nex=nex))[4:] == said


def test_words_are_spelt_as_the_product_spells_them() -> None:
    said = phrases_of(Acquisition(vendor="SIEMENS", organ=" c-SPINE ", sequence="t2*W", plane="Axial"))
    assert said[:4] == ("Vendor: Siemens", "Organ: C-spine", "Sequence: T2*w", "Plane: axial")


def test_a_foreign_word_stays() -> None:
    assert phrases_of(Acquisition(organ="left  ankle"))[1] == "Organ: left ankle"


def test_dropout_rates_are_those_asked_for() -> None:
    generator, n = np.random.default_rng(0), 5000
    lost = np.array([[text in UNKNOWNS for text in drop(PROMPT, 0.2, generator, all_probability=0.1)] for _ in range(n)])
    tolerance = 4 * 0.5 / math.sqrt(n)
    np.testing.assert_allclose(lost.mean(axis=0), 1 - 0.8 * 0.9, atol=tolerance)
    assert lost.all(axis=1).mean() == pytest.approx(0.1, abs=tolerance)


def test_slots_are_dropped_independently() -> None:
    generator, n = np.random.default_rng(1), 5000
    lost = np.array([[text in UNKNOWNS for text in drop(PROMPT, 0.3, generator, all_probability=0.0)] for _ in range(n)], dtype=float)
    correlation = np.corrcoef(lost.T) - np.eye(len(SLOTS))
    assert np.abs(correlation).max() < 5 / math.sqrt(n)


def test_a_dropped_phrase_is_unknown_in_its_own_slot() -> None:
    generator = np.random.default_rng(2)
    for _ in range(50):
        for before, after, unknown in zip(PROMPT, drop(PROMPT, 0.5, generator), UNKNOWNS, strict=True):
            assert after in (before, unknown)


def test_dropout_at_its_ends() -> None:
    generator = np.random.default_rng(3)
    assert drop(PROMPT, 0.0, generator) == PROMPT
    assert drop(PROMPT, 1.0, generator) == UNKNOWNS
    assert drop(PROMPT, 0.0, generator, all_probability=1.0) == UNKNOWNS


def test_dropout_takes_the_same_number_of_draws_whatever_it_decides() -> None:
    generators = [np.random.default_rng(4), np.random.default_rng(4)]
    drop(PROMPT, 0.0, generators[0])
    drop(PROMPT, 0.9, generators[1])
    assert generators[0].random() == generators[1].random()
    assert drop(PROMPT, 0.5, np.random.default_rng(5)) == drop(PROMPT, 0.5, np.random.default_rng(5))


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_impossible_probabilities_are_refused(bad: float) -> None:
    for arguments in ({"probability": bad}, {"probability": 0.5, "all_probability": bad}):
        with pytest.raises(OutOfDomain, match="from 0 to 1"):
            drop(PROMPT, generator=np.random.default_rng(0), **arguments)
