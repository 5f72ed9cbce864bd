import sqlite3
import threading
from pathlib import Path

import pytest

from onenex.errors import StudyError
from onenex.reader.keeping.refusals import Outdated
from onenex.reader.store import Store
from tests.reader.kept import PLAN, A, small_study
from tests.reader.sources import Clock, read_one


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return small_study(tmp_path, Clock())


def tampered(folder: Path, *orders: str) -> None:
    plain = sqlite3.connect(folder / "study.sqlite")
    for table in ("answer", "event"):
        for verb in ("update", "delete"):
            plain.execute(f"DROP TRIGGER {table}_no_{verb}")
    for order in orders:
        plain.execute(order)
    plain.commit()
    plain.close()


@pytest.mark.parametrize(
    "order",
    [
        "UPDATE answer SET value = 4 WHERE id = 1",
        "UPDATE answer SET presentation = (SELECT max(key) FROM presentation) WHERE id = 2",
        "UPDATE answer SET saved_wall = saved_wall - 1 WHERE id = 2",
        "DELETE FROM answer WHERE id = 2",
        "DELETE FROM answer WHERE id = (SELECT max(id) FROM answer)",
        "INSERT INTO answer SELECT 9, presentation, item, place, 9, 4, text, saved_wall, digest FROM answer WHERE id = 1",
        "UPDATE event SET fields = '{}' WHERE id = 2",
        "UPDATE event SET wall = 0 WHERE id = 1",
        "DELETE FROM event WHERE id = 1",
    ],
)
def test_tampering_with_answers_or_log_shows(store: Store, tmp_path: Path, order: str) -> None:
    read_one(store, A.reader, A.key)
    store.unblind("chief", incomplete=True)
    assert store.verify() > 5
    tampered(tmp_path, order)
    with pytest.raises(StudyError, match="compare with a copy"):
        store.verify()


def test_many_threads_lose_nothing_and_one_of_two_wins(store: Store) -> None:
    won: list[str] = []

    def race(value: int) -> None:
        try:
            store.save("anna", A.key, "overall_quality", "", value, "", 0)
            won.append("won")
        except Outdated:
            won.append("outdated")
        for version in range(5):
            store.save("anna" if value < 3 else "bela", PLAN[1 if value < 3 else 5].key, "levels", f"L{value % 2 + 1}", 1 + version % 3, "", version)

    threads = [threading.Thread(target=race, args=(value,)) for value in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == ["outdated", "outdated", "outdated", "won"]
    assert sum(one.version for key in (PLAN[1].key, PLAN[5].key) for one in store.kept(key)) == 20
    store.verify()


def test_another_process_finds_everything_and_newer_or_missing_studies_are_refused(store: Store, tmp_path: Path) -> None:
    store.save("anna", A.key, "overall_quality", "", 2, "", 0)
    store.close()
    assert Store(tmp_path).answers(A.key)[0].value == 2
    with pytest.raises(StudyError, match="holds no reader study"):
        Store(tmp_path / "elsewhere")
    plain = sqlite3.connect(tmp_path / "study.sqlite")
    plain.execute("PRAGMA user_version = 99")
    plain.close()
    with pytest.raises(StudyError, match="newer OneNEX"):
        Store(tmp_path)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "study.sqlite").write_bytes(b"nonsense" * 1000)
    with pytest.raises(StudyError, match="is damaged"):
        Store(tmp_path / "damaged")
