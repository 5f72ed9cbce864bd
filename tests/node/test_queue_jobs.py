"""The queue's middle: one worker a series, whatever dies, and what became of it."""

from pathlib import Path

import pytest

from onenex.errors import NodeError
from onenex.node.queue import Queue
from onenex.node.records import State
from tests.node.arriving import arrival, claimed, delivery_of, job_of, output, send_all, to, uids, view, ways
from tests.node.clockwork import Machine


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def queue(tmp_path: Path, machine: Machine) -> Queue:
    return Queue(tmp_path)


def test_the_whole_way(queue: Queue) -> None:
    queue.register([arrival(1), arrival(2)])
    assert view(queue).state is State.RECEIVED
    queue.route(1, to("A", "B"))
    assert view(queue).state is State.COMPLETE
    job = job_of(queue)
    assert view(queue).state is State.CLAIMED
    assert (job.rule, job.destinations, job.attempt, job.owner) == ("all", ("A", "B"), 1, "worker")
    assert job.files == (arrival(1).path, arrival(2).path)
    assert queue.finish(job, [output(1), output(2)], "one part skipped", {"mode": "fast", "touched": [1]})
    assert view(queue).state is State.DENOISED
    assert (view(queue).reason, view(queue).n_derived, queue.details(1)) == ("one part skipped", 2, {"mode": "fast", "touched": [1]})
    assert send_all(queue, "1.2") == ["original A 2", "original B 2", "derived A 2", "derived B 2"]
    assert view(queue).state is State.SENT
    originals, derived = [arrival(n).sop_uid for n in (1, 2)], [output(n).sop_uid for n in (1, 2)]
    for delivery, kept in ((1, originals), (2, originals), (3, derived)):
        assert queue.committed(f"1.2.{delivery}", kept, {})
        assert view(queue).state is State.SENT
    assert queue.committed("1.2.4", derived, {})
    assert view(queue).state is State.VERIFIED
    assert queue.counts() == {state: int(state is State.VERIFIED) for state in State}


def test_oldest_first_and_each_once(queue: Queue) -> None:
    for number in (1, 2, 3):
        queue.register([arrival(1, series=number)])
    for number in (3, 1, 2):
        queue.route(number, to("PACS"))
    assert [job_of(queue).series_id for _ in range(3)] == [1, 2, 3]
    assert queue.claim("other", 10, 3) is None


def test_a_lease_is_over_when_nobody_beats_and_not_before(queue: Queue, machine: Machine) -> None:
    job = claimed(queue)
    for _ in range(5):
        machine.now += 99
        assert queue.claim("other", 100, 3) is None
        assert queue.beat(job, 100)
    machine.now += 100
    other = job_of(queue, "other")
    assert (other.series_id, other.attempt, other.owner) == (job.series_id, 2, "other")
    assert other.lease != job.lease


def test_whoever_lost_the_lease_changes_nothing(queue: Queue, machine: Machine) -> None:
    job = claimed(queue, originals="with-result")
    machine.now += 100
    other = job_of(queue, "worker")  # the same name is not the same lease
    before = view(queue)
    assert not queue.beat(job, 100)
    assert not queue.finish(job, [output()])
    assert not queue.skip(job, "skipped")
    assert not queue.fail(job, "failed", final=True)
    assert not queue.fail(job, "failed", final=False)
    assert not queue.release(job)
    assert view(queue) == before
    assert queue.finish(other, [output()])
    assert not queue.finish(other, [output(2)]), "once"
    assert view(queue).n_derived == 1


def test_late_but_nobody_else_took_it(queue: Queue, machine: Machine) -> None:
    job = claimed(queue)
    machine.now += 1000
    assert queue.beat(job, 100)
    assert queue.claim("other", 100, 3) is None
    machine.now += 1000
    assert queue.finish(job, [output()])


def test_attempts_have_an_end(queue: Queue, machine: Machine) -> None:
    job = claimed(queue)
    assert queue.fail(job, "out of memory", final=False)
    assert (view(queue).state, view(queue).reason, view(queue).attempts) == (State.COMPLETE, "out of memory", 1)
    job_of(queue)
    machine.now += 100
    third = job_of(queue)
    assert third.attempt == 3
    assert queue.fail(third, "out of memory", final=False)
    assert queue.claim("worker", 100, 3) is None
    assert (view(queue).state, view(queue).reason) == (State.FAILED, "tried 3 times, the last time: out of memory")
    assert ways(queue) == ["original PACS pending 2"], "originals go on"


def test_a_worker_that_dies_every_time_is_named_as_such(queue: Queue, machine: Machine) -> None:
    claimed(queue)
    machine.now += 100
    assert queue.claim("worker", 100, 1) is None
    assert "died or stood still" in view(queue).reason


def test_one_that_was_given_up_does_not_stop_the_next(queue: Queue, machine: Machine) -> None:
    claimed(queue, series=1)
    queue.register([arrival(1, series=2)])
    queue.route(2, to("PACS"))
    machine.now += 100
    assert job_of(queue, attempts=1).series_id == 2
    assert view(queue, 1).state is State.FAILED


def test_release_does_not_count(queue: Queue) -> None:
    job = claimed(queue)
    for _ in range(5):
        assert job.attempt == 1
        assert queue.release(job)
        assert (view(queue).state, view(queue).attempts) == (State.COMPLETE, 0)
        job = job_of(queue)


def test_finish_wants_outputs(queue: Queue) -> None:
    job = claimed(queue)
    with pytest.raises(NodeError, match="no derived images"):
        queue.finish(job, [])
    assert view(queue).state is State.CLAIMED


def test_finish_lets_the_originals_go_that_waited(queue: Queue) -> None:
    job = claimed(queue, originals="with-result", destinations=("A", "B"))
    assert queue.claim_delivery("sender", 10) is None
    queue.finish(job, [output()])
    assert send_all(queue) == ["original A 2", "original B 2", "derived A 1", "derived B 1"]


def test_skip_lets_the_originals_go_alone(queue: Queue) -> None:
    job = claimed(queue, originals="with-result")
    assert queue.skip(job, "an ADC map")
    assert (view(queue).state, view(queue).reason) == (State.PASSED_THROUGH, "an ADC map")
    assert send_all(queue) == ["original PACS 2"]
    assert (view(queue).state, view(queue).reason) == (State.PASSED_THROUGH, "an ADC map")


@pytest.mark.parametrize(("originals", "expected"), [("always", ["original PACS pending 2"]), ("with-result", ["original PACS waiting 2"])])
def test_final_failure_keeps_the_originals_as_the_rule_says(queue: Queue, originals: str, expected: list[str]) -> None:
    job = claimed(queue, originals=originals)
    assert queue.fail(job, "cannot be decoded", final=True)
    assert (view(queue).state, view(queue).reason) == (State.FAILED, "cannot be decoded")
    assert ways(queue) == expected
    assert queue.claim("worker", 10, 3) is None
    assert queue.retry(1)
    again = job_of(queue)
    assert again.attempt == 1
    assert queue.finish(again, [output()])
    assert send_all(queue) == ["original PACS 2", "derived PACS 1"]
    assert (view(queue).state, view(queue).reason) == (State.VERIFIED, "")


def test_retry_of_a_skipped_series_denoises_it(queue: Queue) -> None:
    queue.skip(claimed(queue), "no memory")
    send_all(queue)
    assert queue.retry(1)
    assert not queue.retry(1), "it waits already"
    assert queue.finish(job_of(queue), [output()])
    assert send_all(queue) == ["derived PACS 1"]
    assert view(queue).state is State.VERIFIED


def test_retry_of_a_refused_series_asks_the_rules_again(queue: Queue) -> None:
    queue.register([arrival(1)])
    queue.route(1, to("PACS", action="refuse"))
    assert queue.retry(1)
    assert (view(queue).state, view(queue).reason) == (State.RECEIVED, "")
    assert queue.close_quiet(60, 5) == []
    assert queue.route(1, to("PACS"))
    assert view(queue).state is State.COMPLETE


def test_retry_of_a_series_that_went_well_or_is_at_work_does_nothing(queue: Queue) -> None:
    job = claimed(queue)
    assert not queue.retry(1)
    queue.finish(job, [output()])
    assert not queue.retry(1)
    send_all(queue)
    assert not queue.retry(1)
    assert not queue.retry(99)
    queue.register([arrival(1, series=2)])
    queue.route(2, to("PACS", action="pass"))
    assert not queue.retry(2), "a rule wanted it so"


def test_retry_sends_again_and_does_not_denoise_again(queue: Queue) -> None:
    queue.finish(claimed(queue), [output()])
    queue.give_up(delivery_of(queue), "PACS refuses")
    assert view(queue).state is State.FAILED
    assert queue.retry(1)
    assert view(queue).state is State.DENOISED
    assert queue.claim("worker", 10, 3) is None
    assert send_all(queue) == ["original PACS 2", "derived PACS 1"]


def test_retry_of_a_failed_series_with_a_failed_delivery_starts_both(queue: Queue) -> None:
    job = claimed(queue)
    queue.give_up(delivery_of(queue), "PACS refuses")
    queue.fail(job, "cannot be decoded", final=True)
    assert queue.retry(1)
    assert ways(queue) == ["original PACS pending 2"]
    assert view(queue).state is State.COMPLETE


def test_pause_holds_jobs_and_deliveries_and_nothing_else(queue: Queue) -> None:
    job = claimed(queue)
    queue.register([arrival(1, series=2)])
    queue.route(2, to("PACS"))
    delivery = delivery_of(queue)
    queue.pause(True)
    assert queue.paused()
    assert Queue(queue.folder).paused(), "of the node, not of a process"
    assert queue.totals()["paused"] == 1
    assert queue.claim("worker", 10, 3) is None
    assert queue.claim_delivery("sender", 10) is None
    assert queue.beat(job, 100)
    assert queue.finish(job, [output()])
    queue.sent(delivery, uids(delivery))
    queue.delivered(delivery, None)
    queue.register([arrival(1, series=3)])
    assert queue.close_quiet(0, 0) == [3]
    assert queue.route(3, to("PACS"))
    queue.pause(False)
    assert not queue.paused()
    assert job_of(queue).series_id == 2


def test_second_pass_after_a_failure_starts_afresh(queue: Queue) -> None:
    queue.fail(claimed(queue, originals="with-result"), "cannot be decoded", final=True)
    queue.register([arrival(3)])
    assert (view(queue).state, view(queue).reason, view(queue).pass_number) == (State.RECEIVED, "", 2)
    queue.close_quiet(0, 0)
    queue.route(1, to("PACS", originals="with-result"))
    assert ways(queue) == ["original PACS waiting 2", "original PACS waiting 1"]
    queue.finish(job_of(queue), [output()])
    assert send_all(queue) == ["original PACS 2", "original PACS 1", "derived PACS 1"]
    assert view(queue).state is State.VERIFIED


def test_totals_say_how_long_the_oldest_waits(queue: Queue, machine: Machine) -> None:
    queue.register([arrival(1)])
    assert queue.totals()["oldest_waiting_s"] == 0
    queue.route(1, to("PACS"))
    machine.now += 30
    numbers = queue.totals()
    assert (numbers["oldest_delivery_s"], numbers["oldest_series_s"], numbers["oldest_waiting_s"]) == (30, 30, 30)
    send_all(queue)
    machine.now += 30
    numbers = queue.totals()
    assert (numbers["oldest_delivery_s"], numbers["oldest_series_s"], numbers["deliveries_verified"]) == (0, 60, 1)
    queue.finish(job_of(queue), [output()])
    send_all(queue)
    assert queue.totals()["oldest_waiting_s"] == 0


def test_view_pages_and_filters(queue: Queue) -> None:
    for number in range(1, 6):
        queue.register([arrival(1, series=number)])
    queue.route(2, to("PACS"))
    assert [one.series_id for one in queue.view(limit=2)] == [5, 4]
    assert [one.series_id for one in queue.view(limit=2, offset=4)] == [1]
    assert [one.series_id for one in queue.view(state=State.COMPLETE)] == [2]
    assert queue.view(state=State.FAILED) == []
    assert queue.one(77) is None
    assert queue.details(77) == {}
