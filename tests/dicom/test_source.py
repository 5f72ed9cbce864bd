"""Pixels through `DicomSource`: every coding and transfer syntax, and files that went wrong after reading."""

import gc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from onenex.dicom import DicomSource, read_series
from onenex.errors import DecodeError
from onenex.series import FrameRef, SliceStack
from tests.dicom.make import classic_dataset, make_enhanced, make_series, phantom, save

SYNTAXES = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
]


def random_stored(dtype: type, shape: tuple[int, ...] = (2, 65, 67)) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.random.default_rng(1).integers(info.min, info.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint8])
def test_every_transfer_syntax_gives_the_stored_integers(tmp_path: Path, syntax: str, dtype: type) -> None:
    stored = random_stored(dtype)
    make_series(tmp_path, stored=stored, transfer_syntax=syntax)
    (series,) = read_series(tmp_path)
    assert series.skip_reason is None
    np.testing.assert_array_equal(series.source.stored(series.stacks[0]), stored)
    images = series.source.images(series.stacks[0])
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, stored.astype(np.float32))


def test_jpeg_lossless_through_gdcm(tmp_path: Path) -> None:
    gdcm = pytest.importorskip("gdcm")
    (path,) = make_series(tmp_path / "plain", 1, 64, 48)
    target = tmp_path / "jpeg" / "a.dcm"
    target.parent.mkdir()
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    (series,) = read_series(target)
    assert series.source.dataset(target).file_meta.TransferSyntaxUID == JPEGLosslessSV1
    np.testing.assert_array_equal(series.source.stored(series.stacks[0]), phantom(1, 64, 48))


@pytest.mark.parametrize("dtype", [np.uint32, np.int32])
def test_32_bit_pixels(tmp_path: Path, dtype: type) -> None:
    stored = random_stored(dtype, (1, 16, 17))
    make_series(tmp_path, stored=stored, transfer_syntax=ExplicitVRBigEndian)
    (series,) = read_series(tmp_path)
    np.testing.assert_array_equal(series.source.stored(series.stacks[0]), stored)


def test_high_bit_that_is_not_bits_stored_minus_one(tmp_path: Path) -> None:
    plain = phantom(1, 16, 16)
    make_series(tmp_path, stored=plain << 4, BitsStored=12, HighBit=15)
    (series,) = read_series(tmp_path)
    np.testing.assert_array_equal(series.source.stored(series.stacks[0]), plain)


def test_classic_rescale_per_slice(tmp_path: Path) -> None:
    make_series(tmp_path, 3, vary={"RescaleSlope": [0.5, 1e-6, -2.0], "RescaleIntercept": [0, 1, 100]})
    (series,) = read_series(tmp_path)
    expected = phantom(3, 32, 24) * np.array([0.5, 1e-6, -2.0])[:, None, None] + np.array([0, 1, 100])[:, None, None]
    np.testing.assert_allclose(series.source.images(series.stacks[0]), expected, rtol=1e-6)
    assert [coding.slope for coding in series.source.codings(series.stacks[0])] == [0.5, 1e-6, -2.0]


def test_enhanced_rescale_per_frame(tmp_path: Path) -> None:
    rescale = [(1.0 + frame, -float(frame)) for frame in range(6)]
    path = make_enhanced(tmp_path / "e.dcm", 3, volumes=[{"EffectiveEchoTime": 10}, {"EffectiveEchoTime": 30}], rescale=rescale)
    (series,) = read_series(path)
    pixels = phantom(6, 32, 24).astype(np.float64)
    expected = pixels * np.arange(1, 7)[:, None, None] - np.arange(6)[:, None, None]
    for stack, part in zip(series.stacks, (expected[:3], expected[3:]), strict=True):
        np.testing.assert_array_equal(series.source.images(stack), part.astype(np.float32))


@pytest.mark.parametrize(
    "name",
    [
        "MR_small.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_expb.dcm",
        "MR_small_implicit.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_padded.dcm",
    ],
)
def test_the_same_image_in_pydicoms_codings(name: str) -> None:
    (series,) = read_series(get_testdata_file(name, download=False))
    assert series.skip_reason is None
    assert series.acquisition.vendor == "Canon"
    expected = dcmread(get_testdata_file("MR_small.dcm", download=False)).pixel_array
    np.testing.assert_array_equal(series.source.stored(series.stacks[0])[0], expected)


def test_truncated_file_is_skipped_and_decoding_it_fails_with_advice() -> None:
    (series,) = read_series(get_testdata_file("MR_truncated.dcm", download=False))
    assert series.skip_reason is not None
    assert "truncated" in series.skip_reason
    assert "send the series again" in series.skip_reason
    with pytest.raises(DecodeError, match="truncated or damaged"):
        series.source.images(series.stacks[0])


def test_missing_pixels_are_skipped_and_decoding_fails_with_advice(tmp_path: Path) -> None:
    make_series(tmp_path, 3, vary={"PixelData": [b"\0" * 1536, None, b"\0" * 1536]})
    (series,) = read_series(tmp_path)
    assert series.skip_reason == "im0001.dcm has no pixel data: send the series again from the scanner or PACS"
    with pytest.raises(DecodeError, match=r"im0001.dcm has no PixelData \(7FE0,0010\): send the series again"):
        series.source.images(series.stacks[0])


def test_damaged_codestream_raises_decode_error(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, 1, 64, 64, transfer_syntax=JPEG2000Lossless)
    dataset = dcmread(path)
    dataset.PixelData = encapsulate([b"\xff\x4f\xff\x51" + b"\x00" * 400])
    dataset.save_as(path)
    (series,) = read_series(path)
    with pytest.raises(DecodeError, match=r"im0000.dcm, frame 1: the pixels \(JPEG 2000 .* cannot be decoded"):
        series.source.images(series.stacks[0])


def test_file_that_went_away_raises_decode_error(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, 1)
    (series,) = read_series(path)
    path.unlink()
    with pytest.raises(DecodeError, match="cannot be read any more"):
        series.source.images(series.stacks[0])
    with pytest.raises(DecodeError, match="read the series again"):
        DicomSource().dataset(path)


def test_frames_of_another_size_raise(tmp_path: Path) -> None:
    path = save(classic_dataset(phantom(1, 16, 16)[0], 0, {}), tmp_path / "a.dcm")
    stack = SliceStack(label="", frames=(FrameRef(path=path),), rows=32, columns=16)
    with pytest.raises(Exception, match=r"16 × 16 pixels where its series has 32 × 16"):
        DicomSource().images(stack)


def test_unpacked_archive_lives_as_long_as_the_series(tmp_path: Path) -> None:
    paths = make_series(tmp_path / "in", 2)
    archive = tmp_path / "scan.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in paths:
            file.write(path, f"deep/{path.name}")
    series = read_series(archive)
    unpacked = series[0].stacks[0].frames[0].path
    assert series[0].path == archive
    assert series[0].source.images(series[0].stacks[0]).shape == (2, 32, 24)
    assert unpacked.is_file()
    del series
    gc.collect()
    assert not unpacked.exists()
