"""What strangers, curious readers and broken browsers try on the reading pages, and that it is refused."""

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from onenex.reader.store import Store
from onenex.reader.web.doors import COOKIE
from onenex.web.passwords import TRIES
from tests.reader.served import ADMIN, PASSWORD, Made, Reader, make, reader, serving, token_in

NOTHING = "0123456789abcdef" * 2
INJECTIONS = (
    "' OR '1'='1",
    "x'); DELETE FROM answer; --",
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "../../sealed.bin",
    "\x00",
    "%00",
    "🙂",
    "a" * 200,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("attacked") / "study", [("quality", ("denoised",)), ("spine", ("longscan",))])


@pytest.fixture(scope="module")
def address(made: Made) -> Iterator[str]:
    with serving(made.folder) as address:
        yield address


@pytest.fixture(scope="module")
def anna(address: str) -> Iterator[Reader]:
    with reader(address, "anna") as anna:
        yield anna


@pytest.fixture
def store(made: Made) -> Iterator[Store]:
    store = made.store()
    yield store
    store.close()


def told(answer: httpx.Response) -> tuple[object, ...]:
    return answer.status_code, answer.text, sorted((name, value) for name, value in answer.headers.items() if name != "date")


@pytest.mark.parametrize("path", ["/read/KEY", "/image/KEY/0/0", "/image/KEY/0/all"])
def test_anothers_case_is_told_like_one_that_does_not_exist(made: Made, anna: Reader, path: str) -> None:
    theirs = anna.http.get(path.replace("KEY", made.of("bela")[0].key))
    assert theirs.status_code == 404
    assert told(theirs) == told(anna.http.get(path.replace("KEY", NOTHING)))


def test_anothers_case_cannot_be_changed(made: Made, anna: Reader, store: Store) -> None:
    key = made.of("bela")[0].key
    assert told(anna.save(key)) == told(anna.save(NOTHING))
    assert anna.save(key).status_code == 404
    assert anna.finish(key).status_code == 404
    assert anna.http.post(f"/read/{key}/time", json={"seconds": 1}, headers={"X-Token": anna.token}).status_code == 404
    shown = store.shown(key)
    assert shown is not None
    assert (store.answers(key), shown.done, shown.seconds) == ([], False, 0.0)


def test_without_a_login_there_is_nothing(made: Made, address: str) -> None:
    key = made.of("anna")[0].key
    with reader(address) as nobody:
        assert nobody.http.get("/").headers["location"] == "/login"
        assert nobody.http.get(f"/read/{key}").headers["location"] == "/login"
        assert nobody.http.get(f"/read/{NOTHING}").headers["location"] == "/login"
        assert nobody.http.get(f"/image/{key}/0/0").status_code == 403
        assert nobody.http.get("/token").status_code == 403
        assert nobody.http.get("/progress").status_code == 404
        assert nobody.save(key, token="").status_code == 403
        assert nobody.http.post("/logout", data={"token": ""}).status_code == 403


@pytest.mark.parametrize(
    "path", ["/progress", "/unblind", "/admin", "/sealed.bin", "/study.sqlite", "/images", "/docs", "/openapi.json", "/static/", "/static/../app.py"]
)
def test_readers_find_no_back_rooms(anna: Reader, path: str) -> None:
    answer = anna.http.get(path)
    assert answer.status_code == 404
    assert answer.text == anna.http.get("/nothing").text


@pytest.mark.parametrize(
    "said",
    [
        {"value": 0}, {"value": 5}, {"value": -1}, {"value": 10**30}, {"value": 2.0}, {"value": True}, {"value": "3"}, {"value": None},
        {"value": [3]},
        {"item": "pfirrmann", "where": "L4/L5"}, {"item": "no_such"}, {"item": "reader"}, {"item": 3}, {"where": "L4/L5"}, {"where": None},
        {"version": -1}, {"version": "0"}, {"version": None}, {"reader": "bela"}, {"key": NOTHING}, {"item": "comment", "value": 1},
        {"text": "x" * 3000},
        {"item": "comment", "value": None, "text": "bell \x07"}, {"item": "comment", "value": None, "text": "half \ud800"},
    ],
)  # fmt: skip
def test_tampered_answers_are_refused(made: Made, anna: Reader, store: Store, said: dict[str, object]) -> None:
    key = made.of("anna")[0].key
    body = json.dumps({"item": "snr", "where": "", "value": 3, "version": 0} | said).encode()
    answer = anna.http.post(f"/read/{key}/answer", content=body, headers={"X-Token": anna.token, "Content-Type": "application/json"})
    assert answer.status_code == 422
    assert store.answers(key) == []


@pytest.mark.parametrize("version", [1, 2, 10**6])
def test_an_answer_to_another_version_is_refused(made: Made, anna: Reader, store: Store, version: int) -> None:
    assert anna.save(made.of("anna")[0].key, version=version).status_code == 409
    assert store.answers(made.of("anna")[0].key) == []


@pytest.mark.parametrize("injected", INJECTIONS)
def test_injections_are_words(made: Made, anna: Reader, store: Store, injected: str) -> None:
    key = made.of("anna")[0].key
    quoted = httpx.URL("http://x", params={"x": injected}).query.decode().removeprefix("x=").replace("+", "%20")
    for path in (f"/read/{quoted}", f"/image/{quoted}/0/0", f"/image/{key}/{quoted}/0", f"/image/{key}/0/{quoted}", f"/{quoted}"):
        answer = anna.http.get(path)
        assert answer.status_code == 404
        assert answer.text == anna.http.get("/nothing").text
    assert injected not in anna.http.get("/", params={"note": injected}).text.replace("a" * 200, "", 0)
    assert anna.save(key, item=injected).status_code == 422
    assert anna.save(key, where=injected).status_code == 422
    assert anna.http.post(f"/read/{quoted}/finish", data={"token": anna.token}).status_code == 404
    assert store.answers(key) == []
    assert len(store.queue("anna", 1)) == 2


def test_endless_comments_and_broken_bodies_are_refused(made: Made, anna: Reader, store: Store) -> None:
    key = made.of("anna")[0].key
    assert anna.save(key, item="comment", value=None, text="x" * 2**20).status_code == 413
    assert anna.http.post("/login", data={"user": "x" * 2**20}).status_code == 413
    head = {"X-Token": anna.token, "Content-Type": "application/json"}
    for body in (b"", b"{", b"[]", b"3", b"null", b"\xff\xfe", b"[" * 60_000):
        assert anna.http.post(f"/read/{key}/answer", content=body, headers=head).status_code == 400
    assert anna.http.post(f"/read/{key}/answer", data={"token": anna.token, "item": "snr", "value": 3, "version": 0}).status_code == 400
    assert anna.http.post("/login", json={"user": ["anna"]}, headers=head).status_code == 400
    assert anna.http.get("/", headers={"X-Long": "x" * 200_000}).status_code in (400, 431)
    assert store.answers(key) == []


def test_forms_from_elsewhere_and_from_yesterday_are_refused(made: Made, address: str, store: Store) -> None:
    key = made.of("anna")[0].key
    with reader(address, "anna") as first, reader(address, "bela") as other:
        for token in ("", "0" * 64, other.token, first.token[:-1], "é"):
            body = json.dumps({"item": "snr", "value": 3, "version": 0}).encode()
            signed = {b"X-Token": token.encode(), b"Content-Type": b"application/json"}
            assert first.http.post(f"/read/{key}/answer", content=body, headers=signed).status_code == 403
        for head in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
            answer = first.http.post(f"/read/{key}/answer", json={"item": "snr", "value": 3, "version": 0}, headers={"X-Token": first.token, **head})
            assert answer.status_code == 403
            assert first.http.post("/logout", data={"token": first.token}, headers=head).status_code == 403
        old, cookie = first.token, first.http.cookies[COOKIE]
        assert first.http.post("/logout", data={"token": old}).status_code == 303
        first.http.cookies.set(COOKIE, cookie)
        assert first.http.get("/").headers["location"] == "/login"
        assert first.save(key, token=old).status_code == 403
        first.http.cookies.clear()
        first.log_in("anna")
        assert first.token != old
        assert first.save(key, token=old).status_code == 403
    assert store.answers(key) == []


def test_cookies_cannot_be_made_or_changed(address: str) -> None:
    with reader(address, "anna") as anna:
        payload, _, mac = anna.http.cookies[COOKIE].partition(".")
        user, nonce, ends = json.loads(base64.urlsafe_b64decode(payload))
        forged = base64.urlsafe_b64encode(json.dumps([ADMIN, nonce, ends]).encode()).decode()
        longer = base64.urlsafe_b64encode(json.dumps([user, nonce, ends + 10**6]).encode()).decode()
    for cookie in (
        f"{forged}.{mac}",
        f"{longer}.{mac}",
        payload,
        f"{payload}.",
        f"{payload}.{mac[:-1]}",
        "x",
        ".",
        f"{'A' * 4000}.{mac}",
        f"{payload}.{mac}.x",
    ):
        with httpx.Client(base_url=address, cookies={COOKIE: cookie}) as http:
            assert http.get("/").headers["location"] == "/login"


def test_a_login_starts_a_session_of_its_own(address: str) -> None:
    with reader(address) as anna:
        anna.http.cookies.set(COOKIE, "chosen-by-somebody-else")
        anna.log_in("anna")
        mine = [one.value for one in anna.http.cookies.jar if one.name == COOKIE]
        assert len(mine[-1] or "") > 80
    with reader(address, "bela") as bela, reader(address) as victim:
        page = bela.http.get("/login")
        victim.http.get("/login")
        answer = victim.http.post("/login", data={"token": token_in(page.text), "user": "bela", "password": PASSWORD})
        assert answer.status_code == 403  # a form made for another browser: nobody is logged in as somebody else unawares
        assert COOKIE not in victim.http.cookies
        welcome = bela.http.post("/login", data={"token": token_in(bela.http.get("/login").text), "user": "bela", "password": PASSWORD})
        assert all(word in welcome.headers["set-cookie"].lower() for word in ("httponly", "samesite=strict"))


def test_guessing_passwords_ends_soon_and_tells_nothing(made: Made) -> None:
    with serving(made.folder) as address, reader(address) as stranger:
        answers = [stranger.log_in(user, "wrong") for user in ("anna", "nobody", "' OR 1=1 --", "")]
        assert {answer.status_code for answer in answers} == {403}
        assert len({answer.text.replace(token_in(answer.text), "") for answer in answers}) == 1
        for _ in range(TRIES - 1):
            assert stranger.log_in("anna", "wrong").status_code == 403
        refused = stranger.log_in("anna")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) > 60
        assert stranger.log_in("bela").status_code == 303  # a colleague at the same address


def test_every_answer_has_its_headers(made: Made, anna: Reader) -> None:
    key = made.of("anna")[0].key
    for path in ("/", "/login", f"/read/{key}", f"/image/{key}/0/0", f"/image/{key}/0/all", "/static/style.css", "/nothing", "/token"):
        head = anna.http.get(path).headers
        assert head["cache-control"] == "no-store"
        assert head["x-frame-options"] == "DENY"
        assert head["x-content-type-options"] == "nosniff"
        assert "unsafe" not in head["content-security-policy"]
        assert "default-src 'none'" in head["content-security-policy"]
        assert "server" not in head


def test_paths_cannot_climb(address: str, made: Made, anna: Reader) -> None:
    cookie = anna.http.cookies[COOKIE]
    secret = (Path(made.folder) / "pages.key").read_bytes()
    host, port = address.removeprefix("http://").split(":")
    for path in (
        "/static/../../../store.py",
        "/static/%2e%2e/%2e%2e/app.py",
        "/static//etc/passwd",
        "/image/../../study.sqlite/0/0",
        "/read/..%2f..%2fpages.key",
    ):
        with socket.create_connection((host, int(port)), 10) as plain:
            plain.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {COOKIE}={cookie}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while part := plain.recv(65_536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 404"), path
        assert secret not in answer
