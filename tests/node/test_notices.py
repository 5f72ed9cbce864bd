"""What scanners and PACS tell besides images: how many there will be, and what they promise to keep."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from onenex.node.queue import Queue
from onenex.node.records import DeliveryState, State
from onenex.node.scp.listener import Server
from tests.node import raw
from tests.node.peers import config_for, dicom_destination, stock
from tests.node.receiving import PACS, Stock, receiver

STUDY, STEP = "1.2.3", "1.2.3.9"
MPPS, IAN = ModalityPerformedProcedureStep, InstanceAvailabilityNotification
SUCCESS, FAILURE, NO_SUCH_INSTANCE, INVALID, NOT_AUTHORISED = 0x0000, 0x0110, 0x0112, 0x0115, 0x0124


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[tuple[Server, Stock]]:
    with receiver(tmp_path) as both:
        yield both


@contextmanager
def association(port: int, title: str = "SCANNER", role: Any = None) -> Iterator[Association]:
    ae = AE(title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 10
    for sop_class in (MPPS, IAN, StorageCommitmentPushModel):
        ae.add_requested_context(sop_class)
    found = ae.associate("127.0.0.1", port, ae_title="ONENEX", ext_neg=[role] if role else [])
    assert found.is_established
    for name in ("send_n_create", "send_n_set", "send_n_event_report"):
        setattr(found, name, _unhurried(getattr(found, name)))
    try:
        yield found
    finally:
        found.release()


def _unhurried(send: Callable[..., Any]) -> Callable[..., Any]:
    """Wait after each answer: pynetdicom's own thread may take the answer to a request that follows at once."""

    def sent(*arguments: Any) -> Any:
        answer = send(*arguments)
        time.sleep(0.05)
        return answer

    return sent


def references(n_images: int) -> list[Dataset]:
    found = []
    for number in range(n_images):
        one = Dataset()
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = raw.MR, f"1.2.3.1.{number}"
        found.append(one)
    return found


def performed(status: str, series: dict[str, int], *, others: int = 0, study: str | None = None) -> Dataset:
    """Attributes of MPPS: series UID → number of images."""
    found = Dataset()
    found.PerformedProcedureStepStatus = status
    found.PerformedSeriesSequence = []
    for uid, n_images in series.items():
        one = Dataset()
        one.SeriesInstanceUID, one.ReferencedImageSequence = uid, references(n_images)
        one.ReferencedNonImageCompositeSOPInstanceSequence = references(others)
        found.PerformedSeriesSequence.append(one)
    if study is not None:
        scheduled = Dataset()
        scheduled.StudyInstanceUID, found.PatientName = study, "Geheim^Anna"
        found.ScheduledStepAttributesSequence = [scheduled]
    return found


def available(series: dict[str, int]) -> Dataset:
    """Attributes of an Instance Availability Notification."""
    found = Dataset()
    found.StudyInstanceUID, found.ReferencedSeriesSequence = STUDY, []
    for uid, n_images in series.items():
        one = Dataset()
        one.SeriesInstanceUID, one.ReferencedSOPSequence = uid, references(n_images)
        found.ReferencedSeriesSequence.append(one)
    return found


def expected(scene: tuple[Server, Stock], series: Sequence[str]) -> list[int | None]:
    """How many images of each series the queue waits for; one is sent of each, for only then is there a row."""
    server, stock_ = scene
    for uid in series:
        assert raw.store(server.port, f"{uid}.1", raw.data_set(f"{uid}.1", series=uid, study=STUDY)) == 0
    views = {view.series_uid: view.n_expected for view in stock_.queue.view()}
    return [views[uid] for uid in series]


@pytest.mark.parametrize("is_first", [True, False])
def test_completed_step_tells_how_many(scene: tuple[Server, Stock], is_first: bool) -> None:
    """Before the first image, and after."""
    if not is_first:
        assert expected(scene, ["1.2.3.1"]) == [None]
    with association(scene[0].port) as peer:
        assert peer.send_n_create(performed("IN PROGRESS", {}, study=STUDY), MPPS, STEP)[0].Status == SUCCESS
        change = performed("COMPLETED", {"1.2.3.1": 5, "1.2.3.2": 7}, others=1)
        assert peer.send_n_set(change, MPPS, STEP)[0].Status == SUCCESS
        assert peer.send_n_set(change, MPPS, STEP)[0].Status == NO_SUCH_INSTANCE, "a step ends once"
    assert expected(scene, ["1.2.3.1", "1.2.3.2"]) == [6, 8]


def test_step_outlives_the_receiver(tmp_path: Path) -> None:
    with receiver(tmp_path) as (server, _), association(server.port) as peer:
        assert peer.send_n_create(performed("IN PROGRESS", {}, study=STUDY), MPPS, STEP)[0].Status == SUCCESS
    with receiver(tmp_path) as again:
        with association(again[0].port) as peer:
            assert peer.send_n_set(performed("COMPLETED", {"1.2.3.1": 5}), MPPS, STEP)[0].Status == SUCCESS
        assert expected(again, ["1.2.3.1"]) == [5]


def test_discontinued_step_tells_nothing(scene: tuple[Server, Stock]) -> None:
    with association(scene[0].port) as peer:
        peer.send_n_create(performed("IN PROGRESS", {}, study=STUDY), MPPS, STEP)
        assert peer.send_n_set(performed("DISCONTINUED", {"1.2.3.1": 5}), MPPS, STEP)[0].Status == SUCCESS
    assert expected(scene, ["1.2.3.1"]) == [None]


def test_availability_tells_how_many(scene: tuple[Server, Stock]) -> None:
    with association(scene[0].port) as peer:
        assert peer.send_n_create(available({"1.2.3.1": 4, "1.2.3.2": 1}), IAN, "1.2.3.77")[0].Status == SUCCESS
    assert expected(scene, ["1.2.3.1", "1.2.3.2"]) == [4, 1]


def test_announced_series_closes_early(scene: tuple[Server, Stock]) -> None:
    with association(scene[0].port) as peer:
        peer.send_n_create(available({"1.2.3.1": 1, "1.2.3.2": 2}), IAN, "1.2.3.77")
    expected(scene, ["1.2.3.1", "1.2.3.2"])
    quiet = scene[1].queue.close_quiet(1000.0, 0.0)
    assert [scene[1].queue.one(one).series_uid for one in quiet] == ["1.2.3.1"]  # type: ignore[union-attr]


def test_nonsense(scene: tuple[Server, Stock]) -> None:
    no_study, hostile = performed("IN PROGRESS", {}), performed("IN PROGRESS", {"../../x": 2, "1.2.3.1": 0}, study=STUDY)
    with association(scene[0].port) as peer:
        assert peer.send_n_create(no_study, MPPS, STEP)[0].Status == INVALID
        assert peer.send_n_set(performed("COMPLETED", {"1.2.3.1": 5}), MPPS, "1.2.3.404")[0].Status == NO_SUCH_INSTANCE
        assert peer.send_n_create(hostile, MPPS, "../../etc/step")[0].Status == SUCCESS
        assert peer.send_n_create(available({}), IAN, "1.2.3.77")[0].Status == SUCCESS
    steps = scene[1].folder / "steps"
    assert [path.name[0] for path in steps.iterdir()] == ["x"]
    assert not list(scene[1].folder.parent.rglob("etc"))
    assert expected(scene, ["1.2.3.1"]) == [None]


def test_archive_may_not_announce(tmp_path: Path) -> None:
    with receiver(tmp_path) as scene:
        with association(scene[0].port, "PACS") as peer:
            assert peer.send_n_create(performed("IN PROGRESS", {}, study=STUDY), MPPS, STEP)[0].Status == NOT_AUTHORISED
            assert peer.send_n_create(available({"1.2.3.1": 4}), IAN, "1.2.3.77")[0].Status == NOT_AUTHORISED
            assert peer.send_n_set(performed("COMPLETED", {"1.2.3.1": 5}), MPPS, STEP)[0].Status == NOT_AUTHORISED
        assert expected(scene, ["1.2.3.1"]) == [None]


@pytest.mark.parametrize(
    ("n_lost", "state", "delivery"), [(0, State.PASSED_THROUGH, DeliveryState.VERIFIED), (1, State.PASSED_THROUGH, DeliveryState.PENDING)]
)
def test_promise_reaches_the_queue(tmp_path: Path, n_lost: int, state: State, delivery: DeliveryState) -> None:
    """A PACS that promises on an association of its own, as the standard's SCP does with SCP role selection."""
    queue, series_id, items = stock(config_for(tmp_path, dicom_destination(104)), tmp_path)
    sent = queue.claim_delivery("sender", 60)
    assert sent is not None
    queue.sent(sent, [one.sop_uid for one in items])
    queue.delivered(sent, "1.2.3.99")
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    with receiver(tmp_path, destinations=[PACS]) as (server, _), association(server.port, "PACS", role) as peer:
        report = [StorageCommitmentPushModel, StorageCommitmentPushModelInstance]
        information = promise([one.sop_uid for one in items], n_lost)
        status, _ = peer.send_n_event_report(information, 2 if n_lost else 1, *report)
        assert status.Status == SUCCESS
        assert peer.send_n_event_report(available({}), 1, *report)[0].Status == INVALID
        assert peer.send_n_event_report(information, 3, *report)[0].Status == 0x0113
    view = queue.one(series_id)
    assert view is not None
    assert (view.state, view.deliveries[0].state) == (state, delivery)
    assert view.deliveries[0].n_verified == len(items) - n_lost


def promise(uids: Sequence[str], n_lost: int) -> Dataset:
    information, found = Dataset(), []
    for uid in uids:
        one = Dataset()
        one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = raw.MR, uid
        found.append(one)
    information.TransactionUID, information.ReferencedSOPSequence = "1.2.3.99", found[n_lost:]
    for one in found[:n_lost]:
        one.FailureReason = 0x0112
    if n_lost:
        information.FailedSOPSequence = found[:n_lost]
    return information


def test_promise_is_given_again_when_the_queue_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def failing(*_: object) -> bool:
        raise OSError("gone")

    monkeypatch.setattr(Queue, "committed", failing)
    with receiver(tmp_path / "b") as (server, _), association(server.port, "PACS", build_role(StorageCommitmentPushModel, scp_role=True)) as peer:
        status, _ = peer.send_n_event_report(promise(["1.2"], 0), 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        assert status.Status == FAILURE
