# ruff: noqa: F811 (fixtures that are arguments)
"""Health, metrics and clocks of the status page."""

import pytest
from fastapi.testclient import TestClient

from onenex.node.database import clock
from onenex.node.status import make_app
from onenex.node.web.site import make_site
from tests.node.filled import USER, Filled
from tests.node.test_status import anybody, client, failed, filled, user  # noqa: F401


def test_health_and_metrics(failed: int, filled: Filled, anybody: TestClient) -> None:
    answer = anybody.get("/healthz")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["queue"], answer.json()["failed"]) == ("ok", True, 1)
    text = anybody.get("/metrics").text
    assert 'onenex_series{state="failed"} 1.0' in text
    assert "onenex_images 5.0" in text
    samples = [line.split(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) == len(set(samples)), "a sample twice"
    assert "onenex_queue_up 1.0" in text


def test_a_broken_queue_is_said_and_not_hidden(failed: int, filled: Filled, anybody: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("queue.sqlite", "queue.sqlite-wal", "queue.sqlite-shm"):
        (filled.folder / name).unlink(missing_ok=True)
    anybody.app.state.site.queue.close()  # type: ignore[attr-defined]
    (filled.folder / "queue.sqlite").write_bytes(b"no database at all" * 100)
    answer = anybody.get("/healthz")
    assert (answer.status_code, answer.json()["queue"]) == (503, False)
    assert "onenex_queue_up 0.0" in anybody.get("/metrics").text
    assert anybody.get("/").status_code == 503
    assert "cannot be used" in anybody.get("/").text


def test_disk_below_the_reserve_is_unhealthy(filled: Filled) -> None:
    config = filled.config()
    config = config.model_copy(update={"limits": config.limits.model_copy(update={"reserve_mb": 10**9})})
    somebody = TestClient(make_app(make_site(config)), base_url="http://node", client=("10.0.0.9", 1))
    assert somebody.get("/healthz").status_code == 503
    assert "The disk is full" in somebody.get("/").text


def test_clock_of_sessions_is_not_the_wall(monkeypatch: pytest.MonkeyPatch, user: TestClient) -> None:
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert USER in user.get("/").text
    later = clock.now() + 9 * 3600
    monkeypatch.setattr("time.clock_gettime", lambda _: later)
    assert "Log in" in user.get("/").text
