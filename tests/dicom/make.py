"""Makes small DICOM series for the tests: classic and enhanced MR, any coding, any attribute changed by keyword."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

AXIAL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
SAGITTAL = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]
CORONAL = [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]


def phantom(n_slices: int, rows: int, columns: int, *, seed: int = 0, bits: int = 12) -> NDArray[np.uint16]:
    """Noisy ellipse, (slice, row, column) unsigned integers below 2 ** bits."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    disc = ((x**2 + 1.3 * y**2) < 0.7) * (0.4 + 0.2 * np.cos(6 * x) * np.cos(5 * y))
    volume = disc[None] * np.linspace(0.7, 1.0, n_slices)[:, None, None]
    noisy = np.hypot(volume + rng.normal(0, 0.02, volume.shape), rng.normal(0, 0.02, volume.shape))
    return np.clip(noisy * (2**bits - 1), 0, 2**bits - 1).astype(np.uint16)


def make_series(
    folder: Path,
    n_slices: int = 4,
    rows: int = 32,
    columns: int = 24,
    *,
    stored: NDArray[np.integer] | None = None,
    vary: Mapping[str, Sequence[object]] | None = None,
    prefix: str = "im",
    transfer_syntax: str = ExplicitVRLittleEndian,
    seed: int = 0,
    **attrs: object,
) -> list[Path]:
    """Write a classic MR series, one file a slice, and return its files.

    `stored` (slice, row, column) replaces the phantom; `vary` gives an attribute one value per slice; `attrs` set (or,
    with the value None, delete) attributes of every instance. Call it twice with one SeriesInstanceUID and two prefixes
    for repeats. ImagePositionPatient follows ImageOrientationPatient unless it is given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pixels = phantom(n_slices, rows, columns, seed=seed) if stored is None else stored
    common = {"SeriesInstanceUID": generate_uid(), **attrs}
    paths = []
    for index, plane in enumerate(pixels):
        own = {keyword: values[index] for keyword, values in (vary or {}).items()}
        dataset = classic_dataset(plane, index, {**common, **own})
        paths.append(save(dataset, folder / f"{prefix}{index:04d}.dcm", transfer_syntax))
    return paths


def classic_dataset(plane: NDArray[np.integer], index: int, attrs: Mapping[str, object]) -> FileDataset:
    """One MR Image Storage instance (PS3.3 A.4) with slice `index` of an axial stack, 2 mm apart."""
    dataset = _shell(MRImageStorage)
    _put_common(dataset)
    for keyword, value in (
        ("ScanningSequence", "SE"), ("SequenceVariant", "SK"), ("ScanOptions", ""), ("EchoTrainLength", 12),
        ("RepetitionTime", 4000), ("EchoTime", 90), ("EchoNumbers", 1), ("NumberOfAverages", 1), ("FlipAngle", 90),
        ("PixelBandwidth", 200), ("ReceiveCoilName", "HeadCoil"), ("ImagingFrequency", 63.87), ("ImagedNucleus", "1H"),
        ("SliceThickness", 2), ("SpacingBetweenSlices", 2), ("PixelSpacing", [1.0, 0.75]), ("AcquisitionNumber", 1),
        ("ImageOrientationPatient", AXIAL), ("InstanceNumber", index + 1), ("ImageType", ["ORIGINAL", "PRIMARY", "M"]),
        ("WindowCenter", 800), ("WindowWidth", 1600),
    ):  # fmt: skip
        setattr(dataset, keyword, value)
    put_pixels(dataset, plane)
    _apply(dataset, attrs)
    if "ImagePositionPatient" not in attrs and "ImageOrientationPatient" in dataset:
        dataset.ImagePositionPatient = _position(dataset.ImageOrientationPatient, 2.0 * index)
    if "SliceLocation" not in attrs:
        dataset.SliceLocation = 2.0 * index
    return dataset


def make_enhanced(
    path: Path,
    n_slices: int = 4,
    rows: int = 32,
    columns: int = 24,
    *,
    stored: NDArray[np.integer] | None = None,
    volumes: Sequence[Mapping[str, float]] = ({},),
    rescale: Sequence[tuple[float, float]] | None = None,
    frame_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "M", "NONE"),
    transfer_syntax: str = ExplicitVRLittleEndian,
    **attrs: object,
) -> Path:
    """Write one Enhanced MR file (PS3.3 A.36): every volume of `volumes` has all slices; slices vary fastest.

    A volume sets any of EffectiveEchoTime (ms), DiffusionBValue (s/mm²), TemporalPositionIndex; `rescale` gives
    (slope, intercept) per frame; `stored` is (frame, row, column).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    n_frames = n_slices * len(volumes)
    pixels = phantom(n_frames, rows, columns) if stored is None else stored
    dataset = _shell(EnhancedMRImageStorage)
    _put_common(dataset)
    _put_enhanced_common(dataset, n_frames, frame_type)
    dataset.SharedFunctionalGroupsSequence = DicomSequence([_shared_groups()])
    groups = []
    for frame in range(n_frames):
        slope, intercept = rescale[frame] if rescale is not None else (1.0, 0.0)
        volume, plane = divmod(frame, n_slices)
        groups.append(_frame_groups(plane, volume, volumes[volume], frame_type))
        groups[-1].PixelValueTransformationSequence = _one(RescaleIntercept=intercept, RescaleSlope=slope, RescaleType="US")
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(groups)
    put_pixels(dataset, pixels)
    _apply(dataset, attrs)
    return save(dataset, path, transfer_syntax)


def put_pixels(dataset: Dataset, stored: NDArray[np.integer], bits_stored: int | None = None) -> None:
    """Put integers (row, column) or (frame, row, column) into PixelData, 12 bits in 16 for uint16 unless told."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    if stored.ndim == 3:
        dataset.NumberOfFrames = stored.shape[0]
    dataset.BitsAllocated = 8 * stored.dtype.itemsize
    dataset.BitsStored = bits_stored or (12 if stored.dtype == np.uint16 and int(stored.max()) < 4096 else dataset.BitsAllocated)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(np.issubdtype(stored.dtype, np.signedinteger))
    data = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if stored.dtype.itemsize == 1 else "OW"


def save(dataset: FileDataset, path: Path, transfer_syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write `dataset` (held little-endian) to `path` in any uncompressed syntax or one that pydicom can compress to."""
    dataset = copy.deepcopy(dataset)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    syntax = UID(transfer_syntax)
    if syntax.is_encapsulated:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            codec = "pylibjpeg" if syntax == RLELossless else ""  # GDCM's RLE encoder aborts on pixels that do not compress
            dataset.compress(syntax, encoding_plugin=codec, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian and "PixelData" in dataset and dataset.BitsAllocated > 8:
            width = dataset.BitsAllocated // 8
            dataset.PixelData = np.frombuffer(dataset.PixelData, f"<u{width}").astype(f">u{width}").tobytes()
            dataset["PixelData"].VR = "OW"
    dcmwrite(path, dataset, enforce_file_format=True, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    return path


def _shell(sop_class: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = generate_uid()
    return dataset


def _put_common(dataset: Dataset) -> None:
    for keyword, value in (
        ("SpecificCharacterSet", "ISO_IR 192"), ("Modality", "MR"), ("Manufacturer", "SIEMENS"), ("ManufacturerModelName", "Aera"),
        ("DeviceSerialNumber", "1"), ("SoftwareVersions", "1"), ("PatientName", "Test^Phantom"), ("PatientID", "P1"),
        ("PatientBirthDate", ""), ("PatientSex", "O"), ("PatientPosition", "HFS"), ("StudyInstanceUID", "1.2.826.0.1.3680043.10.9.1"),
        ("SeriesInstanceUID", generate_uid()), ("FrameOfReferenceUID", "1.2.826.0.1.3680043.10.9.2"), ("PositionReferenceIndicator", ""),
        ("StudyDate", "20240102"), ("StudyTime", "101112"), ("SeriesDate", "20240102"), ("SeriesTime", "101213"),
        ("AcquisitionDate", "20240102"), ("AcquisitionTime", "101213"), ("ContentDate", "20240102"), ("ContentTime", "101214"),
        ("StudyID", "1"), ("AccessionNumber", ""), ("ReferringPhysicianName", ""), ("SeriesNumber", 3), ("SeriesDescription", "t2_tse_tra"),
        ("ProtocolName", "t2_tse_tra"), ("BodyPartExamined", "BRAIN"), ("MagneticFieldStrength", 1.5), ("MRAcquisitionType", "2D"),
    ):  # fmt: skip
        setattr(dataset, keyword, value)


def _put_enhanced_common(dataset: Dataset, n_frames: int, frame_type: Sequence[str]) -> None:
    pointer = _item(DimensionIndexPointer=0x00209057, FunctionalGroupPointer=0x00209111, DimensionOrganizationUID="1.2.826.0.1.3680043.10.9.3")
    temporal = _item(DimensionIndexPointer=0x00209128, FunctionalGroupPointer=0x00209111, DimensionOrganizationUID="1.2.826.0.1.3680043.10.9.3")
    for keyword, value in (
        ("ImageType", list(frame_type)), ("InstanceNumber", 1), ("NumberOfFrames", n_frames), ("ResonantNucleus", "1H"),
        ("PixelPresentation", "MONOCHROME"), ("VolumetricProperties", "VOLUME"), ("VolumeBasedCalculationTechnique", "NONE"),
        ("ComplexImageComponent", "MAGNITUDE"), ("AcquisitionContrast", "T2"), ("AcquisitionDateTime", "20240102101213"),
        ("AcquisitionDuration", 60.0), ("PulseSequenceName", "tse2d"), ("EchoPulseSequence", "SPIN"), ("EchoPlanarPulseSequence", "NO"),
        ("SpectrallySelectedSuppression", "NONE"), ("ContentQualification", "PRODUCT"), ("BurnedInAnnotation", "NO"),
        ("LossyImageCompression", "00"), ("PresentationLUTShape", "IDENTITY"), ("AcquisitionContextSequence", []),
        ("DimensionOrganizationSequence", [_item(DimensionOrganizationUID="1.2.826.0.1.3680043.10.9.3")]),
        ("DimensionIndexSequence", [temporal, pointer]),
    ):  # fmt: skip
        setattr(dataset, keyword, value)


def _shared_groups() -> Dataset:
    modifier = _item(InversionRecovery="NO", ParallelAcquisition="YES", ParallelReductionFactorInPlane=2.0, SpectrallySelectedExcitation="NONE")
    timing = _item(RepetitionTime=4000.0, FlipAngle=90.0, EchoTrainLength=12)
    anatomy = _item(FrameLaterality="U", AnatomicRegionSequence=[_item(CodeValue="T-A0100", CodingSchemeDesignator="SRT", CodeMeaning="Brain")])
    return _item(
        MRTimingAndRelatedParametersSequence=[timing],
        MRModifierSequence=[modifier],
        MRAveragesSequence=[_item(NumberOfAverages=1.0)],
        MRReceiveCoilSequence=[_item(ReceiveCoilName="Head_32")],
        FrameAnatomySequence=[anatomy],
        PixelMeasuresSequence=[_item(PixelSpacing=[1.0, 0.75], SliceThickness=2.0, SpacingBetweenSlices=2.0)],
        PlaneOrientationSequence=[_item(ImageOrientationPatient=AXIAL)],
    )


def _frame_groups(plane: int, volume: int, values: Mapping[str, float], frame_type: Sequence[str]) -> Dataset:
    temporal = int(values.get("TemporalPositionIndex", 1))
    content = _item(
        FrameAcquisitionNumber=1,
        StackID="1",
        InStackPositionNumber=plane + 1,
        TemporalPositionIndex=temporal,
        DimensionIndexValues=[volume + 1, plane + 1],
    )
    kind = _item(
        FrameType=list(frame_type),
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
        ComplexImageComponent="MAGNITUDE",
        AcquisitionContrast="T2",
    )
    groups = _item(
        FrameContentSequence=[content],
        PlanePositionSequence=[_item(ImagePositionPatient=_position(AXIAL, 2.0 * plane))],
        MREchoSequence=[_item(EffectiveEchoTime=float(values.get("EffectiveEchoTime", 90.0)))],
        MRImageFrameTypeSequence=[kind],
        FrameVOILUTSequence=[_item(WindowCenter=800, WindowWidth=1600)],
    )
    if "DiffusionBValue" in values:
        groups.MRDiffusionSequence = _one(DiffusionBValue=float(values["DiffusionBValue"]), DiffusionDirectionality="ISOTROPIC")
    return groups


def _position(orientation: Sequence[float], offset_mm: float) -> list[float]:
    row, column = np.asarray(orientation[:3], float), np.asarray(orientation[3:], float)
    return [float(round(value, 6)) for value in np.array([-10.0, -20.0, 5.0]) + offset_mm * np.cross(row, column)]


def _item(**values: object) -> Dataset:
    item = Dataset()
    _apply(item, values)
    return item


def _one(**values: object) -> DicomSequence:
    return DicomSequence([_item(**values)])


def _apply(dataset: Dataset, attrs: Mapping[str, object]) -> None:
    for keyword, value in attrs.items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
