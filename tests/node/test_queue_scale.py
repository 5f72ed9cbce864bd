"""A queue of years answers like one of yesterday: 20,000 images, 100,000 forgotten ones, and no statement that reads all of them."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from onenex.node.queue import Queue
from onenex.node.records import DeliveryState, State
from tests.node.arriving import arrival, claimed, delivery_of, output, send_all, to, uids

N_SERIES, N_IMAGES, N_FORGOTTEN = 500, 40, 100_000
TIMES_SLOWER = 5
FLOOR_S = 0.002
"""What is faster than this is not compared."""
TABLES = ("object", "item", "delivery", "forgotten_object", "forgotten_series", "announced")


def fill(folder: Path, n_series: int, n_forgotten: int) -> None:
    """Add series that are verified, and tombstones, in one transaction."""
    Queue(folder).close()
    images = [(s, n) for s in range(1, n_series + 1) for n in range(N_IMAGES)]
    with closing(sqlite3.connect(folder / "queue.sqlite")) as connection, connection:
        series = (
            "INSERT INTO series (id, study_uid, series_uid, state, pass_number, n_images, n_bytes, n_derived, calling_ae, called_ae, rule, action, "
        )
        series += "destinations, reason, note, result, attempts, arrived_at, changed_at, received_wall, changed_wall, details) "
        series += "VALUES (?, '9.1', ?, ?, 1, ?, 100, 0, '', '', '', 'denoise', '[\"P\"]', '', '', 'denoised', 1, 0, 0, 0, 0, '{}')"
        connection.executemany(series, [(s, f"9.{s}", State.VERIFIED, N_IMAGES) for s in range(1, n_series + 1)])
        objects = "INSERT INTO object (id, series_id, pass_number, kind, sop_uid, sop_class, transfer_syntax, path, n_bytes, digest) "
        objects += "VALUES (?, ?, 1, 'original', ?, '', '', ?, 0, '')"
        connection.executemany(objects, [(s * N_IMAGES + n, s, f"9.{s}.{n}", f"instances/9/{s}/{n}.dcm") for s, n in images])
        ways = "INSERT INTO delivery (id, series_id, pass_number, kind, destination, state, attempts, n_lost, error, made_at, due) "
        ways += "VALUES (?, ?, 1, 'original', 'P', ?, 1, 0, '', 0, 0)"
        connection.executemany(ways, [(s, s, DeliveryState.VERIFIED) for s in range(1, n_series + 1)])
        connection.executemany("INSERT INTO item VALUES (?, ?, 1, 1)", [(s, s * N_IMAGES + n) for s, n in images])
        stones = [(n.to_bytes(16, "big"), b"") for n in range(n_forgotten)]
        connection.executemany("INSERT INTO forgotten_object VALUES (?, ?)", stones)


def fastest(work: Callable[[], Any], times: int = 5) -> float:
    """Return the shortest time of a few, seconds: what else the machine does only makes it longer."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return max(min(found), FLOOR_S)


def speeds(folder: Path) -> dict[str, float]:
    """Measure what the node does all the time, with 100 series in view."""
    queue, numbers = Queue(folder), iter(range(10_000))
    found = {"register": fastest(lambda: queue.register([arrival(n, series=10_000 + next(numbers)) for n in range(20)]))}
    for series_id in queue.close_quiet(0, 0):
        queue.route(series_id, to("P"))
    path = folder / "instances" / "9" / "1" / "1.dcm"
    work: dict[str, Callable[[], Any]] = {
        "claim": lambda: queue.claim("worker", 100, 3),
        "claim_delivery": lambda: queue.claim_delivery("sender", 100),
        "view": lambda: queue.view(limit=100),
        "counts": queue.counts,
        "totals": queue.totals,
        "close_quiet": lambda: queue.close_quiet(0, 0),
        "keeps": lambda: queue.keeps(path),
    }
    found |= {name: fastest(what) for name, what in work.items()}
    queue.close()
    return found


def test_years_do_not_slow_the_queue(tmp_path: Path) -> None:
    fill(tmp_path / "small", 100, 0)
    fill(tmp_path / "large", N_SERIES, N_FORGOTTEN)
    small, large = speeds(tmp_path / "small"), speeds(tmp_path / "large")
    ratios = {name: round(large[name] / small[name], 1) for name in small}
    assert max(ratios.values()) <= TIMES_SLOWER, ratios


@contextmanager
def statements() -> Iterator[dict[str, Any]]:
    """Yield what SQL runs within the block, each statement with parameters."""
    seen: dict[str, Any] = {}

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        seen.setdefault(statement, parameters[0] if many else parameters)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_no_statement_reads_every_image(tmp_path: Path) -> None:
    fill(tmp_path, 3, 0)
    queue = Queue(tmp_path)
    with statements() as seen:
        job = claimed(queue, originals="with-result")
        queue.register([arrival(1)])
        queue.close_quiet(0, 0)
        queue.announce("1", "2", 3)
        queue.beat(job, 10)
        queue.finish(job, [output()])
        delivery = delivery_of(queue)
        queue.beat_delivery(delivery, 10)
        queue.sent(delivery, uids(delivery)[:1])
        queue.postpone(delivery, "later", 0)
        send_all(queue, "1.2")
        queue.committed("1.2.4", [arrival(1).sop_uid], {arrival(2).sop_uid: "lost"})
        send_all(queue)
        queue.overdue(0)
        queue.ask_again(5)
        queue.committed("1.2.5", [output().sop_uid], {})
        queue.retry(4)
        queue.view()
        queue.one(4)
        queue.counts()
        queue.files(4)
        queue.keeps(tmp_path / "x")
        assert 4 in queue.forgettable(0)
        assert queue.forget(4)
    assert len(seen) > 50
    with closing(sqlite3.connect(tmp_path / "queue.sqlite")) as connection:
        for statement, parameters in seen.items():
            if not statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
                continue
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            scans = [step for step in plan if step.split(" USING")[0].removeprefix("SCAN ") in TABLES and step.startswith("SCAN")]
            assert scans == [], statement


def test_a_full_table_would_show(tmp_path: Path) -> None:
    """The check above sees what it looks for."""
    queue = Queue(tmp_path)
    with queue._read() as connection:
        plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN SELECT id FROM object WHERE n_bytes = 3").all()
    assert [row[3] for row in plan] == ["SCAN object"]


@pytest.mark.parametrize("what", ["claim", "claim_delivery"])
def test_an_idle_node_writes_nothing(tmp_path: Path, what: str) -> None:
    queue = Queue(tmp_path)
    with statements() as seen:
        assert (queue.claim("worker", 10, 3) if what == "claim" else queue.claim_delivery("sender", 10)) is None
        assert queue.close_quiet(60, 5) == []
    assert "BEGIN IMMEDIATE" not in seen
    assert not [one for one in seen if one.startswith(("UPDATE", "INSERT", "DELETE"))]
