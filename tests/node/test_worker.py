"""The worker: results appear whole, what must not be denoised is passed on with the reason, what fails is tried again and then said."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from onenex.errors import NodeError
from onenex.node import worker as module
from onenex.node.records import State
from onenex.node.rules import UNREADABLE
from onenex.node.worker import TryAgain
from tests.fake_model import FakeModel
from tests.node.working import Later, Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, Later(monkeypatch))


# ── denoised ──


def test_a_series_is_denoised_into_the_outbox(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    config = site.settings({"name": "gently", "strength": 0.5, "suffix": "soft", "destinations": ["near"]})
    with site.discreet(caplog):
        series_id = site.decided(config)
        model = FakeModel()
        assert site.worker(config, model).once()
    view = site.one(series_id)
    assert (view.state, view.n_derived, view.attempts, view.reason) == (State.DENOISED, 3, 1, "")
    assert site.deliveries(series_id) == ["derived near pending 3", "original near pending 3"]
    assert site.outbox() == [f"{series_id}-1"]
    original = {str(dcmread(path).SOPInstanceUID): dcmread(path) for path in site.queue.files(series_id)}
    made = [dcmread(path) for path in sorted((site.spool.outboxes / f"{series_id}-1").rglob("*.dcm"))]
    assert len(made) == 3
    for one in made:
        source = one.SourceImageSequence[0].ReferencedSOPInstanceUID
        assert source in original
        assert one.SOPInstanceUID not in original
        assert one.StudyInstanceUID == view.study_uid
        assert one.SeriesDescription.endswith("OneNEX soft")
    details = site.queue.details(series_id)
    assert (details["rule"], details["mode"], details["strength"], details["weights"]) == ("gently", "fast", 0.5, FakeModel.weights_hash)
    assert [one["event"] for one in site.events()] == ["decided", "denoising", "denoised"]
    assert site.events("denoised")[0]["weights"] == FakeModel.weights_hash
    assert site.audit.verify() == 3
    assert not site.worker(config).once()


def test_the_bundled_weights_denoise(site: Site) -> None:
    from onenex.model import load

    config = site.settings()
    series_id = site.arrive(site.series(1, rows=64, columns=64))
    site.close(config)
    assert module.Worker(config=config, model=load("cpu")).once()
    assert site.one(series_id).state is State.DENOISED
    assert site.queue.details(series_id)["mode"] == "fast"


def test_originals_that_wait_for_the_result_go_with_it(site: Site) -> None:
    config = site.settings({"name": "both", "originals": "with-result", "destinations": ["far"]})
    series_id = site.decided(config)
    assert site.deliveries(series_id) == ["original far waiting 3"]
    site.worker(config).once()
    assert site.deliveries(series_id) == ["derived far pending 3", "original far pending 3"]


def test_late_images_make_another_pass_with_other_uids(site: Site) -> None:
    config = site.settings({"name": "soft", "suffix": "soft"})
    files = site.series(4, rows=32, columns=24)
    series_id = site.arrive(files[:3])
    site.close(config)
    site.worker(config).once()
    site.arrive(files[3:])
    site.close(config)
    assert site.worker(config).once()
    assert (site.one(series_id).pass_number, site.one(series_id).n_derived) == (2, 3 + 4)
    first, second = ([dcmread(path) for path in (site.spool.outboxes / f"{series_id}-{number}").rglob("*.dcm")] for number in (1, 2))
    assert {one.SeriesDescription.rpartition("OneNEX ")[2] for one in first} == {"soft"}
    assert {one.SeriesDescription.rpartition("OneNEX ")[2] for one in second} == {"soft pass 2"}
    assert {one.SOPInstanceUID for one in first}.isdisjoint(one.SOPInstanceUID for one in second)
    assert {one.SeriesInstanceUID for one in first}.isdisjoint(one.SeriesInstanceUID for one in second)
    assert len(second) == 4


# ── not denoised ──


@pytest.mark.parametrize(
    ("attrs", "why"),
    [
        ({"ImageType": ["DERIVED", "PRIMARY", "ADC"]}, "ADC"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "mosaic"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localiser"),
        ({"Modality": "CT"}, "MR"),
    ],
)
def test_what_must_not_be_denoised_is_passed_on(site: Site, caplog: pytest.LogCaptureFixture, attrs: dict[str, Any], why: str) -> None:
    config = site.settings({"name": "both", "originals": "with-result", "destinations": ["far"]})
    with site.discreet(caplog):
        series_id = site.decided(config, **attrs)
        assert site.worker(config).once()
    view = site.one(series_id)
    assert (view.state, view.n_derived) == (State.PASSED_THROUGH, 0)
    assert why in view.reason
    assert site.deliveries(series_id) == ["original far pending 3"]
    assert site.outbox() == []
    assert site.events("skipped")[0]["reason"] == view.reason


def test_our_own_result_is_not_denoised_again(site: Site) -> None:
    config = site.settings()
    site.decided(config)
    site.worker(config).once()
    made = sorted(site.spool.outboxes.rglob("*.dcm"))
    for number, path in enumerate(made):  # as if another node had made it
        dataset = dcmread(path)
        dataset.SOPInstanceUID, dataset.SeriesInstanceUID = f"1.2.3.4.{number}", "1.2.3.4"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(site.base / path.name)
    again = site.arrive([site.base / path.name for path in made])
    site.close(config)
    site.worker(config).once()
    assert site.one(again).state is State.PASSED_THROUGH
    assert "OneNEX" in site.one(again).reason


def test_of_a_mixed_series_the_rest_is_denoised(site: Site) -> None:
    config = site.settings()
    uid = "1.2.826.0.1.77"
    files = site.series(3, rows=32, columns=24, SeriesInstanceUID=uid)
    files += site.series(2, rows=32, columns=24, SeriesInstanceUID=uid, ImageType=["DERIVED", "PRIMARY", "ADC"])
    series_id = site.arrive(files)
    site.close(config)
    site.worker(config).once()
    view = site.one(series_id)
    assert (view.state, view.n_images, view.n_derived) == (State.DENOISED, 5, 3)
    assert "ADC" in view.reason
    assert site.deliveries(series_id)[-1] == "original near pending 5"


@pytest.mark.parametrize(
    ("rules", "state", "reason"),
    [
        ([], State.DENOISED, ""),
        ([{"name": "new", "when": {"SeriesDescription": "^t2"}, "action": "pass"}], State.PASSED_THROUGH, "rule 'new' no longer has it denoised"),
        ([{"name": "old", "action": "refuse"}], State.PASSED_THROUGH, "rule 'old' no longer has it denoised"),
    ],
)
def test_a_rule_that_changed_meanwhile(site: Site, rules: list[dict[str, Any]], state: State, reason: str) -> None:
    series_id = site.decided(site.settings({"name": "old"}))
    site.worker(site.settings(*rules)).once()
    view = site.one(series_id)
    assert (view.state, view.reason) == (state, reason)


def test_a_rule_that_changed_cannot_judge_an_unreadable_header(site: Site) -> None:
    series_id = site.decided(site.settings({"name": "old"}))
    for path in site.queue.files(series_id):
        path.write_bytes(b"nothing")
    site.worker(site.settings({"name": "new", "when": {"SeriesDescription": "t2"}})).once()
    assert (site.one(series_id).state, site.one(series_id).reason) == (State.PASSED_THROUGH, UNREADABLE)


# ── failed ──


@pytest.mark.parametrize(("originals", "waits"), [("always", "pending"), ("with-result", "waiting")])
def test_damaged_pixels_fail_for_good(site: Site, caplog: pytest.LogCaptureFixture, originals: str, waits: str) -> None:
    config = site.settings({"name": "all", "originals": originals, "destinations": ["near"]})
    files = site.series(3, rows=32, columns=24)
    for path in files:
        path.write_bytes(path.read_bytes()[:-500])
    with site.discreet(caplog):
        series_id = site.arrive(files)
        site.close(config)
        assert site.worker(config).once()
    view = site.one(series_id)
    assert (view.state, view.attempts) == (State.FAILED, 1)
    assert "truncated" in view.reason
    assert str(site.folder) not in view.reason
    assert site.deliveries(series_id) == [f"original near {waits} 3"]
    assert site.events("failed")[0]["reason"] == view.reason
    assert site.outbox() == []


def test_what_may_pass_is_tried_again_and_then_said(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    config = site.settings({"name": "all", "destinations": ["near"]}, node={"attempts": 2})
    with site.discreet(caplog):
        series_id = site.decided(config)
        for attempt, state in ((1, State.COMPLETE), (2, State.FAILED)):
            with pytest.raises(TryAgain):  # in a new process
                site.worker(config, FakeModel(burst=RuntimeError)).once()
            assert (site.one(series_id).attempts, site.one(series_id).state) == (attempt, state)
    assert "unexpected RuntimeError" in site.one(series_id).reason
    assert "Doe" not in site.audit.path.read_text() + caplog.text
    assert site.deliveries(series_id) == ["original near pending 3"]
    assert site.outbox() == []
    assert site.queue.retry(series_id)
    assert site.worker(config).once()
    assert site.one(series_id).state is State.DENOISED


@pytest.mark.parametrize("error", [ValueError("invalid PatientName Zyzzyva^Quillon"), OSError(28, "No space left on device", "/s/1.3.12.2.1107.5.2")])
def test_what_nobody_foresaw_keeps_its_words_to_itself(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def burst(*_: object) -> None:
        raise error

    config = site.settings(node={"attempts": 1})
    monkeypatch.setattr(module, "link_sources", burst)
    with site.discreet(caplog):
        series_id = site.decided(config)
        with pytest.raises(TryAgain):
            site.worker(config).once()
    view = site.one(series_id)
    assert view.state is State.FAILED
    assert "1.3.12" not in view.reason + caplog.text
    assert "test_worker.py" in view.reason


def test_files_that_are_gone(site: Site) -> None:
    config = site.settings()
    series_id = site.decided(config)
    site.queue.files(series_id)[0].unlink()
    site.worker(config).once()
    assert site.one(series_id).state is State.FAILED
    assert "1 of 3 images have gone" in site.one(series_id).reason


def test_below_half_the_reserve_nothing_is_taken(site: Site) -> None:
    series_id = site.decided(site.settings())
    assert not site.worker(site.settings(limits={"reserve_mb": 10**12})).once()
    assert (site.one(series_id).state, site.one(series_id).attempts) == (State.COMPLETE, 0)


def test_what_would_decode_to_too_much_is_not_decoded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def decoded(*_: object, **__: object) -> None:
        raise AssertionError("it was read")

    config = site.settings(limits={"reserve_mb": 0, "decoded_mb": 1})
    series_id = site.decided(config, 3, Rows=2000, Columns=2000)
    monkeypatch.setattr(module, "denoise_path", decoded)
    assert site.worker(config).once()
    assert site.one(series_id).state is State.PASSED_THROUGH
    assert "limits.decoded_mb" in site.one(series_id).reason


def test_a_result_of_something_else_is_not_taken_over(site: Site) -> None:
    config = site.settings()
    series_id = site.decided(config)
    for content in ("{", "[]", json.dumps({"outputs": []}), json.dumps({"outputs": [{"path": "x", "n_bytes": 1}]})):
        folder = site.spool.outbox(series_id, 1)
        folder.mkdir()
        (folder / "result.json").write_text(content)
        job = site.claim()
        assert module.adopt(folder, job) is None
        assert not folder.exists()
        site.queue.release(job)


def test_run_loads_the_weights_of_the_configuration(site: Site) -> None:
    config = site.settings(node={"weights": site.base / "gone.safetensors"})
    with pytest.raises(Exception, match=r"gone\.safetensors"):
        module.run(config, module.threading.Event())
    assert issubclass(TryAgain, NodeError)
