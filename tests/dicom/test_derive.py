"""The derived header differs from its source's in exactly the allowed list."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000, UID, ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from onenex.dicom.derive import derive
from onenex.dicom.identity import MAX_IS, derived_description, derived_image_type, derived_series_number, derived_uid
from onenex.errors import MissingTag
from onenex.series import MapKind
from tests.dicom.derived import PROVENANCE, WHEN, darker, differences, read, same, write_derived
from tests.dicom.make import classic_dataset, make_enhanced, make_series, phantom

ALWAYS = {"SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "InstanceCreationDate", "InstanceCreationTime"}
ALWAYS |= {"ContributingEquipmentSequence"}
CLASSIC = ALWAYS | {"ImageType", "DerivationDescription", "SourceImageSequence", "DerivationCodeSequence"}
PER_FRAME = "PerFrameFunctionalGroupsSequence."
ENHANCED = ALWAYS | {"ImageType", "ContentQualification", "SourceImageEvidenceSequence"}
ENHANCED |= {f"{PER_FRAME}DerivationImageSequence", f"{PER_FRAME}MRImageFrameTypeSequence.FrameType"}
PULSE_SEQUENCE = {
    "PulseSequenceName", "MRAcquisitionType", "EchoPulseSequence", "MultipleSpinEcho", "MultiPlanarExcitation", "PhaseContrast",
    "TimeOfFlightContrast", "ArterialSpinLabelingContrast", "SteadyStatePulseSequence", "EchoPlanarPulseSequence", "SaturationRecovery",
    "SpectrallySelectedSuppression", "OversamplingPhase", "GeometryOfKSpaceTraversal", "RectilinearPhaseEncodeReordering",
    "SegmentedKSpaceTraversal", "CoverageOfKSpace", "NumberOfKSpaceTrajectories",
}  # fmt: skip
"""What an enhanced image loses when it turns DERIVED (docs/decisions/0004)."""
CHANGED = {"PixelData"}
EXTREMES = {"SmallestImagePixelValue", "LargestImagePixelValue", "SmallestPixelValueInSeries", "LargestPixelValueInSeries"}
REAL = (
    ALWAYS
    | PULSE_SEQUENCE
    | {"ImageType", "DerivationDescription", "SourceImageSequence", "DerivationCodeSequence", "ContentQualification", "SourceImageEvidenceSequence"}
    | {f"{PER_FRAME}DerivationImageSequence", f"{PER_FRAME}MRImageFrameTypeSequence.FrameType"}
    | {"SharedFunctionalGroupsSequence.MRImageFrameTypeSequence.FrameType"}
    | {"DataSetTrailingPadding", "InstanceCreatorUID", "IconImageSequence"}
)
"""What may differ in a real series; which of it must is asserted on the generated ones."""


def changes(before: Path, after: Path) -> set[str]:
    return set(differences(read(before), read(after)))


def classic(**attrs: object) -> Dataset:
    return classic_dataset(phantom(1, 8, 8)[0], 0, attrs)


def derived_from(**attrs: object) -> Dataset:
    return derive(classic(**attrs), PROVENANCE, when=WHEN)


# ── the list ──


@pytest.mark.parametrize(("change", "pixels"), [(darker, CHANGED), (same, set())])
@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_classic_changes_are_exactly_the_list(tmp_path: Path, change: object, pixels: set[str], syntax: str | None) -> None:
    attrs = {"transfer_syntax": syntax} if syntax else {}
    sources = make_series(tmp_path / "in", 2, 12, 10, **attrs)  # type: ignore[arg-type]
    for before, after in zip(sources, write_derived(sources, tmp_path / "out", change), strict=True):  # type: ignore[arg-type]
        recoded = {"PixelData"} if syntax == ExplicitVRBigEndian else set()
        assert changes(before, after) == CLASSIC | pixels | recoded


def test_enhanced_changes_are_exactly_the_list(tmp_path: Path) -> None:
    source = make_enhanced(tmp_path / "in.dcm", 3, 12, 10, volumes=[{"EffectiveEchoTime": 20.0}, {"EffectiveEchoTime": 80.0}])
    (after,) = write_derived([source], tmp_path / "out", n_stacks=2)
    lost = PULSE_SEQUENCE & set(read(source).dir())
    assert lost
    assert changes(source, after) == ENHANCED | CHANGED | lost
    (after,) = write_derived([source], tmp_path / "same", same, n_stacks=2)
    assert changes(source, after) == ENHANCED | lost


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_padded.dcm", "examples_overlay.dcm"])
def test_changes_of_real_images_are_on_the_list(tmp_path: Path, name: str) -> None:
    path = Path(get_testdata_file(name))
    (after,) = write_derived([path], tmp_path / "out")
    expected = REAL | EXTREMES | {"PixelData"}
    found = changes(path, after)
    assert found <= expected
    assert found >= ALWAYS - {"SeriesDescription"}


@pytest.mark.data
def test_changes_of_the_shared_series_are_on_the_list(tmp_path: Path, data_dir: Path) -> None:
    allowed = REAL | EXTREMES | {"PixelData"}
    for folder in sorted(path for path in (data_dir / "dicom").iterdir() if path.is_dir()):
        files = sorted(folder.glob("*.dcm"))
        sources = [files[0], files[len(files) // 2]]
        for before, after in zip(sources, write_derived(sources, tmp_path / folder.name), strict=True):
            found = changes(before, after)
            assert found - allowed == set(), folder.name
            assert found >= ALWAYS | {"PixelData"}, folder.name


# ── single rules ──


def test_identity() -> None:
    source = classic()
    derived = derive(source, PROVENANCE, when=WHEN)
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "InstanceNumber", "PatientID", "SOPClassUID", "SeriesDate", "ContentTime"):
        assert derived[keyword] == source[keyword]
    assert (derived.InstanceCreationDate, derived.InstanceCreationTime) == ("20260102", "030405.678900")
    assert "PixelData" not in derived
    assert "PixelData" in source


def test_same_run_same_uids_another_run_others() -> None:
    uid = derived_uid("1.2.3", PROVENANCE)
    assert uid == derived_uid("1.2.3", replace(PROVENANCE))
    full = {"mode": "full", "preset": "default", "n_steps": 4}
    others = [
        {"version": "0.1.1"}, {"weights_hash": "ba9876543210"}, {"strength": 0.5}, {"seed": 8}, {"guard": False}, {"told": {"organ": "ankle"}},
        {"told": {"organ": "knee"}}, full, full | {"n_steps": 5}, full | {"n_samples": 8}, full | {"preset": "paper"},
        {"description_suffix": "OneNEX 2"}, *({"shows": kind} for kind in MapKind),
    ]  # fmt: skip
    uids = {derived_uid("1.2.3", replace(PROVENANCE, **other)) for other in others}  # type: ignore[arg-type]
    assert len({uid, derived_uid("1.2.4", PROVENANCE), *uids}) == 2 + len(others)
    assert derived_uid("1.2.3", replace(PROVENANCE, strength=1)) == derived_uid("1.2.3", replace(PROVENANCE, strength=1.0))
    assert UID(uid).is_valid


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["ORIGINAL", "PRIMARY", "M", "ND"], ["DERIVED", "PRIMARY", "M", "ND"]),
        (["DERIVED", "SECONDARY", "OTHER", "AI"], ["DERIVED", "SECONDARY", "OTHER", "AI"]),
        (["ORIGINAL", "PRIMARY", "", "M"], ["DERIVED", "PRIMARY", "", "M"]),
        ("ORIGINAL", ["DERIVED", "PRIMARY"]),
        (None, ["DERIVED", "PRIMARY", "OTHER"]),
        ("", ["DERIVED", "PRIMARY", "OTHER"]),
    ],
)
def test_image_type(before: object, after: list[str]) -> None:
    assert derived_image_type(before) == after
    if before:
        assert list(derived_from(ImageType=before).ImageType) == after


@pytest.mark.parametrize(("before", "after"), [(3, 100003), (2301, 102301), (None, 100000), (-5, 99995), (MAX_IS, MAX_IS - 100000)])
def test_series_number(before: int | None, after: int) -> None:
    assert derived_series_number(before) == after


def test_description_fits_an_lo() -> None:
    assert derived_description("t2_tse", "OneNEX") == "t2_tse OneNEX"
    assert derived_description(None, "OneNEX") == "OneNEX"
    assert derived_description("x" * 64, "OneNEX") == "x" * 57 + " OneNEX"
    assert derived_description("头部" * 32, "OneNEX") == "头部" * 28 + "头 OneNEX"
    assert derived_description("t2", "a\\b") == "t2 a b"
    assert derived_description("t2", "去噪") == "t2 OneNEX"
    assert derived_description("t2", "s" * 80) == "s" * 64


def test_how_it_was_made_is_said_after_what_was_said_before() -> None:
    text = "Denoised by OneNEX 0.1.0: mode fast, strength 0.75, seed 7, weights 0123456789ab. Research use only."
    assert derived_from().DerivationDescription == text
    assert derived_from(DerivationDescription="Combined coils").DerivationDescription == f"Combined coils; {text}"
    long = derived_from(DerivationDescription="x" * 1000).DerivationDescription
    assert len(long) == 1024
    assert long.endswith(f"; {text}")


def test_settings_of_mode_full_and_a_missing_guard_are_said() -> None:
    full = replace(PROVENANCE, mode="full", preset="paper", n_steps=41, n_samples=8, guard=False, told={"organ": "Knöchel \\ ankle"})
    text = derive(classic(), full, when=WHEN).DerivationDescription
    assert text == (
        "Denoised by OneNEX 0.1.0: mode full, preset paper, 41 steps, 8 samples, strength 0.75, seed 7, weights 0123456789ab, "
        'told organ "Knchel   ankle", guard off. Research use only.'
    )
    assert "guard" not in derived_from().DerivationDescription


def test_an_image_says_what_happened_to_it() -> None:
    text = derive(classic(), PROVENANCE, when=WHEN, notes={0: "Guard: 12 % is back."}).DerivationDescription
    assert text.endswith("weights 0123456789ab. Guard: 12 % is back. Research use only.")


def test_source_and_equipment() -> None:
    source = classic(SourceImageSequence=[Dataset()])
    old = Dataset()
    old.Manufacturer = "Old"
    source.ContributingEquipmentSequence = Sequence([old])
    derived = derive(source, PROVENANCE, when=WHEN)
    (item,) = derived.SourceImageSequence
    assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (source.SOPClassUID, source.SOPInstanceUID)
    assert "ReferencedFrameNumber" not in item
    assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    first, second = derived.ContributingEquipmentSequence
    assert first == old
    assert (second.Manufacturer, list(second.SoftwareVersions)) == ("OneNEX", ["0.1.0", "weights 0123456789ab"])
    assert second.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert len(source.ContributingEquipmentSequence) == 1


def test_codes_are_those_of_the_standard() -> None:
    from pydicom.sr.codedict import codes

    derived = derived_from()
    for item, code in (
        (derived.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0], codes.CID7202.SourceImageForImageProcessingOperation),
        (derived.ContributingEquipmentSequence[0].PurposeOfReferenceCodeSequence[0], codes.CID7005.ProcessingEquipment),
        (derived.DerivationCodeSequence[0], codes.CID7203.Smoothing),
    ):
        assert (item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning) == (code.value, code.scheme_designator, code.meaning)


def test_what_describes_other_pixels_or_signs_them_goes() -> None:
    source = classic(DataSetTrailingPadding=b"\0\0", InstanceCreatorUID="1.2.3")
    for keyword in ("IconImageSequence", "DigitalSignaturesSequence", "MACParametersSequence"):
        setattr(source, keyword, Sequence([Dataset()]))
    source.add(DataElement(0x7FE10010, "LO", "SIEMENS CSA NON-IMAGE"))
    source.add(DataElement(0x7FE11010, "OB", b"pixels"))
    source.add(DataElement(0x00290010, "LO", "SIEMENS CSA HEADER"))
    source.add(DataElement(0x00291010, "OB", b"geometry"))
    derived = derive(source, PROVENANCE, when=WHEN)
    gone = {"IconImageSequence", "DigitalSignaturesSequence", "MACParametersSequence", "DataSetTrailingPadding", "InstanceCreatorUID"}
    assert set(differences(source, derived)) == CLASSIC | gone | {"PixelData", "(7FE1,0010)", "(7FE1,1010)"}
    assert derived[0x00291010].value == b"geometry"


@pytest.mark.parametrize(
    ("syntax", "before", "after"),
    [
        (None, None, None),
        (None, "01", "01"),
        (JPEGBaseline8Bit, None, "01"),
        (JPEGBaseline8Bit, "00", "01"),
        (JPEG2000, None, "01"),
        (JPEG2000, "00", "00"),
        (RLELossless, None, None),
    ],
)
def test_once_lossy_always_lossy(syntax: str | None, before: str | None, after: str | None) -> None:
    source = classic(LossyImageCompression=before)
    source.file_meta = FileMetaDataset()
    if syntax:
        source.file_meta.TransferSyntaxUID = syntax
    derived = derive(source, PROVENANCE, when=WHEN)
    assert derived.get("LossyImageCompression") == after
    assert ("LossyImageCompressionMethod" in derived) == (after == "01" and before != "01")


@pytest.mark.parametrize(
    ("offset", "time"), [("-0500", "210405.678900"), ("+0530", "073405.678900"), ("+9999", "030405.678900"), (None, "030405.678900")]
)
def test_time_is_in_the_zone_of_the_source(offset: str | None, time: str) -> None:
    derived = derived_from(TimezoneOffsetFromUTC=offset)
    assert derived.InstanceCreationTime == time
    assert derived.ContributingEquipmentSequence[0].ContributionDateTime.endswith(time)


def test_research_software_makes_no_product_content() -> None:
    assert derived_from(ContentQualification="PRODUCT").ContentQualification == "RESEARCH"
    assert derived_from(ContentQualification="SERVICE").ContentQualification == "SERVICE"
    assert "ContentQualification" not in derived_from()


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID", "SeriesInstanceUID"])
def test_an_image_without_identity_is_refused(keyword: str) -> None:
    with pytest.raises(MissingTag, match=keyword):
        derived_from(**{keyword: None})


def test_the_reference_page_names_every_change() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "derived-series.md").read_text(encoding="utf-8")
    names = {name.rsplit(".", 1)[-1] for name in REAL | CLASSIC | ENHANCED | EXTREMES}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []
