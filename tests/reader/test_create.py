import hashlib
import shutil
import sqlite3
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from onenex.errors import DataError, StudyError
from onenex.reader import create as room
from onenex.reader.create import SEALED, Created, check, create
from onenex.reader.design import plan
from onenex.reader.keeping.refusals import Closed
from onenex.reader.planning.protocol_record import protocol_of, tables_of
from onenex.reader.protocol import load_protocol
from onenex.reader.seal import Plan, seal, unseal
from onenex.reader.store import Store
from onenex.reader.unblinding import open_plan, responses, unblind
from onenex.web.passwords import password_matches
from tests.reader.sources import ARMS, PASSPHRASE, Clock, read_all, read_one, write_protocol


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    write_protocol(folder)
    return folder


@pytest.fixture(scope="module")
def made(sources: Path) -> tuple[Path, Created]:
    return sources / "STUDY", create(sources / "study.toml", sources / "STUDY", PASSPHRASE)


@pytest.fixture(scope="module")
def opened(made: tuple[Path, Created]) -> Plan:
    return unseal((made[0] / SEALED).read_bytes(), PASSPHRASE)


@pytest.fixture
def study(tmp_path: Path, made: tuple[Path, Created]) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "copy"))


def test_a_study_holds_what_the_protocol_asks(made: tuple[Path, Created], opened: Plan, sources: Path) -> None:
    folder, created = made
    protocol = load_protocol(sources / "study.toml")
    assert {path.name for path in folder.iterdir()} == {"study.toml", "study.sqlite", "study.lock", "sealed.bin", "images"}
    store = Store(folder)
    assert store.facts().title == "Knees"
    assert created.commitment == opened.commitment == store.facts().commitment
    assert list(store.readings()) == ["quality", "sides", "discs"]
    assert store.readings()["quality"].instructions == "Look at all slices."
    for one in opened.presentations:
        shown = store.shown(one.key)
        assert shown is not None
        assert (shown.reader, shown.session, shown.position, shown.reading.name) == (one.reader, one.session, one.position, one.reading)
        assert len(shown.images) == len(one.arms)
        for image in shown.images:
            assert store.image_path(image.token).stat().st_size == image.stack.n_bytes
    assert len(list((folder / "images").iterdir())) == sum(len(one.arms) for one in opened.presentations)
    assert protocol_of(opened.protocol) == protocol.model_copy(update={"cases_file": None})
    assert protocol_of(tables_of(protocol)) == protocol
    assert [one.event for one in store.events()] == ["created", "password", "password", "password"]
    store.close()


def test_everybody_got_a_password_that_is_kept_nowhere(made: tuple[Path, Created]) -> None:
    folder, created = made
    store = Store(folder)
    people = store.readers()
    assert set(people) == set(created.passwords) == {"anna", "bela", "admin"}
    assert store.is_admin("admin")
    store.close()
    assert password_matches(created.passwords["bela"], people["bela"])
    for word in created.passwords.values():
        assert not any(word.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_each_image_shows_the_right_arm(made: tuple[Path, Created], opened: Plan) -> None:
    store = Store(made[0])
    seen: dict[tuple[str, str], set[bytes]] = defaultdict(set)
    for one in opened.presentations:
        shown = store.shown(one.key)
        assert shown is not None
        for image, arm in zip(shown.images, one.arms, strict=True):
            seen[one.case, arm].add(store.image_path(image.token).read_bytes())
    store.close()
    assert {len(found) for found in seen.values()} == {1}
    assert len({next(iter(found)) for found in seen.values()}) == len(seen) == 9


def test_nothing_in_the_folder_tells_an_arm(made: tuple[Path, Created], opened: Plan, sources: Path) -> None:
    """`study.toml` is the admin's copy: it names arms and folders of sources, but says nothing of presentations."""
    folder = made[0]
    words = {
        *ARMS,
        "SECRET",
        "kniefall",
        "IDENT",
        "Meier",
        "dicom",
        str(sources),
        *(case.patient for case in opened.cases),
        opened.nonce,
        str(opened.seed),
    }
    uids = {line for path in sources.glob("dicom/*/*") for line in [_series_uid(next(path.iterdir()))]}
    assert len(uids) == 9
    names = " ".join(path.name for path in (folder / "images").iterdir())
    files = [folder / "study.sqlite", folder / SEALED]
    assert not [word for word in words | uids if word in names]
    for path in files:
        assert not [word for word in words | uids if word.encode() in path.read_bytes()]
    toml = (folder / "study.toml").read_text(encoding="utf-8")
    assert not any(one.key in toml for one in opened.presentations)
    facts = {(path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_mode, path.stat().st_nlink) for path in (folder / "images").iterdir()}
    assert len(facts) == 1
    assert oct(folder.stat().st_mode)[-3:] == "700"
    assert {oct(path.stat().st_mode)[-3:] for path in (*files, folder / "study.toml")} == {"600"}


def _series_uid(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).SeriesInstanceUID)


def test_no_row_of_the_database_goes_with_the_arm(made: tuple[Path, Created], opened: Plan) -> None:
    """Images are told apart by random keys only: same shape, spacing and window in all rows of a case, and rows in the order of their keys."""
    plain = sqlite3.connect(made[0] / "study.sqlite")
    rows = plain.execute("SELECT token, presentation, n_slices, rows, columns, spacing_mm, centre, width FROM image").fetchall()
    keys = [row[0] for row in plain.execute("SELECT key FROM presentation").fetchall()]
    plain.close()
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert keys == sorted(keys)
    cases = {one.key: one.case for one in opened.presentations}
    assert len({(cases[row[1]], *row[2:]) for row in rows}) == len(opened.cases)


def test_the_protocol_does_not_give_the_order_away(made: tuple[Path, Created], opened: Plan) -> None:
    """Whoever has `study.toml` and OneNEX could draw the plan again, were it drawn with the seed in it."""
    protocol = load_protocol(made[0] / "study.toml")
    order = [(one.reader, one.session, one.position, one.arms) for one in opened.presentations]
    assert [(one.reader, one.session, one.position, one.arms) for one in plan(protocol)] != order
    secret = plan(protocol.model_copy(update={"seed": opened.seed}))
    assert [(one.reader, one.session, one.position, one.arms) for one in secret] == order
    assert not {one.key for one in secret} & {one.key for one in opened.presentations}


def test_a_plan_made_later_or_for_another_study_is_not_taken(study: Path, opened: Plan) -> None:
    store = Store(study)
    later = replace(opened, protocol={**opened.protocol, "title": "Another"})
    (study / SEALED).write_bytes(seal(later, PASSPHRASE, cost=10))
    with pytest.raises(StudyError, match="not the plan that this study was made with"):
        open_plan(store, PASSPHRASE)
    (study / SEALED).unlink()
    with pytest.raises(StudyError, match="cannot be read"):
        open_plan(store, PASSPHRASE)
    store.close()


def test_presentations_changed_in_the_database_show(study: Path) -> None:
    store = Store(study)
    with store.writing_to() as connection:
        connection.exec_driver_sql("UPDATE presentation SET position = 900 WHERE key = (SELECT min(key) FROM presentation)")
    with pytest.raises(StudyError, match="somebody changed the database"):
        open_plan(store, PASSPHRASE)
    store.close()


def test_responses_join_answers_and_plan_after_unblinding(study: Path, opened: Plan) -> None:
    clock = Clock(Store(study).facts().created_wall)
    store = Store(study, wall=clock)
    protocol = protocol_of(opened.protocol)
    first = min((one for one in opened.presentations if one.reader == "anna" and one.session == 1), key=lambda one: one.position)
    read_one(store, "anna", first.key)
    with pytest.raises(StudyError, match="still blinded"):
        responses(store, opened, protocol)
    with pytest.raises(StudyError, match="unfinished"):
        unblind(store, PASSPHRASE, "admin")
    with pytest.raises(StudyError, match="passphrase is wrong"):
        unblind(store, "not this passphrase", "admin")
    assert "unsealing failed" in [one.event for one in store.events()]
    read_all(store, clock)
    unblind(store, PASSPHRASE, "admin", user="root")
    found = responses(store, opened, protocol)
    wanted = sorted(
        (one.reader, one.session, one.position, one.case, one.arms, one.repeat, item, where)
        for one in opened.presentations
        if not one.is_training
        for item in protocol.reading(one.reading).items
        for where in protocol.item(item).where
        if item != "comment"
    )
    assert sorted((one.reader, one.session, one.position, one.case, one.arms, one.repeat, one.item, one.where) for one in found) == wanted
    assert {one.truth for one in found if (one.item, one.where) == ("pfirrmann", "L1/L2")} == {1, 2}
    assert {one.truth for one in found if (one.item, one.where) != ("pfirrmann", "L1/L2")} == {None}
    assert {one.patient for one in found} == {"Pseudonym0", "Pseudonym1"}
    with pytest.raises(Closed):
        store.save("anna", first.key, "overall_quality", "", 1, "", 1)
    with store.writing_to() as connection:
        connection.exec_driver_sql("DROP TRIGGER answer_no_update")
        connection.exec_driver_sql("UPDATE answer SET value = 4 WHERE item = 'overall_quality' AND value <> 4")
    with pytest.raises(StudyError, match="somebody changed"):
        responses(store, opened, protocol)
    store.close()


def test_a_study_is_never_overwritten(made: tuple[Path, Created], sources: Path) -> None:
    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in made[0].rglob("*") if path.is_file()}
    with pytest.raises(DataError, match="never overwritten"):
        create(sources / "study.toml", made[0], PASSPHRASE)
    (sources / "other").mkdir()
    (sources / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        create(sources / "study.toml", sources / "other", PASSPHRASE)
    assert before == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in made[0].rglob("*") if path.is_file()}


def test_a_creation_that_fails_leaves_nothing(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "seal", broken)
    with pytest.raises(KeyboardInterrupt):
        create(sources / "study.toml", tmp_path / "deep" / "STUDY", PASSPHRASE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("admin", "words", "said"), [("anna", PASSPHRASE, "called 'anna'"), ("a b", PASSPHRASE, "called"), ("admin", "short", "12 characters")]
)
def test_who_is_refused(sources: Path, tmp_path: Path, admin: str, words: str, said: str) -> None:
    with pytest.raises(StudyError, match=said):
        create(sources / "study.toml", tmp_path / "STUDY", words, admin=admin)
    assert list(tmp_path.iterdir()) == []


def test_check_finds_what_create_would(sources: Path, made: tuple[Path, Created]) -> None:
    found = check(sources / "study.toml")
    assert len(found.presentations) == len(made[1].checked.presentations)
    assert found.n_bytes == sum(path.stat().st_size for path in (made[0] / "images").iterdir())
    assert len(found.cases) == 3
