"""Deliveries: what the queue says is to go to a PACS goes there, for days if it must, until the PACS has all of it.

One thread a destination, so that a dead PACS delays no other. An image counts as sent once the peer said so, a series as
delivered once all its images do; everything between is known to the queue, and the next attempt sends only what is missing.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from onenex.errors import NodeError
from onenex.node.audit import Audit
from onenex.node.config import Destination, NodeConfig, Sending
from onenex.node.database.spool import Spool
from onenex.node.queue import Queue
from onenex.node.records import Delivery
from onenex.node.scu import store_scu
from onenex.node.scu.attempt import Attempt, Stopped, deliver
from onenex.node.scu.transcode import SECONDS_PER_OBJECT

logger = logging.getLogger(__name__)

POLL_S = 0.5
"""How often each thread looks for work."""
HOUSEKEEPING_S = 60.0
"""How often promises that never came are looked for."""
_DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class _Sender:
    config: NodeConfig
    queue: Queue
    spool: Spool
    audit: Audit
    owner: str
    halt: threading.Event = field(default_factory=threading.Event)
    pulses: dict[str, float] = field(default_factory=dict)
    """Destination → when its thread last got on (`time.monotonic`)."""


def run(config: NodeConfig, stop: threading.Event) -> None:
    """Send until `stop` is set.

    Raises
    ------
    NodeError
        A thread died or hangs: start again.
    """
    folder = config.node.folder
    sender = _Sender(config=config, queue=Queue(folder), spool=Spool(folder), audit=Audit(folder), owner=f"send-{os.getpid()}")
    threads = [threading.Thread(target=_serve, args=(sender, one), name=f"send-{one.name}", daemon=True) for one in config.destinations]
    for thread in threads:
        thread.start()
    try:
        tidied = -HOUSEKEEPING_S
        while not stop.wait(POLL_S):
            _check(sender, threads)
            if time.monotonic() - tidied >= HOUSEKEEPING_S:
                tidied = time.monotonic()
                _ask_again(sender)
    finally:
        sender.halt.set()
        deadline = time.monotonic() + config.sending.timeout_s
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _check(sender: _Sender, threads: list[threading.Thread]) -> None:
    """Raise when a thread died, or got nowhere for longer than the largest object may take."""
    config = sender.config
    longest = 10 * config.sending.timeout_s + config.limits.object_mb * 1e6 / store_scu.SLOWEST_BYTES_PER_S + SECONDS_PER_OBJECT
    for thread in threads:
        if not thread.is_alive():
            raise NodeError(f"thread {thread.name} died: see the log before this; the sender must be started again")
    for name, pulse in list(sender.pulses.items()):
        if time.monotonic() - pulse > longest:
            raise NodeError(f"sending to {name} hangs since {longest:.0f} s: the sender must be started again")


def _ask_again(sender: _Sender) -> None:
    """Make the deliveries due whose promise never came."""
    for delivery_id in sender.queue.overdue(sender.config.sending.commitment_hours * 3600):
        logger.warning("event=commitment-overdue delivery=%d", delivery_id)
        sender.queue.ask_again(delivery_id)


def _serve(sender: _Sender, destination: Destination) -> None:
    """Send what is due for one destination, one series after the other."""
    others = [one.name for one in sender.config.destinations if one.name != destination.name]
    lease_s = sender.config.node.lease_s
    while not sender.halt.is_set():
        sender.pulses[destination.name] = time.monotonic()
        delivery = sender.queue.claim_delivery(sender.owner, lease_s, others)
        if delivery is None:
            sender.halt.wait(POLL_S)
        elif delivery.destination != destination.name:
            sender.queue.give_up(delivery, f"destination '{delivery.destination}' is not in node.toml any more: add it again, then retry")
        else:
            _attempt(sender, destination, delivery)


def _attempt(sender: _Sender, destination: Destination, delivery: Delivery) -> None:
    """Try a delivery once; whatever goes wrong makes it due again later, and the thread goes on."""
    started, progress = time.monotonic(), threading.Event()
    with _held(sender, delivery) as lost:

        def go_on() -> bool:
            sender.pulses[destination.name] = time.monotonic()
            return not lost.is_set() and not sender.halt.is_set()

        attempt = Attempt(
            config=sender.config,
            queue=sender.queue,
            spool=sender.spool,
            audit=sender.audit,
            delivery=delivery,
            destination=destination,
            go_on=go_on,
            progress=progress,
        )
        try:
            deliver(attempt)
        except Stopped:
            problem = "the node was stopped meanwhile"
        except NodeError as error:
            problem = str(error)
        except Exception as error:  # no delivery may stop the others; the message may hold patient data, so it is not told
            place = error.__traceback__
            logger.error("event=send-error type=%s line=%s", type(error).__name__, place.tb_lineno if place else "?")
            problem = f"unexpected {type(error).__name__}: please report this"
        else:
            seconds = time.monotonic() - started
            fields = (delivery.delivery_id, delivery.series_id, delivery.kind, destination.name, len(delivery.items), seconds)
            logger.info("event=delivered delivery=%d series=%d kind=%s destination=%s images=%d seconds=%.1f", *fields)
            return
    if lost.is_set():
        logger.warning("event=lease-lost delivery=%d destination=%s", delivery.delivery_id, destination.name)
    elif sender.halt.is_set():
        sender.queue.postpone(delivery, problem, 0.0)
    else:
        _later(sender, delivery, problem, progress.is_set())


@contextmanager
def _held(sender: _Sender, delivery: Delivery) -> Iterator[threading.Event]:
    """Keep the lease as long as the block lasts; the event yielded is set if it is lost."""
    done, lost = threading.Event(), threading.Event()
    lease_s = sender.config.node.lease_s

    def beat() -> None:
        while not done.wait(lease_s / 4):
            held = False
            try:
                held = sender.queue.beat_delivery(delivery, lease_s)
            finally:
                if not held:
                    lost.set()
            if not held:
                return

    thread = threading.Thread(target=beat, name="send-beat", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        done.set()
        thread.join()


def _later(sender: _Sender, delivery: Delivery, problem: str, progress: bool) -> None:
    """Make a delivery due again, or give it up after days."""
    sending = sender.config.sending
    fields = (delivery.delivery_id, delivery.series_id, delivery.destination, delivery.attempts + 1, problem)
    if delivery.first_try_s > sending.give_up_days * _DAY_S:
        logger.error("event=delivery-given-up delivery=%d series=%d destination=%s attempts=%d problem=%r", *fields)
        sender.queue.give_up(delivery, problem)
        return
    delay_s = back_off(sending, 0 if progress else delivery.attempts)
    logger.warning("event=postponed delivery=%d series=%d destination=%s attempts=%d problem=%r delay_s=%.0f", *fields, delay_s)
    sender.queue.postpone(delivery, problem, delay_s)


def back_off(sending: Sending, attempts: int) -> float:
    """Return how long to wait, s: twice as long after each failed attempt, up to a limit, less up to a quarter by chance."""
    delay_s = min(sending.longest_retry_s, sending.first_retry_s * 2.0 ** min(attempts, 60))
    return delay_s * random.uniform(0.75, 1.0)
