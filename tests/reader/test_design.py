"""The plan: everything once, balanced, apart, and not to be guessed."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onenex.reader.design import plan
from onenex.reader.protocol import Protocol
from onenex.reader.records import Kind, Presentation
from tests.reader.studies import case, study

SOME = [f"arm{letter}" for letter in "ABCD"]


@st.composite
def studies(draw: st.DrawFn) -> Protocol:
    """Any study: 2 to 4 arms, up to three readings of some of them, with or without training."""
    arms = tuple(SOME[: draw(st.integers(2, 4))])
    some = st.lists(st.sampled_from(arms), min_size=1, unique=True)
    readings: list[dict[str, Any]] = [{"name": "one", "kind": "rating", "items": ["snr"]}]
    if draw(st.booleans()):
        readings.append({"name": "two", "kind": "task", "items": ["pfirrmann"], "arms": draw(some)})
    if draw(st.booleans()):
        pairs = draw(st.lists(st.sampled_from([list(pair) for pair in combinations(arms, 2)]), min_size=1, max_size=3, unique_by=tuple))
        readings.append({"name": "three", "kind": "preference", "pairs": pairs, "items": ["preference"]})
        readings = readings[draw(st.integers(0, len(readings) - 1)) :]
    n_cases, n_training = draw(st.integers(1, 12)), draw(st.integers(0, 2))
    return study(
        arms=arms,
        seed=draw(st.integers(0, 2**63 - 1)),
        readers=[f"r{number}" for number in range(draw(st.integers(1, 2)))],
        sessions=draw(st.integers(1, min(n_cases, 4))),
        repeats=draw(st.floats(0, 0.5)),
        readings=readings,
        items=[],
        cases=[case(number, arms, training=number >= n_cases) for number in range(n_cases + n_training)],
        analysis={"test": "armB", "control": "armA"},
    )


def parts(presentations: Iterable[Presentation]) -> dict[tuple[str, int], list[Presentation]]:
    found = defaultdict(list)
    for one in presentations:
        found[one.reader, one.session].append(one)
    return found


def what(one: Presentation) -> tuple[str, str, str, tuple[str, ...]]:
    return one.reader, one.reading, one.case, tuple(sorted(one.arms))


@settings(max_examples=100, deadline=None)
@given(protocol=studies())
def test_everything_once_and_repeats_twice(protocol: Protocol) -> None:
    presentations = plan(protocol)
    counted = [one for one in presentations if not one.is_training]
    expected = {
        (reader, reading.name, case.name, tuple(sorted(arms)))
        for reader in protocol.readers for reading in protocol.readings for case in protocol.read_cases for arms in reading.shown
    }  # fmt: skip
    assert Counter(what(one) for one in counted if not one.repeat) == Counter(expected)
    again = Counter(what(one) for one in counted if one.repeat)
    assert set(again.values()) <= {1}
    for reader in protocol.readers:
        for reading in protocol.readings:
            n = len(protocol.read_cases) * len(reading.shown)
            wanted = max(int(protocol.repeats * n + 0.5), 1) if protocol.repeats else 0
            of_arms = Counter(arms for who, name, _, arms in again if (who, name) == (reader, reading.name))
            assert sum(of_arms.values()) == wanted
            assert max(of_arms.values(), default=0) - min((of_arms[tuple(sorted(arms))] for arms in reading.shown), default=0) <= 1


@settings(max_examples=100, deadline=None)
@given(protocol=studies())
def test_sessions_are_whole_and_begin_with_training(protocol: Protocol) -> None:
    training = {one.name for one in protocol.cases if one.is_training}
    presentations = plan(protocol)
    assert presentations == sorted(presentations, key=lambda one: (protocol.readers.index(one.reader), one.session, one.position))
    for (_, session), shown in parts(presentations).items():
        assert 1 <= session <= protocol.sessions
        assert [one.position for one in shown] == list(range(len(shown)))
        kinds = [one.is_training for one in shown]
        assert kinds == sorted(kinds, reverse=True)
        assert all((one.case in training) == one.is_training for one in shown)
        blocks = [one.reading for one in shown if not one.is_training]
        assert len(set(blocks)) == 1 + sum(one != following for one, following in pairwise(blocks)) or not blocks
        if training and shown:
            assert {one.reading for one in shown if one.is_training} >= set(blocks)


@settings(max_examples=100, deadline=None)
@given(protocol=studies())
def test_arms_of_a_case_are_apart_and_arms_balanced(protocol: Protocol) -> None:
    protocol = protocol.model_copy(update={"repeats": min(protocol.repeats, 0.25), "readings": protocol.readings[:1]})
    reading, first = protocol.readings[0], [one for one in plan(protocol) if not one.is_training and not one.repeat]
    for reader in protocol.readers:
        of_case = Counter((one.case, one.session) for one in first if one.reader == reader)
        counts = [of_case[one.name, session] for one in protocol.read_cases for session in range(1, protocol.sessions + 1)]
        assert max(counts) <= -(-len(reading.shown) // protocol.sessions)
        assert min(counts) >= len(reading.shown) // protocol.sessions
        for arms in {tuple(sorted(arms)) for arms in reading.shown}:
            sessions = [one.session for one in first if one.reader == reader and tuple(sorted(one.arms)) == arms]
            counts = [sessions.count(session) for session in range(1, protocol.sessions + 1)]
            assert max(counts) - min(counts) <= 1


@settings(max_examples=100, deadline=None)
@given(protocol=studies())
def test_preferences_come_last(protocol: Protocol) -> None:
    kinds = {reading.name: reading.kind for reading in protocol.readings}
    if set(kinds.values()) > {Kind.PREFERENCE}:
        for (_, session), shown in parts(plan(protocol)).items():
            blocks = [kinds[one.reading] is Kind.PREFERENCE for one in shown if not one.is_training]
            assert blocks == sorted(blocks)
            assert session == protocol.sessions or not any(blocks)


@settings(max_examples=100, deadline=None)
@given(protocol=studies())
def test_no_case_twice_running_where_that_can_be(protocol: Protocol) -> None:
    for shown in parts(plan(protocol)).values():
        for one, following in pairwise(shown):
            block = [other.case for other in shown if (other.reading, other.is_training) == (following.reading, following.is_training)]
            most = Counter(block).most_common(1)[0][1]
            if one.case == following.case:
                # Unavoidable: a case is more than half of the block, or just half of it and was the last one before the block.
                assert 2 * most >= len(block), (one, following)


@settings(max_examples=100, deadline=None)
@given(protocol=studies())
def test_sides_are_balanced_and_repeats_turned(protocol: Protocol) -> None:
    presentations = [one for one in plan(protocol) if len(one.arms) == 2]
    first = {what(one): one for one in presentations if not one.is_training and not one.repeat}
    for one in presentations:
        if one.repeat:
            assert one.arms == first[what(one)].arms[::-1]
    for kind in {(one.reader, one.reading, tuple(sorted(one.arms))) for one in first.values()}:
        ways = [one.arms == kind[2] for one in first.values() if (one.reader, one.reading, tuple(sorted(one.arms))) == kind]
        assert abs(2 * sum(ways) - len(ways)) <= 1


@settings(max_examples=100, deadline=None)
@given(protocol=studies())
def test_the_seed_decides_everything_but_the_keys(protocol: Protocol) -> None:
    once, again = plan(protocol), plan(protocol)
    assert [replace(one, key="") for one in once] == [replace(one, key="") for one in again]
    keys = [one.key for one in (*once, *again)]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 32 and int(key, 16) >= 0 for key in keys)


def test_readers_and_seeds_have_orders_of_their_own() -> None:
    first, second = (plan(study(20, seed=seed)) for seed in (1, 2))
    orders = {(seed, reader): tuple((one.case, one.arms) for one in shown if one.reader == reader)
              for seed, shown in ((1, first), (2, second)) for reader in ("reader1", "reader2")}  # fmt: skip
    assert len(set(orders.values())) == 4


def test_another_reader_changes_nobodys_order() -> None:
    alone = [replace(one, key="") for one in plan(study(5, readers=["a"]))]
    both = [replace(one, key="") for one in plan(study(5, readers=["a", "b"]))]
    assert both[: len(alone)] == alone


def test_as_many_sessions_as_arms_keep_a_cases_arms_apart_for_all_readings() -> None:
    shown = [one for one in plan(study(12, sessions=3, repeats=0.0)) if len(one.arms) == 1]
    where = defaultdict(set)
    for one in shown:
        where[one.reader, one.case, one.session].add(one.arms)
    assert all(len(arms) == 1 for arms in where.values())


def test_a_repeat_is_in_another_session_than_the_first() -> None:
    both = defaultdict(list)
    for one in plan(study(30, sessions=2, repeats=0.5, readings=[{"name": "one", "kind": "rating", "items": ["snr"]}], analysis=_ANALYSIS)):
        both[what(one)].append(one)
    twice = [showings for showings in both.values() if len(showings) == 2]
    assert len(twice) == 2 * 45
    assert all((one.repeat, other.repeat) == (0, 1) and one.session < other.session for one, other in twice)


_ANALYSIS = {"test": "denoised", "control": "reference"}


def test_no_arm_is_systematically_earlier() -> None:
    """Within every session and reading, mean positions differ by less than one presentation in fifty; over readers they differ by nothing."""
    readings = [{"name": "one", "kind": "rating", "items": ["snr"]}]
    means = defaultdict(list)
    for seed in range(10):
        presentations = plan(study(60, sessions=2, seed=seed, repeats=0.0, readings=readings, analysis=_ANALYSIS))
        for shown in parts(presentations).values():
            for arms in {one.arms for one in shown}:
                means[arms].append(np.mean([one.position / len(shown) for one in shown if one.arms == arms]))
    values = np.array([means[arms] for arms in sorted(means)])
    assert np.abs(values - values.mean(axis=0)).max() < 0.02
    assert np.ptp(values.mean(axis=1)) < 0.002


def test_each_arm_follows_each_other_alike() -> None:
    readings = [{"name": "one", "kind": "rating", "items": ["snr"]}]
    followed: Counter[tuple[str, str]] = Counter()
    for seed in range(5):
        for shown in parts(plan(study(60, seed=seed, sessions=2, repeats=0.0, readings=readings, analysis=_ANALYSIS))).values():
            followed.update((one.arms[0], following.arms[0]) for one, following in pairwise(shown) if one.arms != following.arms)
    assert len(followed) == 6
    assert max(followed.values()) < 1.15 * min(followed.values())


def test_two_arms_share_a_session_as_often_as_any_other_two() -> None:
    """Three arms in two sessions: no pair may be the one that is always read together."""
    readings = [{"name": "one", "kind": "rating", "items": ["snr"]}]
    together: Counter[tuple[str, ...]] = Counter()
    for seed in range(10):
        where = defaultdict(set)
        for one in plan(study(60, seed=seed, sessions=2, repeats=0.0, readings=readings, analysis=_ANALYSIS)):
            where[one.reader, one.case, one.session].add(one.arms[0])
        together.update(tuple(sorted(arms)) for arms in where.values() if len(arms) == 2)
    assert sum(together.values()) == 10 * 2 * 60
    assert max(together.values()) < 1.25 * min(together.values())


def test_a_case_seldom_comes_again_soon() -> None:
    """One session of 20 cases in three arms: by lot alone some 8 of 60 would come again within five presentations."""
    readings = [{"name": "one", "kind": "rating", "items": ["snr"]}]
    soon = []
    for seed in range(10):
        for shown in parts(plan(study(20, seed=seed, repeats=0.0, readings=readings, analysis=_ANALYSIS))).values():
            cases = [one.case for one in shown]
            soon.append(sum(case in cases[max(0, place - 5) : place] for place, case in enumerate(cases)))
    assert np.mean(soon) < 2
    assert max(soon) <= 5
