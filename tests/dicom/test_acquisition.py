"""What a header says of its acquisition, and where it says so."""

from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from onenex.dicom import acquisition_of
from onenex.dicom.files import read_header
from onenex.dicom.phrases import ORGANS, named, normalise
from onenex.series import ORGANS as KNOWN_ORGANS
from onenex.series import PLANES, SEQUENCES, UNKNOWN, VENDORS, Acquisition
from tests.dicom.make import AXIAL, CORONAL, SAGITTAL, classic_dataset, make_enhanced, phantom


def acquired(**attrs: object) -> Acquisition:
    return acquisition_of(classic_dataset(phantom(1, 32, 24)[0], 0, attrs))


def silent(**attrs: object) -> Acquisition:
    """Without any protocol text or organ but what `attrs` says."""
    blank = {"BodyPartExamined": None, "SeriesDescription": None, "ProtocolName": None, "ReceiveCoilName": None}
    return acquired(**{**blank, **attrs})


@pytest.mark.parametrize(
    ("attrs", "expected", "evidence"),
    [
        ({"Manufacturer": "SIEMENS"}, "Siemens", "Manufacturer (0008,0070)"),
        ({"Manufacturer": "Siemens Healthineers"}, "Siemens", "Manufacturer (0008,0070)"),
        ({"Manufacturer": "GE MEDICAL SYSTEMS"}, "GE", "Manufacturer (0008,0070)"),
        ({"Manufacturer": "Philips Medical Systems"}, "Philips", "Manufacturer (0008,0070)"),
        ({"Manufacturer": "UIH"}, "UIH", "Manufacturer (0008,0070)"),
        ({"Manufacturer": "上海联影"}, "UIH", "Manufacturer (0008,0070)"),
        ({"Manufacturer": "Hitachi Medical Corporation"}, "Hitachi", "Manufacturer (0008,0070)"),
        ({"Manufacturer": "FUJIFILM Healthcare Corporation"}, "Hitachi", "Manufacturer (0008,0070)"),
        ({"Manufacturer": "TOSHIBA_MEC"}, "Canon", "Manufacturer (0008,0070)"),
        ({"Manufacturer": "CANON_MEC"}, "Canon", "Manufacturer (0008,0070)"),
        ({"Manufacturer": "", "ManufacturerModelName": "MAGNETOM Skyra"}, "Siemens", "ManufacturerModelName (0008,1090)"),
        ({"Manufacturer": "anonymous", "ManufacturerModelName": "uMR 770"}, "UIH", "ManufacturerModelName (0008,1090)"),
        ({"Manufacturer": "Esaote", "ManufacturerModelName": "G-scan"}, UNKNOWN, None),
    ],
)
def test_vendor(attrs: dict[str, object], expected: str, evidence: str | None) -> None:
    acquisition = acquired(**attrs)
    assert acquisition.vendor == expected
    assert acquisition.vendor in VENDORS
    assert acquisition.evidence.get("vendor") == evidence


@pytest.mark.parametrize(
    ("attrs", "expected", "evidence"),
    [
        ({"BodyPartExamined": "BRAIN"}, "head", "BodyPartExamined"),
        ({"BodyPartExamined": "HEAD"}, "head", "BodyPartExamined"),
        ({"BodyPartExamined": "LSPINE", "ReceiveCoilName": "Head"}, "L-spine", "BodyPartExamined"),
        ({"BodyPartExamined": "L_SPINE"}, "L-spine", "BodyPartExamined"),
        ({"BodyPartExamined": "LSSPINE"}, "L-spine", "BodyPartExamined"),
        ({"BodyPartExamined": "CSPINE"}, "C-spine", "BodyPartExamined"),
        ({"BodyPartExamined": "TSPINE"}, "T-spine", "BodyPartExamined"),
        ({"BodyPartExamined": "KNEE"}, "knee", "BodyPartExamined"),
        ({"BodyPartExamined": "SHOULDER"}, "shoulder", "BodyPartExamined"),
        ({"BodyPartExamined": "SPINE", "SeriesDescription": "t2_tse_sag_LWS"}, "L-spine", "SeriesDescription"),
        ({"BodyPartExamined": "SPINE"}, "spine", "BodyPartExamined"),
        ({"BodyPartExamined": "ABDOMEN", "SeriesDescription": "Kopf"}, "head", "SeriesDescription"),
        ({"BodyPartExamined": "ABDOMEN", "ReceiveCoilName": "Head"}, "abdomen", "BodyPartExamined"),
        ({"SeriesDescription": "T2 Kopf tra"}, "head", "SeriesDescription"),
        ({"SeriesDescription": "PD_fs_Knie_sag"}, "knee", "SeriesDescription"),
        ({"SeriesDescription": "Kniegelenk links"}, "knee", "SeriesDescription"),
        ({"SeriesDescription": "HWS sag"}, "C-spine", "SeriesDescription"),
        ({"SeriesDescription": "t1 BWS"}, "T-spine", "SeriesDescription"),
        ({"SeriesDescription": "Lendenwirbelsäule"}, "L-spine", "SeriesDescription"),
        ({"SeriesDescription": "Schulter re"}, "shoulder", "SeriesDescription"),
        ({"SeriesDescription": "头颅 T2"}, "head", "SeriesDescription"),
        ({"SeriesDescription": "膝关节"}, "knee", "SeriesDescription"),
        ({"SeriesDescription": "颈椎 矢状"}, "C-spine", "SeriesDescription"),
        ({"SeriesDescription": "胸椎"}, "T-spine", "SeriesDescription"),
        ({"SeriesDescription": "腰椎间盘"}, "L-spine", "SeriesDescription"),
        ({"SeriesDescription": "右肩"}, "shoulder", "SeriesDescription"),
        ({"SeriesDescription": "kneeSagPD"}, "knee", "SeriesDescription"),
        ({"SeriesDescription": "overhead forehead kneel"}, UNKNOWN, None),
        ({"SeriesDescription": "humeral head"}, "shoulder", "SeriesDescription"),
        ({"SeriesDescription": "femoral head"}, "hip", "SeriesDescription"),
        ({"SeriesDescription": "cs4 t2 tse"}, UNKNOWN, None),
        ({"SeriesDescription": "head and C-spine", "StudyDescription": "MR Cervical Spine"}, "C-spine", "StudyDescription"),
        ({"ProtocolName": "LSpine_T2"}, "L-spine", "ProtocolName"),
        ({"StudyDescription": "NEURO^CRANE"}, "head", "StudyDescription"),
        ({"ReceiveCoilName": "HD TR Knee PA"}, "knee", "ReceiveCoilName"),
        ({"ReceiveCoilName": "Shoulder16"}, "shoulder", "ReceiveCoilName"),
        ({}, UNKNOWN, None),
    ],
)
def test_organ(attrs: dict[str, object], expected: str, evidence: str | None) -> None:
    acquisition = silent(**attrs)
    assert acquisition.organ == expected
    assert (acquisition.evidence.get("organ") or "").split(" ")[0] == (evidence or "")


def test_organ_from_the_anatomic_region() -> None:
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "T-15770", "SRT", "Shoulder joint"
    acquisition = silent(AnatomicRegionSequence=Sequence([region]), SeriesDescription="t2 Knie")
    assert (acquisition.organ, acquisition.evidence["organ"]) == ("shoulder", "AnatomicRegionSequence (0008,2218)")


SPIN = {"ScanningSequence": "SE"}
GRADIENT = {"ScanningSequence": "GR"}
INVERSION = {"ScanningSequence": ["SE", "IR"]}


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({**SPIN, "EchoTime": 12, "RepetitionTime": 550}, "T1w"),
        ({**SPIN, "EchoTime": 100, "RepetitionTime": 4500}, "T2w"),
        ({**SPIN, "EchoTime": 32, "RepetitionTime": 2450}, "PDw"),
        ({**SPIN, "EchoTime": 400, "RepetitionTime": 3200}, "T2w"),
        ({**INVERSION, "EchoTime": 120, "RepetitionTime": 9000, "InversionTime": 2500}, "T2-FLAIR"),
        ({**INVERSION, "EchoTime": 10, "RepetitionTime": 2000, "InversionTime": 860}, "T1-FLAIR"),
        ({**INVERSION, "EchoTime": 40, "RepetitionTime": 4000, "InversionTime": 160}, "STIR"),
        ({**GRADIENT, "EchoTime": 2.5, "RepetitionTime": 1900, "InversionTime": 900, "FlipAngle": 9, "SequenceVariant": ["SK", "MP"]}, "T1w"),
        ({**GRADIENT, "EchoTime": 2.5, "RepetitionTime": 6, "FlipAngle": 10}, "T1w"),
        ({**GRADIENT, "EchoTime": 2.46, "RepetitionTime": 300, "FlipAngle": 80}, "T1w"),
        ({**GRADIENT, "EchoTime": 18.9, "RepetitionTime": 831, "FlipAngle": 20}, "T2*w"),
        ({**GRADIENT, "EchoTime": 1.8, "RepetitionTime": 3.6, "FlipAngle": 50, "SequenceVariant": "SS"}, UNKNOWN),
        ({"ScanningSequence": ["EP", "GR"], "EchoTime": 30, "RepetitionTime": 2000}, "T2*w"),
        ({"ScanningSequence": ["EP", "RM"], "EchoTime": 80, "RepetitionTime": 7400}, "T2w"),
        ({"ScanningSequence": "EP", "DiffusionBValue": 1000.0, "EchoTime": 80}, "DWI"),
        ({"ScanningSequence": "EP", "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"]}, "DWI"),
        ({**SPIN, "DiffusionBValue": 0.0, "EchoTime": 86, "RepetitionTime": 4500, "SeriesDescription": "DTIphase_S2MB2"}, "DWI"),
        ({**SPIN, "DiffusionBValue": 0.0, "EchoTime": 12, "RepetitionTime": 550}, "T1w"),
        ({**GRADIENT, "SequenceVariant": ["SP", "MTC"], "EchoTime": 3}, "MT"),
        ({**GRADIENT, "EchoTime": 3, "SeriesDescription": "gre_mt_on"}, "MT"),
        ({**GRADIENT, "EchoTime": 20, "FlipAngle": 10, "SeriesDescription": "gre_MToff"}, "T2*w"),
        ({**GRADIENT, "ImageType": ["DERIVED", "PRIMARY", "W"], "EchoTime": 2}, "Dixon"),
        ({**SPIN, "SeriesDescription": "t2_tse_dixon_sag_opp", "EchoTime": 90, "RepetitionTime": 4000}, "Dixon"),
        ({"ScanningSequence": "", "EchoTime": None, "SeriesDescription": "t2_tse_sag"}, "T2w"),
        ({"ScanningSequence": "", "EchoTime": None, "SeriesDescription": "t2_tirm_tra_dark-fluid"}, "T2-FLAIR"),
        ({"ScanningSequence": "", "EchoTime": None, "SeriesDescription": "T1 FLAIR"}, "T1-FLAIR"),
        ({"ScanningSequence": "", "EchoTime": None, "SeriesDescription": "STIR LWS"}, "STIR"),
        ({"ScanningSequence": "", "EchoTime": None, "SeriesDescription": "PD_FS_sag"}, "PDw"),
        ({"ScanningSequence": "", "EchoTime": None, "SeriesDescription": "T2*_medic"}, "T2*w"),
        ({"ScanningSequence": "", "EchoTime": None, "SeriesDescription": "弥散加权"}, "DWI"),
        ({"ScanningSequence": "", "EchoTime": None, "SeriesDescription": "BRAVO"}, "T1w"),
        ({"ScanningSequence": "", "EchoTime": None, "SeriesDescription": "pd+t2_tse"}, UNKNOWN),
        ({"ScanningSequence": "", "EchoTime": None, "SeriesDescription": "level T12"}, UNKNOWN),
        ({**SPIN, "EchoTime": 25, "RepetitionTime": 1300, "SeriesDescription": "t1_space"}, "T1w"),
        ({**SPIN, "EchoTime": 45, "RepetitionTime": 3000, "SeriesDescription": "pd_fs"}, "PDw"),
        ({**SPIN, "EchoTime": 50, "RepetitionTime": 2450}, "T2w"),
    ],
)
def test_sequence(attrs: dict[str, object], expected: str) -> None:
    acquisition = silent(**attrs)
    assert acquisition.sequence == expected
    assert acquisition.sequence in SEQUENCES
    assert ("sequence" in acquisition.evidence) == (expected != UNKNOWN)


@pytest.mark.parametrize(("orientation", "expected"), [(AXIAL, "axial"), (SAGITTAL, "sagittal"), (CORONAL, "coronal")])
def test_plane(orientation: list[float], expected: str) -> None:
    assert acquired(ImageOrientationPatient=orientation).plane == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("t2_tse_tra", "axial"), ("T2 SAG", "sagittal"), ("pd kor", "coronal"), ("冠状位", "coronal"), ("t2", UNKNOWN)]
)
def test_plane_by_name(name: str, expected: str) -> None:
    acquisition = silent(ImageOrientationPatient=None, ImagePositionPatient=None, SeriesDescription=name)
    assert acquisition.plane == expected
    assert acquisition.plane in PLANES


@pytest.mark.parametrize(
    ("stated", "frequency", "expected"),
    [
        (1.5, 63.87, 1.5),
        (1.4939999580383, 63.69, 1.5),
        (2.89362, 123.2, 3.0),
        (3, 128175847, 3.0),  # United Imaging writes hertz
        (15000, None, 1.5),
        (30000, None, 3.0),
        (1500, None, 1.5),
        (3000, 127.7, 3.0),
        (3000, 12.77, 0.3),  # gauss
        (0.3, 12.72, 0.3),
        (None, 63.87, 1.5),
        (0, None, None),
        (None, None, None),
        (9.4, None, 9.4),
    ],
)
def test_field_strength(stated: float | None, frequency: float | None, expected: float | None) -> None:
    assert acquired(MagneticFieldStrength=stated, ImagingFrequency=frequency).field_strength_T == expected


@pytest.mark.parametrize(("averages", "expected"), [(1, 1.0), (0.5, 0.5), (4, 4.0), (0, None), (None, None)])
def test_nex(averages: float | None, expected: float | None) -> None:
    acquisition = acquired(NumberOfAverages=averages)
    assert acquisition.nex == expected
    assert ("nex" in acquisition.evidence) == (expected is not None)


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"ParallelReductionFactorInPlane": 2.0}, 2.0),
        ({"ParallelReductionFactorInPlane": 2.0, "ParallelReductionFactorOutOfPlane": 2.0}, 2.0),
        ({"ParallelReductionFactorInPlane": 2.0, "ParallelReductionFactorOutOfPlane": 2.0, "MRAcquisitionType": "3D"}, 4.0),
        ({"ParallelAcquisition": "NO"}, 1.0),
        ({"SeriesDescription": "t2_tse_p2_sag"}, 2.0),
        ({"SeriesDescription": "t2_space_p3s2", "MRAcquisitionType": "3D"}, 6.0),
        ({"SeriesDescription": "T2W SENSE 1.5"}, 1.5),
        ({"SeriesDescription": "t2_grappa3"}, 3.0),
        ({"ProtocolName": "T2 CS4"}, 4.0),
        ({"SeriesDescription": "map2 step3"}, None),
        ({}, None),
    ],
)
def test_acceleration(attrs: dict[str, object], expected: float | None) -> None:
    assert silent(**attrs).acceleration == expected


@pytest.mark.parametrize(
    ("creator", "group", "element", "vr", "value", "expected"),
    [
        ("GEMS_PARM_01", 0x0043, 0x83, "DS", ["0.5", "1"], 2.0),
        ("SIEMENS MR HEADER", 0x0051, 0x11, "LO", "p3", 3.0),
        ("SIEMENS CSA HEADER", 0x0029, 0x20, "OB", b"### ASCCONV BEGIN ###\nsPat.lAccelFactPE = 2\nsPat.lAccelFact3D = 1\n", 2.0),
    ],
)
def test_private_acceleration(creator: str, group: int, element: int, vr: str, value: object, expected: float) -> None:
    dataset = classic_dataset(phantom(1, 32, 24)[0], 0, {})
    dataset.private_block(group, creator, create=True).add_new(element, vr, value)
    acquisition = acquisition_of(dataset)
    assert acquisition.acceleration == expected
    assert "private" in acquisition.evidence["acceleration"]


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"ScanOptions": ["PFP", "FS"]}, True),
        ({"ScanOptions": "PFP"}, False),
        ({"ScanOptions": ""}, None),
        ({"SpectrallySelectedSuppression": "FAT"}, True),
        ({"SpectrallySelectedSuppression": "NONE"}, False),
        ({"SpectrallySelectedExcitation": "WATER"}, True),
        ({"SeriesDescription": "pd_tse_fs_sag"}, True),
        ({"SeriesDescription": "PDFS cor"}, True),
        ({"SeriesDescription": "PDW SPAIR"}, True),
        ({"SeriesDescription": "t2 fettgesättigt"}, True),
        ({"SeriesDescription": "T2 压脂"}, True),
        ({"SeriesDescription": "T2 STIR", "ScanOptions": "SP"}, True),
        ({"SeriesDescription": "t1_gre_fsp"}, None),
        ({"SeriesDescription": "t2_tirm_cor"}, True),
        ({"SeriesDescription": "t2_tirm_tra_dark-fluid"}, None),
        ({"ImageType": ["DERIVED", "PRIMARY", "W"]}, True),
    ],
)
def test_fat_suppression(attrs: dict[str, object], expected: bool | None) -> None:
    assert silent(**attrs).fat_suppressed is expected


def test_enhanced_macros(tmp_path: Path) -> None:
    header = read_header(make_enhanced(tmp_path / "e.dcm", BodyPartExamined=None, AcquisitionContrast="UNKNOWN"))
    assert header is not None
    assert header.dataset is not None
    acquisition = acquisition_of(header.dataset, 3)
    assert (acquisition.organ, acquisition.sequence, acquisition.plane) == ("head", "T2w", "axial")
    assert (acquisition.nex, acquisition.acceleration, acquisition.field_strength_T, acquisition.fat_suppressed) == (1.0, 2.0, 1.5, False)
    assert acquisition.evidence["acceleration"] == "ParallelReductionFactorInPlane (0018,9069)"


def test_an_empty_header_is_all_unknown() -> None:
    acquisition = acquisition_of(Dataset())
    assert acquisition == Acquisition()


def test_every_organ_of_the_product_has_words() -> None:
    assert set(ORGANS) == set(KNOWN_ORGANS) - {UNKNOWN}
    assert all(named(organ, ORGANS) == organ for organ in ORGANS)


def test_normalise() -> None:
    assert normalise("  T2_TSE-sagKnie^Left / ５ ") == "t2 tse sag knie left 5"
