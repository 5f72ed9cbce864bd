"""Writes simulated images as a valid classic MR series, for the demo and for tests; it never holds a real patient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from onenex import __version__
from onenex.errors import DataError
from onenex.series import FloatImages

_FIXED = {
    "SpecificCharacterSet": "ISO_IR 192",
    "SOPClassUID": MRImageStorage,
    "Modality": "MR",
    "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
    "Manufacturer": "OneNEX simulator",
    "ManufacturerModelName": "numerical phantom",
    "DeviceSerialNumber": "0",
    "SoftwareVersions": __version__,
    "InstitutionName": "",
    "ReferringPhysicianName": "",
    "AccessionNumber": "",
    "StudyID": "1",
    "StudyDescription": "Numerical phantom",
    "PatientName": "Phantom^Numerical",
    "PatientID": "PHANTOM",
    "PatientBirthDate": "",
    "PatientSex": "O",
    "PatientPosition": "HFS",
    "PositionReferenceIndicator": "",
    "SequenceVariant": "SK",
    "ScanOptions": "",
    "MRAcquisitionType": "2D",
    "ImagedNucleus": "1H",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "PixelRepresentation": 0,
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What the header says of the simulated scan."""

    description: str
    body_part: str = "HEAD"
    series_number: int = 1
    repetition_ms: float = 4800.0
    echo_ms: float = 92.0
    inversion_ms: float | None = None
    nex: int = 1
    field_strength_T: float = 3.0
    spacing_mm: tuple[float, float] = (0.9, 0.9)
    """Between rows, between columns."""
    positions_mm: tuple[float, ...] = ()
    """z of each slice; 5 mm apart when empty."""
    bits: int = 12
    seed: int = 0
    """UIDs follow from it, so that the same simulation is the same series."""


def write_mr_series(images: FloatImages, folder: Path, protocol: Protocol) -> list[Path]:
    """Write (slice, row, column) magnitudes, rounded and clipped to 0 … 2^bits - 1, one axial image a file, explicit little endian.

    Raises
    ------
    DataError
        The number of positions is not the number of slices.
    """
    positions = protocol.positions_mm or tuple(5.0 * i for i in range(len(images)))
    if len(positions) != len(images):
        raise DataError(f"{len(images)} slices, but {len(positions)} positions: give one position a slice")
    folder.mkdir(parents=True, exist_ok=True)
    stored = np.clip(np.rint(images), 0, 2**protocol.bits - 1).astype("<u2")
    window = float(np.percentile(stored, 99.7))
    paths = []
    for number, (pixels, z) in enumerate(zip(stored, positions, strict=True), start=1):
        header = _header(protocol, number, z, positions)
        header.Rows, header.Columns = pixels.shape
        header.WindowCenter, header.WindowWidth = round(window / 2), max(2, round(window))
        header.PixelData = pixels.tobytes()
        path = folder / f"IM{number:04d}.dcm"
        header.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def real_example() -> Path:
    """Return the real MR image that pydicom's wheel carries (an upper abdomen, T1, with overlay).

    Raises
    ------
    DataError
        This pydicom came without its test files.
    """
    found = get_testdata_file("examples_overlay.dcm", download=False)
    if not isinstance(found, str):
        raise DataError("pydicom's examples_overlay.dcm is missing: install pydicom from its wheel")
    return Path(found)


def _header(protocol: Protocol, number: int, z: float, positions: tuple[float, ...]) -> FileDataset:
    series = f"series {protocol.series_number} {protocol.description}"
    header = FileDataset("", Dataset(), preamble=b"\0" * 128)
    for keyword, value in _FIXED.items():
        setattr(header, keyword, value)
    gap = abs(positions[1] - positions[0]) if len(positions) > 1 else 5.0
    rows_mm, columns_mm = protocol.spacing_mm
    varying = {
        "SOPInstanceUID": _uid(protocol, f"{series} image {number}"),
        "StudyInstanceUID": _uid(protocol, "study"),
        "SeriesInstanceUID": _uid(protocol, series),
        "FrameOfReferenceUID": _uid(protocol, "frame"),
        "SeriesDescription": protocol.description,
        "ProtocolName": protocol.description,
        "BodyPartExamined": protocol.body_part,
        "SeriesNumber": protocol.series_number,
        "AcquisitionNumber": 1,
        "InstanceNumber": number,
        "ScanningSequence": ["SE", "IR"] if protocol.inversion_ms is not None else "SE",
        "RepetitionTime": protocol.repetition_ms,
        "EchoTime": protocol.echo_ms,
        "EchoTrainLength": 1,
        "NumberOfAverages": protocol.nex,
        "MagneticFieldStrength": protocol.field_strength_T,
        "SliceThickness": 2.0,
        "SpacingBetweenSlices": round(gap, 6),
        "PixelSpacing": [rows_mm, columns_mm],
        "BitsStored": protocol.bits,
        "HighBit": protocol.bits - 1,
    }
    for keyword, value in varying.items():
        setattr(header, keyword, value)
    if protocol.inversion_ms is not None:
        header.InversionTime = protocol.inversion_ms
    for what in ("Study", "Series", "Acquisition", "Content"):
        setattr(header, f"{what}Date", "20260101")
        setattr(header, f"{what}Time", "120000")
    header.ImagePositionPatient = [-115.0 + columns_mm / 2, -115.0 + rows_mm / 2, round(z, 6)]
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return header


def _uid(protocol: Protocol, what: str) -> str:
    return str(generate_uid(entropy_srcs=["OneNEX synthesise", str(protocol.seed), what]))
