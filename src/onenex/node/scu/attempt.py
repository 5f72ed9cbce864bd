"""One attempt at one delivery: store what is missing, tell the queue image by image, ask for the promise to keep it.

Nothing here decides when to try again: whatever goes wrong is raised, and `send` knows what to do about it.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydicom.uid import generate_uid
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from onenex.errors import NodeError
from onenex.node.audit import Audit, uid_hash
from onenex.node.config import Destination, NodeConfig
from onenex.node.database.spool import Spool
from onenex.node.queue import Queue
from onenex.node.records import Delivery, Item
from onenex.node.scu import commitment, store_scu, stow
from onenex.node.scu.store_scu import Answer, Link
from onenex.node.scu.transcode import Transcoder

logger = logging.getLogger(__name__)

BATCH_IMAGES, BATCH_S = 8, 1.0
"""The queue hears of stored images after so many, or so long: as many may be sent twice if the node dies."""
PROMISE_S = 2.0
"""How long the association stays open for a promise; later ones come to the receiver."""


class Refused(NodeError):
    """The peer refused some of the images."""


class Stopped(Exception):
    """The node stops, or the lease is lost: left off between two images."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What one attempt needs."""

    config: NodeConfig
    queue: Queue
    spool: Spool
    audit: Audit
    delivery: Delivery
    destination: Destination
    go_on: Callable[[], bool]
    """Asked before every image."""
    progress: threading.Event
    """Set once an image was stored."""

    def items(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items as long as the attempt may go on.

        Raises
        ------
        Stopped
            It may not.
        """
        for item in items:
            if not self.go_on():
                raise Stopped
            yield item


def deliver(attempt: Attempt) -> None:
    """Send what is missing and tell the queue how far it came.

    Raises
    ------
    NodeError
        Not everything is there yet.
    Stopped
        The attempt may not go on.
    """
    config, peer = attempt.config, attempt.destination
    tls = store_scu.tls_context(config.tls) if peer.tls and config.tls is not None else None
    with Transcoder(attempt.spool, config.limits.decoded_bytes) as transcoder:
        if peer.kind == "stow":
            server = stow.server_of(peer, config.sending.timeout_s, tls)
            _settle(attempt, _record(attempt, stow.store(server, attempt.items(attempt.delivery.items), transcoder.convert), False))
            _delivered(attempt, None)
        elif attempt.delivery.items or (peer.commitment and attempt.queue.uncommitted(attempt.delivery)):
            _over_dicom(attempt, _link(attempt, tls), transcoder)
        else:
            _delivered(attempt, None)


def _link(attempt: Attempt, tls: ssl.SSLContext | None) -> Link:
    peer, timeout_s = attempt.destination, attempt.config.sending.timeout_s
    return Link(
        calling_ae=attempt.config.node.ae_title,
        called_ae=peer.ae_title or "",
        host=peer.host or "",
        port=peer.port or 0,
        timeout_s=timeout_s,
        tls=tls,
    )


def _over_dicom(attempt: Attempt, link: Link, transcoder: Transcoder) -> None:
    """Send over one association (more only for more SOP classes than fit), and ask for commitment on the last."""
    peer, queue, delivery = attempt.destination, attempt.queue, attempt.delivery
    heard = threading.Event()
    handlers = [(evt.EVT_N_EVENT_REPORT, commitment.answer_to(_telling(queue, attempt.audit, heard)))]
    parts: Sequence[list[Item]] = store_scu.portions(delivery.items) or [[]]
    refused: list[str] = []
    for part in parts:
        contexts = store_scu.contexts_for(part or queue.uncommitted(delivery)[: store_scu.GROUPS_PER_ASSOCIATION])
        contexts += [build_context(StorageCommitmentPushModel)] if peer.commitment else []
        with store_scu.associate(link, contexts, handlers) as association:
            offered = peer.commitment and commitment.is_offered(association)
            answers = store_scu.store(association, attempt.items(part), link.timeout_s, transcoder.convert)
            refused += _record(attempt, answers, offered)
            if part is parts[-1] and not refused:
                _promise(attempt, association if offered else None, heard)
    _settle(attempt, refused)


def _promise(attempt: Attempt, association: Association | None, heard: threading.Event) -> None:
    """Everything is stored: ask for the promise to keep it, where the peer gives such promises."""
    queue, delivery = attempt.queue, attempt.delivery
    items = queue.uncommitted(delivery) if association is not None else ()
    if association is None or not items:
        _delivered(attempt, None)
        return
    transaction_uid = str(generate_uid())
    commitment.ask(association, items, transaction_uid)
    _delivered(attempt, transaction_uid)
    if heard.wait(PROMISE_S):
        time.sleep(0.1)  # the answer to the peer's event must overtake the release


def _delivered(attempt: Attempt, transaction_uid: str | None) -> None:
    """Everything is stored: into the audit trail first, so that after a crash it holds the line twice rather than not at all."""
    delivery, view = attempt.delivery, attempt.queue.one(attempt.delivery.series_id)
    attempt.audit.write(
        "delivered",
        series=delivery.series_id,
        series_hash=uid_hash(view.series_uid) if view else "",
        kind=delivery.kind,
        destination=delivery.destination,
        images=len(delivery.items),
        transaction=uid_hash(transaction_uid) if transaction_uid else None,
    )
    attempt.queue.delivered(delivery, transaction_uid)


def _telling(queue: Queue, audit: Audit, heard: threading.Event) -> commitment.Committed:
    """Return `Queue.committed`, which also sets `heard`."""

    def committed(transaction_uid: str, kept: Collection[str], lost: Mapping[str, str]) -> bool:
        known = commitment.note(queue.committed, audit)(transaction_uid, kept, lost)
        heard.set()
        return known

    return committed


def _record(attempt: Attempt, answers: Iterator[Answer], offered: bool) -> list[str]:
    """Tell the queue of stored images as they are, and return why others are not.

    A peer that has an object of this UID already decides by its promise, where it gives any, whether it keeps that.
    """
    refused: list[str] = []
    done: list[str] = []
    told = time.monotonic()
    try:
        for answer in answers:
            if answer.stored or (answer.duplicate and offered):
                done.append(answer.item.sop_uid)
                attempt.progress.set()
            else:
                refused.append(answer.reason)
            if len(done) >= BATCH_IMAGES or time.monotonic() - told > BATCH_S:
                done, batch, told = [], done, time.monotonic()
                attempt.queue.sent(attempt.delivery, batch)
    finally:
        if done:
            attempt.queue.sent(attempt.delivery, done)
    return refused


def _settle(attempt: Attempt, refused: list[str]) -> None:
    """Raise unless everything was stored."""
    if refused:
        reason, count = Counter(refused).most_common(1)[0]
        more = f", {len(refused) - count} for other reasons" if count < len(refused) else ""
        raise Refused(f"{len(refused)} of {len(attempt.delivery.items)} images were refused: {reason}{more}")
