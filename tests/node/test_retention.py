"""Retention: nothing goes that isn't verified everywhere, whatever happened; what goes, goes with everything, also if a crash comes between."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onenex.node.config import NodeConfig
from onenex.node.queue import Queue
from onenex.node.records import Route, State
from onenex.node.retention import DAY_S, held_bytes, keep_house, sweep_empty, sweep_outbox
from tests.fake_model import FakeModel
from tests.node.arriving import send_all
from tests.node.history import STEPS, History
from tests.node.killed import RETENTION_POINTS, in_a_process, tidy
from tests.node.working import Later, Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, Later(monkeypatch))


def denoised(site: Site, config: NodeConfig, *, verified: bool = True) -> int:
    """Take a series through the node up to its PACS."""
    series_id = site.decided(config, 2)
    site.worker(config, FakeModel()).once()
    send_all(site.queue, None if verified else "1.2.3")
    (site.spool.thumbnails / f"{series_id}-1-both").mkdir()
    (site.spool.thumbnails / f"{series_id}-1-both" / "before-1.png").write_bytes(b"png")
    return series_id


def traces(site: Site) -> list[str]:
    """Return every file and folder that series left, but for the queue and the audit trail."""
    return sorted(
        str(path.relative_to(site.folder))
        for name in ("incoming", "instances", "outbox", "quarantine", "thumbnails")
        for path in (site.folder / name).rglob("*")
    )


# ── what goes, and when ──


def test_a_verified_series_stays_its_time_and_then_goes_with_everything(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    config = site.settings(retention={"days": 2})
    series_id = denoised(site, config)
    assert site.one(series_id).state is State.VERIFIED
    site.later(2 * DAY_S - 100)
    before = traces(site)
    assert keep_house(config, site.queue, site.spool, site.audit) == 0
    assert traces(site) == before
    site.later(100)
    with site.discreet(caplog):
        assert keep_house(config, site.queue, site.spool, site.audit) == 1
    assert site.queue.one(series_id) is None
    assert traces(site) == []
    assert site.events("forgetting")[0].items() >= {"series": series_id, "images": 2, "derived": 2}.items()
    assert keep_house(config, site.queue, site.spool, site.audit) == 0


@pytest.mark.parametrize("state", ["received", "complete", "claimed", "denoised", "sent", "failed", "given up", "passed, not sent"])
def test_what_is_not_verified_stays_for_ever(site: Site, state: str) -> None:
    config = site.settings(retention={"days": 0, "high_water_gb": 1e-9})
    series_id = site.arrive(site.series(2, rows=16, columns=16))
    if state not in ("received",):
        site.close(site.settings({"name": "pass", "action": "pass"}) if state.startswith("passed") else config)
    if state in ("denoised", "sent", "given up"):
        site.worker(config).once()
    if state == "claimed":
        site.claim()
    if state == "sent":
        send_all(site.queue, "1.2.3")
    if state == "failed":
        site.queue.fail(site.claim(), "broken", final=True)
    if state == "given up":
        delivery = site.queue.claim_delivery("send", 60)
        assert delivery is not None
        site.queue.give_up(delivery, "refused")
        send_all(site.queue)
    site.later(1000 * DAY_S)
    before = traces(site)
    assert keep_house(config, site.queue, site.spool, site.audit) == 0
    assert traces(site) == before
    assert all(path.is_file() for path in site.queue.files(series_id))


def test_above_high_water_the_oldest_verified_go_first(site: Site) -> None:
    config = site.settings()
    old, unsent, new = denoised(site, config), site.decided(config, 2), 0
    (site.spool.outboxes / f"{old}-1" / "large.bin").write_bytes(bytes(2_000_000))
    site.later(10)
    new = denoised(site, site.settings({"name": "pass", "action": "pass"}))  # the worker takes the unsent one; this one passes
    held = held_bytes(site.folder)
    tight = site.settings(retention={"days": 100, "high_water_gb": (held - 1_000_000) / 1e9})
    assert keep_house(tight, site.queue, site.spool, site.audit) == 1
    assert (site.queue.one(old), site.queue.one(new) is not None, site.queue.one(unsent) is not None) == (None, True, True)
    assert held_bytes(site.folder) < held - 1_900_000


def test_what_no_destination_was_to_get_stays_its_whole_time(site: Site) -> None:
    tight = site.settings(retention={"days": 1, "high_water_gb": 1e-9})
    series_id = site.arrive(site.series(1, rows=16, columns=16))
    site.later(100)
    route = Route(rule="r", action="denoise", destinations=("near",), originals="never")
    assert site.queue.route(series_id, route)
    assert site.queue.skip(site.claim(), "a mosaic")
    assert site.one(series_id).deliveries == ()
    assert keep_house(tight, site.queue, site.spool, site.audit) == 0
    site.later(DAY_S)
    assert keep_house(tight, site.queue, site.spool, site.audit) == 1


# ── bounds ──


def test_files_elsewhere_are_never_deleted(site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    config = site.settings(retention={"days": 0})
    denoised(site, config)
    outside = site.base / "outside"
    outside.write_bytes(b"precious")
    odd = [outside, site.spool.instances / ".." / ".." / "outside", site.folder / "queue.sqlite", site.folder / "audit.jsonl", site.folder]
    forget = Queue.forget
    monkeypatch.setattr(Queue, "forget", lambda queue, series_id: [*odd, *forget(queue, series_id)])
    assert keep_house(config, site.queue, site.spool, site.audit) == 1
    assert all(path.exists() for path in odd)
    assert caplog.text.count("was not deleted") == len(odd)
    assert traces(site) == []


def test_only_old_empty_folders_are_swept(site: Site) -> None:
    series = site.arrive(site.series(1, rows=16, columns=16))
    empty, young = site.spool.instances / "1.2" / "1.2.3", site.spool.instances / "1.5" / "1.5.6"
    for folder in (empty, young):
        folder.mkdir(parents=True)
    os.utime(empty, (0, 0))
    sweep_empty(site.spool)
    assert not empty.exists()
    assert young.exists()
    os.utime(empty.parent, (0, 0))
    sweep_empty(site.spool)
    assert not empty.parent.exists()
    assert all(path.is_file() for path in site.queue.files(series))


def test_only_what_nobody_works_on_is_swept_from_the_outbox(site: Site) -> None:
    series_id = site.decided(site.settings(), 1)
    names = [f"{series_id}-1", f"{series_id}-2", "99-1", f".{series_id}-1-abc", ".99-1-abc", ".gone-5-1-00ff", "notes"]
    for name in names:
        (site.spool.outboxes / name).mkdir()
    job = site.claim()
    assert sweep_outbox(site.queue, site.spool) == 3
    assert site.outbox() == sorted([f"{series_id}-1", f"{series_id}-2", f".{series_id}-1-abc", "notes"])
    site.queue.release(job)
    assert sweep_outbox(site.queue, site.spool) == 1
    assert f".{series_id}-1-abc" not in site.outbox()


def test_a_result_comes_back_where_the_series_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    config = site.settings(retention={"days": 0})
    series_id = denoised(site, config)
    before = traces(site)
    with monkeypatch.context() as patch:
        patch.setattr(Queue, "forget", lambda *_: [])  # images came meanwhile
        assert keep_house(config, site.queue, site.spool, site.audit) == 0
    assert traces(site) == before
    assert in_a_process(site.later.shift, tidy, config, "result hidden") == -9
    assert site.outbox() == [f".leaving-{series_id}-1"]
    sweep_outbox(site.queue, site.spool)
    assert traces(site) == before


# ── crashes ──


@pytest.mark.parametrize("point", RETENTION_POINTS)
def test_a_round_that_was_killed_is_completed_by_the_next(site: Site, point: str) -> None:
    config = site.settings(retention={"days": 1})
    kept = denoised(site, config, verified=False)
    series_id = denoised(site, config)
    files = site.queue.files(kept)
    site.later(DAY_S)
    assert in_a_process(site.later.shift, tidy, config, point) == -9
    site.queue.recover(site.spool)  # the clerk starts again
    keep_house(config, site.queue, site.spool, site.audit)
    assert site.queue.one(series_id) is None
    assert all(path.is_file() for path in files)
    left = [
        name for name in traces(site) if not name.startswith((f"instances/{files[0].parent.parent.name}", f"outbox/{kept}-", f"thumbnails/{kept}-"))
    ]
    assert left == [f"thumbnails/{series_id}-1-both", f"thumbnails/{series_id}-1-both/before-1.png"][: 2 * (point in THUMBNAILS_STAY)]
    assert site.queue.counts()[State.RECEIVED] == 0, "nothing was taken for new"


THUMBNAILS_STAY = ("forgotten", "one file deleted", "files deleted")
"""Points after which the status page tidies the pictures: it knows which series there are."""


# ── any history ──


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.sampled_from(STEPS), min_size=20, max_size=45), seed=st.integers(0, 10**6))
def test_whatever_happened_nothing_unverified_is_deleted(tmp_path_factory: pytest.TempPathFactory, steps: list[str], seed: int) -> None:
    history = History(tmp_path_factory.mktemp("history"), seed)
    for name in [*steps, "tidy"]:
        history.step(name)
    history.queue.close()
