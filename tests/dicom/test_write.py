"""Derived files hold the right integers, in the source's family of transfer syntaxes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from onenex.dicom.encode import output_syntax
from onenex.errors import InconsistentSeries, OutOfDomain
from tests.dicom.derived import coded, darker, read, same, stored, write_derived
from tests.dicom.make import classic_dataset, make_enhanced, make_series, phantom, put_pixels, save

SYNTAXES = [
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian,
    RLELossless, JPEGLSLossless, JPEG2000Lossless,
]  # fmt: skip
MADE_BY_PYDICOM = [
    "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "MR_small_padded.dcm", "examples_overlay.dcm", "JPEG2000.dcm", "emri_small.dcm",
    "emri_small_RLE.dcm", "emri_small_big_endian.dcm", "emri_small_jpeg_2k_lossless.dcm", "emri_small_jpeg_ls_lossless.dcm",
]  # fmt: skip
"""Real files in pydicom's wheel, or next to it in its download cache: those that are absent are left out."""


CHANGED_BY_US = [
    "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "InstanceCreationDate", "InstanceCreationTime", "ImageType",
    "ContributingEquipmentSequence", "DerivationDescription", "SourceImageSequence", "DerivationCodeSequence", "PixelData",
    "SmallestImagePixelValue", "LargestImagePixelValue",
]  # fmt: skip


def here(name: str) -> Path | None:
    found = get_testdata_file(name, download=False)
    return Path(found) if found else None


def full_range(bits: int, signed: bool, shape: tuple[int, ...]) -> NDArray[Any]:
    """Every corner of what `bits` can hold."""
    dtype = np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2 if bits <= 16 else 4}")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    numbers = np.random.default_rng(0).integers(low, high, shape, dtype=dtype, endpoint=True)
    numbers.flat[:2] = low, high
    return numbers


# ── pixels ──


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: UID(uid).name)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_unchanged_pixels_keep_their_stored_bits(tmp_path: Path, syntax: str, bits: int, signed: bool) -> None:
    numbers = full_range(bits, signed, (2, 33, 35))
    attrs = {"BitsStored": bits, "HighBit": bits - 1, "RescaleSlope": 2.36166056166056, "RescaleIntercept": -3.5}
    sources = make_series(tmp_path / "in", stored=numbers, transfer_syntax=ExplicitVRLittleEndian if UID(syntax).is_encapsulated else syntax, **attrs)
    if UID(syntax).is_encapsulated:
        coded(sources, syntax)
    written = write_derived(sources, tmp_path / "out", same)
    for path, before, after in zip(written, numbers, stored(written), strict=True):
        np.testing.assert_array_equal(after[0], before)
        assert dcmread(path).file_meta.TransferSyntaxUID == output_syntax(UID(syntax))


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: UID(uid).name)
def test_unchanged_multi_frame_pixels_keep_their_stored_bits(tmp_path: Path, syntax: str) -> None:
    numbers = full_range(12, False, (6, 33, 35))
    volumes = [{"TemporalPositionIndex": 1}, {"TemporalPositionIndex": 2}]
    source = make_enhanced(tmp_path / "in.dcm", 3, stored=numbers, volumes=volumes, transfer_syntax=syntax, rescale=[(0.5 + k, k) for k in range(6)])
    written = write_derived([source], tmp_path / "out", same, n_stacks=2)
    assert len(written) == 1
    np.testing.assert_array_equal(stored(written)[0], numbers)


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_native_words_of_any_width(tmp_path: Path, bits: int) -> None:
    numbers = full_range(bits, False, (3, 5, 3))
    written = write_derived(make_series(tmp_path / "in", stored=numbers), tmp_path / "out", same)
    np.testing.assert_array_equal(np.concatenate(stored(written)), numbers)


@pytest.mark.parametrize("name", [name for name in MADE_BY_PYDICOM if here(name)])
def test_real_files_unchanged_and_changed(tmp_path: Path, name: str) -> None:
    path = here(name)
    assert path is not None
    before = stored([path])[0]
    np.testing.assert_array_equal(stored(write_derived([path], tmp_path / "same", same))[0], before)
    changed = stored(write_derived([path], tmp_path / "darker", darker))[0]
    assert (changed != before).mean() > 0.5
    assert changed.min() == before.min()


@pytest.mark.data
def test_unchanged_shared_series_keep_their_stored_bits(tmp_path: Path, data_dir: Path) -> None:
    for folder in sorted(path for path in (data_dir / "dicom").iterdir() if path.is_dir()):
        files = sorted(folder.glob("*.dcm"))[:3]
        for before, after in zip(stored(files), stored(write_derived(files, tmp_path / folder.name, same)), strict=True):
            np.testing.assert_array_equal(after, before, err_msg=folder.name)


def test_an_overlay_in_unused_bits_survives(tmp_path: Path) -> None:
    numbers = full_range(12, False, (1, 8, 8))[0]
    overlay = np.random.default_rng(1).integers(0, 2, numbers.shape, dtype=np.uint16)
    dataset = classic_dataset(numbers, 0, {})
    put_pixels(dataset, numbers | (overlay << 15), bits_stored=12)
    source = save(dataset, tmp_path / "in.dcm")
    (written,) = write_derived([source], tmp_path / "out", darker)
    words = np.frombuffer(dcmread(written).PixelData, "<u2").reshape(8, 8)
    np.testing.assert_array_equal(words >> 15, overlay)
    assert (words & 0xFFF).max() < numbers.max()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless])
def test_rounding_and_clipping(tmp_path: Path, syntax: str) -> None:
    numbers = np.full((1, 32, 32), 100, np.uint16)
    sources = make_series(tmp_path / "in", stored=numbers, RescaleSlope=0.5, RescaleIntercept=10, transfer_syntax=syntax)
    values = np.full((1, 32, 32), 60, np.float32)
    values[0, 0, :8] = 0, 59.9, 60, 60.3, 1e9, -1e9, 60.5, 61
    (written,) = write_derived(sources, tmp_path / "out", lambda images: values)
    np.testing.assert_array_equal(stored([written])[0][0][0, :9], [0, 100, 100, 101, 4095, 0, 101, 102, 100])
    assert dcmread(written).file_meta.TransferSyntaxUID == syntax


@pytest.mark.parametrize(("value", "shape"), [(np.nan, (2, 6, 5)), (np.inf, (2, 6, 5)), (1.0, (1, 6, 5)), (1.0, (2, 5, 6))])
def test_nonsense_is_refused(tmp_path: Path, value: float, shape: tuple[int, ...]) -> None:
    sources = make_series(tmp_path / "in", 2, 6, 5)
    with pytest.raises(OutOfDomain):
        write_derived(sources, tmp_path / "out", lambda images: np.full(shape, value, np.float32))


@pytest.mark.parametrize(("signed", "vr"), [(False, "US"), (True, "SS")])
def test_extremes_follow_the_pixels(tmp_path: Path, signed: bool, vr: str) -> None:
    numbers = full_range(12, signed, (1, 8, 8))
    extremes = {"SmallestImagePixelValue": 1, "LargestImagePixelValue": 2, "SmallestPixelValueInSeries": 1, "LargestPixelValueInSeries": 2}
    sources = make_series(tmp_path / "in", stored=numbers, BitsStored=12, HighBit=11, PixelRepresentation=int(signed), **extremes)
    after = read(write_derived(sources, tmp_path / "out", darker)[0])
    found = stored([tmp_path / "out" / after_path for after_path in sorted((tmp_path / "out").rglob("*.dcm"))])[0]
    assert (after.SmallestImagePixelValue, after.LargestImagePixelValue) == (found.min(), found.max())
    assert vr == after["SmallestImagePixelValue"].VR
    assert "SmallestPixelValueInSeries" not in after
    assert "LargestPixelValueInSeries" not in after
    unchanged = read(write_derived(sources, tmp_path / "same", same)[0])
    assert (unchanged.SmallestImagePixelValue, unchanged.LargestPixelValueInSeries) == (1, 2)


# ── transfer syntax ──


@pytest.mark.parametrize(
    ("source", "target"),
    [
        *((syntax, syntax) for syntax in SYNTAXES if syntax != ExplicitVRBigEndian),
        (ExplicitVRBigEndian, ExplicitVRLittleEndian),
        (JPEGLSNearLossless, JPEGLSLossless),
        (JPEG2000, JPEG2000Lossless),
        (HTJ2K, JPEG2000Lossless),
        (JPEGLosslessSV1, ExplicitVRLittleEndian),
        (JPEGBaseline8Bit, ExplicitVRLittleEndian),
        ("1.2.840.10008.1.2.4.999", ExplicitVRLittleEndian),
    ],
    ids=str,
)
def test_the_family_of_the_transfer_syntax_is_kept_and_lossless(source: str, target: str) -> None:
    assert output_syntax(UID(source)) == target


def test_what_an_encoder_refuses_is_written_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise RuntimeError("no encoder")

    sources = make_series(tmp_path / "in", 1, 6, 5, transfer_syntax=RLELossless)
    monkeypatch.setattr("onenex.dicom.encode._encode", refuse)
    (written,) = write_derived(sources, tmp_path / "out", same)
    assert dcmread(written).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(stored([written])[0], stored(sources)[0])


def test_binary_values_of_big_endian_files_are_swapped(tmp_path: Path) -> None:
    dataset = classic_dataset(phantom(1, 6, 5)[0], 0, {})
    numbers = np.arange(8, dtype=np.uint16)
    item = Dataset()
    item.LUTData = numbers.astype(">u2").tobytes()
    item["LUTData"].VR = "OW"
    dataset.VOILUTSequence = [item]
    dataset.add(DataElement(0x60003000, "OW", numbers.astype(">u2").tobytes()))
    dataset.add(DataElement(0x00091001, "UN", b"\0\1"))
    source = save(dataset, tmp_path / "in.dcm", ExplicitVRBigEndian)
    after = read(write_derived([source], tmp_path / "out", same)[0])
    np.testing.assert_array_equal(np.frombuffer(after[0x60003000].value, "<u2"), numbers)
    np.testing.assert_array_equal(np.frombuffer(after.VOILUTSequence[0].LUTData, "<u2"), numbers)
    assert 0x00091001 not in after


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_implicit.dcm", "examples_overlay.dcm"])
def test_untouched_elements_keep_their_bytes(tmp_path: Path, name: str) -> None:
    path = here(name)
    assert path is not None
    (written,) = write_derived([path], tmp_path / "out")
    before, after = dcmread(path), dcmread(written)
    changed = {element.tag for element in after if element.keyword in CHANGED_BY_US}
    compared = [tag for tag in before.keys() & after.keys() - changed if isinstance(dcmread(path).get_item(tag), RawDataElement)]
    before, after = dcmread(path), dcmread(written)
    assert len(compared) > 40
    assert {tag: before.get_item(tag).value for tag in compared} == {tag: after.get_item(tag).value for tag in compared}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_senseless_values_do_not_stop_the_work(tmp_path: Path, syntax: str) -> None:
    (source,) = make_series(tmp_path / "in", 1, 6, 5, transfer_syntax=syntax, EchoNumbers=42424242, SeriesNumber=73737373)
    source.write_bytes(source.read_bytes().replace(b"42424242", b"x?424242").replace(b"73737373", b"y?737373"))
    (written,) = write_derived([source], tmp_path / "out")
    assert dcmread(written).SeriesNumber == 100000
    if syntax == ExplicitVRLittleEndian:
        assert dcmread(written).get_item("EchoNumbers").value == b"x?424242"


def test_what_cannot_be_written_is_named_but_not_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("bad value: Doe^Jane")

    sources = make_series(tmp_path / "in", 1, 6, 5)
    monkeypatch.setattr("onenex.dicom.folder.dcmwrite", refuse)
    with pytest.raises(InconsistentSeries, match=r"im0000\.dcm: its header holds a value .*ValueError") as refused:
        write_derived(sources, tmp_path / "out")
    assert "Doe" not in str(refused.value)
