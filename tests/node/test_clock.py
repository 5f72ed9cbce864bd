"""Node time goes on through restarts of the machine and knows nothing of the wall clock."""

import time
from pathlib import Path

import pytest

from onenex.node.database import clock
from onenex.node.queue import Queue
from onenex.node.records import State
from tests.node.arriving import arrival, output, send_all, to
from tests.node.clockwork import Machine


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_real_clock_runs_and_boot_id_is_one() -> None:
    before = clock.now()
    time.sleep(0.01)
    assert 0.01 <= clock.now() - before < 5
    assert clock.boot_id() == clock.boot_id()
    assert len(clock.boot_id()) == 36


def test_leases_are_over_after_a_restart(tmp_path: Path, machine: Machine) -> None:
    queue = Queue(tmp_path)
    queue.register([arrival(1)])
    queue.route(1, to("PACS"))
    assert queue.claim("worker", 10_000, 3) is not None
    assert queue.claim_delivery("sender", 10_000) is not None
    assert queue.claim("other", 10, 3) is None
    machine.restart()
    after = Queue(tmp_path)
    job = after.claim("other", 10, 3)
    assert job is not None
    assert job.attempt == 2
    assert after.claim_delivery("other", 10) is not None


def test_a_second_process_after_the_restart_takes_no_lease_away(tmp_path: Path, machine: Machine) -> None:
    queue = Queue(tmp_path)
    queue.register([arrival(1)])
    queue.route(1, to("PACS"))
    machine.restart()
    job = Queue(tmp_path).claim("worker", 100, 3)
    assert job is not None
    other = Queue(tmp_path)
    assert other.claim("other", 10, 3) is None
    assert other.beat(job, 100)


def test_quiet_time_begins_anew_after_a_restart(tmp_path: Path, machine: Machine) -> None:
    queue = Queue(tmp_path)
    queue.register([arrival(1)])
    machine.now += 59
    assert queue.close_quiet(60, 5) == []
    machine.restart()
    after = Queue(tmp_path)
    machine.now += 59
    assert after.close_quiet(60, 5) == []
    machine.now += 1
    assert after.close_quiet(60, 5) == [1]


def test_quiet_time_from_before_a_restart_does_not_count(tmp_path: Path, machine: Machine) -> None:
    queue = Queue(tmp_path)
    queue.register([arrival(1)])
    machine.now += 50
    queue.register([arrival(1, series=2)])
    machine.restart()
    after = Queue(tmp_path)
    machine.now += 59
    assert after.close_quiet(60, 5) == []
    machine.now += 1
    assert after.close_quiet(60, 5) == [1, 2]


def test_age_is_not_lost_by_a_restart(tmp_path: Path, machine: Machine) -> None:
    queue = Queue(tmp_path)
    queue.register([arrival(1)])
    queue.route(1, to("PACS", action="pass"))
    send_all(queue)
    machine.now += 1000
    queue.close_quiet(60, 5)
    machine.restart()
    after = Queue(tmp_path)
    machine.now += 100
    assert after.forgettable(1050) == [1]
    assert after.forgettable(1150) == []


def test_postponed_delivery_is_due_after_a_restart_and_its_first_try_remembered(tmp_path: Path, machine: Machine) -> None:
    queue = Queue(tmp_path)
    queue.register([arrival(1)])
    queue.route(1, to("PACS"))
    delivery = queue.claim_delivery("sender", 10)
    assert delivery is not None
    machine.now += 500
    queue.register([arrival(2, series=2)])
    queue.postpone(delivery, "refused", 100_000)
    assert queue.claim_delivery("sender", 10) is None
    machine.restart()
    again = Queue(tmp_path).claim_delivery("sender", 10)
    assert again is not None
    assert again.first_try_s == pytest.approx(500)
    assert again.attempts == 1


def test_clock_that_goes_back_under_one_boot_id_counts_as_restart(tmp_path: Path, machine: Machine) -> None:
    queue = Queue(tmp_path)
    queue.register([arrival(1)])
    queue.route(1, to("PACS"))
    machine.now += 500
    queue.close_quiet(60, 5)
    assert queue.claim("worker", 10_000, 3) is not None
    machine.now -= 400
    assert Queue(tmp_path).claim("other", 10, 3) is not None


@pytest.mark.parametrize("jump_s", [-1e9, 1e9])
def test_jump_of_the_wall_clock_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    queue = Queue(tmp_path)
    queue.register([arrival(1), arrival(2, series=2)])
    queue.route(1, to("PACS"))
    job = queue.claim("worker", 100, 3)
    assert job is not None
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump_s)
    assert queue.claim("other", 10, 3) is None
    assert queue.close_quiet(60, 5) == []
    assert queue.forgettable(0) == []
    assert queue.finish(job, [output()])
    send_all(queue)
    assert queue.one(1).state is State.VERIFIED  # type: ignore[union-attr]
    assert queue.forgettable(60) == []
