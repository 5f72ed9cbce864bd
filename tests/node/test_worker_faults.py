"""Workers that are killed (-9) at every point of their work, hang, are stopped or lose their series: no work is lost, nothing goes out twice."""

from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from onenex.node.records import State
from onenex.node.retention import sweep_outbox
from tests.fake_model import FakeModel
from tests.node.killed import WORKER_POINTS, hang, in_a_process, work
from tests.node.working import Hooked, Later, Site

LEASE_S = 20.0


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, Later(monkeypatch))


@pytest.mark.parametrize("point", WORKER_POINTS)
def test_a_killed_worker_loses_nothing(site: Site, point: str) -> None:
    config = site.settings({"name": "all", "originals": "with-result", "destinations": ["near"]})
    series_id = site.decided(config, 2)
    assert in_a_process(site.later.shift, work, config, point) == -9
    model, done = FakeModel(), point == "handed over"
    assert site.one(series_id).state == (State.DENOISED if done else State.CLAIMED)
    assert not site.worker(config, model).once(), "the lease of the dead still holds"
    site.later(LEASE_S)
    assert site.worker(config, model).once() is not done
    view = site.one(series_id)
    assert (view.state, view.n_derived, view.attempts) == (State.DENOISED, 2, 1 if done else 2)
    assert site.deliveries(series_id) == ["derived near pending 2", "original near pending 2"]
    assert bool(model.settings) == (point not in ("published", "before handing over", "handed over")), "denoised again only where nothing was there"
    sweep_outbox(site.queue, site.spool)
    assert site.outbox() == [f"{series_id}-1"]
    delivery = next(one for one in iter(lambda: site.queue.claim_delivery("send", 60), None) if one.kind == "derived")
    for item in delivery.items:
        assert dcmread(item.path).SOPInstanceUID == item.sop_uid
        assert "OneNEX" in dcmread(item.path).SeriesDescription
    assert site.queue.details(series_id)["weights"] == FakeModel.weights_hash


def test_workers_that_always_die_give_up(site: Site) -> None:
    config = site.settings({"name": "all", "originals": "always", "destinations": ["near"]}, node={"attempts": 2})
    series_id = site.decided(config, 2)
    for attempt in (1, 2):
        assert in_a_process(site.later.shift, work, config, "read") == -9
        assert site.one(series_id).attempts == attempt
        site.later(LEASE_S)
    assert not site.worker(config).once()
    view = site.one(series_id)
    assert view.state is State.FAILED
    assert "tried 2 times" in view.reason
    assert site.deliveries(series_id) == ["original near pending 2"]
    assert sweep_outbox(site.queue, site.spool) >= 1
    assert site.outbox() == []


def test_a_worker_that_stands_still_ends_itself(site: Site) -> None:
    config = site.settings()
    series_id = site.decided(config, 2)
    assert in_a_process(site.later.shift, hang, config) == 1
    assert (site.one(series_id).state, site.one(series_id).attempts) == (State.CLAIMED, 1)
    site.later(LEASE_S)
    assert site.worker(config).once()
    assert (site.one(series_id).state, site.one(series_id).attempts) == (State.DENOISED, 2)


# ── taken away ──


def test_images_that_come_meanwhile_take_the_series_away(site: Site) -> None:
    config = site.settings()
    files = site.series(4, rows=32, columns=24)
    series_id = site.arrive(files[:3])
    site.close(config)
    assert site.worker(config, Hooked(lambda: site.arrive(files[3:]) and None)).once()
    view = site.one(series_id)
    assert (view.state, view.pass_number, view.n_derived) == (State.RECEIVED, 2, 0)
    assert all(one.startswith("original") for one in site.deliveries(series_id))
    site.close(config)
    site.worker(config).once()
    assert (site.one(series_id).state, site.one(series_id).n_derived) == (State.DENOISED, 4)


def test_a_lost_lease_ends_the_work(site: Site) -> None:
    config = site.settings(node={"lease_s": 0.2})
    series_id = site.decided(config)
    other: list[Any] = []

    def steal() -> None:
        site.later(1)
        other.append(site.queue.claim("another", 600, 9))

    model = Hooked(steal, delay=0.2)
    assert site.worker(config, model).once()
    assert site.outbox() == []
    assert (site.one(series_id).state, site.one(series_id).attempts) == (State.CLAIMED, 2)
    assert site.queue.beat(other[0], 600)


def test_a_stopped_worker_gives_its_series_back(site: Site) -> None:
    config = site.settings()
    series_id = site.decided(config)
    worker = site.worker(config)
    worker.model = Hooked(worker.stop.set)
    worker.run()
    assert (site.one(series_id).state, site.one(series_id).attempts) == (State.COMPLETE, 0)
    assert site.outbox() == []
