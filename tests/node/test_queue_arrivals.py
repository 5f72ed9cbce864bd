"""The queue's way in: every image once, every series complete before it goes on, nothing counted twice."""

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from onenex.errors import NodeError
from onenex.node.queue import Queue
from onenex.node.records import Outcome, State
from tests.node.arriving import STUDY, arrival, claimed, delivery_of, job_of, output, send_all, series_uid, to, uids, view, ways
from tests.node.clockwork import Machine

NEW, AGAIN, CONFLICT = Outcome.NEW, Outcome.AGAIN, Outcome.CONFLICT


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path)


def test_images_are_new_once_and_other_bytes_are_refused(queue: Queue) -> None:
    assert queue.register([arrival(1), arrival(2), arrival(1), arrival(2, pixels="other")]) == [NEW, NEW, AGAIN, CONFLICT]
    assert queue.register([arrival(1), arrival(2, pixels="other"), arrival(3)]) == [AGAIN, CONFLICT, NEW]
    assert queue.register([]) == []
    shown = view(queue)
    assert (shown.state, shown.n_images, shown.pass_number, shown.calling_ae, shown.called_ae) == (State.RECEIVED, 3, 1, "SCANNER", "ONENEX")
    assert queue.files(1) == [arrival(n).path for n in (1, 2, 3)]
    assert queue.totals()["images"] == queue.totals()["received_images"] == 3
    assert queue.totals()["bytes"] == 300


def test_a_batch_of_several_series_is_sorted_by_series(queue: Queue) -> None:
    batch = [arrival(n, series=s) for n in (1, 2, 3) for s in (1, 2)]
    assert queue.register(batch) == [NEW] * 6
    assert [(one.series_uid, one.n_images) for one in queue.view()] == [(series_uid(2), 3), (series_uid(1), 3)]
    assert queue.files(2) == [arrival(n, series=2).path for n in (1, 2, 3)]


def test_one_series_uid_in_two_studies_is_two_series(queue: Queue) -> None:
    queue.register([arrival(1), replace(arrival(2), study_uid=STUDY + ".9")])
    assert [one.n_images for one in queue.view()] == [1, 1]


def test_same_uid_under_another_series_does_not_move_the_image(queue: Queue) -> None:
    queue.register([arrival(1)])
    moved = replace(arrival(1), series_uid=series_uid(2), digest="ab" * 32)
    assert queue.register([moved]) == [CONFLICT]
    assert len(queue.view()) == 1


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_whatever_the_batches_the_outcome_is_the_same(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    one = st.builds(arrival, st.integers(1, 4), series=st.integers(1, 2), pixels=st.sampled_from(["", "b"]))
    batches = data.draw(st.lists(st.lists(one, max_size=6), max_size=4))
    queue = Queue(tmp_path_factory.mktemp("queue"))
    first: dict[str, str] = {}
    for batch in batches:
        expected = []
        for image in batch:
            expected.append(NEW if image.sop_uid not in first else AGAIN if first[image.sop_uid] == image.digest else CONFLICT)
            first.setdefault(image.sop_uid, image.digest)
        assert queue.register(batch) == expected
    assert queue.totals()["images"] == len(first)
    assert sum(one.n_images for one in queue.view()) == len(first)
    queue.close()


@settings(max_examples=25, deadline=None)
@given(uid=st.text(max_size=70))
def test_strange_uids_are_kept_or_refused_as_a_whole(uid: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    queue = Queue(tmp_path_factory.mktemp("queue"))
    strange = replace(arrival(1), sop_uid=uid, study_uid=uid, series_uid=uid)
    try:
        assert queue.register([arrival(2), strange]) == [NEW, NEW]
        assert queue.register([strange]) == [AGAIN]
    except NodeError:
        assert queue.totals()["images"] == 0
        assert queue.view() == []
    queue.close()


def test_surrogates_are_refused(queue: Queue) -> None:
    with pytest.raises(NodeError, match="no character"):
        queue.register([arrival(1), replace(arrival(2), sop_uid="1.2\ud800")])
    with pytest.raises(NodeError, match="no character"):
        queue.announce("1.2\ud800", "1", 3)
    assert queue.totals()["received_images"] == 0


def test_quiet_time(machine: Machine, tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.register([arrival(1)])
    machine.now += 59
    queue.register([arrival(2)])
    machine.now += 59
    assert queue.close_quiet(60, 5) == []
    queue.register([arrival(2)])  # known, but the scanner is still at it
    machine.now += 59
    assert queue.close_quiet(60, 5) == []
    machine.now += 1
    assert queue.close_quiet(60, 5) == [1]
    assert queue.close_quiet(60, 5) == [1]
    assert view(queue).state is State.RECEIVED


@pytest.mark.parametrize("told_first", [True, False])
def test_expected_count_shortens_the_quiet_time(tmp_path: Path, machine: Machine, told_first: bool) -> None:
    queue = Queue(tmp_path)
    if told_first:
        queue.announce(STUDY, series_uid(1), 3)
    queue.register([arrival(1), arrival(2)])
    queue.announce(STUDY, series_uid(1), 3)
    queue.announce(STUDY, series_uid(1), 2)  # an older message late: the highest counts
    assert view(queue).n_expected == 3
    machine.now += 6
    assert queue.close_quiet(60, 5) == []
    queue.register([arrival(3)])
    assert queue.close_quiet(60, 5) == []
    machine.now += 5
    assert queue.close_quiet(60, 5) == [1]


@pytest.mark.parametrize("n_images", [2, 4])
def test_other_count_than_expected_waits_the_whole_time(tmp_path: Path, machine: Machine, n_images: int) -> None:
    queue = Queue(tmp_path)
    queue.announce(STUDY, series_uid(1), 3)
    queue.register([arrival(n) for n in range(n_images)])
    machine.now += 59
    assert queue.close_quiet(60, 5) == []
    machine.now += 1
    assert queue.close_quiet(60, 5) == [1]


def test_announcements_that_nothing_came_of_are_forgotten(tmp_path: Path, machine: Machine) -> None:
    queue = Queue(tmp_path)
    queue.announce(STUDY, series_uid(1), 3)
    queue.announce(STUDY, series_uid(2), 3)
    queue.register([arrival(1)])
    machine.now += 31 * 86_400
    queue.announce(STUDY, series_uid(3), 3)
    queue.register([arrival(1, series=2), arrival(1, series=3)])
    assert [one.n_expected for one in queue.view()] == [3, None, 3]


def test_route_is_refused_when_an_image_came_meanwhile(queue: Queue) -> None:
    queue.register([arrival(1)])
    assert queue.close_quiet(0, 0) == [1]
    queue.register([arrival(2)])
    assert not queue.route(1, to("PACS"))
    assert (view(queue).state, ways(queue)) == (State.RECEIVED, [])
    assert queue.close_quiet(0, 0) == [1]
    assert queue.route(1, to("PACS"))
    assert ways(queue) == ["original PACS pending 2"]


def test_image_in_the_middle_of_close_quiet_keeps_the_series_open(tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image comes between the look for quiet series and the note of how many images each has."""
    queue, other = Queue(tmp_path), Queue(tmp_path)
    queue.register([arrival(1)])
    machine.now += 60
    write = queue._write

    def late() -> AbstractContextManager[Connection]:
        other.register([arrival(2)])
        return write()

    monkeypatch.setattr(queue, "_write", late)
    assert queue.close_quiet(60, 5) == []
    monkeypatch.undo()
    assert view(queue).n_images == 2


@pytest.mark.parametrize(
    ("action", "state", "originals", "expected"),
    [
        ("denoise", State.COMPLETE, "always", ["original A pending 2", "original B pending 2"]),
        ("denoise", State.COMPLETE, "with-result", ["original A waiting 2", "original B waiting 2"]),
        ("denoise", State.COMPLETE, "never", []),
        ("pass", State.PASSED_THROUGH, "always", ["original A pending 2", "original B pending 2"]),
        ("pass", State.PASSED_THROUGH, "with-result", ["original A pending 2", "original B pending 2"]),
        ("refuse", State.FAILED, "always", []),
    ],
)
def test_routes(queue: Queue, action: str, state: State, originals: str, expected: list[str]) -> None:
    queue.register([arrival(1), arrival(2)])
    assert queue.route(1, to("A", "B", action=action, originals=originals))
    assert (view(queue).state, ways(queue)) == (state, expected)
    assert view(queue).reason == ("" if action == "denoise" else "the rule says so")
    assert not queue.route(1, to("A", action=action))
    assert (queue.claim("worker", 10, 3) is not None) is (action == "denoise")


def test_routes_that_make_no_sense_are_refused(queue: Queue) -> None:
    queue.register([arrival(1)])
    with pytest.raises(NodeError, match="must be denoise, pass or refuse"):
        queue.route(1, to("A", action="explode"))
    with pytest.raises(NodeError, match="no destination"):
        queue.route(1, to())
    assert not queue.route(77, to("A"))
    assert view(queue).state is State.RECEIVED


def test_late_images_start_a_counted_second_pass(queue: Queue) -> None:
    job = claimed(queue)
    assert queue.finish(job, [output(1)])
    before = ways(queue)
    assert queue.register([arrival(3), arrival(1)]) == [NEW, AGAIN]
    shown = view(queue)
    assert (shown.state, shown.pass_number, shown.n_images, shown.attempts, shown.reason) == (State.RECEIVED, 2, 3, 0, "")
    assert ways(queue) == before
    assert not queue.route(1, to("PACS")), "not before it is quiet again"
    assert queue.close_quiet(0, 0) == [1]
    assert queue.route(1, to("PACS"))
    assert ways(queue) == [*before, "original PACS pending 1"]
    again = job_of(queue)
    assert (again.pass_number, len(again.files), again.attempt) == (2, 3, 1)
    assert queue.finish(again, [output(2)])
    assert send_all(queue) == ["original PACS 2", "derived PACS 1", "original PACS 1", "derived PACS 1"]
    assert (view(queue).state, view(queue).n_derived) == (State.VERIFIED, 2)


def test_late_images_go_to_new_destinations_whole_and_to_old_ones_once(queue: Queue) -> None:
    queue.register([arrival(1), arrival(2)])
    queue.route(1, to("A", action="pass"))
    queue.register([arrival(3)])
    queue.close_quiet(0, 0)
    queue.route(1, to("A", "B", action="pass"))
    assert ways(queue) == ["original A pending 2", "original A pending 1", "original B pending 3"]


def test_late_images_leave_a_delivery_on_its_way_alone(queue: Queue) -> None:
    queue.finish(claimed(queue), [output()])
    delivery = delivery_of(queue)
    queue.register([arrival(3)])
    assert queue.beat_delivery(delivery, 10)
    queue.sent(delivery, uids(delivery))
    queue.delivered(delivery, None)
    assert ways(queue) == ["original PACS verified 2", "derived PACS pending 1"]
    assert view(queue).state is State.RECEIVED


def test_late_images_take_the_lease(queue: Queue) -> None:
    job = claimed(queue)
    queue.register([arrival(3)])
    assert not queue.beat(job, 10)
    assert not queue.finish(job, [output()])
    assert not queue.skip(job, "x")
    assert not queue.fail(job, "x", True)
    assert not queue.release(job)
    assert view(queue).state is State.RECEIVED
    assert queue.claim("worker", 10, 3) is None


def test_derived_image_that_comes_back_from_a_pacs_is_no_new_series(queue: Queue) -> None:
    queue.finish(claimed(queue), [output(1)])
    back = replace(arrival(1, series=7), sop_uid=output(1).sop_uid)
    assert queue.register([back, arrival(1, series=8)]) == [AGAIN, NEW]
    assert queue.register([replace(back, digest="cd" * 32)]) == [AGAIN]
    assert [one.series_uid for one in queue.view()] == [series_uid(8), series_uid(1)]
    assert view(queue).pass_number == 1


def test_keeps_tells_the_queues_own_files_from_copies(queue: Queue) -> None:
    queue.register([arrival(1)])
    assert queue.keeps(arrival(1).path)
    assert not queue.keeps(arrival(1, pixels="b").path)
    inside = replace(arrival(2), path=queue.folder / "instances" / "1" / "2" / "3.dcm")
    queue.register([inside])
    assert queue.keeps(inside.path)
    assert queue.keeps(queue.folder / "instances" / "1" / "x" / ".." / "2" / "3.dcm")


def test_a_folder_may_move(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "here")
    queue.register([replace(arrival(1), path=tmp_path / "here" / "instances" / "1.dcm")])
    queue.close()
    (tmp_path / "here").rename(tmp_path / "there")
    assert Queue(tmp_path / "there").files(1) == [tmp_path / "there" / "instances" / "1.dcm"]
