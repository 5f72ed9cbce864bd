"""The sender as a part of the node: what is due is sent until it is all there, and one bad PACS stops no other."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from onenex.errors import NodeError
from onenex.node import send
from onenex.node.audit import Audit
from onenex.node.config import NodeConfig
from onenex.node.queue import Queue
from onenex.node.records import State
from tests.dicom.orthanc import free_ports
from tests.node.hospital import until
from tests.node.peers import Peer, config_for, dicom_destination, digests_of, scp, silent_port, stock


@contextmanager
def sending(config: NodeConfig) -> Iterator[None]:
    """Run the sender as long as the block lasts."""
    stop, problems = threading.Event(), []

    def run() -> None:
        try:
            send.run(config, stop)
        except NodeError as error:
            problems.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        assert problems == []


def states(queue: Queue, series_id: int) -> dict[str, str]:
    view = queue.one(series_id)
    assert view is not None
    return {one.destination: str(one.state) for one in view.deliveries}


def attempts(queue: Queue, series_id: int) -> Sequence[int]:
    view = queue.one(series_id)
    assert view is not None
    return [one.attempts for one in view.deliveries]


def test_everything_arrives_once_in_one_association(tmp_path: Path) -> None:
    with scp() as peer:
        config = config_for(tmp_path, dicom_destination(peer.port))
        queue, series_id, items = stock(config, tmp_path, 12)
        with sending(config):
            until(lambda: states(queue, series_id) == {"pacs": "verified"}, 10, "not delivered")
    assert (peer.associations, len(peer.received)) == (1, 12)
    assert peer.digests == digests_of(items)
    lines = Audit(config.node.folder).path.read_text().splitlines()
    assert len(lines) == 1
    assert '"event": "delivered"' in lines[0]
    assert '"images": 12' in lines[0]


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # pynetdicom leaves it to the garbage collector
def test_a_dead_and_a_silent_pacs_stop_no_other(tmp_path: Path) -> None:
    (dead,) = free_ports(1)
    with scp() as peer, silent_port() as silent:
        ports = {"dead": dead, "silent": silent, "well": peer.port}
        config = config_for(tmp_path, *(dicom_destination(port, name) for name, port in ports.items()), sending={"timeout_s": 2.0})
        queue, series_id, _ = stock(config, tmp_path)
        started = time.monotonic()
        with sending(config):
            until(lambda: states(queue, series_id)["well"] == "verified", 10, "the dead ones stop it")
            assert time.monotonic() - started < 4
            until(lambda: min(attempts(queue, series_id)) >= 1, 10, "no attempt")
    assert len(peer.received) == 3
    assert states(queue, series_id) | {"well": ""} == {"dead": "pending", "silent": "pending", "well": ""}


def test_a_pacs_that_comes_back_gets_the_rest_and_nothing_twice(tmp_path: Path) -> None:
    """It takes two images, drops the association, refuses for a while, and is well again."""
    fates = iter(["well", "well", "drop", "full", "full"])

    def answer(number: int, event: object) -> int:
        fate = next(fates, "well")
        if fate == "drop":
            event.assoc.abort()  # type: ignore[attr-defined]
        return {"well": 0, "drop": 0xC000, "full": 0xA700}[fate]

    with scp(answer) as peer:
        config = config_for(tmp_path, dicom_destination(peer.port))
        queue, series_id, items = stock(config, tmp_path, 6)
        with sending(config):
            until(lambda: states(queue, series_id) == {"pacs": "verified"}, 20, "not delivered")
    uids = [uid for uid, _, _ in peer.received]
    assert set(uids) == {item.sop_uid for item in items}
    assert [uids.count(item.sop_uid) for item in items[:2]] == [1, 1], "what was stored was sent again"
    assert peer.associations >= 3


def test_it_is_given_up_after_its_days_and_starts_again_when_asked(tmp_path: Path) -> None:
    refuses = threading.Event()
    refuses.set()
    with scp(lambda number, event: 0xC001 if refuses.is_set() else 0) as peer:
        config = config_for(tmp_path, dicom_destination(peer.port), sending={"give_up_days": 1e-5})
        queue, series_id, _ = stock(config, tmp_path)
        with sending(config):
            until(lambda: states(queue, series_id) == {"pacs": "failed"}, 20, "never given up")
            view = queue.one(series_id)
            assert view is not None
            assert view.state is State.FAILED
            assert "C001" in view.reason
            refuses.clear()
            assert queue.retry(series_id)
            until(lambda: states(queue, series_id) == {"pacs": "verified"}, 10, "retry does nothing")


def test_a_destination_that_is_configured_no_more(tmp_path: Path) -> None:
    with scp() as peer:
        before = config_for(tmp_path, dicom_destination(peer.port, "old"), dicom_destination(peer.port, "new"))
        queue, series_id, _ = stock(before, tmp_path)
        with sending(config_for(tmp_path, dicom_destination(peer.port, "new"))):
            until(lambda: states(queue, series_id) == {"old": "failed", "new": "verified"}, 10, "not settled")
    view = queue.one(series_id)
    assert view is not None
    assert "not in node.toml any more" in view.reason


def test_a_paused_node_sends_nothing(tmp_path: Path) -> None:
    with scp() as peer:
        config = config_for(tmp_path, dicom_destination(peer.port))
        queue, series_id, _ = stock(config, tmp_path)
        queue.pause(True)
        with sending(config):
            time.sleep(1.2)
            assert peer.associations == 0
            queue.pause(False)
            until(lambda: states(queue, series_id) == {"pacs": "verified"}, 10, "not resumed")


def test_two_senders_send_nothing_twice(tmp_path: Path) -> None:
    with scp(lambda number, event: time.sleep(0.02) or 0) as peer:
        config = config_for(tmp_path, dicom_destination(peer.port))
        made = [stock(config, tmp_path / str(n), 4, seed=n) for n in range(4)]
        queue = made[0][0]
        with sending(config), sending(config):
            until(lambda: all(states(queue, series_id) == {"pacs": "verified"} for _, series_id, _ in made), 20, "not delivered")
    assert len(peer.received) == len(peer.digests) == 16


def test_a_stop_in_the_middle_keeps_what_was_sent(tmp_path: Path) -> None:
    third = threading.Event()

    def answer(number: int, event: object) -> int:
        if number == 2:
            third.set()
        time.sleep(0.1)
        return 0

    with scp(answer) as peer:
        config = config_for(tmp_path, dicom_destination(peer.port))
        queue, series_id, _ = stock(config, tmp_path, 30)
        with sending(config):
            assert third.wait(10)
        before = len(peer.received)
        assert before < 30
        assert states(queue, series_id) == {"pacs": "pending"}
        with sending(config):
            until(lambda: states(queue, series_id) == {"pacs": "verified"}, 20, "not delivered")
    assert len(peer.received) == 30, "what was stored was sent again"


def test_an_overdue_promise_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "HOUSEKEEPING_S", 0.3)
    peer: Peer
    with scp(commitment=lambda event: (0x0000, None)) as peer:
        config = config_for(tmp_path, dicom_destination(peer.port, commitment=True), sending={"commitment_hours": 1e-4})
        queue, series_id, items = stock(config, tmp_path)
        with sending(config):
            until(lambda: len(peer.asked) >= 2, 20, "asked once")
            queue.committed(str(peer.asked[-1].TransactionUID), [item.sop_uid for item in items], {})
            until(lambda: states(queue, series_id) == {"pacs": "verified"}, 10, "the promise doesn't count")
    assert len(peer.received) == 3, "images were sent again only to be promised"


def test_back_off_doubles_up_to_its_limit(tmp_path: Path) -> None:
    with scp() as peer:
        settings = config_for(tmp_path, dicom_destination(peer.port), sending={"first_retry_s": 2.0, "longest_retry_s": 60.0}).sending
    waits = [max(send.back_off(settings, n) for _ in range(200)) for n in (0, 1, 2, 3, 50)]
    assert [round(wait) for wait in waits] == [2, 4, 8, 16, 60]
    assert min(send.back_off(settings, 3) for _ in range(200)) >= 12
