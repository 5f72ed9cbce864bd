"""How four vendors write the same examination: folders, file names, transfer syntaxes, series names, private elements."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from onenex.series import FloatImages
from tests.dicom.make import classic_dataset, save
from tests.pairs.hospital.enhanced import CONTRASTS, save_enhanced
from tests.pairs.hospital.scan import Grid

ROOTS = {"Siemens": "1.3.12.2.1107.5.2.", "GE": "1.2.840.113619.2.", "Philips": "1.3.46.670589.11.", "UIH": "1.2.156.112605."}
MAKERS = {
    "Siemens": ("SIEMENS", "MAGNETOM Aera", 1.5), "GE": ("GE MEDICAL SYSTEMS", "DISCOVERY MR750w", 3.0),
    "Philips": ("Philips Medical Systems", "Ingenia", 1.5), "UIH": ("UIH", "uMR 770", 3.0),
}  # fmt: skip
TIMING: Mapping[str, Mapping[str, object]] = {
    "T1w": {"ScanningSequence": "SE", "RepetitionTime": 550.0, "EchoTime": 11.0},
    "T2w": {"ScanningSequence": "SE", "RepetitionTime": 4200.0, "EchoTime": 95.0},
    "PDw": {"ScanningSequence": "SE", "RepetitionTime": 2800.0, "EchoTime": 28.0},
    "T2-FLAIR": {"ScanningSequence": ["SE", "IR"], "RepetitionTime": 9000.0, "EchoTime": 120.0, "InversionTime": 2450.0},
    "STIR": {"ScanningSequence": ["SE", "IR"], "RepetitionTime": 3900.0, "EchoTime": 45.0, "InversionTime": 165.0},
    "T2*w": {"ScanningSequence": "GR", "RepetitionTime": 650.0, "EchoTime": 18.0, "FlipAngle": 25.0},
    "MT": {"ScanningSequence": "GR", "SequenceVariant": ["SP", "MTC"], "RepetitionTime": 35.0, "EchoTime": 6.0, "FlipAngle": 9.0},
    "DWI": {"ScanningSequence": "EP", "RepetitionTime": 4550.0, "EchoTime": 86.0},
    "BOLD": {"ScanningSequence": ["EP", "GR"], "RepetitionTime": 2000.0, "EchoTime": 30.0, "FlipAngle": 77.0},
}
THIN_TIMING: Mapping[str, object] = {
    "ScanningSequence": ["GR", "IR"], "SequenceVariant": ["SP", "MP"], "MRAcquisitionType": "3D",
    "RepetitionTime": 2100.0, "EchoTime": 2.9, "InversionTime": 900.0, "FlipAngle": 9.0,
}  # fmt: skip
"""T1w in thin slices."""
_WORDS = {
    "Siemens": {"T1w": "t1_tse", "T2w": "t2_tse", "PDw": "pd_tse", "T2-FLAIR": "t2_tirm_dark-fluid", "STIR": "t2_tirm", "T2*w": "t2_fl2d_hemo",
                "MT": "t1_fl3d_mt", "DWI": "ep2d_diff", "BOLD": "ep2d_bold"},
    "GE": {"T1w": "T1 FSE", "T2w": "T2 FRFSE", "PDw": "PD FSE", "T2-FLAIR": "T2 FLAIR", "STIR": "STIR", "T2*w": "T2* GRE", "MT": "3D MT GRE",
           "DWI": "DWI", "BOLD": "fMRI"},
    "Philips": {"T1w": "T1W_TSE", "T2w": "T2W_TSE", "PDw": "PDW_TSE", "T2-FLAIR": "T2W_FLAIR", "STIR": "STIR_TSE", "T2*w": "T2W_FFE", "MT": "MT_FFE",
                "DWI": "DWI_b0", "BOLD": "FE_EPI"},
    "UIH": {"T1w": "t1_fse", "T2w": "t2_fse", "PDw": "pd_fse", "T2-FLAIR": "t2_fse_flair", "STIR": "t2_fse_stir", "T2*w": "t2star_gre2d",
            "MT": "gre_mt", "DWI": "epi_dwi", "BOLD": "epi_bold"},
}  # fmt: skip
_PLANES = {
    "Siemens": {"axial": "tra", "sagittal": "sag", "coronal": "cor"}, "GE": {"axial": "Ax", "sagittal": "Sag", "coronal": "Cor"},
    "Philips": {"axial": "TRA", "sagittal": "SAG", "coronal": "COR"}, "UIH": {"axial": "tra", "sagittal": "sag", "coronal": "cor"},
}  # fmt: skip
_BODY = {
    "head": ("HEAD", "Brain routine", "HeadNeck_20"), "knee": ("KNEE", "Knie rechts", "TxRx_Knee_15"), "C-spine": ("CSPINE", "HWS nativ", "Spine_32"),
    "T-spine": ("TSPINE", "BWS nativ", "Spine_32"), "L-spine": ("LSPINE", "LWS nativ", "Spine_32"),
    "shoulder": ("SHOULDER", "Schulter links", "Shoulder_16"),
}  # fmt: skip
"""Organ → (BodyPartExamined, StudyDescription, coil). GE leaves the first out."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """One patient, as the source names them."""

    name: str
    patient_id: str
    birth_date: str


@dataclass(frozen=True, kw_only=True)
class Exam:
    """One study."""

    vendor: str
    person: Person
    organ: str
    folder: Path
    key: str
    """UIDs follow from it."""
    began: datetime
    odd: bool = False
    """The vendor's other habit: GE big endian, Philips enhanced, Siemens with the protocol as text."""
    counter: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def uid(self, *what: object) -> str:
        """A UID of this study."""
        return str(generate_uid(prefix=ROOTS[self.vendor], entropy_srcs=[self.key, *(str(part) for part in what)]))

    @property
    def accession(self) -> str:
        return f"ACC{zlib.crc32(self.key.encode()):010d}"


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One series."""

    number: int
    name: str
    """SeriesDescription and ProtocolName; neither is written when empty."""
    sequence: str
    images: FloatImages
    """(repeat, slice, row, column), bright foreground about 1."""
    grid: Grid
    began: datetime
    seconds: float = 60.0
    nex: float | None = 1.0
    acceleration: float | None = None
    gain: float = 900.0
    """Stored value of 1."""
    organ: str = ""
    """Where it differs from the exam's."""
    attrs: Mapping[str, object] = field(default_factory=dict)
    vary: Mapping[str, Sequence[object]] = field(default_factory=dict)
    """Attribute → one value a repeat."""
    component: int = 0
    """1 for phase images, as GE counts."""


def usual_name(vendor: str, sequence: str, plane: str) -> str:
    """What the vendor's protocols call a series."""
    word, side = _WORDS[vendor][sequence], _PLANES[vendor][plane]
    return f"{side} {word}" if vendor == "GE" else f"{word}_{side}"


def write(exam: Exam, shot: Shot) -> tuple[str, list[Path]]:
    """Write a series where its vendor would; returns its UID and files."""
    stored = np.clip(np.rint(shot.images * shot.gain), 0, 4095).astype(np.uint16)
    series_uid = exam.uid("series", shot.number)
    attrs = _attributes(exam, shot, series_uid)
    if exam.vendor == "Philips" and exam.odd and len(stored) == 1 and not shot.attrs and shot.sequence in CONTRASTS:
        attrs |= {"SOPInstanceUID": exam.uid("image", shot.number)}
        path = _place(exam, shot, 1, str(attrs["SOPInstanceUID"]))
        return series_uid, [save_enhanced(path, stored[0], shot, attrs, coil=_BODY[shot.organ or exam.organ])]
    paths = []
    for number, (repeat, place) in enumerate(np.ndindex(*stored.shape[:2]), start=1):
        uid = exam.uid("image", shot.number, number)
        here = [float(round(mm, 5)) for mm in shot.grid.at((float(place), 0.0, 0.0))]
        own = {keyword: values[repeat] for keyword, values in shot.vary.items()}
        own |= {"SOPInstanceUID": uid, "InstanceNumber": number, "ImagePositionPatient": here}
        own |= {"SliceLocation": round(float(np.dot(here, shot.grid.axes[0])), 4)}
        dataset = classic_dataset(stored[repeat, place], place, attrs | own)
        _PRIVATE[exam.vendor](dataset, exam, shot)
        path = _place(exam, shot, number, uid)
        path.parent.mkdir(parents=True, exist_ok=True)
        paths.append(save(dataset, path, _syntax(exam)))
    return series_uid, paths


def _attributes(exam: Exam, shot: Shot, series_uid: str) -> dict[str, object]:
    maker, model, tesla = MAKERS[exam.vendor]
    body, study, coil = _BODY[shot.organ or exam.organ]
    thin = shot.sequence == "T1w" and shot.grid.spacing_mm[0] <= 2.5
    attrs: dict[str, object] = {
        "Manufacturer": maker, "ManufacturerModelName": model, "MagneticFieldStrength": tesla, "ImagingFrequency": 42.577 * tesla,
        "PatientName": exam.person.name, "PatientID": exam.person.patient_id, "PatientBirthDate": exam.person.birth_date,
        "AccessionNumber": exam.accession, "InstitutionName": "Klinikum Oberpfaffenstein", "OperatorsName": "Schraubstock^Ottokar",
        "ReferringPhysicianName": "Weihrauchberg^Hildegund", "DeviceSerialNumber": "7788990011",
        "StudyInstanceUID": exam.uid("study"), "SeriesInstanceUID": series_uid, "FrameOfReferenceUID": exam.uid("frame"),
        "StudyDescription": study, "SeriesNumber": shot.number, "SeriesDescription": shot.name or None, "ProtocolName": shot.name or None,
        "BodyPartExamined": body, "ReceiveCoilName": coil, "NumberOfAverages": shot.nex, "SequenceVariant": "SK", "FlipAngle": 90.0,
        "AcquisitionNumber": 1, "PixelSpacing": [round(mm, 6) for mm in shot.grid.spacing_mm[1:]],
        "SliceThickness": round(0.9 * shot.grid.spacing_mm[0], 4), "SpacingBetweenSlices": round(shot.grid.spacing_mm[0], 6),
        "ImageOrientationPatient": [float(round(part, 8)) for part in (*shot.grid.axes[2], *shot.grid.axes[1])],
        **(THIN_TIMING if thin else TIMING[shot.sequence]),
    }  # fmt: skip
    for what, moment in (("Study", exam.began), ("Series", shot.began), ("Acquisition", shot.began), ("Content", shot.began)):
        attrs |= {f"{what}Date": moment.strftime("%Y%m%d"), f"{what}Time": moment.strftime("%H%M%S.%f")}
    return attrs | _habits(exam, shot) | dict(shot.attrs)


def _habits(exam: Exam, shot: Shot) -> dict[str, object]:
    """What a vendor writes into standard attributes."""
    standard = {} if shot.acceleration is None else {"ParallelReductionFactorInPlane": float(shot.acceleration)}
    if exam.vendor == "GE":
        return {"BodyPartExamined": None, "ScanOptions": ["FAST_GEMS", "ACC_GEMS", "TRF_GEMS"], "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"]}
    if exam.vendor == "Philips":
        kind = {"ImageType": ["ORIGINAL", "PRIMARY", "M_SE", "M", "SE"], "RescaleSlope": 1.7423, "RescaleIntercept": 0.0, "RescaleType": "normalized"}
        return standard | kind | {"AcquisitionDuration": float(shot.seconds), "ScanOptions": "PFP"}
    if exam.vendor == "UIH":  # its AcquisitionDuration holds a time of day
        return standard | {"AcquisitionDuration": float(shot.began.strftime("%H%M%S")), "SoftwareVersions": "R004"}
    return {"ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"], "ScanOptions": "PFP"}


def _put_siemens(dataset: FileDataset, exam: Exam, shot: Shot) -> None:
    block = dataset.private_block(0x0051, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0A, "LO", f"TA {int(shot.seconds) // 60:02d}:{int(shot.seconds) % 60:02d}")
    if shot.acceleration is None or shot.acceleration == 1:  # nothing is written for an unaccelerated scan
        return
    if exam.odd:
        text = f"### ASCCONV BEGIN ###\nsPat.lAccelFactPE\t = \t{shot.acceleration:.0f}\nsPat.lAccelFact3D\t = \t1\n### ASCCONV END ###"
        dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x20, "OB", text.encode() + b"\0" * (len(text) % 2))
    else:
        block.add_new(0x11, "LO", f"p{shot.acceleration:.0f}")


def _put_ge(dataset: FileDataset, exam: Exam, shot: Shot) -> None:
    del exam
    dataset.private_block(0x0019, "GEMS_ACQU_01", create=True).add_new(0x5A, "FL", shot.seconds * 1e6)
    parameters = dataset.private_block(0x0043, "GEMS_PARM_01", create=True)
    parameters.add_new(0x2F, "SS", shot.component)
    if shot.acceleration is not None:
        parameters.add_new(0x83, "DS", [f"{1 / shot.acceleration:.4g}", "1"])


def _put_philips(dataset: FileDataset, exam: Exam, shot: Shot) -> None:
    del exam
    dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.00123 * shot.gain)


def _put_uih(dataset: FileDataset, exam: Exam, shot: Shot) -> None:
    dataset.private_block(0x0065, "Image Private Header", create=True).add_new(0x07, "DA", exam.began.strftime("%Y%m%d"))
    del shot


_PRIVATE: Mapping[str, Callable[[FileDataset, Exam, Shot], None]] = {
    "Siemens": _put_siemens, "GE": _put_ge, "Philips": _put_philips, "UIH": _put_uih,
}  # fmt: skip


def _syntax(exam: Exam) -> UID:
    if exam.vendor == "GE":
        return UID(ExplicitVRBigEndian if exam.odd else ImplicitVRLittleEndian)
    return UID(ExplicitVRLittleEndian)


def _place(exam: Exam, shot: Shot, number: int, uid: str) -> Path:
    """Where the vendor's export puts an image."""
    name = exam.person.name.replace("^", "_").upper()
    if exam.vendor == "Siemens":
        label = (shot.name or "unnamed").upper().replace("*", "_").replace(" ", "_")
        moment = exam.began.strftime("%Y.%m.%d.%H.%M.%S")
        return exam.folder / f"{label}_{shot.number:04d}" / f"{name}.MR.{exam.organ.upper()}.{shot.number:04d}.{number:04d}.{moment}.{uid[-8:]}.IMA"
    if exam.vendor == "GE":
        return exam.folder / f"e{zlib.crc32(exam.key.encode()) % 10000}" / f"s{shot.number}" / f"i{number:05d}.MRDC.{number}"
    if exam.vendor == "Philips":
        return exam.folder / "DICOM" / f"IM_{next(exam.counter):04d}"
    return exam.folder / f"{uid}.dcm"
