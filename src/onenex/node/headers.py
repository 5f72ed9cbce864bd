"""Headers of strangers' files, read within bounds: one poisoned file must not take the process that serves all others with it."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from onenex.dicom.files import HEADER_ERRORS, quiet
from onenex.dicom.frames import FrameHeader

HEADER_BYTES = 8 * 2**20
"""Of a file, inflated where it is deflated: what lies beyond is not looked at. Enhanced MR of a thousand frames takes three or four million."""
_PREAMBLE_BYTES = 132
_FIRST_PIXEL_TAG = Tag(0x7FE00000)


def read_header(path: Path) -> Dataset | None:
    """Return what a file says before its pixels, as far as it says so in its first `HEADER_BYTES`.

    Returns
    -------
    Dataset or None
        With `file_meta`; None when the file is gone, no DICOM, or so damaged that it names neither class nor series.
    """
    try:
        with quiet():
            with path.open("rb") as file:
                start = file.read(HEADER_BYTES)
            header = _inflated(start) if is_deflated(start) else dcmread(io.BytesIO(start), stop_before_pixels=True, force=True)
            known = FrameHeader(header)
            return header if known.text("SOPClassUID") and known.text("SeriesInstanceUID") else None
    except HEADER_ERRORS:
        return None


def is_deflated(start: bytes) -> bool:
    """Whether a file that starts so has a deflated data set (PS3.5 A.5); False where it cannot be told."""
    if start[128:_PREAMBLE_BYTES] != b"DICM":
        return False
    with quiet():
        return str(_meta(io.BytesIO(start)).get("TransferSyntaxUID")) == DeflatedExplicitVRLittleEndian


def deflated_part(start: bytes) -> int:
    """Return where the deflated bytes of a file begin."""
    stream = io.BytesIO(start)
    with quiet():
        _meta(stream)
    return stream.tell()


def _meta(stream: io.BytesIO) -> Dataset:
    """Read the File Meta Information (PS3.10 7.1) and leave the stream behind it."""
    stream.seek(_PREAMBLE_BYTES)
    return read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, vr, length: tag.group != 2)


def _inflated(start: bytes) -> Dataset:
    stream = io.BytesIO(start)
    meta = _meta(stream)
    plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(start[stream.tell() :], HEADER_BYTES)
    header = read_dataset(io.BytesIO(plain), is_implicit_VR=False, is_little_endian=True, stop_when=_at_pixels)
    return FileDataset("", header, file_meta=FileMetaDataset(meta), is_implicit_VR=False, is_little_endian=True)


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    return bool(tag >= _FIRST_PIXEL_TAG)
