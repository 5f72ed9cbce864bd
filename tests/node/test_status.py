"""The status page without a browser: who sees what, who may press what, and that no word on a patient gets out."""

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from onenex.node.audit import uid_hash
from onenex.node.records import State
from onenex.node.status import make_app
from onenex.node.web.doors import COOKIE
from onenex.node.web.site import make_site
from tests.node.filled import FAMILY, NAME, PASSWORD, PATIENT_ID, STUDY_DATE, STUDY_UID, TELLTALES, USER, Filled

PAGES = ("/", "/series/{id}", "/series/{id}/pictures", "/api/series", "/api/series/{id}", "/metrics", "/healthz", "/login")


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    return Filled(tmp_path)


@pytest.fixture
def failed(filled: Filled) -> int:
    """A failed series whose reason and errors hold all that a careless reason could."""
    files = filled.series(SeriesDescription=f"t2 {FAMILY} {STUDY_DATE}")
    series_id = filled.complete(filled.arrive(files))
    path = filled.queue.files(series_id)[0]
    filled.give_up(f"PACS says: patient {NAME.upper()} born 1943-02-17 is not {PATIENT_ID}, study {STUDY_UID}")
    filled.queue.fail(filled.claim(), f"{path} of {NAME} ({PATIENT_ID}, 17.02.1943) is damaged", final=True)
    return series_id


def client(filled: Filled, *, login: bool = True, address: str = "10.0.0.9", host: str = "node.hospital", **status: Any) -> TestClient:
    app = make_app(make_site(filled.config(login=login, **status)))
    return TestClient(app, base_url=f"http://{host}", client=(address, 50000), follow_redirects=False)


@pytest.fixture
def anybody(filled: Filled) -> TestClient:
    return client(filled)


@pytest.fixture
def user(filled: Filled) -> TestClient:
    somebody = client(filled)
    answer = log_in(somebody)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?note=login")
    return somebody


def log_in(somebody: TestClient, password: str = PASSWORD) -> Any:
    form = {"token": token(somebody, "/login"), "user": USER, "password": password}
    return somebody.post("/login", data=form)


def token(somebody: TestClient, page: str = "/") -> str:
    found = re.search(r'name="token" value="([0-9a-f]+)"', somebody.get(page).text)
    return found[1] if found else ""


def test_list_and_page_show_state_reason_and_deliveries(failed: int, user: TestClient) -> None:
    rows = user.get("/").text
    for text in ("Failed", "SCANNER1", "is damaged", "PACS: originals failed", 'aria-label="Retry series 1"', "t2 [hidden] [hidden]"):
        assert text in rows
    page = user.get(f"/series/{failed}").text
    for text in ("everything", "PACS says: patient [hidden]", "0 of 5", uid_hash(STUDY_UID)):
        assert text in page


@pytest.mark.parametrize("logged_in", [False, True])
def test_no_telltale_anywhere(failed: int, filled: Filled, logged_in: bool) -> None:
    good = filled.complete(filled.arrive(filled.series(SeriesDescription=f"{FAMILY} 2014-03-09")))
    filled.denoise(filled.claim())
    filled.deliver(2)
    somebody = client(filled)
    if logged_in:
        log_in(somebody)
    found = {}
    for series_id in (failed, good):
        for page in PAGES:
            answer = somebody.get(page.format(id=series_id))
            assert answer.status_code == (403 if page.endswith("pictures") and not logged_in else 200)
            found[page, series_id] = answer.text + str(answer.headers)
    folders = re.findall(r'/series/\d+/pictures/[^"]+', "".join(found.values()))
    assert len(folders) == (6 if logged_in else 0) + (3 if logged_in else 0)
    pictures = b"".join(somebody.get(one).content for one in folders).decode("latin-1")
    leaks = [(page, word) for page, text in found.items() for word in TELLTALES if word.lower() in text.lower()]
    assert leaks == []
    assert [word for word in TELLTALES if word in pictures] == []
    trail = (filled.folder / "audit.jsonl").read_text() if logged_in else ""
    assert [word for word in TELLTALES if word in trail] == []


def test_patients_are_shown_where_configured_but_only_after_login(failed: int, filled: Filled) -> None:
    somebody = client(filled, show_patients=True)
    assert [word for word in TELLTALES if word in somebody.get("/api/series").text + somebody.get(f"/series/{failed}").text] == []
    log_in(somebody)
    page = somebody.get(f"/series/{failed}").text
    assert all(word in page for word in (NAME, PATIENT_ID, STUDY_UID))
    assert NAME in somebody.get("/").text
    assert [word for word in TELLTALES if word in somebody.get("/metrics").text + somebody.get("/healthz").text] == []


def test_markup_in_headers_is_escaped(filled: Filled) -> None:
    filled.arrive(filled.series(SeriesDescription="<img src=x onerror=alert(1)>"))
    somebody = client(filled)
    log_in(somebody)
    text = somebody.get("/").text
    assert "&lt;img src=x onerror" in text
    assert "<img" not in text


def test_anybody_reads_and_changes_nothing(failed: int, filled: Filled, anybody: TestClient) -> None:
    page = anybody.get("/").text + anybody.get(f"/series/{failed}").text
    assert "Retry" not in page
    assert "Log in" in page
    assert "title" not in anybody.get("/api/series/1").json()
    for path in (f"/series/{failed}/retry", "/pause", "/resume", "/logout"):
        assert anybody.post(path, data={"token": "0" * 64}).status_code == 403
        assert anybody.post(path).status_code == 403
    assert not filled.queue.paused()
    assert filled.queue.counts()[State.FAILED] == 1
    assert anybody.get(f"/series/{failed}/pictures").status_code == 403
    assert anybody.get(f"/series/{failed}/pictures/{failed}-1-before/before-0.png").status_code == 403


def test_retry_pause_resume(failed: int, filled: Filled, user: TestClient) -> None:
    answer = user.post(f"/series/{failed}/retry", data={"token": token(user)})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/series/{failed}?note=retried")
    view = filled.queue.one(failed)
    assert view is not None
    assert view.state is State.COMPLETE
    assert user.post(f"/series/{failed}/retry", data={"token": token(user)}).headers["location"].endswith("not-retried")
    assert "Nothing to retry" in user.get(f"/series/{failed}?note=not-retried").text
    user.post("/pause", data={"token": token(user)})
    assert filled.queue.paused()
    assert "Paused." in user.get("/").text
    user.post("/resume", data={"token": token(user)})
    assert not filled.queue.paused()
    events = (filled.folder / "audit.jsonl").read_text()
    assert [word for word in ('"login"', '"retry"', '"paused"', '"resumed"') if word not in events] == []
    assert events.count(f'"by": "{USER}"') == 4


def test_forged_forms_are_refused(filled: Filled, user: TestClient) -> None:
    good = token(user)
    other = client(filled)
    log_in(other)
    forged = [
        ({"token": token(other)}, {}),
        ({"token": good[:-1] + ("0" if good[-1] != "0" else "1")}, {}),
        ({}, {}),
        ({"token": good}, {"origin": "https://evil.example"}),
        ({"token": good}, {"origin": "null"}),
        ({"token": good}, {"sec-fetch-site": "cross-site"}),
    ]
    assert [user.post("/pause", data=form, headers=headers).status_code for form, headers in forged] == [403] * 6
    assert not filled.queue.paused()
    assert user.post("/pause", content=b"token=" + b"a" * 10_000).status_code == 413
    assert user.post("/pause", content=b"token=\xff").status_code == 400
    assert user.post("/pause", data={"token": good}, headers={"origin": "http://node.hospital", "sec-fetch-site": "same-origin"}).status_code == 303
    assert user.get("/pause").status_code == 405


def test_login_needs_its_own_form(anybody: TestClient) -> None:
    assert anybody.post("/login", data={"user": USER, "password": PASSWORD}).status_code == 403
    stolen = token(anybody, "/login")
    anybody.cookies.clear()
    assert anybody.post("/login", data={"token": stolen, "user": USER, "password": PASSWORD}).status_code == 403


def test_wrong_passwords_are_slowed_down(filled: Filled, anybody: TestClient) -> None:
    answers = [log_in(anybody, f"wrong {n}").status_code for n in range(5)]
    assert answers == [403] * 5
    late = log_in(anybody)
    assert late.status_code == 429
    assert 0 < int(late.headers["retry-after"]) <= 301
    assert COOKIE not in anybody.cookies
    trail = (filled.folder / "audit.jsonl").read_text()
    assert trail.count("login-failed") == 5
    assert "wrong" not in trail


def test_session_cookie_is_safe_and_ends_with_logout_or_a_new_password(filled: Filled, user: TestClient) -> None:
    fresh = client(filled)
    cookie = log_in(fresh).headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
    kept = user.cookies[COOKIE]
    user.post("/logout", data={"token": token(user)})
    user.cookies.set(COOKIE, kept)
    assert "Log in" in user.get("/").text
    assert USER in fresh.get("/").text
    filled.new_password()
    assert "Log in" in fresh.get("/").text


def test_cookie_is_for_https_alone_where_the_page_has_a_certificate(filled: Filled) -> None:
    somebody = client(filled, certificate=filled.base / "c.pem", key=filled.base / "k.pem")
    assert "Secure" in somebody.get("/login").headers["set-cookie"]


def test_without_password_file_only_this_machine_is_answered(failed: int, filled: Filled) -> None:
    here = client(filled, login=False, address="127.0.0.1", host="127.0.0.1:8080")
    page = here.get("/").text
    assert "no password file" in page
    assert "Retry" not in page
    assert here.get("/login").status_code == 404
    assert here.post(f"/series/{failed}/retry", data={"token": ""}).status_code == 403
    assert here.get(f"/series/{failed}/pictures").status_code == 200
    refused = [
        client(filled, login=False, address="10.0.0.9", host="127.0.0.1").get("/"),
        client(filled, login=False, address="127.0.0.1", host="rebound.example").get("/api/series"),
        client(filled, login=False, address="127.0.0.1", host="localhost").get("/metrics", headers={"X-Forwarded-For": "10.0.0.9"}),
    ]
    assert [one.status_code for one in refused] == [403] * 3
    assert [one for one in refused if "SCANNER1" in one.text] == []


def test_every_answer_has_the_headers_and_no_inline_script_or_style(failed: int, user: TestClient) -> None:
    for path in (*(page.format(id=failed) for page in PAGES), "/static/style.css", "/nothing", "/series/99", "/api/series/99", "/?state=x"):
        answer = user.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == ("nosniff", "no-store")
        if "html" in answer.headers["content-type"]:
            assert not re.search(r"<script>|<script [^>]*>[^<]|<style| style=| on[a-z]+=|javascript:", answer.text)
            assert not re.search(r'(?:src|href|action)="(?!/)[^"#]', answer.text)


ODD = (
        ("/series/99", 404), ("/series/-1", 404), ("/series/abc", 404), (f"/series/{'9' * 30}", 404), (f"/series/{'9' * 5000}", 404),
        ("/?state=bogus", 400), ("/?offset=-1", 400), ("/api/series?limit=1e9", 400), ("/api/series/99", 404), ("/docs", 404), ("/openapi.json", 404),
        ("/static/../status.py", 404), ("/static/%2e%2e/list.html", 404), ("/series/1/pictures/1-1-before/..%2f..%2fqueue.sqlite", 404),
        ("/series/1/pictures/2-1-before/before-0.png", 404), ("/?note=%3Cscript%3E", 200),
)  # fmt: skip


def test_odd_addresses(failed: int, user: TestClient) -> None:
    for path, status in ODD:
        answer = user.get(path)
        assert (path[:50], answer.status_code) == (path[:50], status)
        assert "<script>" not in answer.text
        assert "Traceback" not in answer.text
        if path.startswith("/api/"):
            assert set(answer.json()) == {"error"}


def test_api_lists_by_state_and_pages(failed: int, filled: Filled, anybody: TestClient) -> None:
    for _ in range(3):
        filled.arrive(filled.series(1))
    answer = anybody.get("/api/series?state=received&limit=2&offset=1").json()
    assert [one["state"] for one in answer["series"]] == ["received", "received"]
    assert answer["counts"]["received"] == 3
    assert answer["counts"]["failed"] == 1
    assert answer["paused"] is False
    one = anybody.get(f"/api/series/{failed}").json()
    assert (one["state"], one["images"], one["deliveries"][0]["destination"]) == ("failed", 5, "PACS")


def test_list_goes_on_older_pages(filled: Filled, anybody: TestClient) -> None:
    file = filled.series(1)[0]
    for _ in range(52):
        filled.arrive(filled.series(1, rows=16, columns=16))
    assert file.exists()
    first = anybody.get("/").text
    assert (first.count("data-id="), 'href="/?offset=50"' in first) == (50, True)
    second = anybody.get("/?offset=50").text
    assert (second.count("data-id="), 'href="/"' in second) == (2, True)
