import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from onenex.node.records import Item
from onenex.node.scu import commitment, store_scu
from onenex.node.scu.store_scu import Link, PeerUnavailable
from tests.node.peers import scp

ITEMS = [Item(sop_uid=f"1.2.{n}", sop_class="1.2.840.10008.5.1.4.1.1.4", transfer_syntax="1.2.840.10008.1.2", path=Path("x")) for n in range(3)]


class Told:
    """Stands in for the queue: what `committed` was told."""

    def __init__(self, known: bool = True) -> None:
        self.promises: list[tuple[str, set[str], dict[str, str]]] = []
        self.heard = threading.Event()
        self.known = known

    def __call__(self, transaction_uid: str, kept: Collection[str], lost: Mapping[str, str]) -> bool:
        self.promises.append((transaction_uid, set(kept), dict(lost)))
        self.heard.set()
        return self.known


def report(asked: Dataset, n_lost: int = 0) -> Dataset:
    """The event information with which a peer loses the last images."""
    result = Dataset()
    result.TransactionUID = asked.TransactionUID
    references = list(asked.ReferencedSOPSequence)
    kept, lost = references[: len(references) - n_lost], references[len(references) - n_lost :]
    if kept:
        result.ReferencedSOPSequence = kept
    for one in lost:
        one.FailureReason = 0x0112
    if lost:
        result.FailedSOPSequence = lost
    return result


def ask(link: Link, told: Told, transaction: str, wait_s: float = 0.0) -> None:
    handlers = [(evt.EVT_N_EVENT_REPORT, commitment.answer_to(told))]
    with store_scu.associate(link, [build_context(StorageCommitmentPushModel)], handlers) as association:
        assert commitment.is_offered(association)
        commitment.ask(association, ITEMS, transaction)
        told.heard.wait(wait_s)
        time.sleep(0.1)


@pytest.mark.parametrize("n_lost", [0, 1, 3])
def test_promise_on_the_same_association(n_lost: int) -> None:
    told, transaction, answers = Told(), str(generate_uid()), []

    def act(event: Any) -> tuple[int, None]:
        def later() -> None:
            time.sleep(0.2)
            information = report(event.action_information, n_lost)
            model = (StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
            answers.append(event.assoc.send_n_event_report(information, 2 if n_lost else 1, *model)[0].Status)

        threading.Thread(target=later).start()
        return 0, None

    with scp(commitment=act) as peer:
        ask(peer.link(), told, transaction, 5)
    assert answers == [0]
    names = [item.sop_uid for item in ITEMS]
    kept, lost = set(names[: 3 - n_lost]), dict.fromkeys(names[3 - n_lost :], "no such object")
    assert told.promises == [(transaction, kept, lost)]
    assert [one.ReferencedSOPInstanceUID for one in peer.asked[0].ReferencedSOPSequence] == names
    assert {one.ReferencedSOPClassUID for one in peer.asked[0].ReferencedSOPSequence} == {ITEMS[0].sop_class}


def test_a_refusal_is_told() -> None:
    with scp(commitment=lambda event: (0x0110, None)) as peer, pytest.raises(PeerUnavailable, match="0110"):
        ask(peer.link(), Told(), "1.2.3")


def test_a_peer_that_does_not_answer() -> None:
    free = threading.Event()
    with scp(commitment=lambda event: (int(free.wait(20)) * 0, None)) as peer:
        with pytest.raises(PeerUnavailable, match="did not answer"):
            ask(peer.link(0.5), Told(), "1.2.3")
        free.set()


def test_a_peer_that_drops_the_association() -> None:
    def act(event: Any) -> tuple[int, None]:
        event.assoc.abort()
        return 0, None

    with scp(commitment=act) as peer, pytest.raises(PeerUnavailable, match="did not answer"):
        ask(peer.link(), Told(), "1.2.3")


def tell(told: commitment.Committed, information: Dataset | None, event_type: int) -> int:
    """Send an event on an association of its own, as a peer does later; return the status of the answer."""
    entity = AE("ONENEX")
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, commitment.answer_to(told))])
    assert server is not None
    try:
        link = Link(calling_ae="PACS", called_ae="ONENEX", host="127.0.0.1", port=server.socket.getsockname()[1], timeout_s=5)
        with store_scu.associate(link, [build_context(StorageCommitmentPushModel)]) as association:
            model = (StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
            status, _ = association.send_n_event_report(information, event_type, *model)
            return int(status.Status)
    finally:
        server.shutdown()


def asked(transaction: str = "1.2.3") -> Dataset:
    request = Dataset()
    request.TransactionUID = transaction
    request.ReferencedSOPSequence = [commitment._reference(item) for item in ITEMS]
    return request


@pytest.mark.parametrize("known", [True, False])
def test_promise_on_a_new_association(known: bool) -> None:
    told = Told(known)
    assert tell(told, report(asked(), 1), 2) == 0x0000
    assert told.promises == [("1.2.3", {"1.2.0", "1.2.1"}, {"1.2.2": "no such object"})]


def test_events_that_make_no_sense() -> None:
    told = Told()
    assert tell(told, report(asked()), 7) == 0x0113
    nameless = report(asked())
    del nameless.TransactionUID
    assert tell(told, nameless, 1) == 0x0115
    assert tell(told, report(asked("")), 1) == 0x0115
    assert not told.promises


def test_a_queue_that_cannot_be_reached_is_told_again() -> None:
    def broken(transaction_uid: str, kept: Collection[str], lost: Mapping[str, str]) -> bool:
        raise OSError("disk")

    assert tell(broken, report(asked()), 1) == 0x0110


def test_what_is_both_kept_and_lost_is_lost() -> None:
    information = report(asked(), 1)
    information.ReferencedSOPSequence = asked().ReferencedSOPSequence
    del information.FailedSOPSequence[0].FailureReason
    promise = commitment.read_promise(information)
    assert promise is not None
    assert promise.kept == {"1.2.0", "1.2.1"}
    assert promise.lost == {"1.2.2": "no reason given"}
