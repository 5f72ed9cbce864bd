"""The queue's way out: every destination gets everything, for as long as it takes, and promises count only as promised."""

from pathlib import Path

import pytest

from onenex.errors import NodeError
from onenex.node.database.store import RETRY_LOST_S
from onenex.node.queue import Queue
from onenex.node.records import Delivery, DeliveryState, Kind, State
from tests.node.arriving import arrival, claimed, delivery_of, job_of, output, send_all, to, uids, view, ways
from tests.node.clockwork import Machine

FIRST, SECOND = arrival(1).sop_uid, arrival(2).sop_uid


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def queue(tmp_path: Path, machine: Machine) -> Queue:
    """With two images on their way to PACS."""
    queue = Queue(tmp_path)
    queue.register([arrival(1), arrival(2)])
    queue.route(1, to("PACS", action="pass"))
    return queue


def ask(queue: Queue, transaction: str = "1.2") -> Delivery:
    """Send everything of the next delivery and ask for commitment."""
    delivery = delivery_of(queue)
    queue.sent(delivery, uids(delivery))
    queue.delivered(delivery, transaction)
    return delivery


def state(queue: Queue, number: int = 0) -> DeliveryState:
    return view(queue).deliveries[number].state


def test_what_a_sender_gets(queue: Queue) -> None:
    delivery = delivery_of(queue)
    assert (delivery.kind, delivery.destination, delivery.attempts, delivery.first_try_s) == (Kind.ORIGINAL, "PACS", 0, 0)
    assert [(one.sop_uid, one.sop_class, one.transfer_syntax, one.path) for one in delivery.items] == [
        (one.sop_uid, one.sop_class, one.transfer_syntax, one.path) for one in (arrival(1), arrival(2))
    ]
    assert queue.claim_delivery("other", 10) is None


def test_only_what_is_missing_is_sent_again(queue: Queue, machine: Machine) -> None:
    delivery = delivery_of(queue)
    queue.sent(delivery, [FIRST])
    queue.sent(delivery, [FIRST, "1.2.3.not.mine"])
    shown = view(queue).deliveries[0]
    assert (shown.n_items, shown.n_sent, shown.n_verified, shown.attempts) == (2, 1, 0, 1)
    machine.now += 100
    again = delivery_of(queue)
    assert (uids(again), again.attempts, again.first_try_s) == ([SECOND], 1, 100)
    assert [one.sop_uid for one in queue.uncommitted(again)] == [FIRST]


def test_delivered_wants_everything_sent(queue: Queue) -> None:
    delivery = delivery_of(queue)
    queue.sent(delivery, [FIRST])
    with pytest.raises(NodeError, match="1 images that are not sent"):
        queue.delivered(delivery, None)
    assert state(queue) is DeliveryState.CLAIMED


def test_a_lease_that_is_lost_changes_nothing(queue: Queue, machine: Machine) -> None:
    lost = delivery_of(queue)
    machine.now += 99
    assert queue.beat_delivery(lost, 100)
    machine.now += 100
    held = delivery_of(queue)
    before = view(queue)
    assert not queue.beat_delivery(lost, 100)
    queue.sent(lost, uids(lost))
    queue.delivered(lost, None)
    queue.postpone(lost, "late", 0)
    queue.give_up(lost, "late")
    assert view(queue) == before
    queue.sent(held, uids(held))
    queue.delivered(held, None)
    assert state(queue) is DeliveryState.VERIFIED


def test_postponed_is_not_due_before(queue: Queue, machine: Machine) -> None:
    queue.postpone(delivery_of(queue), "connection refused", 50)
    assert (state(queue), view(queue).deliveries[0].error) == (DeliveryState.PENDING, "connection refused")
    machine.now += 49
    assert queue.claim_delivery("sender", 10) is None
    machine.now += 1
    delivery = delivery_of(queue)
    assert (delivery.attempts, delivery.first_try_s) == (1, 50)
    assert view(queue).state is State.PASSED_THROUGH


def test_busy_destinations_are_left_out(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "two")
    queue.register([arrival(1)])
    queue.route(1, to("DEAD", "PACS", action="pass"))
    queue.register([arrival(1, series=2)])
    queue.route(2, to("DEAD", "PACS", action="pass"))
    assert [delivery_of(queue, busy=("DEAD",)).series_id for _ in range(2)] == [1, 2]
    assert queue.claim_delivery("sender", 10, ("DEAD",)) is None
    assert delivery_of(queue).destination == "DEAD"
    assert queue.claim_delivery("sender", 10, ("DEAD", "PACS")) is None


def test_give_up_fails_the_series_and_retry_starts_again(queue: Queue, machine: Machine) -> None:
    machine.now += 10
    queue.give_up(delivery_of(queue), "refused for a week")
    assert (view(queue).state, view(queue).reason) == (State.FAILED, "delivery to PACS given up: refused for a week")
    assert queue.claim_delivery("sender", 10) is None
    assert queue.forgettable(0) == []
    assert queue.retry(1)
    assert (view(queue).state, view(queue).reason) == (State.PASSED_THROUGH, "the rule says so")
    delivery = delivery_of(queue)
    assert (delivery.attempts, delivery.first_try_s) == (0, 0)


def test_give_up_while_denoising_fails_the_series_at_the_end(tmp_path: Path, machine: Machine) -> None:
    queue = Queue(tmp_path / "other")
    job = claimed(queue)
    queue.give_up(delivery_of(queue), "refused")
    assert view(queue).state is State.CLAIMED
    assert queue.finish(job, [output()])
    assert view(queue).state is State.FAILED
    assert send_all(queue) == ["derived PACS 1"], "what can go, goes"
    assert view(queue).state is State.FAILED
    assert queue.retry(1)
    assert send_all(queue) == ["original PACS 2"]
    assert view(queue).state is State.VERIFIED


def test_commitment_kept(queue: Queue) -> None:
    ask(queue)
    assert state(queue) is DeliveryState.SENT
    assert queue.committed("1.2", [FIRST, SECOND], {})
    assert (state(queue), view(queue).deliveries[0].n_verified) == (DeliveryState.VERIFIED, 2)
    assert queue.committed("1.2", [FIRST, SECOND], {}), "told twice"
    assert state(queue) is DeliveryState.VERIFIED


def test_commitment_in_parts(queue: Queue) -> None:
    ask(queue)
    assert queue.committed("1.2", [FIRST], {})
    assert state(queue) is DeliveryState.SENT
    assert queue.committed("1.2", [SECOND, "1.9.9"], {})
    assert state(queue) is DeliveryState.VERIFIED


def test_lost_images_are_sent_again_at_once_and_then_ever_later(queue: Queue, machine: Machine) -> None:
    waited = []
    for number in range(4):
        delivery = ask(queue, f"1.2.{number}")
        assert uids(delivery) == ([FIRST, SECOND] if number == 0 else [SECOND])
        assert queue.committed(f"1.2.{number}", [FIRST], {SECOND: "no such object"})
        shown = view(queue).deliveries[0]
        assert (shown.state, shown.n_sent, shown.n_verified) == (DeliveryState.PENDING, 1, 1)
        assert shown.error == "1 images not kept by the peer: no such object"
        start = machine.now
        while queue.claim_delivery("sender", 0) is None:
            machine.now += 1
        waited.append(machine.now - start)
    assert waited == [0, RETRY_LOST_S, 2 * RETRY_LOST_S, 4 * RETRY_LOST_S]


def test_image_both_kept_and_lost_is_lost(queue: Queue) -> None:
    ask(queue)
    assert queue.committed("1.2", [FIRST, SECOND], {SECOND: "contradiction"})
    assert uids(delivery_of(queue)) == [SECOND]


def test_commitment_that_comes_before_the_sender_wrote_down_that_it_asked(queue: Queue) -> None:
    delivery = delivery_of(queue)
    queue.sent(delivery, uids(delivery))
    assert not queue.committed("1.2", [FIRST, SECOND], {})
    queue.delivered(delivery, "1.2")
    assert state(queue) is DeliveryState.VERIFIED


def test_early_losses_count_too(queue: Queue) -> None:
    delivery = delivery_of(queue)
    queue.sent(delivery, uids(delivery))
    assert not queue.committed("1.2", [FIRST], {SECOND: "gone"})
    queue.delivered(delivery, "1.2")
    assert uids(delivery_of(queue)) == [SECOND]


def test_unknown_commitments_do_not_pile_up(queue: Queue, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows() -> int:
        with queue._read() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM early").scalar_one())

    monkeypatch.setattr("onenex.node.database.deliveries._EARLY_ROWS", 10)
    for number in range(20):
        assert not queue.committed(f"1.2.{number}", ["1"], {})
        machine.now += 1
    assert rows() == 11
    machine.now += 86_401
    queue.committed("1.3", ["1"], {})
    assert rows() == 1


def test_overdue_commitment_is_asked_for_again_without_sending_again(queue: Queue, machine: Machine) -> None:
    ask(queue)
    machine.now += 99
    assert queue.overdue(100) == []
    machine.now += 1
    assert queue.overdue(100) == [1]
    queue.ask_again(1)
    assert queue.overdue(100) == []
    delivery = delivery_of(queue)
    assert (delivery.items, delivery.attempts) == ((), 0)
    assert [one.sop_uid for one in queue.uncommitted(delivery)] == [FIRST, SECOND]
    queue.delivered(delivery, "1.3")
    assert queue.overdue(100) == []
    assert queue.committed("1.3", [FIRST, SECOND], {})
    assert state(queue) is DeliveryState.VERIFIED


@pytest.mark.parametrize("claim", [True, False])
def test_the_old_answer_still_counts_until_asked_anew(queue: Queue, claim: bool) -> None:
    ask(queue)
    queue.ask_again(1)
    delivery = delivery_of(queue) if claim else None
    assert queue.committed("1.2", [FIRST, SECOND], {})
    assert state(queue) is DeliveryState.VERIFIED
    assert queue.claim_delivery("sender", 10) is None
    if delivery is not None:
        queue.delivered(delivery, "1.3")
        assert state(queue) is DeliveryState.VERIFIED


def test_ask_again_of_what_needs_no_asking(queue: Queue) -> None:
    queue.ask_again(1)
    queue.ask_again(99)
    assert state(queue) is DeliveryState.PENDING
    send_all(queue)
    queue.ask_again(1)
    assert state(queue) is DeliveryState.VERIFIED


def test_verified_image_that_the_peer_loses_later_is_sent_again(queue: Queue) -> None:
    ask(queue)
    queue.committed("1.2", [FIRST, SECOND], {})
    queue.committed("1.2", [], {FIRST: "disk died"})
    assert uids(delivery_of(queue)) == [FIRST]
    assert queue.forgettable(0) == []


def test_late_promise_for_what_was_given_up_heals_the_series(queue: Queue) -> None:
    ask(queue)
    queue.ask_again(1)
    queue.give_up(delivery_of(queue), "no answer for days")
    assert view(queue).state is State.FAILED
    assert queue.committed("1.2", [FIRST, SECOND], {})
    assert (view(queue).state, ways(queue)) == (State.PASSED_THROUGH, ["original PACS verified 2"])


def test_state_of_the_series_follows_all_its_deliveries(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "other")
    job = claimed(queue, destinations=("A", "B"))
    send_all(queue, "1.2")
    assert view(queue).state is State.CLAIMED
    queue.finish(job, [output()])
    assert view(queue).state is State.DENOISED
    assert send_all(queue) == ["derived A 1", "derived B 1"]
    assert view(queue).state is State.SENT
    queue.committed("1.2.1", [FIRST, SECOND], {})
    assert view(queue).state is State.SENT
    queue.committed("1.2.2", [FIRST, SECOND], {})
    assert view(queue).state is State.VERIFIED
    with pytest.raises(AssertionError):
        job_of(queue)
