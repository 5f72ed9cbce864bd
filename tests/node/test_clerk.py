"""The clerk: a series is complete by silence, count or announcement; rules decide; what cannot be judged goes on as it came, and says why."""

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from onenex.errors import NodeError
from onenex.node import clerk
from onenex.node.audit import Audit, uid_hash
from onenex.node.queue import Queue
from onenex.node.records import Route, State
from onenex.node.rules import UNREADABLE
from tests.node.working import EXPECTED_S, QUIET_S, Later, Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, Later(monkeypatch))


# ── complete ──


def test_a_series_is_complete_when_nothing_came_for_a_while(site: Site) -> None:
    config = site.settings()
    files = site.series(3, rows=16, columns=16)
    series_id = site.arrive(files[:2])
    site.later(QUIET_S - 1)
    site.arrive(files[2:])
    site.later(QUIET_S - 1)
    assert clerk.route_complete(config, site.queue, site.audit) == 0
    site.later(1)
    assert clerk.route_complete(config, site.queue, site.audit) == 1
    assert (site.one(series_id).state, site.one(series_id).n_images) == (State.COMPLETE, 3)
    assert clerk.route_complete(config, site.queue, site.audit) == 0


@pytest.mark.parametrize("early", [True, False])
def test_a_series_whose_count_was_announced_is_complete_sooner(site: Site, early: bool) -> None:
    config = site.settings()
    files = site.series(3, rows=16, columns=16, SeriesInstanceUID="1.2.3")
    study = "1.3.12.2.1107.5.2.18.41185.20140309101112"
    if early:
        site.queue.announce(study, "1.2.3", 3)
    series_id = site.arrive(files[:2])
    if not early:
        site.queue.announce(study, "1.2.3", 3)
    site.later(EXPECTED_S)
    assert clerk.route_complete(config, site.queue, site.audit) == 0, "one is missing"
    site.arrive(files[2:])
    assert clerk.route_complete(config, site.queue, site.audit) == 0, "not quiet yet"
    site.later(EXPECTED_S)
    assert clerk.route_complete(config, site.queue, site.audit) == 1
    assert (site.one(series_id).state, site.one(series_id).n_expected) == (State.COMPLETE, 3)


def test_an_image_in_the_last_moment_puts_the_decision_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    config, files = site.settings(), site.series(2, rows=16, columns=16)
    series_id = site.arrive(files[:1])
    site.later(QUIET_S)
    decide = clerk.decide

    def late(*arguments: Any, **keywords: Any) -> Route:
        site.arrive(files[1:])
        return decide(*arguments, **keywords)

    monkeypatch.setattr(clerk, "decide", late)
    assert clerk.route_complete(config, site.queue, site.audit) == 0
    assert (site.one(series_id).state, site.deliveries(series_id)) == (State.RECEIVED, [])
    monkeypatch.undo()
    Later(monkeypatch)(10 * QUIET_S)
    assert clerk.route_complete(config, site.queue, site.audit) == 1
    assert site.deliveries(series_id) == ["original far pending 2", "original near pending 2"]


# ── decided ──


@pytest.mark.parametrize(
    ("when", "is_found"),
    [
        ({"SeriesDescription": "^t2_tse"}, True), ({"00180087": "1.5"}, True), ({"organ": "head"}, True), ({"called_ae": "^ONENEX$"}, True),
        ({"calling_ae": "SCANNER1", "SeriesDescription": "tra$"}, True), ({"calling_ae": "SCANNER2"}, False), ({"SeriesDescription": "t1"}, False),
        ({"calling_ae": "SCANNER1", "SeriesDescription": "t1"}, False),
    ],
)  # fmt: skip
def test_the_first_rule_that_matches_decides(site: Site, when: dict[str, str], is_found: bool) -> None:
    first = {"name": "first", "when": when, "action": "pass", "destinations": ["far"], "originals": "with-result"}
    config = site.settings(first, {"name": "second", "destinations": ["near"], "originals": "never"}, {"name": "third", "action": "refuse"})
    series_id = site.decided(config)
    view = site.one(series_id)
    if is_found:
        assert (view.rule, view.state) == ("first", State.PASSED_THROUGH)
        assert site.deliveries(series_id) == ["original far pending 3"], "nothing to wait for"
        assert "first" in view.reason
    else:
        assert (view.rule, view.state, site.deliveries(series_id)) == ("second", State.COMPLETE, [])


def test_what_is_refused_stays_here_and_waits_for_a_person(site: Site) -> None:
    series_id = site.decided(site.settings({"name": "no", "action": "refuse"}))
    assert (site.one(series_id).state, site.deliveries(series_id)) == (State.FAILED, [])
    assert "nothing is forwarded" in site.one(series_id).reason
    assert all(path.is_file() for path in site.queue.files(series_id))
    assert site.queue.retry(series_id)
    site.close(site.settings({"name": "yes", "action": "pass"}))
    assert site.one(series_id).state is State.PASSED_THROUGH


def test_a_series_is_judged_by_the_first_header_that_can_be_read(site: Site) -> None:
    config = site.settings({"name": "t2", "when": {"SeriesDescription": "t2"}, "action": "pass"})
    series_id = site.arrive(site.series(3, rows=16, columns=16))
    for path in site.queue.files(series_id)[:2]:
        path.write_bytes(b"damaged on the disk")
    site.queue.files(series_id)[0].unlink()
    site.close(config)
    assert site.one(series_id).rule == "t2"


def test_a_series_that_no_rule_can_judge_goes_on_as_it_came(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    config = site.settings({"name": "t2", "when": {"SeriesDescription": "t2"}, "action": "refuse"})
    series_id = site.arrive(site.series(3, rows=16, columns=16))
    for path in site.queue.files(series_id):
        path.write_bytes(b"damaged on the disk")
    with site.discreet(caplog):
        site.close(config)
    view = site.one(series_id)
    assert (view.state, view.reason) == (State.PASSED_THROUGH, UNREADABLE)
    assert site.deliveries(series_id) == ["original far pending 3", "original near pending 3"]


def test_rules_that_break_stop_neither_this_series_nor_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = site.settings({"name": "no", "action": "refuse"})
    ids = [site.arrive(site.series(1, rows=16, columns=16)) for _ in range(2)]
    bursts = iter([ValueError("Zyzzyva^Quillon cannot be judged"), None])
    decide = clerk.decide

    def breaking(*arguments: Any, **keywords: Any) -> Route:
        if (burst := next(bursts)) is not None:
            raise burst
        return decide(*arguments, **keywords)

    monkeypatch.setattr(clerk, "decide", breaking)
    with site.discreet(caplog):
        assert site.close(config) == 2
    assert site.one(ids[0]).state is State.PASSED_THROUGH
    assert "unexpected ValueError" in site.one(ids[0]).reason
    assert site.deliveries(ids[0]) == ["original far pending 1", "original near pending 1"]
    assert site.one(ids[1]).rule == "no"


# ── audit, process ──


def test_a_decision_is_in_the_audit_trail_before_it_counts(site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    config = site.settings({"name": "soft", "destinations": ["near"]})
    seen: list[int] = []
    route = Queue.route

    def watched(queue: Queue, series_id: int, how: Route) -> bool:
        seen.append(len(site.events("decided")))
        return route(queue, series_id, how)

    monkeypatch.setattr(Queue, "route", watched)
    with site.discreet(caplog):
        series_id = site.decided(config)
    assert seen == [1]
    (event,) = site.events("decided")
    assert event.items() >= {
        "series": series_id, "series_hash": uid_hash(site.one(series_id).series_uid), "pass": 1, "images": 3, "sender": "SCANNER1",
        "rule": "soft", "action": "denoise", "originals": "always", "destinations": ["near"], "reason": "",
    }.items()  # fmt: skip


def test_without_an_audit_trail_nothing_is_decided(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise NodeError("the disk is full")

    config = site.settings()
    series_id = site.arrive(site.series(1, rows=16, columns=16))
    with monkeypatch.context() as patch:
        patch.setattr(Audit, "write", full)
        with pytest.raises(NodeError, match="full"):
            site.close(config)
    assert site.one(series_id).state is State.RECEIVED
    assert site.close(config) == 1


def test_the_process_adopts_what_a_crash_left_and_ends_when_told(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = site.series(2, rows=16, columns=16)
    for path in files:  # renamed, not registered
        site.spool.place(site.spool.receive([path.read_bytes()]), "1.2", "1.2.3", path.stem, "")
    monkeypatch.setattr(clerk, "TICK_S", 0.01)
    stop, rounds = threading.Event(), []

    def tidy(*_: object) -> int:
        rounds.append(1)
        stop.set()
        raise PermissionError(13, "Permission denied", "/node/instances/1.3.12.2.1107.5.2")

    monkeypatch.setattr(clerk, "keep_house", tidy)
    with site.discreet(caplog), caplog.at_level(logging.INFO):
        clerk.run(site.settings(), stop)
    assert rounds == [1], "a file that cannot be deleted does not end it"
    assert "Permission denied" in caplog.text
    assert site.queue.counts()[State.RECEIVED] == 1
    assert site.events("recovered")[0]["images"] == 2
