"""Processes for the tests that kill them: a scanner, a clerk, a worker and a sender of one folder, each without a pause."""

import os
import random
import time
from pathlib import Path

from onenex.errors import NodeError
from onenex.node.database.spool import Spool
from onenex.node.outbox import Result, adopt, publish
from onenex.node.queue import Queue
from onenex.node.records import Item, Job
from tests.node.arriving import arrival, output, stored, to

LEASE_S = 0.3
N_IMAGES = 3
ROLES = ("scan", "clerk", "work", "send")


def note(path: Path, text: str) -> None:
    """Add a line that a kill -9 of this process doesn't take away."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, (text + "\n").encode())
    finally:
        os.close(descriptor)


def role(name: str, folder: Path, notes: Path, number: int) -> None:
    """Play a part until killed."""
    queue, spool = Queue(folder), Spool(folder)
    play = {"scan": scan, "clerk": clerk, "work": work, "send": send}[name]
    try:
        queue.recover(spool)
        play(queue, spool, notes, number)
    except NodeError as error:  # nothing here may disturb the queue
        note(notes / "errors", f"{name}: {error}")


def scan(queue: Queue, spool: Spool, notes: Path, number: int) -> None:
    """Send series after series; every acknowledged image goes to the notes, after `register` said so."""
    for series in range(number * 1000, number * 1000 + 1000):
        for image in range(1, N_IMAGES + 1):
            one = stored(spool, image, series=series)
            queue.register([one])
            note(notes / "acknowledged", f"{one.sop_uid} {one.digest}")


def clerk(queue: Queue, spool: Spool, notes: Path, number: int) -> None:
    """Route what is quiet: now and then too early, so that images come late."""
    while True:
        for series_id in queue.close_quiet(random.choice([0.0, 0.05]), 0.0):
            queue.route(series_id, to("PACS", originals=random.choice(["always", "with-result"])))
        time.sleep(0.005)


def work(queue: Queue, spool: Spool, notes: Path, number: int) -> None:
    """Make results as a worker does: in a folder of their own, renamed, handed over."""
    while True:
        job = queue.claim(f"worker {os.getpid()}", LEASE_S, 1_000_000)
        if job is None:
            time.sleep(0.005)
            continue
        target = spool.outbox(job.series_id, job.pass_number)
        result = adopt(target, job) or make(spool, target, job)
        if queue.finish(job, result.outputs, result.note, result.details):
            note(notes / "finished", f"{job.series_id} {job.pass_number}")


def make(spool: Spool, target: Path, job: Job) -> Result:
    folder = spool.outboxes / f".{target.name}-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    plain = output(job.pass_number, series=10**6 + job.series_id)
    item = Item(**{**vars(plain), "path": folder / "1.dcm"})
    item.path.write_bytes(b"".join(path.read_bytes() for path in job.files))
    return publish(folder, target, job, Result(outputs=(item,)))


def send(queue: Queue, spool: Spool, notes: Path, number: int) -> None:
    """Store images in a folder that plays the PACS; half of the deliveries die half way."""
    while True:
        delivery = queue.claim_delivery(f"sender {os.getpid()}", LEASE_S)
        if delivery is None:
            time.sleep(0.005)
            continue
        for item in delivery.items:
            content = item.path.read_bytes()
            place = notes / "pacs" / item.sop_uid
            place.with_suffix(f".{os.getpid()}").write_bytes(content)
            place.with_suffix(f".{os.getpid()}").rename(place)
            queue.sent(delivery, [item.sop_uid])
        queue.delivered(delivery, None)


def contend(folder: Path, notes: Path, number: int) -> None:
    """Register, route, claim, finish and send what everybody else does, too."""
    queue = Queue(folder)
    try:
        for series in range(1, 7):
            for image in (1, 2):
                plain = arrival(image, series=series)
                note(notes / f"outcomes-{number}", f"{plain.sop_uid} {queue.register([plain])[0]}")
        for series_id in queue.close_quiet(0, 0):
            note(notes / "routed", f"{series_id} {queue.route(series_id, to('PACS'))}")
        while (job := queue.claim(f"worker {number}", 60, 3)) is not None:
            note(notes / "claimed", f"{job.series_id} {job.pass_number}")
            note(notes / "finished", f"{job.series_id} {queue.finish(job, [output(job.pass_number, series=10 + job.series_id)])}")
        while (delivery := queue.claim_delivery(f"sender {number}", 60)) is not None:
            note(notes / "lent", f"{delivery.delivery_id}")
            queue.sent(delivery, [one.sop_uid for one in delivery.items])
            queue.delivered(delivery, None)
    except Exception as error:
        note(notes / "errors", f"{type(error).__name__} {error}")
        raise
