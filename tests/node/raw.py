"""A DICOM upper layer by hand, so that a test may send any bytes: well-formed by default, anything else on demand.

Source: PS3.8 9.3 (PDUs), PS3.7 6.3 and 9.3.1 (C-STORE's command set).
"""

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
MR = "1.2.840.10008.5.1.4.1.1.4"
ECHO = "1.2.840.10008.1.1"
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
_CONTEXT = "1.2.840.10008.3.1.1.1"
Context = tuple[str, str]
"""Abstract syntax, transfer syntax."""


def pdu(kind: int, body: bytes, claimed: int | None = None) -> bytes:
    """A PDU; it may claim another length than it has."""
    return struct.pack(">BBI", kind, 0, len(body) if claimed is None else claimed) + body


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def associate_rq(contexts: Sequence[Context], calling: str = "SCANNER", called: str = "ONENEX", longest: int = 65_536) -> bytes:
    """An A-ASSOCIATE-RQ; context n has the id 2 n + 1."""
    body = struct.pack(">HH", 1, 0) + called.encode().ljust(16) + calling.encode().ljust(16) + bytes(32) + _item(0x10, _CONTEXT.encode())
    for number, (abstract, transfer) in enumerate(contexts):
        body += _item(0x20, bytes((2 * number + 1, 0, 0, 0)) + _item(0x30, abstract.encode()) + _item(0x40, transfer.encode()))
    body += _item(0x50, _item(0x51, struct.pack(">I", longest)) + _item(0x52, b"1.2.826.0.1.3680043.10.9"))
    return pdu(ASSOCIATE_RQ, body)


def fragment(data: bytes, *, command: bool, last: bool = True, context: int = 1) -> bytes:
    """A P-DATA-TF with one fragment."""
    return pdu(P_DATA, struct.pack(">IBB", len(data) + 2, context, command | last << 1) + data)


def element(tag: int, value: bytes) -> bytes:
    """An element in implicit VR little endian."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def even(text: str | bytes) -> bytes:
    """A UID's value, padded."""
    value = text.encode("latin-1") if isinstance(text, str) else text
    return value + b"\0" * (len(value) % 2)


def command_set(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return element(0x0000_0000, struct.pack("<I", len(body))) + body


def store_rq(sop_class: str, sop_uid: str, message_id: int = 1, data_set: bool = True) -> bytes:
    """The command set of a C-STORE-RQ."""
    return command_set(
        element(0x0000_0002, even(sop_class)),
        element(0x0000_0100, struct.pack("<H", 0x0001)),
        element(0x0000_0110, struct.pack("<H", message_id)),
        element(0x0000_0700, struct.pack("<H", 0)),
        element(0x0000_0800, struct.pack("<H", 0x0000 if data_set else 0x0101)),
        element(0x0000_1000, even(sop_uid)),
    )


def echo_rq() -> bytes:
    return command_set(
        element(0x0000_0002, even(ECHO)),
        element(0x0000_0100, struct.pack("<H", 0x0030)),
        element(0x0000_0110, struct.pack("<H", 1)),
        element(0x0000_0800, struct.pack("<H", 0x0101)),
    )


def data_set(
    sop_uid: str | bytes, series: str | bytes = "1.2.3.1", study: str | bytes = "1.2.3", sop_class: str = MR, pixels: bytes = b"\1\2"
) -> bytes:
    """The smallest image, implicit VR little endian."""
    identity = element(0x0008_0016, even(sop_class)) + element(0x0008_0018, even(sop_uid))
    return identity + element(0x0020_000D, even(study)) + element(0x0020_000E, even(series)) + element(0x7FE0_0010, pixels)


def status_of(command: bytes) -> int:
    """The status in a response's command set."""
    offset = 0
    while offset + 8 <= len(command):
        group, number, length = struct.unpack_from("<HHI", command, offset)
        if (group, number) == (0, 0x0900):
            return int(struct.unpack_from("<H", command, offset + 8)[0])
        offset += 8 + length
    raise AssertionError("the response has no status")


@dataclass
class Caller:
    """One connection."""

    connection: socket.socket
    accepted: dict[int, bool] = field(default_factory=dict)
    """Context id → whether it was."""

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def read(self) -> tuple[int, bytes]:
        """The next PDU: type and body; type 0 when the other side hung up."""
        head = self._exactly(6)
        if head is None:
            return 0, b""
        kind, _, length = struct.unpack(">BBI", head)
        return kind, self._exactly(length) or b""

    def _exactly(self, n_bytes: int) -> bytes | None:
        data = b""
        while len(data) < n_bytes:
            try:
                more = self.connection.recv(n_bytes - len(data))
            except ConnectionResetError:
                return None
            if not more:
                return None
            data += more
        return data

    def associate(self, contexts: Sequence[Context], **titles: str) -> int:
        """Ask for an association and return the type of the answer."""
        self.send(associate_rq(contexts, **titles))
        kind, body = self.read()
        if kind == ASSOCIATE_AC:
            self._read_contexts(body)
        return kind

    def _read_contexts(self, body: bytes) -> None:
        offset = 68
        while offset + 4 <= len(body):
            kind, _, length = struct.unpack_from(">BBH", body, offset)
            if kind == 0x21:
                self.accepted[body[offset + 4]] = body[offset + 6] == 0
            offset += 4 + length

    def store(self, sop_class: str, sop_uid: str, data: bytes, *, context: int = 1, piece: int = 60_000) -> int:
        """Send an object in fragments and return the status."""
        self.send(fragment(store_rq(sop_class, sop_uid), command=True, context=context))
        for start in range(0, max(len(data), 1), piece):
            part = data[start : start + piece]
            self.send(fragment(part, command=False, last=start + piece >= len(data), context=context))
        return self.answer()

    def answer(self) -> int:
        """The status of the next response."""
        kind, body = self.read()
        if kind != P_DATA:
            raise ConnectionError(f"PDU {kind} instead of an answer")
        return status_of(body[6:])

    def release(self) -> None:
        self.send(pdu(RELEASE_RQ, bytes(4)))
        assert self.read()[0] == RELEASE_RP


@contextmanager
def calling(port: int, *, timeout_s: float = 15.0, tls: Any = None, source: str = "127.0.0.1") -> Iterator[Caller]:
    """Connect, without another word."""
    with socket.create_connection(("127.0.0.1", port), timeout_s, source_address=(source, 0)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is None:
            yield Caller(connection)
        else:
            with tls.wrap_socket(connection) as private:
                yield Caller(private)


def store(port: int, sop_uid: str, data: bytes, *, sop_class: str = MR, syntax: str = IMPLICIT, **titles: str) -> int:
    """Send one object in an association of its own and return the status."""
    with calling(port) as caller:
        assert caller.associate([(sop_class, syntax)], **titles) == ASSOCIATE_AC
        status = caller.store(sop_class, sop_uid, data)
        caller.release()
        return status
