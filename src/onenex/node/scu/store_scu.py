"""C-STORE: one association, presentation contexts for exactly what is to be sent, every answer looked at.

Source: PS3.4 annex B (storage), PS3.7 9.1.1 (C-STORE) and annex C (status codes), PS3.8 7.1 (association).
"""

from __future__ import annotations

import logging
import socket
import ssl
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext

from onenex.errors import NodeError
from onenex.node.config import Tls
from onenex.node.records import Item

logger = logging.getLogger(__name__)

_config.STORE_SEND_CHUNKED_DATASET = True  # send_c_store(path) sends the bytes as they lie in the file, and never re-encodes them

GROUPS_PER_ASSOCIATION = 40
"""(SOP class, transfer syntax) pairs on one association: with their fallbacks they fill most of the 128 contexts of PS3.8 9.3.2.2."""
SLOWEST_BYTES_PER_S = 250_000
"""A peer that takes an object more slowly than this is given up on."""
_PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
_WARNINGS = range(0xB000, 0xC000)
_DUPLICATE = 0x0111
_STATUS_TEXTS = {
    0x0111: "an object with this UID is there already", 0x0117: "invalid SOP instance", 0x0122: "SOP class not supported", 0x0124: "not authorised",
    0x0210: "duplicate invocation", 0x0211: "unrecognised operation", 0x0212: "mistyped argument",
}  # fmt: skip
_STATUS_RANGES = {0xA9: "data set does not match its SOP class"} | dict.fromkeys(range(0xC0, 0xD0), "cannot be understood by the peer")


class PeerUnavailable(NodeError):
    """The peer cannot be reached, refuses the association, drops it, or has no room: all that is left must wait."""


class NothingAccepted(PeerUnavailable):
    """The peer takes the association but none of its presentation contexts."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """How to reach a peer."""

    calling_ae: str
    called_ae: str
    host: str
    port: int
    timeout_s: float
    """For the connection, and for every answer (longer for large objects, see `SLOWEST_BYTES_PER_S`)."""
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the peer said about one object."""

    item: Item
    stored: bool
    reason: str = ""
    """Why it is not stored, or the warning with which it was."""
    duplicate: bool = False
    """Refused because the peer has an object of this UID: the same one, or another."""


Convert = Callable[[Path, str], Path]
"""Decodes a file into a transfer syntax and returns the new file, which the caller deletes; raises NodeError."""


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return what a client with this certificate needs; the peer's certificate and host name are checked.

    Raises
    ------
    NodeError
        A certificate or key cannot be read.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(tls.authorities))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:
        raise NodeError(f"the certificates of [tls] cannot be used ({error}): check certificate, key and authorities in node.toml") from error
    return context


def portions(items: Sequence[Item]) -> list[list[Item]]:
    """Split a series so that each part fits one association; nearly always there is one part, in the order given."""
    parts: list[list[Item]] = []
    groups: set[tuple[str, str]] = set()
    for item in items:
        group = (item.sop_class, item.transfer_syntax)
        if not parts or (group not in groups and len(groups) == GROUPS_PER_ASSOCIATION):
            parts.append([])
            groups = set()
        groups.add(group)
        parts[-1].append(item)
    return parts


def contexts_for(items: Iterable[Item]) -> list[PresentationContext]:
    """Return the contexts to propose: each SOP class in the transfer syntaxes of its files, each alone, then in the plain ones.

    One syntax a context, so that the peer cannot choose another than that of the file where it takes both.
    """
    wanted: dict[tuple[str, str], None] = {(one.sop_class, one.transfer_syntax): None for one in items}
    plain = {(sop_class, str(syntax)): None for sop_class, _ in wanted for syntax in _PLAIN}
    return [build_context(sop_class, syntax) for sop_class, syntax in wanted | plain]


@contextmanager
def associate(link: Link, contexts: list[PresentationContext], handlers: Sequence[Any] = ()) -> Iterator[Association]:
    """Yield an established association; it is released when the block ends well and aborted when it does not.

    Raises
    ------
    PeerUnavailable
        There is none; the message says why.
    """
    entity = AE(ae_title=link.calling_ae)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = link.timeout_s
    entity.network_timeout = None
    own = [(evt.EVT_CONN_OPEN, _limit_socket, [link.timeout_s]), *handlers]
    tls = (link.tls, link.host) if link.tls is not None else None
    association = entity.associate(link.host, link.port, contexts, link.called_ae, evt_handlers=own, tls_args=tls)
    if not association.is_established:
        raise _refused(association, link)
    try:
        yield association
    except BaseException:
        association.abort()
        raise
    association.release()


def _limit_socket(event: evt.Event, timeout_s: float) -> None:
    """Let no call on the socket wait for ever: pynetdicom sends and receives without a limit."""
    wrapper = event.assoc.dul.socket
    if wrapper is None or wrapper.socket is None:
        return
    limit = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1e6))
    for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        wrapper.socket.setsockopt(socket.SOL_SOCKET, option, limit)
    wrapper.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _refused(association: Association, link: Link) -> PeerUnavailable:
    """Say why there is no association."""
    where = f"{link.called_ae} at {link.host}:{link.port}"
    answer = association.acceptor.primitive
    if association.is_rejected and isinstance(answer, A_ASSOCIATE):
        return PeerUnavailable(f"{where} rejects the association ({answer.result_str}: {answer.reason_str}): is '{link.calling_ae}' known there?")
    if association.rejected_contexts and not association.accepted_contexts:
        return NothingAccepted(f"{where} takes none of the SOP classes and transfer syntaxes offered")
    return PeerUnavailable(f"{where} does not answer: check that it runs, its address, and the firewall")


class _Watch:
    """Notes which message the last answer belongs to, which pynetdicom does not check."""

    def __init__(self) -> None:
        self._answered: list[Any] = []

    def __call__(self, event: evt.Event) -> None:
        self._answered.append(event.message.command_set.get("MessageIDBeingRespondedTo"))

    def take(self) -> list[Any]:
        """Return the numbers since the last call, oldest first."""
        taken, self._answered = self._answered, []
        return taken


def store(association: Association, items: Iterable[Item], timeout_s: float, convert: Convert) -> Iterator[Answer]:
    """Send objects one after the other and yield what the peer says about each.

    Each goes as it lies in its file where the peer takes its transfer syntax, and decoded where it does not.

    Raises
    ------
    PeerUnavailable
        The association was lost, or the peer has no room (A7xx): nothing is known about the object that was on its way.
    """
    accepted = {(str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in association.accepted_contexts if one.as_scu}
    watch = _Watch()
    association.bind(evt.EVT_DIMSE_RECV, watch)
    try:
        for index, item in enumerate(items):
            yield _store_one(association, item, (index % 65535 + 1, timeout_s, watch), (accepted, convert))
    finally:
        association.unbind(evt.EVT_DIMSE_RECV, watch)


def _store_one(association: Association, item: Item, message: tuple[int, float, _Watch], ways: tuple[set[tuple[str, str]], Convert]) -> Answer:
    """Send one object, decoded where it must be."""
    accepted, convert = ways
    syntax = next((one for one in (item.transfer_syntax, *map(str, _PLAIN)) if (item.sop_class, one) in accepted), None)
    if syntax is None:
        return Answer(item=item, stored=False, reason="the peer takes neither its SOP class nor a transfer syntax that it can be decoded to")
    if syntax == item.transfer_syntax:
        problem = file_problem(item)
        return Answer(item=item, stored=False, reason=problem) if problem else _answer(item, _send(association, item.path, message))
    try:
        decoded = convert(item.path, syntax)
    except NodeError as error:
        return Answer(item=item, stored=False, reason=f"the peer does not take its transfer syntax, and {error}")
    try:
        return _answer(item, _send(association, decoded, message))
    finally:
        decoded.unlink(missing_ok=True)


def file_problem(item: Item) -> str:
    """Say why a file is not the object that it should be; empty when it is."""
    try:
        meta = read_file_meta_info(item.path)
    except OSError as error:
        return f"its file cannot be read ({error.strerror})"
    except Exception as error:  # pydicom raises nearly anything on damaged files
        return f"its file is damaged ({type(error).__name__})"
    found = (meta.get("MediaStorageSOPInstanceUID"), meta.get("MediaStorageSOPClassUID"), meta.get("TransferSyntaxUID"))
    return "" if found == (item.sop_uid, item.sop_class, item.transfer_syntax) else "its file holds another object than the queue says"


def _send(association: Association, path: Path, message: tuple[int, float, _Watch]) -> int:
    """Send one file and return the status of the answer that belongs to it."""
    number, timeout_s, watch = message
    if not association.is_established:
        raise PeerUnavailable("the peer ended the association before everything was sent")
    watch.take()
    association.dimse_timeout = timeout_s + path.stat().st_size / SLOWEST_BYTES_PER_S
    try:
        answer = association.send_c_store(path, msg_id=number, priority=0)
    except (OSError, RuntimeError) as error:
        raise PeerUnavailable(f"the association was lost ({type(error).__name__})") from error
    status = answer.get("Status")  # an empty answer: dropped, aborted or timed out
    if status is None:
        raise PeerUnavailable("the peer dropped the association, or did not answer in time, before an image was confirmed")
    if watch.take() != [number]:
        raise PeerUnavailable("the peer answered to another message than the last one: its answers cannot be trusted")
    return int(status)


def _answer(item: Item, status: int) -> Answer:
    """Judge a status (PS3.4 B.2.3, PS3.7 annex C)."""
    if status in _OUT_OF_RESOURCES:
        raise PeerUnavailable(f"the peer is out of resources (status {status:04X}): free some room there")
    if status == 0:
        return Answer(item=item, stored=True)
    if status in _WARNINGS:
        return Answer(item=item, stored=True, reason=f"stored with warning {status:04X}")
    text = _STATUS_TEXTS.get(status) or _STATUS_RANGES.get(status >> 8, "refused")
    return Answer(item=item, stored=False, reason=f"{text} (status {status:04X})", duplicate=status == _DUPLICATE)
