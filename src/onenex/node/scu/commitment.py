"""Storage commitment: a peer's promise to keep what it was sent.

The promise (N-EVENT-REPORT) comes on the association on which it was asked for, or later on a new one that the peer opens to
the receiver; both read it with `Promise` and `answer_to`.

Source: PS3.4 annex J (Storage Commitment Push Model).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance  # type: ignore[attr-defined]

from onenex.node.audit import Audit, uid_hash
from onenex.node.records import Item
from onenex.node.scu.store_scu import PeerUnavailable

logger = logging.getLogger(__name__)

_REQUEST = 1
"""Action type: request storage commitment (J.3.2)."""
_EVENTS = (1, 2)
"""Event types: all kept; some lost (J.3.3)."""
_REASONS = {
    0x0110: "processing failure", 0x0112: "no such object", 0x0213: "resource limitation", 0x0122: "SOP class not supported",
    0x0119: "SOP class and instance conflict", 0x0131: "duplicate transaction",
}  # fmt: skip
"""Failure Reason (PS3.3 C.14.1.1)."""

Committed = Callable[[str, Collection[str], Mapping[str, str]], bool]
"""`Queue.committed`: transaction UID, kept, lost with reasons; False when the transaction is unknown."""


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What a peer says that it keeps."""

    transaction_uid: str
    kept: frozenset[str]
    """SOP Instance UIDs."""
    lost: dict[str, str]
    """SOP Instance UID → why."""


def is_offered(association: Association) -> bool:
    """Whether the peer accepted the context of storage commitment."""
    return any(one.abstract_syntax == StorageCommitmentPushModel for one in association.accepted_contexts)


def ask(association: Association, items: Iterable[Item], transaction_uid: str) -> None:
    """Ask a peer to promise that it keeps these objects.

    Raises
    ------
    PeerUnavailable
        It refused, or did not answer.
    """
    request = Dataset()
    request.TransactionUID = transaction_uid
    request.ReferencedSOPSequence = [_reference(one) for one in items]
    try:
        answer, _ = association.send_n_action(request, _REQUEST, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    except (RuntimeError, ValueError) as error:
        raise PeerUnavailable(f"storage commitment could not be asked for ({type(error).__name__}): everything is stored") from error
    status = answer.get("Status")
    if status is None:
        raise PeerUnavailable("the peer did not answer when asked for storage commitment: everything is stored, it is asked again later")
    if status != 0:
        raise PeerUnavailable(
            f"the peer refuses the storage commitment that it offered (status {status:04X}): ask its keeper, or set commitment = false"
        )


def _reference(item: Item) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = item.sop_class
    reference.ReferencedSOPInstanceUID = item.sop_uid
    return reference


def read_promise(information: Dataset) -> Promise | None:
    """Read the event information of an N-EVENT-REPORT (Table J.3-2); None where it makes no sense."""
    transaction = information.get("TransactionUID")
    if not isinstance(transaction, str) or not UID(transaction).is_valid:
        return None
    lost: dict[str, str] = {}
    for one in information.get("FailedSOPSequence") or ():
        code = one.get("FailureReason")
        lost[str(one.get("ReferencedSOPInstanceUID", ""))] = _REASONS.get(code, f"failure {code:04X}" if isinstance(code, int) else "no reason given")
    kept = {str(one.get("ReferencedSOPInstanceUID", "")) for one in information.get("ReferencedSOPSequence") or ()}
    return Promise(transaction_uid=str(transaction), kept=frozenset(kept - lost.keys() - {""}), lost=lost)


def note(committed: Committed, audit: Audit) -> Committed:
    """Return `committed` that writes every promise into the audit trail first."""

    def noted(transaction_uid: str, kept: Collection[str], lost: Mapping[str, str]) -> bool:
        audit.write("kept", transaction=uid_hash(transaction_uid), images=len(kept), lost=len(lost))
        return committed(transaction_uid, kept, lost)

    return noted


def answer_to(committed: Committed) -> Callable[[evt.Event], tuple[int, Dataset | None]]:
    """Return a handler of pynetdicom's EVT_N_EVENT_REPORT that hands promises to the queue.

    It answers 0000 once the queue has it (also for a transaction that the queue does not know yet: it keeps the answer for a day),
    0113 and 0115 for events that make no sense, 0110 when the queue could not be reached, so that the peer tells it again.
    """

    def handle(event: evt.Event) -> tuple[int, Dataset | None]:
        if event.event_type not in _EVENTS:
            return 0x0113, None
        promise = _decoded(event)
        if promise is None:
            return 0x0115, None
        known = committed(promise.transaction_uid, promise.kept, promise.lost)
        level = logging.WARNING if promise.lost or not known else logging.INFO
        logger.log(level, "event=commitment kept=%d lost=%d known=%s", len(promise.kept), len(promise.lost), known)
        return 0x0000, None

    return handle


def _decoded(event: Any) -> Promise | None:
    """Read an event's information; None where it cannot be decoded."""
    try:
        return read_promise(event.event_information)
    except Exception as error:  # pydicom raises nearly anything on damaged bytes from the network
        logger.warning("event=commitment-unreadable error=%s", type(error).__name__)
        return None
