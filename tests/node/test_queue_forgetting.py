"""Forgetting: only what every destination has promised to keep, and never so far that a duplicate is taken for new. And bad disks."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from onenex.errors import NodeError
from onenex.node.audit import Audit
from onenex.node.database.spool import NoRoom, Spool
from onenex.node.queue import Queue
from onenex.node.records import Outcome, State
from tests.node.arriving import STUDY, arrival, claimed, delivery_of, job_of, output, send_all, series_uid, stored, to, view
from tests.node.clockwork import Machine

NEW, AGAIN, CONFLICT = Outcome.NEW, Outcome.AGAIN, Outcome.CONFLICT


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "node")


def rows(queue: Queue, table: str) -> int:
    with queue._read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def refused(queue: Queue) -> bool:
    return queue.forgettable(0) == [] and queue.forget(1) == [] and queue.one(1) is not None


def test_not_before_every_delivery_is_verified(queue: Queue) -> None:
    queue.register([arrival(1)])
    assert refused(queue)
    queue.route(1, to("A", "B"))
    assert refused(queue)
    job = job_of(queue)
    assert refused(queue)
    send_all(queue)
    assert refused(queue), "originals are safe, but it is being denoised"
    queue.finish(job, [output()])
    assert refused(queue)
    send_all(queue, "1.2")
    assert refused(queue), "stored is not promised"
    queue.committed("1.2.3", [output().sop_uid], {})
    assert refused(queue)
    queue.committed("1.2.4", [output().sop_uid], {})
    assert queue.forgettable(0) == [1]
    assert set(queue.forget(1)) == {arrival(1).path, output().path}
    assert (queue.one(1), queue.forget(1)) == (None, [])


def test_passed_through_is_not_delivered_yet(queue: Queue) -> None:
    queue.register([arrival(1)])
    queue.route(1, to("A", action="pass"))
    assert view(queue).state is State.PASSED_THROUGH
    assert refused(queue)
    delivery_of(queue)
    assert refused(queue)


def test_what_failed_waits_for_a_person(queue: Queue) -> None:
    queue.fail(claimed(queue), "broken", final=True)
    send_all(queue)
    assert refused(queue)
    queue.retry(1)
    queue.skip(job_of(queue), "an ADC map")
    assert queue.forgettable(0) == [1]


def test_given_up_and_refused_series_stay(queue: Queue) -> None:
    queue.register([arrival(1)])
    queue.route(1, to("A", action="pass"))
    queue.give_up(delivery_of(queue), "no")
    assert refused(queue)
    queue.register([arrival(1, series=2)])
    queue.route(2, to("A", action="refuse"))
    assert queue.forget(2) == []


def test_a_late_image_keeps_the_series(queue: Queue) -> None:
    queue.register([arrival(1)])
    queue.route(1, to("A", action="pass"))
    send_all(queue)
    queue.register([arrival(2)])
    assert refused(queue)


def test_age_counts_from_the_last_change_and_the_oldest_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    queue = Queue(tmp_path)
    for number in (1, 2):
        queue.register([arrival(1, series=number)])
    for number in (2, 1):
        queue.route(number, to("A", action="pass"))
        send_all(queue)
        machine.now += 10
    assert queue.forgettable(10) == [2, 1]
    assert queue.forgettable(20) == [2]
    assert queue.forgettable(20.5) == []


def test_duplicates_are_known_for_ones_after_forgetting(queue: Queue) -> None:
    job = claimed(queue)
    queue.finish(job, [output(1)])
    queue.announce(STUDY, series_uid(1), 2)
    send_all(queue)
    assert len(queue.forget(1)) == 3
    back = replace(arrival(5, series=5), sop_uid=output(1).sop_uid)
    assert queue.register([arrival(1), arrival(2, pixels="b"), back]) == [AGAIN, CONFLICT, AGAIN]
    assert queue.view() == []
    totals = queue.totals()
    assert (totals["images"], totals["received_images"], totals["forgotten_images"], totals["series"]) == (0, 2, 2, 0)
    for table in ("object", "item", "delivery", "series", "announced"):
        assert rows(queue, table) == 0
    assert rows(queue, "forgotten_object") == 3
    with queue._read() as connection:
        dump = "".join(connection.connection.driver_connection.iterdump())  # type: ignore[union-attr]
    assert STUDY not in dump


def test_a_late_image_of_a_forgotten_series_is_its_next_pass_under_a_new_number(queue: Queue) -> None:
    queue.finish(claimed(queue), [output(1)])
    send_all(queue)
    queue.forget(1)
    assert queue.register([arrival(3)]) == [NEW]
    shown = queue.view()[0]
    assert (shown.series_id, shown.pass_number, shown.n_images, shown.state) == (2, 2, 1, State.RECEIVED)
    queue.route(2, to("PACS", action="pass"))
    send_all(queue)
    queue.forget(2)
    queue.register([arrival(4)])
    assert queue.view()[0].pass_number == 3


# --- bad disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("a small disk takes root's rights to mount one")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_says_so_and_loses_nothing(small_disk: Path) -> None:
    queue, acknowledged = Queue(small_disk / "node"), 0

    def until_full() -> None:
        nonlocal acknowledged
        for number in range(1000):
            queue.register([arrival(number * 20 + n) for n in range(20)])
            acknowledged += 20

    with pytest.raises(NoRoom, match="free some space"):
        until_full()
    assert acknowledged
    filler = small_disk / "filler"
    try:
        filler.write_bytes(b"x" * 2**21)
    except OSError:
        assert filler.exists()
    assert view(queue).n_images == acknowledged
    with pytest.raises(NodeError, match="free some space"):
        queue.route(1, to("PACS"))
    with pytest.raises(NoRoom):
        Spool(small_disk / "node").receive([b"x" * 2**21])
    after = Queue(small_disk / "node")
    assert len(after.files(1)) == acknowledged
    filler.unlink()
    for one in (queue, after):
        one.close()
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    again = Queue(small_disk / "node")
    assert again.route(1, to("PACS", action="pass"))
    assert send_all(again) == [f"original PACS {acknowledged}"]
    with again._read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    again.close()


_READ_ONLY = """
import os, sys
from pathlib import Path
from onenex.errors import NodeError
from onenex.node.audit import Audit
from onenex.node.database.spool import Spool
from onenex.node.queue import Queue
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
for what in (Queue, Spool, lambda folder: Audit(folder).write("x")):
    try:
        what(Path(sys.argv[1]))
    except NodeError as error:
        print(error)
    else:
        print("went through")
"""


@pytest.mark.parametrize("existing", [True, False])
def test_read_only_folder_says_so(existing: bool) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="onenex-") as place:
        folder = Path(place, "node")
        folder.mkdir()
        if existing:
            Queue(folder).register([arrival(1)])
        for path in [*folder.iterdir(), folder, Path(place)]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}
        done = subprocess.run([sys.executable, "-c", _READ_ONLY, str(folder)], check=True, capture_output=True, text=True, env=environment, cwd="/")
        lines = done.stdout.splitlines()
        assert len(lines) == 3
        for line in lines:
            assert "may the node write there?" in line or "a place that the node may write to" in line or "cannot be written" in line, done.stdout
        Path(place).chmod(0o700)
        folder.chmod(0o700)


@pytest.mark.parametrize("damage", ["text", "middle", "zeros"])
def test_damaged_queue_says_what_to_do_and_doing_it_helps(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "node"
    queue, spool = Queue(folder), Spool(folder)
    queue.register([stored(spool, n) for n in range(1, 4)])
    queue.close()
    path = folder / "queue.sqlite"
    content = bytearray(path.read_bytes())
    if damage == "text":
        content[:] = b"not a database at all" * 500
    else:
        content[200:] = (b"\xa5" if damage == "middle" else b"\0") * (len(content) - 200)
    path.write_bytes(content)
    with pytest.raises(NodeError, match=r"move queue\.sqlite\* elsewhere"):
        Queue(folder).recover(spool)
    for one in folder.glob("queue.sqlite*"):
        one.rename(tmp_path / one.name)
    again = Queue(folder)
    assert again.recover(spool) == 3
    assert again.route(1, to("PACS", action="pass"))
    assert send_all(again) == ["original PACS 3"]


def test_newer_queue_is_refused(queue: Queue) -> None:
    queue.close()
    with sqlite3.connect(queue.folder / "queue.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(NodeError, match="newer OneNEX"):
        Queue(queue.folder)


def test_lost_or_damaged_key_is_said(queue: Queue) -> None:
    (queue.folder / "audit.key").write_bytes(b"short")
    with pytest.raises(NodeError, match="restore it"):
        Audit(queue.folder)
    with pytest.raises(NodeError, match="restore it"):
        Queue(queue.folder)
