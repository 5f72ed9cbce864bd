"""Maps as derived series: numbers survive 16 bits, headers change by exactly the list, and validators have nothing new to say."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, JPEG2000Lossless

from onenex.dicom import read_series
from onenex.dicom.identity import derived_uid
from onenex.dicom.maps import MapSeriesWriter
from onenex.errors import OutOfDomain
from onenex.series import FloatImages, MapKind, Provenance
from tests.dicom.derived import PROVENANCE, WHEN, differences, read, series_of
from tests.dicom.make import make_enhanced, make_series, phantom
from tests.dicom.test_conformance import complaints
from tests.dicom.test_derive import ALWAYS, PER_FRAME, PULSE_SEQUENCE

UNCERTAINTY, GUARD = (replace(PROVENANCE, mode="full", preset="default", n_steps=4, n_samples=8, shows=kind) for kind in MapKind)
KINDS = pytest.mark.parametrize("provenance", [UNCERTAINTY, GUARD], ids=["uncertainty", "guard"])
NUMBERS = {"RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth", "VOILUTFunction", "BitsStored", "HighBit", "PixelData"}
CLASSIC = ALWAYS | NUMBERS | {"ImageType", "DerivationDescription", "SourceImageSequence", "DerivationCodeSequence"}
VOLUMES = [{"EffectiveEchoTime": 20.0}, {"EffectiveEchoTime": 80.0}]
TOP = 1500.0


def field(shape: tuple[int, int, int], seed: int = 0) -> FloatImages:
    """Small positive numbers, some of them zero."""
    numbers = np.random.default_rng(seed).gamma(2.0, 3.0, shape)
    numbers[:, :4] = 0
    return numbers.astype(np.float32)


def write_maps(
    paths: Sequence[Path], folder: Path, provenance: Provenance = UNCERTAINTY, *, n_stacks: int = 1, stacks: int | None = None
) -> list[Path]:
    series = series_of(paths, n_stacks)
    folder.mkdir(parents=True, exist_ok=True)
    writer = MapSeriesWriter(series=series, source=series.source, folder=folder, provenance=provenance, top=TOP, when=WHEN)  # type: ignore[arg-type]
    for number, stack in enumerate(series.stacks[:stacks]):
        writer.write(stack, field((len(stack.frames), stack.rows, stack.columns), number))
    return writer.close()


def values(path: Path) -> FloatImages:
    """The map as a reader of DICOM sees it."""
    (series,) = read_series(path)
    return np.concatenate([series.source.images(stack) for stack in series.stacks])


# ── numbers ──


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian, JPEG2000Lossless])
def test_small_values_survive_in_classic_images(tmp_path: Path, syntax: str) -> None:
    sources = make_series(tmp_path / "in", 3, 40, 36, transfer_syntax=syntax, RescaleSlope=0.25, RescaleIntercept=-3)
    wanted = field((3, 40, 36))
    for path, one in zip(write_maps(sources, tmp_path / "out"), wanted, strict=True):
        np.testing.assert_allclose(values(path)[0], one, atol=0.51 * TOP / 65535)
        assert (values(path)[0][:4] == 0).all()


def test_small_values_survive_in_enhanced_images(tmp_path: Path) -> None:
    rescale = [(2.0 + frame, -5.0) for frame in range(6)]
    source = make_enhanced(tmp_path / "in.dcm", 3, 32, 24, volumes=VOLUMES, rescale=rescale)
    series = series_of([source], 2)
    (path,) = write_maps([source], tmp_path / "out", n_stacks=2)
    found = series_of([path], 2)
    for number, (stack, after) in enumerate(zip(series.stacks, found.stacks, strict=True)):
        assert [ref.frame for ref in stack.frames] == [ref.frame for ref in after.frames]
        np.testing.assert_allclose(found.source.images(after), field((3, 32, 24), number), atol=0.51 * TOP / 65535)


def test_what_is_larger_than_the_top_is_clipped_and_nonsense_refused(tmp_path: Path) -> None:
    series = series_of(make_series(tmp_path / "in", 1, 32, 24))
    writer = series.source.map_writer(series, tmp_path, UNCERTAINTY, 10.0)
    with pytest.raises(OutOfDomain, match="please report"):
        writer.write(series.stacks[0], np.full((1, 32, 24), np.nan, np.float32))
    with pytest.raises(OutOfDomain, match="please report"):
        writer.write(series.stacks[0], np.full((1, 32, 24), -1, np.float32))
    with pytest.raises(OutOfDomain, match="fit"):
        writer.write(series.stacks[0], np.ones((1, 24, 32), np.float32))
    writer.write(series.stacks[0], np.full((1, 32, 24), 99, np.float32))
    np.testing.assert_allclose(values(writer.close()[0]), 10.0, rtol=1e-5)


@pytest.mark.parametrize(("attrs", "dtype"), [({}, np.int16), ({"BitsStored": 8, "HighBit": 7}, np.uint8), ({}, np.uint32)])
def test_the_coding_of_the_source_does_not_matter(tmp_path: Path, attrs: dict[str, object], dtype: type) -> None:
    padding = {"PixelPaddingValue": 0, "SmallestImagePixelValue": 0, "LargestImagePixelValue": 9}
    sources = make_series(tmp_path / "in", stored=(phantom(1, 32, 24) // 32).astype(dtype), **{**padding, **attrs})
    (path,) = write_maps(sources, tmp_path / "out")
    np.testing.assert_allclose(values(path), field((1, 32, 24)), atol=0.51 * TOP / 65535)


# ── headers ──


@KINDS
def test_classic_headers_change_by_exactly_the_list(tmp_path: Path, provenance: Provenance) -> None:
    sources = make_series(tmp_path / "in", 2, 32, 24)
    for before, after in zip(sources, write_maps(sources, tmp_path / "out", provenance), strict=True):
        assert set(differences(read(before), read(after))) == CLASSIC


@KINDS
def test_enhanced_headers_change_by_exactly_the_list(tmp_path: Path, provenance: Provenance) -> None:
    source = make_enhanced(tmp_path / "in.dcm", 3, 32, 24, volumes=VOLUMES)
    (path,) = write_maps([source], tmp_path / "out", provenance, n_stacks=2)
    voi, value = f"{PER_FRAME}FrameVOILUTSequence.", f"{PER_FRAME}PixelValueTransformationSequence."
    own = {f"{voi}WindowCenter", f"{voi}WindowWidth", f"{voi}VOILUTFunction", f"{value}RescaleSlope"}
    own |= {f"{PER_FRAME}DerivationImageSequence", f"{PER_FRAME}MRImageFrameTypeSequence.FrameType"}
    own |= {"ImageType", "ContentQualification", "SourceImageEvidenceSequence", "BitsStored", "HighBit", "PixelData"}
    assert set(differences(read(source), read(path))) == ALWAYS | own | (PULSE_SEQUENCE & set(read(source).dir()))


def test_identity_differs_from_source_result_and_other_maps(tmp_path: Path) -> None:
    (source,) = make_series(tmp_path / "in", 1, 32, 24)
    header = read(source)
    written = [read(write_maps([source], tmp_path / str(kind.shows), kind)[0]) for kind in (UNCERTAINTY, GUARD)]
    uids = {header.SeriesInstanceUID, derived_uid(header.SeriesInstanceUID, replace(UNCERTAINTY, shows=None))}
    uids |= {one.SeriesInstanceUID for one in written}
    assert len(uids) == 4
    for one, number, name in zip(written, (200003, 300003), ("uncertainty", "guard"), strict=True):
        assert (one.SeriesNumber, one.SeriesDescription) == (number, f"t2_tse_tra OneNEX {name}")
        assert one.SourceImageSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
        assert one.DerivationDescription.startswith("Map: ")
        assert "mode full, preset default, 4 steps, 8 samples" in one.DerivationDescription
        assert (one.StudyInstanceUID, one.FrameOfReferenceUID) == (header.StudyInstanceUID, header.FrameOfReferenceUID)


def test_image_type_and_windows(tmp_path: Path) -> None:
    (source,) = make_series(tmp_path / "in", 1, 32, 24)
    spread, suspicion = (read(write_maps([source], tmp_path / str(kind.shows), kind)[0]) for kind in (UNCERTAINTY, GUARD))
    assert list(spread.ImageType) == ["DERIVED", "SECONDARY", "OTHER", "STD_DEVIATION"]
    assert list(suspicion.ImageType) == ["DERIVED", "SECONDARY", "OTHER", "Z_SCORE"]
    wanted = field((1, 32, 24))
    assert spread.WindowWidth == pytest.approx(np.percentile(wanted[wanted > 0], 99.5), rel=0.01)
    assert spread.WindowCenter == pytest.approx(spread.WindowWidth / 2)
    assert (suspicion.WindowCenter, suspicion.WindowWidth) == (100, 200)
    (series,) = read_series(tmp_path / "uncertainty")
    assert series.skip_reason is not None
    assert "OneNEX" in series.skip_reason


def test_what_spoke_of_the_sources_numbers_goes(tmp_path: Path) -> None:
    said = {
        "PixelPaddingValue": 0, "WindowCenterWidthExplanation": "brain", "SmallestImagePixelValue": 0, "LargestPixelValueInSeries": 9,
        "RealWorldValueMappingSequence": [Dataset()],
    }  # fmt: skip
    (source,) = make_series(tmp_path / "in", 1, 32, 24, **said)
    dataset = dcmread(source)
    dataset.add(DataElement(0x20050010, "LO", "Philips MR Imaging DD 001"))
    dataset.add(DataElement(0x2005100E, "FL", 0.001))
    dataset.add(DataElement(0x60000010, "US", 32))
    dataset.save_as(source)
    after = read(write_maps([source], tmp_path / "out")[0])
    assert [name for name in said if name in after] == []
    assert [tag for tag in after.keys() if tag.is_private or tag.group == 0x6000] == []  # noqa: SIM118


def test_frames_without_a_map_are_left_out(tmp_path: Path) -> None:
    source = make_enhanced(tmp_path / "in.dcm", 3, 32, 24, volumes=VOLUMES)
    (path,) = write_maps([source], tmp_path / "out", n_stacks=2, stacks=1)
    after = read(path)
    groups = after.PerFrameFunctionalGroupsSequence
    assert (after.NumberOfFrames, len(groups), list(after.ImageType)) == (3, 3, ["DERIVED", "PRIMARY", "M", "STD_DEVIATION"])
    assert [group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber for group in groups] == [1, 3, 5]
    before = read(source).PerFrameFunctionalGroupsSequence
    positions = [group.PlanePositionSequence[0].ImagePositionPatient for group in groups]
    assert positions == [before[frame].PlanePositionSequence[0].ImagePositionPatient for frame in (0, 2, 4)]
    assert dcmread(path).pixel_array.shape == (3, 32, 24)


def test_the_reference_page_names_every_change() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "derived-series.md").read_text(encoding="utf-8")
    assert [name for name in sorted(CLASSIC | {"PixelValueTransformationSequence", "FrameVOILUTSequence"}) if f"`{name}`" not in page] == []


# ── validators ──


@pytest.mark.debian
@KINDS
@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_maps_gain_no_error(tmp_path: Path, kind: str, provenance: Provenance) -> None:
    classic = kind == "classic"
    source = make_series(tmp_path / "in", 1, 33, 35)[0] if classic else make_enhanced(tmp_path / "in.dcm", 3, 33, 35, volumes=VOLUMES)
    (path,) = write_maps([source], tmp_path / "out", provenance)
    assert complaints(path) - complaints(source) == set()
    gained = complaints(path, "Warning") - complaints(source, "Warning")
    assert [line for line in gained if not (classic and ("Rescale" in line or "Standard Extended" in line))] == []


@pytest.mark.data
@pytest.mark.debian
def test_maps_of_the_shared_series_gain_no_error(tmp_path: Path, data_dir: Path) -> None:
    for folder in sorted(path for path in (data_dir / "dicom").iterdir() if path.is_dir()):
        source = next(iter(sorted(folder.glob("*.dcm"))))
        (path,) = write_maps([source], tmp_path / folder.name)
        assert complaints(path) - complaints(source) == set(), folder.name
