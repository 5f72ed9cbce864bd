"""How much memory a series' pixels take once decoded, judged before anything is decoded: a small file may claim to unpack to anything."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmread
from pydicom.uid import UID

from onenex.dicom.files import HEADER_ERRORS, quiet
from onenex.dicom.frames import FrameHeader
from onenex.node.headers import HEADER_BYTES, deflated_part, is_deflated

MAX_FRAMES = 200_000
"""Of one series: no scanner makes more, and every frame costs memory of its own."""
_LOOK_BYTES = 65_536
"""Of each compressed fragment, to find the size of its image in."""
_CHUNK = 2**20
_SIZ = b"\xff\x4f\xff\x51"
"""Start of a JPEG 2000 codestream: SOC, SIZ (ISO/IEC 15444-1 A.4)."""
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_JP2 = b"\0\0\0\x0cjP  "
"""Start of a JPEG 2000 file, which may wrap a codestream (ISO/IEC 15444-1 I.5.1)."""
_FRAMES = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7))
"""Markers of JPEG's and JPEG-LS's frame headers: then length, precision, lines, samples a line, components (ISO/IEC 10918-1 B.2.2, 14495-1 C.2.2)."""
_ALONE = frozenset((0x00, 0x01, *range(0xD0, 0xDA)))
"""Markers without a length (ISO/IEC 10918-1 B.1.1.3), and a stuffed byte, which is none."""


def too_large(files: Sequence[Path], limit_bytes: int) -> str | None:
    """Return why a series is too large to be denoised; None when it isn't.

    What headers and compressed images say of their size counts, whichever is more. A file that cannot be read says nothing: the
    pipeline reports it.

    Parameters
    ----------
    files
        Every file of the series.
    limit_bytes
        `limits.decoded_mb`.
    """
    n_bytes = n_frames = 0
    for path in files:
        try:
            with quiet():
                more_bytes, more_frames = _claims(path, limit_bytes)
        except HEADER_ERRORS:
            continue
        n_bytes, n_frames = n_bytes + more_bytes, n_frames + more_frames
        if n_bytes > limit_bytes:
            return f"its pixels take more than {limit_bytes / 2**20:.0f} MB once decoded: raise limits.decoded_mb if that is right"
        if n_frames > MAX_FRAMES:
            return f"it claims to hold more than {MAX_FRAMES} frames"
    return None


def _claims(path: Path, limit_bytes: int) -> tuple[int, int]:
    """Return the bytes and frames that a file claims to hold."""
    with path.open("rb") as file:
        start = file.read(min(HEADER_BYTES, _LOOK_BYTES))
        if is_deflated(start):
            file.seek(deflated_part(start))
            inflated = _inflated_bytes(file, limit_bytes)
            if inflated > limit_bytes:
                return inflated, 1
        file.seek(0)
        dataset = dcmread(file, stop_before_pixels=True, force=True)
        header = FrameHeader(dataset)
        if not header.integer("Rows"):
            return 0, 0
        frames = max(1, header.integer("NumberOfFrames") or 1, len(header.items("PerFrameFunctionalGroupsSequence")))
        samples = (header.integer("Rows") or 0) * (header.integer("Columns") or 0) * max(1, header.integer("SamplesPerPixel") or 1)
        claimed = frames * samples * max(1, (header.integer("BitsAllocated") or 16) // 8)
        syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
        if not syntax.is_transfer_syntax or not syntax.is_encapsulated:
            return claimed, frames
        return max(claimed, sum(_coded_bytes(part, limit_bytes) for part in _fragments(file))), frames


def _inflated_bytes(file: BinaryIO, limit_bytes: int) -> int:
    """Return what the rest of a file inflates to, at most a little more than the limit; nothing is kept."""
    unpacker, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while total <= limit_bytes and not unpacker.eof and (part := unpacker.unconsumed_tail or file.read(_CHUNK)):
        total += len(unpacker.decompress(part, _CHUNK))
    return total


def _fragments(file: BinaryIO) -> Iterator[bytes]:
    """Yield the first bytes of every fragment of encapsulated pixel data (PS3.5 A.4), from its element on; the offset table is none."""
    if file.read(12)[:4] != b"\xe0\x7f\x10\x00":
        return
    is_table = True
    while (head := file.read(8))[:4] == _ITEM and len(head) == 8:
        length = struct.unpack("<L", head[4:])[0]
        start = file.read(min(length, _LOOK_BYTES))
        if not is_table:
            yield start
        is_table = False
        file.seek(length - len(start), 1)


def _coded_bytes(part: bytes, limit_bytes: int) -> int:
    """Return what the image that starts in a fragment decodes to; 0 when none does, more than the limit when it hides its size."""
    if part.startswith(b"\xff\xd8"):
        return _jpeg_bytes(part, limit_bytes)
    if part.startswith(_SIZ):
        return _jpeg2000_bytes(part)
    if not part.startswith(_JP2):
        return 0
    sizes = [_jpeg2000_bytes(part[found.start() :]) for found in re.finditer(re.escape(_SIZ), part)]  # one of them may be a decoy
    return max(sizes, default=limit_bytes + 1)


def _jpeg2000_bytes(part: bytes) -> int:
    """Return what the codestream that `part` starts with says (ISO/IEC 15444-1 A.5.1)."""
    if len(part) < 43:
        return 0
    right, bottom, left, top = struct.unpack(">4L", part[8:24])
    components, depth = struct.unpack(">HB", part[40:43])
    return int(max(0, right - left) * max(0, bottom - top) * components * (((depth & 0x7F) + 8) // 8))


def _jpeg_bytes(part: bytes, limit_bytes: int) -> int:
    """Return what the first frame header of a JPEG or JPEG-LS stream says; marker by marker, as the others may hold decoys."""
    place = part.find(b"\xff", 2)
    while 0 <= place < len(part) - 9:
        marker, length = part[place + 1], int.from_bytes(part[place + 2 : place + 4])
        if marker in _FRAMES:
            precision, lines, columns, components = struct.unpack(">BHHB", part[place + 4 : place + 10])
            return int((lines or 0xFFFF) * columns * components * ((precision + 7) // 8))
        place = part.find(b"\xff", place + (1 if marker == 0xFF else 2 if marker in _ALONE else 2 + length))
    return limit_bytes + 1 if len(part) == _LOOK_BYTES else 0
