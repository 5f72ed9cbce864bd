"""The plan of a study: who sees what, when, on which side, and which of it twice."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from onenex.reader.planning.ordering import Due, arrange
from onenex.reader.planning.spreading import Thing, choose_repeats, place_repeats, spread
from onenex.reader.protocol import Protocol, Reading
from onenex.reader.records import Kind, Presentation

KEY_BYTES = 16
"""Of a presentation's key: 128 random bits."""


def plan(protocol: Protocol) -> list[Presentation]:
    """Return all presentations, by reader, session and position.

    Every reader sees each case, as each reading shows it, once, and a share of that a second time. Sessions begin with the training
    cases; then come the readings one after the other, those of single series before preferences. Single series of a case go to
    different sessions as far as possible, the same for all readings; preferences, which show arms side by side, come in the last session
    where there are other readings, and are spread like single series where there are none. Of a pair, each arm is left in half of the cases;
    the hidden repeat of a pair has its sides exchanged. Everything but the keys follows from the protocol's seed.

    Parameters
    ----------
    protocol
        The study.
    """
    presentations: list[Presentation] = []
    for index, reader in enumerate(protocol.readers):
        presentations += _of_reader(protocol, reader, np.random.default_rng([protocol.seed, index]))
    return presentations


def _of_reader(protocol: Protocol, reader: str, rng: np.random.Generator) -> list[Presentation]:
    readings = sorted(protocol.readings, key=lambda reading: reading.kind is Kind.PREFERENCE)
    homes = _homes(protocol, readings, rng)
    due = {(session, reading.name): list[Due]() for session in range(1, protocol.sessions + 1) for reading in readings}
    for reading in readings:
        first = homes[reading.name]
        chosen = choose_repeats(first, protocol.repeats, protocol.sessions, rng)
        second = place_repeats(chosen, first, _open_to(protocol, reading), rng)
        for times in (first, second):
            for (case, arms), session in times.items():
                due[session, reading.name].append(Due(case=case, arms=arms))
    ordered: list[Presentation] = []
    for session in range(1, protocol.sessions + 1):
        ordered += _session(protocol, readings, {name: due[session, name] for name in homes}, (reader, session), rng)
    return _with_sides(_with_repeats(ordered), rng)


def _shown(reading: Reading) -> list[tuple[str, ...]]:
    return [tuple(sorted(arms)) for arms in reading.shown]


def _open_to(protocol: Protocol, reading: Reading) -> Sequence[int]:
    """Return the sessions in which a reading takes place."""
    last_only = reading.kind is Kind.PREFERENCE and any(one.kind is not Kind.PREFERENCE for one in protocol.readings)
    return range(protocol.sessions if last_only else 1, protocol.sessions + 1)


def _homes(protocol: Protocol, readings: Sequence[Reading], rng: np.random.Generator) -> Mapping[str, Mapping[Thing, int]]:
    """Return reading → (case, shown) → session. Readings with few arms choose first, so that they can keep them apart."""
    cases = [case.name for case in protocol.read_cases]
    homes: dict[str, Mapping[Thing, int]] = {}
    fixed: dict[Thing, int] = {}
    for reading in sorted(readings, key=lambda one: len(one.shown)):
        sessions = _open_to(protocol, reading)
        found = spread(cases, _shown(reading), len(sessions), rng, {thing: session - sessions[0] + 1 for thing, session in fixed.items()})
        homes[reading.name] = {thing: session + sessions[0] - 1 for thing, session in found.items()}
        fixed.update(homes[reading.name])
    return homes


def _session(
    protocol: Protocol, readings: Sequence[Reading], due: Mapping[str, list[Due]], whose: tuple[str, int], rng: np.random.Generator
) -> list[Presentation]:
    """Return a session of a reader in order: training of every reading, then the readings."""
    (reader, session), training = whose, [case.name for case in protocol.cases if case.is_training]
    made: list[Presentation] = []
    for is_training in (True, False):
        for reading in readings:
            if session not in _open_to(protocol, reading):
                continue
            wanted = [Due(case=case, arms=arms) for case in training for arms in _shown(reading)] if is_training else due[reading.name]
            for one in arrange(wanted, rng, made[-1].case if made else None):
                made.append(
                    Presentation(
                        key=secrets.token_hex(KEY_BYTES),
                        reader=reader,
                        reading=reading.name,
                        session=session,
                        position=len(made),
                        case=one.case,
                        arms=one.arms,
                        is_training=is_training,
                    )
                )
    return made


def _with_repeats(ordered: Sequence[Presentation]) -> list[Presentation]:
    """Count what comes a second time as the repeat."""
    seen: Counter[tuple[str, str, tuple[str, ...]]] = Counter()
    counted: list[Presentation] = []
    for one in ordered:
        what = (one.reading, one.case, one.arms)
        counted.append(one if one.is_training else replace(one, repeat=seen[what]))
        seen[what] += 1
    return counted


def _with_sides(ordered: Sequence[Presentation], rng: np.random.Generator) -> list[Presentation]:
    """Draw left and right: of every reading's pair as often one way as the other; a repeat the other way than the first time."""
    first = [one for one in ordered if len(one.arms) == 2 and not one.repeat]
    turned: dict[tuple[str, int, str, tuple[str, ...]], bool] = {}
    for kind in sorted({(one.reading, one.is_training, one.arms) for one in first}):
        same = [one for one in first if (one.reading, one.is_training, one.arms) == kind]
        ways = (np.arange(len(same)) + rng.integers(2)) % 2 == 1
        for one, way in zip(same, rng.permutation(ways), strict=True):
            turned[_what(one)] = bool(way)
    sides: list[Presentation] = []
    for one in ordered:
        is_turned = len(one.arms) == 2 and (not turned[_what(replace(one, repeat=0))] if one.repeat else turned[_what(one)])
        sides.append(replace(one, arms=one.arms[::-1]) if is_turned else one)
    return sides


def _what(one: Presentation) -> tuple[str, int, str, tuple[str, ...]]:
    """Tell first showings apart: training cases are shown once in each session."""
    return one.reading, one.session if one.is_training else 0, one.case, one.arms
