"""What is refused, with the attribute that says so; and what looks refusable but is not."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from onenex.dicom.files import read_header
from onenex.dicom.select import skip_reason
from tests.dicom.make import classic_dataset, make_enhanced, phantom


def reason(**attrs: object) -> str | None:
    return skip_reason(classic_dataset(phantom(1, 32, 24)[0], 0, attrs))


def equipment(manufacturer: str, model: str = "") -> list[Dataset]:
    item = Dataset()
    item.Manufacturer = manufacturer
    item.ManufacturerModelName = model
    return [item]


ORDINARY = ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"]


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"Modality": "CT"}, "not MR: Modality (0008,0060) is CT"),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "not an MR image: SOPClassUID (0008,0016) is Secondary Capture Image Storage"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "a colour image: PhotometricInterpretation (0028,0004) is RGB"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "a colour image"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "inverted grey"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "a screen save"),
        ({"ConversionType": "WSD"}, "a secondary capture: ConversionType (0008,0064) is WSD"),
        ({"BurnedInAnnotation": "YES"}, "text is burned into the image"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER", "M"]}, "a localiser: ImageType (0008,0008) says so"),
        ({"SeriesDescription": "AAHead_Scout_32ch"}, 'a localiser: SeriesDescription (0008,103E) says "scout'),
        ({"SeriesDescription": "3-plane loc"}, "a localiser"),
        ({"SeriesDescription": "SmartBrain"}, "a localiser"),
        ({"SeriesDescription": "Übersicht Knie"}, "a localiser"),
        ({"SeriesDescription": "定位像"}, "a localiser"),
        ({"ProtocolName": "survey_32"}, "a localiser: ProtocolName (0018,1030)"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "a mosaic of many slices"),
        ({"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "NORM"]}, "an ADC map: ImageType (0008,0008) says ADC"),
        ({"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "FA"]}, "a fractional anisotropy map"),
        ({"ImageType": ["DERIVED", "PRIMARY", "T2 MAP", "T2 MAP"]}, "a T2 map"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "a projection"),
        ({"ImageType": ["DERIVED", "PRIMARY", "MNIP"]}, "a projection"),
        ({"ImageType": ["DERIVED", "PRIMARY", "PROJECTION IMAGE", "MIP"]}, "a projection"),
        ({"ImageType": ["DERIVED", "PRIMARY", "CBF"]}, "a perfusion map"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SUBTRACT"]}, "a subtraction"),
        ({"SeriesDescription": "Apparent Diffusion Coefficient (mm2/s)", "ImageType": ["DERIVED", "SECONDARY"]}, "an ADC map: SeriesDescription"),
        ({"SeriesDescription": "ep2d_diff_b1000_ADC"}, "an ADC map"),
        ({"SeriesDescription": "eADC", "ImageType": ["DERIVED", "PRIMARY"]}, "an exponential ADC map"),
        ({"SeriesDescription": "T2* map"}, "a relaxation map"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "a phase image: ImageType (0008,0008) says P"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "R_IR", "R", "IR"]}, "a real image"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "I", "ND"]}, "an imaginary image"),
        ({"ComplexImageComponent": "PHASE"}, "a phase image: ComplexImageComponent (0008,9208) is PHASE"),
        ({"SeriesDescription": "t2_tse_tra_DRB"}, 'already denoised by other software: SeriesDescription (0008,103E) says "drb"'),
        ({"ImageType": [*ORDINARY, "DRB"]}, "already denoised by other software: ImageType"),
        ({"SeriesDescription": "Deep Resolve Boost t2"}, "already denoised"),
        ({"SeriesDescription": "Sag T2 AIR Recon DL", "Manufacturer": "GE MEDICAL SYSTEMS"}, "already denoised"),
        ({"SeriesDescription": "T2W SmartSpeed AI", "Manufacturer": "Philips"}, "already denoised"),
        ({"SeriesDescription": "T2W Adaptive-CS-Net", "Manufacturer": "Philips"}, "already denoised"),
        ({"SeriesDescription": "t2_fse_sag_acs", "Manufacturer": "UIH"}, "already denoised"),
        ({"SeriesDescription": "T2 AiCE", "Manufacturer": "CANON_MEC"}, "already denoised"),
        ({"SeriesDescription": "t2 SubtleMR"}, "already denoised"),
        ({"SeriesDescription": "T2 矢状 降噪"}, "already denoised"),
        ({"ContributingEquipmentSequence": equipment("Subtle Medical", "SubtleMR")}, "already denoised"),
        ({"ContributingEquipmentSequence": equipment("OneNEX")}, "already denoised by OneNEX: ContributingEquipmentSequence"),
        ({"SeriesDescription": "t2_tse_tra OneNEX"}, "already denoised by OneNEX: SeriesDescription"),
        ({"DerivationDescription": "OneNEX 0.1.0, fast"}, "already denoised by OneNEX: DerivationDescription"),
        ({"Rows": 15}, "15 × 24 pixels are too few to denoise"),
        ({"BitsAllocated": 1}, "its pixels are not integers"),
    ],
)
def test_refused(attrs: dict[str, object], expected: str) -> None:
    found = reason(**attrs)
    assert found is not None
    assert found.startswith(expected)
    assert "\n" not in found


@pytest.mark.parametrize(
    "attrs",
    [
        {},
        {"ImageType": ["DERIVED", "SECONDARY", "OTHER", "AI"], "Manufacturer": "Hitachi Medical Corporation"},
        {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW", "NORM"], "SeriesDescription": "dwi_ADC"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"], "SeriesDescription": "DWI with ADC reconstruction b1000"},
        {"ImageType": ["DERIVED", "SECONDARY", "MPR", "CSA MPR", "", "CSAPARALLEL", "M", "ND"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "IN_PHASE", "NONE"]},
        {"ImageType": ["DERIVED", "PRIMARY", "W", "W", "DERIVED"]},
        {"LossyImageCompression": "01"},
        {"ConversionType": ""},
        {"SeriesDescription": "t2_local_shim"},
        {"SeriesDescription": "DWI 3 plane"},
        {"SeriesDescription": "t1_AutoAlign"},
        {"SeriesDescription": "t2_acs_32", "Manufacturer": "SIEMENS"},
        {"SeriesDescription": "T2 FSE drs", "Manufacturer": "GE MEDICAL SYSTEMS"},
        {"SeriesDescription": "resolve_4scan_trace_tra"},
        {"SeriesDescription": "submandibular t1"},
        {"SeriesDescription": "T1 fa15 vibe"},
        {"ComplexImageComponent": "MAGNITUDE"},
        {"Modality": ""},
        {"ContributingEquipmentSequence": equipment("Orthanc")},
    ],
)
def test_accepted(attrs: dict[str, object]) -> None:
    assert reason(**attrs) is None


def test_private_attributes() -> None:
    dataset = classic_dataset(phantom(1, 32, 24)[0], 0, {})
    dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 52)
    assert (skip_reason(dataset) or "").startswith("a mosaic of 52 slices in one image: Siemens private (0019,100A)")
    dataset = classic_dataset(phantom(1, 32, 24)[0], 0, {"Manufacturer": "GE MEDICAL SYSTEMS"})
    dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", 3)
    assert skip_reason(dataset) == "an imaginary image: GE private (0043,102F) is 3"
    dataset = classic_dataset(phantom(1, 32, 24)[0], 0, {})
    dataset.private_block(0x0021, "SIEMENS MR SDI 02", create=True).add_new(0x75, "CS", ["M", "DRG", "DIS2D"])
    assert 'Siemens private (0021,1175) says "drg"' in (skip_reason(dataset) or "")


@pytest.mark.parametrize(
    ("attrs", "frame_type", "expected"),
    [
        ({}, ("ORIGINAL", "PRIMARY", "M", "NONE"), None),
        ({}, ("DERIVED", "PRIMARY", "DIFFUSION", "ADC"), "an ADC map"),
        ({}, ("ORIGINAL", "PRIMARY", "P", "NONE"), "a phase image"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, ("ORIGINAL", "PRIMARY", "M", "NONE"), "a colour image"),
    ],
)
def test_enhanced(tmp_path: Path, attrs: dict[str, object], frame_type: tuple[str, ...], expected: str | None) -> None:
    header = read_header(make_enhanced(tmp_path / "e.dcm", frame_type=frame_type, **attrs))
    assert header is not None
    assert header.dataset is not None
    found = skip_reason(header.dataset, 2)
    assert found is None if expected is None else found is not None and found.startswith(expected)


def test_enhanced_frames_are_judged_one_by_one(tmp_path: Path) -> None:
    header = read_header(make_enhanced(tmp_path / "e.dcm", 4))
    assert header is not None
    assert header.dataset is not None
    groups = header.dataset.PerFrameFunctionalGroupsSequence
    groups[1].MRImageFrameTypeSequence[0].ComplexImageComponent = "PHASE"
    groups[2].MRImageFrameTypeSequence[0].VolumeBasedCalculationTechnique = "MAX_IP"
    found = [skip_reason(header.dataset, frame) for frame in range(4)]
    assert found[0] is None
    assert found[1] == "a phase image: ComplexImageComponent (0008,9208) is PHASE"
    assert found[2] == "a maximum projection: VolumeBasedCalculationTechnique (0008,9207) is MAX_IP"
    assert found[3] is None


def test_the_demos_image_is_accepted() -> None:
    header = read_header(Path(get_testdata_file("examples_overlay.dcm", download=False)))
    assert header is not None
    assert header.dataset is not None
    assert skip_reason(header.dataset) is None


def test_one_pixel_high() -> None:
    flat = classic_dataset(np.zeros((1, 64), np.uint16), 0, {})
    assert skip_reason(flat) == "1 × 64 pixels are too few to denoise: Rows (0028,0010), Columns (0028,0011) must be 16 or more"
