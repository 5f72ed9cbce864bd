"""The reading pages over HTTP, served for real: sessions, cases, answers, images, progress."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from onenex.errors import StudyError
from onenex.reader.app import run
from onenex.reader.store import Store
from tests.reader.served import ADMIN, READERS, SMALL, Made, make, reader, serving

WANTED = [("quality", ("denoised",)), ("compare", ("denoised", "longscan")), ("spine", ("longscan",)), ("knee", ("denoised",))]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make(tmp_path / "study", WANTED)


@pytest.fixture
def address(made: Made) -> Iterator[str]:
    with serving(made.folder) as address:
        yield address


@pytest.fixture
def store(made: Made) -> Iterator[Store]:
    store = made.store()
    yield store
    store.close()


def test_a_reader_reads_a_session_from_first_to_last(made: Made, address: str, store: Store) -> None:
    queue = [one.key for one in made.of("anna")]
    with reader(address, "anna") as anna:
        home = anna.http.get("/").text
        assert "Session 1" in home
        assert "Opens some time after the session before is finished" in home
        assert f'href="/read/{queue[0]}"' in home
        assert [key for key in queue[1:] if key in home] == []
        for key, following in zip(queue, [*queue[1:], None], strict=True):
            page = anna.http.get(f"/read/{key}")
            assert page.status_code == 200
            assert ("Training: not counted" in page.text) is (key == queue[0])
            assert "&lt;b&gt;one&lt;/b&gt;" in page.text
            assert anna.finish(key).status_code == 422
            anna.answer_all(key, store)
            done = anna.finish(key)
            assert done.status_code == 303
            assert done.headers["location"] == (f"/read/{following}" if following else "/?note=finished")
        home = anna.http.get("/?note=finished").text
        assert "4 of 4" in home
        assert "Opens on" in home
        assert "/read/" not in home
        assert "Thank you" in home


def test_cases_are_read_in_their_order_and_once(made: Made, address: str, store: Store) -> None:
    first, second = (one.key for one in made.of("anna")[:2])
    with reader(address, "anna") as anna:
        assert anna.http.get(f"/read/{second}").headers["location"] == f"/read/{first}"
        anna.answer_all(first, store)
        anna.finish(first)
        assert anna.http.get(f"/read/{first}").headers["location"] == "/?note=closed"
        assert anna.http.get(f"/image/{first}/0/0").status_code == 404
        assert anna.save(first, version=1).status_code == 410
        assert anna.finish(first).headers["location"] == f"/read/{second}"
        later = made.of("anna", 2)[0].key
        assert anna.http.get(f"/read/{later}").headers["location"] == "/?note=closed"
        assert anna.http.get(f"/image/{later}/0/0").status_code == 404
        assert anna.save(later).status_code == 410


def test_answers_are_there_on_another_machine(made: Made, address: str) -> None:
    key = made.of("anna")[0].key
    words = 'größer\n</textarea><script>alert("1")</script> \'; DROP TABLE answer; --'
    with reader(address, "anna") as anna:
        assert anna.save(key, item="snr", value=3).json() == {"version": 1}
        assert anna.save(key, item="snr", value=3).json() == {"version": 1}
        assert anna.save(key, item="snr", value=2, version=1).json() == {"version": 2}
        assert anna.save(key, item="comment", value=None, text=words).json() == {"version": 1}
        assert anna.save(key, item="snr", value=4, version=1).status_code == 409
    with reader(address, "anna") as elsewhere:
        page = elsewhere.http.get(f"/read/{key}").text
        assert page.count(" checked") == 2  # the answer, and the help's switch
        assert 'name="snr-0" value="2" data-key="2" checked' in page
        assert 'data-item="snr" data-where="" data-version="2"' in page
        assert "größer\n&lt;/textarea&gt;&lt;script&gt;" in page
        assert "<script>" not in page
        assert elsewhere.save(key, item="snr", value=4, version=2).json() == {"version": 3}


def test_images_are_the_files_numbers(made: Made, address: str, store: Store) -> None:
    key = made.of("anna")[1].key
    shown = store.shown(key)
    assert shown is not None
    with reader(address, "anna") as anna:
        for side, image in enumerate(shown.images):
            stored = np.fromfile(store.image_path(image.token), "<u2").reshape(SMALL.n_slices, SMALL.rows, SMALL.columns)
            whole = anna.http.get(f"/image/{key}/{side}/all")
            assert whole.content == stored.tobytes()
            assert whole.headers["content-length"] == str(SMALL.n_bytes)
            for number in range(SMALL.n_slices):
                assert anna.http.get(f"/image/{key}/{side}/{number}").content == stored[number].tobytes()
        for wrong in ("2/0", "0/5", "0/-1", "x/0", "0/x", "0/1.0", "٣/0", "0/999999", "0/"):
            assert anna.http.get(f"/image/{key}/{wrong}").status_code == 404, wrong


def test_a_lost_image_is_said_and_not_half_sent(made: Made, address: str, store: Store) -> None:
    key = made.of("anna")[0].key
    shown = store.shown(key)
    assert shown is not None
    path = store.image_path(shown.images[0].token)
    with reader(address, "anna") as anna:
        path.write_bytes(path.read_bytes()[:100])
        assert anna.http.get(f"/image/{key}/0/0").status_code == 503
        path.unlink()
        answer = anna.http.get(f"/image/{key}/0/0")
        assert answer.status_code == 503
        assert str(path) not in answer.text


def test_reading_time_is_what_went_by_at_most(made: Made, address: str, store: Store) -> None:
    key = made.of("anna")[0].key
    with reader(address, "anna") as anna:
        anna.http.get(f"/read/{key}")
        time.sleep(0.3)
        assert anna.http.post(f"/read/{key}/time", json={"seconds": 0.25}, headers={"X-Token": anna.token}).status_code == 204
        for nonsense in (-1, "ten", None, 10**9, [1]):
            assert anna.http.post(f"/read/{key}/time", json={"seconds": nonsense}, headers={"X-Token": anna.token}).status_code == 422
        shown = store.shown(key)
        assert shown is not None
        assert shown.seconds == pytest.approx(0.25)
        anna.http.post(f"/read/{key}/time", json={"seconds": 3000}, headers={"X-Token": anna.token})
        shown = store.shown(key)
        assert shown is not None
        assert shown.seconds < 5
    assert [one.event for one in store.events()].count("opened") == 1


def test_an_admin_sees_progress_and_nothing_else(made: Made, address: str, store: Store) -> None:
    key = made.of("anna")[0].key
    with reader(address, "anna") as anna:
        anna.answer_all(key, store)
        anna.finish(key)
        assert anna.http.get("/progress").status_code == 404
    with reader(address, ADMIN) as chief:
        assert chief.http.get("/").headers["location"] == "/progress"
        page = chief.http.get("/progress").text
        assert all(name in page for name in READERS)
        assert "1 of 4" in page
        assert "denoised" not in page
        assert key not in page
        assert chief.http.get(f"/read/{made.of('anna')[1].key}").status_code == 404
        assert chief.http.get(f"/image/{made.of('anna')[1].key}/0/0").status_code == 404


def test_an_unblinded_study_takes_no_answers(made: Made, address: str, store: Store) -> None:
    key = made.of("anna")[0].key
    with reader(address, "anna") as anna:
        store.unblind(ADMIN, incomplete=True)
        home = anna.http.get("/").text
        assert "The study is closed" in home
        assert "/read/" not in home
        assert anna.http.get(f"/read/{key}").headers["location"] == "/?note=closed"
        assert anna.save(key).status_code == 410
        assert anna.http.get(f"/image/{key}/0/0").status_code == 404


def test_a_server_that_cannot_start_says_why(made: Made, address: str, tmp_path: Path) -> None:
    stop = threading.Event()
    with pytest.raises(StudyError, match="choose another --host or --port"):
        run(made.folder, stop, port=int(address.rpartition(":")[2]))
    with pytest.raises(StudyError, match="both a certificate and its key"):
        run(made.folder, stop, port=0, certificate=tmp_path / "c.pem")
    (tmp_path / "c.pem").write_text("no certificate")
    with pytest.raises(StudyError, match="PEM files that belong together"):
        run(made.folder, stop, port=0, certificate=tmp_path / "c.pem", key=tmp_path / "c.pem")
    with pytest.raises(StudyError, match="holds no reader study"):
        run(tmp_path / "nothing", stop)
