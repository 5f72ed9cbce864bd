"""Four UIDs out of the head of an encoded data set, without parsing the rest and whatever a stranger sent.

The walk is flat (no recursion), never allocates more than the values, and ends at Series Instance UID.

Source: PS3.5 7.1 (elements), 7.5 (sequences), A.5 (deflated), 6.2.2 note (UN of undefined length is implicit).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from onenex.errors import NodeError

HEAD_BYTES = 16 * 2**20
"""The UIDs must lie within so many bytes; deflated ones within so many once inflated."""

_IMPLICIT = "1.2.840.10008.1.2"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_WANTED = frozenset({_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES})
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_DEEPEST = 64
_MOST_ELEMENTS = 100_000
"""Before the UIDs, sequences' included; a second's work."""
_VR = re.compile(rb"[A-Z]{2}")
_UID = re.compile(rb"[!-\[\]-~]{1,64}")


class NotUnderstood(NodeError):
    """An object whose UIDs cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What identifies an object."""

    sop_class: str
    sop_uid: str
    study_uid: str
    series_uid: str


class _Element(NamedTuple):
    tag: int
    is_implicit: bool
    """Of what is inside, if its length is undefined."""
    start: int
    """Of the value."""
    length: int


def read_header(head: bytes, transfer_syntax: str) -> Header:
    """Read the UIDs from the first bytes of a data set in any transfer syntax.

    Parameters
    ----------
    head
        The encoded data set or its first `HEAD_BYTES`.

    Raises
    ------
    NotUnderstood
        They are not there, or not UIDs, or the bytes are no data set in this transfer syntax.
    """
    data = _inflated(head) if transfer_syntax in _DEFLATED else head[:HEAD_BYTES]
    found: dict[int, str] = {}
    for tag, value in _top_level(data, transfer_syntax == _IMPLICIT, ">" if transfer_syntax == _BIG_ENDIAN else "<"):
        text = value.rstrip(b"\0 ")
        if not _UID.fullmatch(text):
            raise NotUnderstood(f"({tag >> 16:04x},{tag & 0xFFFF:04x}) is no UID: the object is damaged, send it again")
        found[tag] = text.decode("ascii")
    missing = sorted(_WANTED - set(found))
    if missing:
        names = ", ".join(f"({tag >> 16:04x},{tag & 0xFFFF:04x})" for tag in missing)
        raise NotUnderstood(f"{names} not found: the object is damaged or not in the transfer syntax that was agreed on")
    return Header(sop_class=found[_SOP_CLASS], sop_uid=found[_SOP_INSTANCE], study_uid=found[_STUDY], series_uid=found[_SERIES])


def _inflated(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(head, HEAD_BYTES)
    except zlib.error as error:
        raise NotUnderstood(f"the deflated data set cannot be inflated ({error}): send it again") from error


def _top_level(data: bytes, is_implicit: bool, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield the wanted elements that are in no sequence."""
    tag_of, long_of = struct.Struct(order + "HH"), struct.Struct(order + "I")
    open_ones: list[tuple[bool, bool]] = []  # is it an item; was the outside implicit
    offset = n_elements = 0
    while offset + 8 <= len(data):
        n_elements += 1
        if n_elements > _MOST_ELEMENTS:
            raise NotUnderstood(f"there are more than {_MOST_ELEMENTS} elements before the UIDs: OneNEX takes no such object")
        group, number = tag_of.unpack_from(data, offset)
        tag = group << 16 | number
        if group == 0xFFFE:
            length = long_of.unpack_from(data, offset + 4)[0]
            offset += 8
            if tag != _ITEM:
                if tag not in (_ITEM_END, _SEQUENCE_END) or not open_ones or open_ones[-1][0] != (tag == _ITEM_END):
                    raise NotUnderstood("the data set's sequences are not well formed: send it again")
                is_implicit = open_ones.pop()[1]
            elif length == _UNDEFINED:
                open_ones.append((True, is_implicit))
            else:
                offset += length
            continue
        if not open_ones and tag > _SERIES:
            return
        element = _element(data, offset, tag, is_implicit, order)
        offset = element.start
        if element.length == _UNDEFINED:
            open_ones.append((False, is_implicit))
            is_implicit = element.is_implicit
            if len(open_ones) > _DEEPEST:
                raise NotUnderstood(f"the data set's sequences are more than {_DEEPEST} deep: OneNEX takes no such object")
            continue
        offset += element.length
        if not open_ones and tag in _WANTED:
            yield tag, data[element.start : min(offset, element.start + 70)]


def _element(data: bytes, offset: int, tag: int, is_implicit: bool, order: str) -> _Element:
    """Read one element's head."""
    if is_implicit:
        return _Element(tag, True, offset + 8, struct.unpack_from(order + "I", data, offset + 4)[0])
    vr = bytes(data[offset + 4 : offset + 6])
    if vr in _LONG_VRS:
        if offset + 12 > len(data):
            raise NotUnderstood("the data set ends within an element: send it again")
        return _Element(tag, vr == b"UN", offset + 12, struct.unpack_from(order + "I", data, offset + 8)[0])
    if not _VR.fullmatch(vr):
        raise NotUnderstood("the data set is not in the transfer syntax that was agreed on: send it again")
    return _Element(tag, False, offset + 8, struct.unpack_from(order + "H", data, offset + 6)[0])
