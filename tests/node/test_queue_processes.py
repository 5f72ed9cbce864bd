"""Many processes on one queue, killed at any instant: ONENEX_KILLS=200 kills so many, the suite fewer."""

import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pytest

from onenex.node.database.spool import Spool, dataset_digest
from onenex.node.queue import Queue
from onenex.node.records import Outcome, State
from tests.node import killing
from tests.node.arriving import arrival, output, to

KILLS = int(os.environ.get("ONENEX_KILLS", "15"))
SEED = int(os.environ.get("ONENEX_SEED", "0"))
N_PROCESSES = 6
ALIVE_S = (0.02, 0.25)
"""How long a process lives at least and at most."""


@pytest.fixture
def processes() -> Iterator[ForkServerContext]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["onenex.node.queue", "onenex.node.outbox", "tests.node.killing"])
    yield context
    for child in multiprocessing.active_children():
        child.kill()
        child.join()


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def check_integrity(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "queue.sqlite", timeout=60)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_many_processes_at_once_lose_nothing_and_do_nothing_twice(tmp_path: Path, processes: ForkServerContext) -> None:
    folder, notes = tmp_path / "node", tmp_path / "notes"
    notes.mkdir()
    children = [processes.Process(target=killing.contend, args=(folder, notes, number)) for number in range(N_PROCESSES)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert lines(notes / "errors") == []
    assert [child.exitcode for child in children] == [0] * N_PROCESSES
    outcomes = Counter(line for number in range(N_PROCESSES) for line in lines(notes / f"outcomes-{number}"))
    for series in range(1, 7):
        for image in (1, 2):
            uid = arrival(image, series=series).sop_uid
            assert outcomes[f"{uid} {Outcome.NEW}"] == 1
            assert outcomes[f"{uid} {Outcome.AGAIN}"] == N_PROCESSES - 1
    for name in ("claimed", "lent"):
        assert max(Counter(lines(notes / name)).values()) == 1, f"{name} twice"
    finished = Counter(line.split()[0] for line in lines(notes / "finished") if line.endswith("True"))
    queue = Queue(folder)
    assert {one.series_id: one.n_derived for one in queue.view()} == {int(key): n for key, n in finished.items()}
    assert sum(one.n_images for one in queue.view()) == 12
    check_integrity(folder)


def test_a_writer_waits_for_another(tmp_path: Path, processes: ForkServerContext) -> None:
    queue = Queue(tmp_path)
    with closing(sqlite3.connect(tmp_path / "queue.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        child = processes.Process(target=killing.contend, args=(tmp_path, tmp_path, 1))
        child.start()
        time.sleep(0.3)
        assert view_count(queue) == 0, "reading waits for nobody"
        other.execute("COMMIT")
    child.join(60)
    assert child.exitcode == 0
    assert view_count(queue) == 6


def view_count(queue: Queue) -> int:
    return len(queue.view())


_DERIVED = """
    SELECT n_derived, (SELECT count(*) FROM object WHERE series_id = series.id AND kind = 'derived') AS n_objects,
        (SELECT count(*) FROM delivery WHERE series_id = series.id AND kind = 'derived') AS n_deliveries FROM series
"""


class Ward:
    """A folder, the processes that work in it, and what they have noted."""

    def __init__(self, base: Path, context: ForkServerContext) -> None:
        self.folder, self.notes, self.context = base / "node", base / "notes", context
        (self.notes / "pacs").mkdir(parents=True)
        self.running: dict[str, ForkServerProcess] = {}
        self.n = 0

    def start(self, name: str) -> None:
        self.n += 1
        self.running[name] = self.context.Process(target=killing.role, args=(name, self.folder, self.notes, self.n))
        self.running[name].start()

    def kill(self, name: str) -> None:
        child = self.running.pop(name)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert child.exitcode == -signal.SIGKILL, "it ended by itself"

    def acknowledged(self) -> dict[str, str]:
        return dict(line.split() for line in lines(self.notes / "acknowledged"))

    def check(self) -> None:
        """What holds after every kill: a new queue opens, it's sound, and all that was acknowledged is there, row and file."""
        expected = self.acknowledged()
        queue = Queue(self.folder)
        check_integrity(self.folder)
        with queue._read() as connection:
            rows = connection.exec_driver_sql("SELECT sop_uid, digest, path FROM object WHERE kind = 'original'").all()
            derived = connection.exec_driver_sql(_DERIVED).all()
        assert dict(expected.items() - {row.sop_uid: row.digest for row in rows}.items()) == {}
        assert all((self.folder / row.path).is_file() for row in rows)
        assert all(one.n_derived == one.n_objects == one.n_deliveries for one in derived)
        queue.close()

    def finish(self) -> Queue:
        """Let everything come to its end without kills."""
        queue, spool = Queue(self.folder), Spool(self.folder)
        for name in ("work", "send"):
            self.start(name)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            queue.recover(spool)
            for series_id in queue.close_quiet(0.05, 0.05):
                queue.route(series_id, to("PACS"))
            if all(one.state is State.VERIFIED for one in queue.view(limit=10_000)):
                break
            time.sleep(0.05)
        for name in list(self.running):
            self.kill(name)
        return queue


def test_killed_at_any_instant(tmp_path: Path, processes: ForkServerContext) -> None:
    rng = random.Random(SEED)
    ward = Ward(tmp_path, processes)
    for name in killing.ROLES:
        ward.start(name)
    killed = 0
    while killed < KILLS:
        time.sleep(rng.uniform(*ALIVE_S))
        victims = list(killing.ROLES) if rng.random() < 0.25 else [rng.choice(killing.ROLES)]
        for name in victims:
            ward.kill(name)
        killed += len(victims)
        ward.check()
        for name in victims:
            ward.start(name)
    for name in list(ward.running):
        ward.kill(name)
    queue = ward.finish()
    ward.check()
    assert lines(ward.notes / "errors") == []
    acknowledged, pacs = ward.acknowledged(), ward.notes / "pacs"
    assert len(acknowledged) >= KILLS, "the scanner came to nothing: a test of nothing"
    for uid, digest in acknowledged.items():
        assert dataset_digest(pacs / uid) == digest
    shown = queue.view(limit=10_000)
    assert {one.state for one in shown} == {State.VERIFIED}
    for one in shown:
        last = output(one.pass_number, series=10**6 + one.series_id).sop_uid
        assert (pacs / last).read_bytes() == b"".join(path.read_bytes() for path in queue.files(one.series_id)), "the last pass holds every image"
    assert sorted(path.name for path in Spool(ward.folder).quarantine.iterdir()) == []
