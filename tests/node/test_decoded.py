"""Decompression bombs: what a series decodes to is judged from headers and codestreams, within bounds, before anything is decoded."""

import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from onenex.node import decoded
from onenex.node.decoded import too_large
from tests.dicom.make import make_enhanced, make_series, save

MB = 2**20
LARGE = 30_000
"""Lines and columns: 1.8 GB of 16-bit pixels."""


def jpeg(lines: int, columns: int, *, marker: int = 0xC3, before: bytes = b"") -> bytes:
    frame = struct.pack(">BBHBHHB", 0xFF, marker, 11, 16, lines, columns, 1) + b"\1\x11\0"
    return b"\xff\xd8" + before + frame + b"\xff\xda\0\x08\1\1\0\1\0\0" + bytes(64) + b"\xff\xd9"


def jpeg2000(lines: int, columns: int) -> bytes:
    return b"\xff\x4f\xff\x51" + struct.pack(">HHLLLLLLLLHBBB", 41, 0, columns, lines, 0, 0, columns, lines, 0, 0, 1, 15, 1, 1) + bytes(64)


def coded(path: Path, stream: bytes, syntax: str) -> Path:
    """A small image whose coded pixels are `stream`."""
    (made,) = make_series(path.parent / "made", 1)
    dataset = dcmread(made)
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    ("stream", "syntax"),
    [
        (jpeg(LARGE, LARGE), JPEGLosslessSV1),
        (jpeg(0, LARGE), JPEGLosslessSV1),
        (jpeg(LARGE, LARGE, marker=0xC0), JPEGBaseline8Bit),
        (jpeg(LARGE, LARGE, marker=0xF7), JPEGLSLossless),
        (jpeg(LARGE, LARGE, before=b"\xff\xe1\0\x0d" + jpeg(8, 8)[2:13]), JPEGLosslessSV1),
        (jpeg(LARGE, LARGE, before=b"\xff\xff\xff\xfe\0\x0d" + jpeg(8, 8)[2:13]), JPEGLosslessSV1),
        (jpeg(LARGE, LARGE, before=b"\xff\xd0\0junk"), JPEGLosslessSV1),
        (jpeg(8, 8, before=b"\xff\xe1\xff\xff" + bytes(65533) + b"\xff\xe1\0\x04ab"), JPEGLosslessSV1),
        (jpeg2000(LARGE, LARGE), JPEG2000Lossless),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + jpeg2000(8, 8) + jpeg2000(LARGE, LARGE), JPEG2000Lossless),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(70_000) + jpeg2000(8, 8), JPEG2000Lossless),
    ],
    ids=["lossless", "no lines", "baseline", "jpeg-ls", "decoy", "decoy after fill", "junk", "hidden", "2000", "decoy in jp2", "hidden in jp2"],
)  # fmt: skip
def test_a_codestream_that_says_more_than_the_header_counts(tmp_path: Path, stream: bytes, syntax: str) -> None:
    path = coded(tmp_path / "im.dcm", stream, syntax)
    assert path.stat().st_size < 200_000
    assert "limits.decoded_mb" in (too_large([path], 1000 * MB) or "")


@pytest.mark.parametrize(
    ("stream", "syntax"),
    [(jpeg(32, 24), JPEGLosslessSV1), (jpeg2000(32, 24), JPEG2000Lossless), (b"nothing", JPEGLosslessSV1), (b"\xff\xd8\xff", JPEGLosslessSV1)],
)
def test_a_small_one_passes(tmp_path: Path, stream: bytes, syntax: str) -> None:
    assert too_large([coded(tmp_path / "im.dcm", stream, syntax)], MB // 16) is None


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian])
def test_real_coders_give_the_real_size(tmp_path: Path, syntax: str) -> None:
    files = make_series(tmp_path, 4, 64, 48, transfer_syntax=syntax)
    size = 4 * 64 * 48 * 2
    assert too_large(files, size) is None
    assert too_large(files, size - 1) is not None


def test_headers_that_claim_too_much(tmp_path: Path) -> None:
    files = make_series(tmp_path / "rle", 3, transfer_syntax=RLELossless)
    for path in files:
        dataset = dcmread(path)
        dataset.Rows = dataset.Columns = LARGE
        dataset.save_as(path)
    assert too_large(files[:1], 2000 * MB) is None
    assert "2000 MB" in (too_large(files, 2000 * MB) or "")  # all of them count
    enhanced = make_enhanced(tmp_path / "e.dcm", 2)
    assert too_large([enhanced], MB) is None
    dataset = dcmread(enhanced)
    dataset.NumberOfFrames = 2_000_000_000
    save(dataset, enhanced)
    assert too_large([enhanced], MB) is not None
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = decoded.MAX_FRAMES + 1, 1, 1
    save(dataset, enhanced)
    assert "frames" in (too_large([enhanced], 10**12) or "")


def test_an_unknown_coding_counts_as_its_header_says(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, 1)
    dataset = dcmread(path)
    dataset.Rows = dataset.Columns = LARGE
    dataset.file_meta.TransferSyntaxUID = "1.2.3.4"
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    assert too_large([path], MB) is not None


def test_a_deflated_bomb_is_not_unpacked(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, 1, transfer_syntax=DeflatedExplicitVRLittleEndian)
    whole = path.read_bytes()
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(MB)) for _ in range(40)) + packer.flush()
    path.write_bytes(whole[: 144 + int.from_bytes(whole[140:144], "little")] + bomb)
    tracemalloc.start()
    began = time.monotonic()
    refused = too_large([path], 16 * MB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused is not None
    assert peak < 8 * MB
    assert time.monotonic() - began < 5


def test_what_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, 1)
    (tmp_path / "text").write_bytes(b"nothing DICOM" * 99)
    (tmp_path / "cut").write_bytes(path.read_bytes()[:300])
    (tmp_path / "empty").write_bytes(b"")
    assert too_large([tmp_path / name for name in ("text", "cut", "empty", "gone")], 1) is None
