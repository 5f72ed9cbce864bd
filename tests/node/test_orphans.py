"""Files that a crash left in the spool: adopted, deleted or set aside, never in the way, never taken for another's."""

import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from onenex.node.database.spool import Spool
from onenex.node.outbox import Result, adopt, publish
from onenex.node.queue import Queue
from onenex.node.records import Item, Outcome, State
from tests.node.arriving import STUDY, encoded, job_of, output, send_all, series_uid, stored, to, view


class Node:
    """Queue and spool of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool, self.queue = Spool(folder), Queue(folder)

    def quarantined(self) -> int:
        return len(list(self.spool.quarantine.iterdir()))

    def recover(self) -> int:
        return self.queue.recover(self.spool)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "node")


def test_a_placed_file_that_was_not_registered_is_adopted_as_it_arrived(node: Node) -> None:
    there, orphan = stored(node.spool, 1), stored(node.spool, 2)
    node.queue.register([there])
    assert node.recover() == 1
    assert node.queue.files(1) == [there.path, orphan.path]
    assert node.queue.register([orphan]) == [Outcome.AGAIN], "same digest as the receiver's"
    assert node.recover() == 0
    assert view(node.queue).calling_ae == "SCANNER"


def test_more_than_one_batch(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onenex.node.database.orphans._BATCH", 2)
    for number in range(5):
        stored(node.spool, number)
    assert node.recover() == 5
    assert view(node.queue).n_images == 5


def test_an_orphan_of_a_series_that_went_on_is_a_late_image(node: Node) -> None:
    node.queue.register([stored(node.spool, 1)])
    node.queue.route(1, to("PACS", action="pass"))
    stored(node.spool, 2)
    assert node.recover() == 1
    assert (view(node.queue).state, view(node.queue).pass_number) == (State.RECEIVED, 2)


def test_a_copy_of_a_known_image_is_deleted_and_other_bytes_are_set_aside(node: Node) -> None:
    first, other = stored(node.spool, 1), stored(node.spool, 1, pixels=b"\3\4")
    node.queue.register([first])
    copy = first.path.with_name("copy.dcm")
    copy.write_bytes(first.path.read_bytes())
    assert node.recover() == 0
    assert not copy.exists()
    assert not other.path.exists()
    assert node.quarantined() == 1
    assert node.queue.files(1) == [first.path]
    assert first.path.is_file()


def test_what_retention_left_behind_is_deleted_and_not_taken_in_again(node: Node) -> None:
    first, second = stored(node.spool, 1), stored(node.spool, 2)
    node.queue.register([first, second])
    node.queue.route(1, to("PACS", action="pass"))
    send_all(node.queue)
    assert node.queue.forget(1) == [first.path, second.path]
    assert node.recover() == 0
    assert list(node.spool.stored()) == []
    assert node.queue.view() == []


def test_after_the_loss_of_the_queue_every_image_is_taken_in_again_and_old_results_are_set_aside(node: Node) -> None:
    node.queue.register([stored(node.spool, n) for n in (1, 2)])
    node.spool.outbox(1, 1).mkdir()
    (node.spool.outboxes / ".7-1-staging").mkdir()
    node.queue.close()
    for path in node.folder.glob("queue.sqlite*"):
        path.unlink()
    again = Node(node.folder)
    assert again.recover() == 2
    assert view(again.queue).state is State.RECEIVED
    assert [path.name for path in again.spool.outboxes.iterdir()] == [".7-1-staging"]
    assert again.quarantined() == 1


def test_files_that_are_gone_are_reported_and_do_not_stop_anything(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    there = stored(node.spool, 1)
    node.queue.register([there])
    there.path.unlink()
    assert node.recover() == 0
    assert "event=files_missing images=1" in caplog.text


def test_results_of_a_series_that_is_there_stay(node: Node) -> None:
    node.queue.register([stored(node.spool, 1)])
    node.spool.outbox(1, 1).mkdir()
    node.spool.outbox(2, 1).mkdir()
    node.recover()
    assert [path.name for path in node.spool.outboxes.iterdir()] == ["1-1"]


def test_a_result_from_before_a_crash_is_adopted_and_one_of_something_else_is_not(node: Node) -> None:
    node.queue.register([stored(node.spool, 1)])
    node.queue.route(1, to("PACS"))
    job = job_of(node.queue)
    made = node.spool.outboxes / ".1-1-made"
    made.mkdir()
    (made / "a.dcm").write_bytes(b"derived")
    item = Item(**{**vars(output()), "path": made / "a.dcm"})
    publish(made, node.spool.outbox(1, 1), job, Result(outputs=(item,), note="", details={"mode": "fast"}))
    node.recover()
    found = adopt(node.spool.outbox(1, 1), job)
    assert found is not None
    assert [one.path for one in found.outputs] == [node.spool.outbox(1, 1) / "a.dcm"]
    node.queue.register([stored(node.spool, 2)])  # another image: another result
    node.queue.close_quiet(0, 0)
    node.queue.route(1, to("PACS"))
    node.spool.outbox(1, 1).rename(node.spool.outbox(1, 2))
    assert adopt(node.spool.outbox(1, 2), job_of(node.queue)) is None
    assert not node.spool.outbox(1, 2).exists()


@settings(max_examples=40, deadline=None, phases=[Phase.generate])
@given(data=st.data())
def test_damaged_files_are_adopted_or_set_aside_and_never_in_the_way(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    content = bytearray(encoded(1))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    node = Node(tmp_path_factory.mktemp("node"))
    folder = node.spool.instances / STUDY / series_uid(1)
    folder.mkdir(parents=True)
    (folder / "1.dcm").write_bytes(content)
    (folder / "link.dcm").symlink_to("nowhere")
    whole = stored(node.spool, 2)
    n_new = node.recover()
    assert n_new + node.quarantined() == 2
    assert whole.path in [path for one in node.queue.view() for path in node.queue.files(one.series_id)]
    assert node.recover() == 0
    node.queue.close()


def test_a_deflated_bomb_is_read_within_bounds(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onenex.node.scp.uids.HEAD_BYTES", 2**20)
    head = encoded(1)
    start = 144 + int.from_bytes(head[140:144], "little")
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    body = b"".join([deflater.compress(head[start:]), *(deflater.compress(bytes(2**20)) for _ in range(24)), deflater.flush()])
    plain, deflated = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"
    meta = head[:start].replace(b"UI\x14\0" + plain, b"UI\x16\0" + deflated)
    meta = meta[:140] + (len(meta) - 144).to_bytes(4, "little") + meta[144:]
    folder = node.spool.instances / STUDY / series_uid(1)
    folder.mkdir(parents=True)
    (folder / "1.dcm").write_bytes(meta + body)
    tracemalloc.start()
    assert node.recover() == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 2**20
    assert node.queue.files(1) == [folder / "1.dcm"]
