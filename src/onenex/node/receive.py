"""The door of the node: C-ECHO, C-STORE of anything, notices and promises. Nothing is acknowledged before it would survive a power cut.

caller ─▶ Server ─▶ Reception ─▶ Intake ─▶ `incoming/` ─▶ `instances/` ─▶ Ledger ─▶ queue ─▶ success

Source: PS3.4 B (storage service class; statuses in B.2.3), PS3.7 C (statuses), PS3.10 7.1 (file meta information).
"""

from __future__ import annotations

import contextlib
import logging
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    StorageCommitmentPushModel,
    Verification,
)

from onenex.errors import NodeError
from onenex.node.audit import Audit
from onenex.node.config import NodeConfig
from onenex.node.database.spool import NoRoom, Spool
from onenex.node.queue import Queue
from onenex.node.records import Arrival, Outcome
from onenex.node.scp.access import Access, Role, access_of, server_context
from onenex.node.scp.intake import MEMORY_BYTES, Intake
from onenex.node.scp.ledger import Ledger
from onenex.node.scp.listener import Server
from onenex.node.scp.notices import Steps, on_create, on_set
from onenex.node.scp.uids import HEAD_BYTES, Header, NotUnderstood, read_header
from onenex.node.scp.wire import quiet_and_unrestricted
from onenex.node.scu.commitment import answer_to, note

log = logging.getLogger(__name__)

SUCCESS = 0x0000
DUPLICATE = 0x0111
"""Duplicate SOP instance: other bytes under a UID that is taken."""
NOT_AUTHORISED = 0x0124
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
"""The data set is of another class or instance than the request says."""
NOT_UNDERSTOOD = 0xC000

_SWEEP_AGE_S = 3600.0
_LOOK_S = 0.5
"""How often the listener looks whether it is to stop."""
_BIND_S = 20.0
"""How long the port of a dead predecessor is waited for."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What the handling of one object needs."""

    spool: Spool
    ledger: Ledger
    access: Access
    keeps: Callable[[Path], bool]
    """`Queue.keeps`."""


def run(config: NodeConfig, stop: threading.Event) -> None:
    """Receive until `stop` is set.

    Raises
    ------
    NodeError
        The folder, the certificates or the port cannot be used.
    """
    with serving(config):
        stop.wait()


@contextlib.contextmanager
def serving(config: NodeConfig) -> Iterator[Server]:
    """Receive as long as the block lasts.

    Raises
    ------
    NodeError
        The folder, the certificates or the port cannot be used.
    """
    limits = config.limits
    spool = Spool(config.node.folder, reserve_bytes=limits.reserve_bytes)
    spool.sweep(_SWEEP_AGE_S)
    queue = Queue(config.node.folder)
    queue.recover(spool)
    ledger = Ledger(queue.register, spool.flush)
    access = access_of(config)
    steps = Steps(config.node.folder)
    handlers = [
        (evt.EVT_C_STORE, on_store, [Desk(spool=spool, ledger=ledger, access=access, keeps=queue.keeps)]),
        (evt.EVT_N_CREATE, on_create, [steps, queue.announce, access]),
        (evt.EVT_N_SET, on_set, [steps, queue.announce, access]),
        (evt.EVT_N_EVENT_REPORT, answer_to(note(queue.committed, Audit(config.node.folder)))),
    ]
    with quiet_and_unrestricted():
        server = _listen(config, access, partial(Intake, spool.incoming, limits.object_bytes, spool.reserve_bytes), handlers)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": _LOOK_S}, name="listener", daemon=True)
        thread.start()
        log.info("event=listening port=%d tls=%s peers=%d", server.port, config.tls is not None, len(config.peers))
        try:
            yield server
        finally:
            server.stop()
            thread.join()
            ledger.close()


def _listen(config: NodeConfig, access: Access, intake: partial[Intake], handlers: list[Any]) -> Server:
    ae = AE(config.node.ae_title)
    ae.maximum_pdu_size = config.limits.pdu_bytes
    ae.maximum_associations = 10**6  # the server counts
    ae.network_timeout = config.limits.idle_s
    ae.acse_timeout = min(30.0, config.limits.idle_s)
    for sop_class in (Verification, ModalityPerformedProcedureStep, InstanceAvailabilityNotification):
        ae.add_supported_context(sop_class)
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    tls = server_context(config.tls) if config.tls is not None else None
    address, deadline = (config.node.host, config.node.port), time.monotonic() + _BIND_S
    while True:
        try:
            return Server(ae, address, access=access, limits=config.limits, intake=intake, handlers=handlers, tls=tls)
        except OSError as error:
            if time.monotonic() > deadline:
                raise NodeError(f"cannot listen on {address[0]}:{address[1]} ({error.strerror}): see who has the port, or give another") from error
            time.sleep(0.2)


def on_store(event: evt.Event, desk: Desk) -> int | Dataset:
    """Keep one object and return the status that it is answered with."""
    association = event.assoc
    request: Any = event.request
    calling, address = association.requestor.ae_title.strip(), association.requestor.address
    intake = request.DataSet
    if not isinstance(intake, Intake):
        return _refusal(NOT_UNDERSTOOD, "no data set", calling)
    try:
        if desk.access.role(calling, address) is not Role.SENDER:
            return _refusal(NOT_AUTHORISED, "may not store here", calling)
        if intake.problem:
            return _refusal(OUT_OF_RESOURCES, f"object: {intake.problem}", calling)
        header = _header(intake, event.context.transfer_syntax)
        if (header.sop_class, header.sop_uid) != (str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)):
            return _refusal(DOES_NOT_MATCH, "UIDs of request and data set differ", calling)
        return _answer(_keep(event, intake, header, desk), calling)
    except NotUnderstood:
        return _refusal(NOT_UNDERSTOOD, "UIDs cannot be read", calling)
    except NoRoom:
        return _refusal(OUT_OF_RESOURCES, "no room on the disk", calling)
    except Exception as error:  # whatever it is, the sender must not take it for success, and the log not quote it
        return _refusal(OUT_OF_RESOURCES, f"cannot be kept ({type(error).__name__})", calling)
    finally:
        intake.discard()


def _header(intake: Intake, transfer_syntax: str) -> Header:
    """Read the UIDs, from as little as will do."""
    try:
        return read_header(intake.head(MEMORY_BYTES), transfer_syntax)
    except NotUnderstood:
        if not intake.is_large:
            raise
        return read_header(intake.head(HEAD_BYTES), transfer_syntax)


def _keep(event: evt.Event, intake: Intake, header: Header, desk: Desk) -> Outcome:
    """Write the object, give it its name, and register it."""
    spool, association = desk.spool, event.assoc
    calling, called = association.requestor.ae_title.strip(), desk.access.ae_title
    syntax, digest = event.context.transfer_syntax, intake.digest
    temporary = spool.receive(chain([_file_meta(header, syntax, calling, called)], intake.parts()))
    try:
        path = spool.place(temporary, header.study_uid, header.series_uid, header.sop_uid, digest, flush=False)
    except NodeError:
        temporary.unlink(missing_ok=True)
        raise
    outcome = desk.ledger.enter(
        Arrival(
            sop_uid=header.sop_uid,
            sop_class=header.sop_class,
            transfer_syntax=str(syntax),
            study_uid=header.study_uid,
            series_uid=header.series_uid,
            path=path,
            n_bytes=intake.n_bytes,
            digest=digest,
            calling_ae=calling,
            called_ae=called,
            address=association.requestor.address,
        )
    )
    if outcome is not Outcome.NEW and not desk.keeps(path):
        path.unlink(missing_ok=True)
    return outcome


def _file_meta(header: Header, transfer_syntax: str, calling: str, called: str) -> bytes:
    """Return preamble and file meta information; the data set follows as it came."""
    elements = b"".join(
        (
            struct.pack("<HH2sHI2s", 2, 1, b"OB", 0, 2, b"\0\1"),
            _meta_element(0x02, b"UI", header.sop_class),
            _meta_element(0x03, b"UI", header.sop_uid),
            _meta_element(0x10, b"UI", transfer_syntax),
            _meta_element(0x12, b"UI", PYNETDICOM_IMPLEMENTATION_UID),
            _meta_element(0x13, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION),
            _meta_element(0x16, b"AE", calling),
            _meta_element(0x18, b"AE", called),
        )
    )
    return b"\0" * 128 + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(elements)) + elements


def _meta_element(number: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def _answer(outcome: Outcome, calling: str) -> int | Dataset:
    if outcome is Outcome.CONFLICT:
        return _refusal(DUPLICATE, "other bytes under a known UID", calling)
    return SUCCESS


def _refusal(status: int, comment: str, calling: str) -> Dataset:
    """Return a status that says why, and log it; neither names a patient."""
    log.warning("event=object-refused status=%04X calling_ae=%r reason=%r", status, calling, comment)
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment[:64]
    return answer
