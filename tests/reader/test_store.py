import math
import sqlite3
from pathlib import Path

import pytest

from onenex.errors import StudyError
from onenex.reader.items import BUILT_IN
from onenex.reader.keeping.refusals import Closed, Improper, NotYours, Outdated
from onenex.reader.keeping.views import Image
from onenex.reader.records import Kind
from onenex.reader.store import Store
from onenex.web.passwords import hash_password
from tests.reader.kept import LEVELS, NOTE, PLAN, STACK, TRAINING, A, B, small_study
from tests.reader.sources import Clock, read_one

DAY = 86_400


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Store:
    return small_study(tmp_path, clock)


def test_what_is_asked_comes_back_as_it_was_written(store: Store) -> None:
    reading = store.readings()["quality"]
    assert (reading.items, reading.kind, reading.instructions) == ((BUILT_IN["overall_quality"], LEVELS, NOTE), Kind.RATING, "Look.")
    shown = store.shown(A.key)
    assert shown is not None
    assert (shown.reader, shown.reading, shown.images) == ("anna", reading, (Image(token=A.key[::-1], stack=STACK),))
    assert [one.key for one in store.queue("anna", 1)] == [A.key, B.key, TRAINING.key]
    assert [one.is_training for one in store.queue("anna", 1)] == [False, False, True]
    assert store.shown("nonsense") is None
    assert store.queue("nobody", 1) == []
    assert store.sessions("nobody") == []


def test_people_and_roles(store: Store) -> None:
    assert list(store.readers()) == ["chief"]
    store.add_reader("anna", hash_password("word", cost=4))
    assert set(store.readers()) == {"anna", "chief"}
    assert [store.is_admin(name) for name in ("chief", "anna", "nobody")] == [True, False, False]
    for name, admin in (("zoe", False), ("anna", True), ("chief", False)):
        with pytest.raises(StudyError):
            store.add_reader(name, "x", admin=admin)


def test_answers_are_kept_for_ever_and_the_newest_counts(store: Store, clock: Clock, tmp_path: Path) -> None:
    assert store.save("anna", A.key, "overall_quality", "", 2, "", 0) == 1
    clock.now += 5
    assert store.save("anna", A.key, "overall_quality", "", 3, "sharper than I thought", 1) == 2
    assert store.save("anna", A.key, "levels", "L2", 1, "", 0) == 1
    (first, second) = store.answers(A.key)
    assert (first.value, first.text, first.saved_wall) == (3, "sharper than I thought", clock.now)
    assert (second.item, second.where, second.value) == ("levels", "L2", 1)
    assert [one.version for one in store.kept(A.key)] == [2, 1]
    with sqlite3.connect(tmp_path / "study.sqlite") as plain:
        assert plain.execute("SELECT count(*) FROM answer").fetchone() == (3,)
        for wrong in ("UPDATE answer SET value = 1", "DELETE FROM answer", "DELETE FROM event", "UPDATE event SET event = 'x'"):
            with pytest.raises(sqlite3.IntegrityError, match="kept for ever"):
                plain.execute(wrong)
    plain.close()


def test_an_old_page_does_not_overwrite_and_a_repeated_one_counts_once(store: Store) -> None:
    store.save("anna", A.key, "overall_quality", "", 2, "", 0)
    assert store.save("anna", A.key, "overall_quality", "", 2, "", 0) == 1
    store.save("anna", A.key, "overall_quality", "", 4, "", 1)
    for version in (0, 1, 3, -1):
        with pytest.raises(Outdated):
            store.save("anna", A.key, "overall_quality", "", 3, "", version)
    assert [one.value for one in store.answers(A.key)] == [4]


@pytest.mark.parametrize(
    ("item", "where", "value", "text"),
    [
        ("overall_quality", "", 0, ""),
        ("overall_quality", "", 5, ""),
        ("overall_quality", "", None, ""),
        ("overall_quality", "", True, ""),
        ("overall_quality", "L1", 2, ""),
        ("levels", "", 1, ""),
        ("levels", "L3", 1, ""),
        ("snr", "", 1, ""),
        ("'; DROP TABLE answer; --", "", 1, ""),
        ("note", "", 1, "words"),
        ("note", "", None, "x" * 2001),
        ("note", "", None, "x" * 1_000_000),
        ("note", "", None, "nul \0"),
        ("note", "", None, "half a \ud800 character"),
        ("overall_quality", "", 2, "x" * 2001),
    ],
)
def test_answers_off_the_scale_are_refused(store: Store, item: str, where: str, value: int | None, text: str) -> None:
    with pytest.raises(Improper):
        store.save("anna", A.key, item, where, value, text, 0)
    assert store.answers(A.key) == []


def test_words_are_kept_as_they_are(store: Store) -> None:
    text = "<script>alert(1)</script>\n'; DROP TABLE answer; -- Ünïcödé 膝" + "x" * 1900
    store.save("anna", A.key, "note", "", None, text, 0)
    assert store.answers(A.key)[0].text == text


def test_nobody_answers_for_somebody_else(store: Store) -> None:
    for reader, key in (("bela", A.key), ("chief", A.key), ("", A.key), ("anna", "0" * 32), ("anna", "' OR 1=1 --")):
        for tried in (
            lambda reader=reader, key=key: store.save(reader, key, "overall_quality", "", 2, "", 0),
            lambda reader=reader, key=key: store.finish(reader, key),
            lambda reader=reader, key=key: store.seconds(reader, key, 5.0),
            lambda reader=reader, key=key: store.may_read(reader, key),
        ):
            with pytest.raises(NotYours, match="no such presentation"):
                tried()
    assert store.image("bela", A.key[::-1]) is None
    assert store.image("anna", A.key[::-1]) == Image(token=A.key[::-1], stack=STACK)


def test_a_finished_presentation_is_closed(store: Store) -> None:
    with pytest.raises(Improper, match=r"overall_quality, levels \(L1\), levels \(L2\)$"):
        store.finish("anna", A.key)
    read_one(store, A.reader, A.key)
    store.finish("anna", A.key)
    with pytest.raises(Closed):
        store.save("anna", A.key, "overall_quality", "", 1, "", 1)
    with pytest.raises(Closed):
        store.seconds("anna", A.key, 1.0)
    assert store.image("anna", A.key[::-1]) is None
    assert [one.event for one in store.events()].count("finished") == 1


def test_the_second_session_opens_after_the_wash_out(store: Store, clock: Clock) -> None:
    late = PLAN[2]
    assert [(one.session, one.n, one.is_open, one.opens) for one in store.sessions("anna")] == [(1, 3, True, 2e9), (2, 2, False, None)]
    for one in (A, B):
        read_one(store, one.reader, one.key)
    assert store.sessions("anna")[1].opens is None
    clock.now += 1000
    read_one(store, TRAINING.reader, TRAINING.key)
    opens = clock.now + 14 * DAY
    assert [(one.done, one.opens) for one in store.sessions("anna")] == [(True, 2e9), (False, opens)]
    clock.now = opens - 1
    for key in (late.key,):
        with pytest.raises(Closed, match="session 2 is not open"):
            store.save("anna", key, "overall_quality", "", 2, "", 0)
    assert store.image("anna", late.key[::-1]) is None
    clock.now = opens
    assert store.save("anna", late.key, "overall_quality", "", 2, "", 0) == 1
    assert not store.sessions("bela")[1].is_open


def test_reading_time_counts_what_went_by_and_no_more(store: Store, clock: Clock) -> None:
    assert store.seconds("anna", A.key, 0.0, "opened") == 0
    clock.now += 20
    assert store.seconds("anna", A.key, 15.0) == 15
    assert store.seconds("anna", A.key, 15.0) == 17
    clock.now += 600
    assert store.seconds("anna", A.key, 600.0) == 77
    for nonsense in (-50.0, math.nan, math.inf, -math.inf):
        clock.now += 30
        assert store.seconds("anna", A.key, nonsense) == 77
    clock.now -= 9_999
    assert store.seconds("anna", A.key, 30.0) == 79
    clock.now += 10
    store.save("anna", A.key, "overall_quality", "", 2, "", 0)
    assert store.seconds("anna", A.key, 10.0) == 89
    shown = store.shown(A.key)
    assert shown is not None
    assert shown.seconds == 89


def test_progress_says_how_far_without_arms(store: Store, clock: Clock) -> None:
    read_one(store, A.reader, A.key)
    found = {(one.reader, one.session): one for one in store.progress()}
    counts = {place: (one.n, one.n_done) for place, one in found.items()}
    assert counts == {("anna", 1): (3, 1), ("anna", 2): (2, 0), ("bela", 1): (2, 0), ("bela", 2): (2, 0)}
    assert found["anna", 1].last_wall == clock.now
    assert found["bela", 1].last_wall is None


def test_unblinding_needs_an_admin_and_everything_finished_and_locks(store: Store) -> None:
    for name in ("anna", "nobody", ""):
        with pytest.raises(StudyError, match="no admin"):
            store.unblind(name, incomplete=True)
    read_one(store, A.reader, A.key)
    with pytest.raises(StudyError, match="7 presentations are unfinished"):
        store.unblind("chief")
    assert not store.is_unblinded()
    store.unblind("chief", incomplete=True, user="root")
    assert store.facts().unblinded_by == "chief"
    with pytest.raises(Closed, match="unblinded"):
        store.save("anna", B.key, "overall_quality", "", 2, "", 0)
    assert not any(one.is_open for one in store.sessions("anna"))
    (event,) = [one for one in store.events() if one.event == "unblinded"]
    assert event.fields["by"] == "chief"
    assert (event.fields["user"], event.fields["unfinished"], event.fields["answers"]) == ("root", 7, 4)
    store.unblind("chief")
    assert [one.event for one in store.events()][-1] == "opened again"
