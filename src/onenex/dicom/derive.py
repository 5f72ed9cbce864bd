"""What the header of a derived image says: pure functions from a source Dataset to a derived one, without pixels.

Everything that is not named here stays as it was: patient, study, equipment, geometry, window, order, dates of the
acquisition, private elements (geometry and diffusion often live there only). docs/reference/derived-series.md lists every change.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta, timezone

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEG2000MC,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

from onenex.dicom.frames import FrameHeader
from onenex.dicom.identity import (
    MAX_LO,
    MAX_ST,
    derivation_description,
    derived_description,
    derived_image_type,
    derived_series_number,
    derived_uid,
    values_of,
)
from onenex.errors import MissingTag
from onenex.series import MapKind, Provenance

_DROPPED = (
    "IconImageSequence",  # a thumbnail of the source's pixels
    "DigitalSignaturesSequence",
    "MACParametersSequence",  # signatures of the source; they cannot hold any more
    "InstanceCreatorUID",  # names the device that made the source instance
    "DataSetTrailingPadding",
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
_PRIVATE_PIXEL_GROUPS = range(0x7F00, 0x8000)
"""Private elements in these groups are pixel data of the vendor's own (e.g. (7FE1,1010) of Siemens): of the source, so dropped."""

_PULSE_SEQUENCE = (
    "PulseSequenceName", "MRAcquisitionType", "EchoPulseSequence", "MultipleSpinEcho", "MultiPlanarExcitation", "PhaseContrast",
    "TimeOfFlightContrast", "ArterialSpinLabelingContrast", "SteadyStatePulseSequence", "EchoPlanarPulseSequence", "SaturationRecovery",
    "SpectrallySelectedSuppression", "OversamplingPhase", "GeometryOfKSpaceTraversal", "RectilinearPhaseEncodeReordering",
    "SegmentedKSpaceTraversal", "CoverageOfKSpace", "NumberOfKSpaceTrajectories",
)  # fmt: skip
"""Conditional attributes of the MR Pulse Sequence module (PS3.3 C.8.13.4): required of ORIGINAL and MIXED images only (docs/decisions/0004)."""

DERIVATION_CODES = {
    None: ("113087", "DCM", "Smoothing"),
    MapKind.UNCERTAINTY: ("113061", "DCM", "Standard Deviation"),
    MapKind.GUARD: ("113071", "DCM", "Z-score"),
}
"""PS3.16 CID 7203, which is extensible, has no code for noise reduction: the nearest one, and the text says the rest."""

_ALWAYS_LOSSY = {JPEGBaseline8Bit: "ISO_10918_1", JPEGExtended12Bit: "ISO_10918_1", JPEGLSNearLossless: "ISO_14495_1"}
_PERHAPS_LOSSY = {JPEG2000: "ISO_15444_1", JPEG2000MC: "ISO_15444_1", HTJ2K: "ISO_15444_15"}
"""Transfer syntaxes → LossyImageCompressionMethod (PS3.3 C.7.6.1.1.5.1)."""


def derive(
    source: Dataset, provenance: Provenance, *, when: datetime, frames: Collection[int] | None = None, notes: Mapping[int, str] | None = None
) -> Dataset:
    """Return the header of the image derived from `source`; `source` stays as it is.

    Classic single-frame images carry the derivation at the top level (General Image module, PS3.3 C.7.6.1), multi-frame
    images with functional groups carry it frame by frame (Derivation Image macro, PS3.3 C.7.6.16.2.6).

    Parameters
    ----------
    source
        Header of one instance, with or without pixel data.
    when
        Time of creation, with a time zone (it's written in the zone that the source names, else in its own).
    frames
        0-based frames whose pixels are derived; None means all. The others keep their FrameType and get no
        derivation, and ImageType says MIXED instead of DERIVED when some of them are original.
    notes
        0-based frame (0 for a classic image) → a sentence on what happened to it.

    Raises
    ------
    MissingTag
        The source has no SOPInstanceUID, SOPClassUID or SeriesInstanceUID.
    """
    derived = _copy_without_pixels(source)
    derived.SOPInstanceUID = derived_uid(_required(source, "SOPInstanceUID"), provenance)
    derived.SeriesInstanceUID = derived_uid(_required(source, "SeriesInstanceUID"), provenance)
    for keyword in ("ConcatenationUID", "SOPInstanceUIDOfConcatenationSource"):
        if source.get(keyword):
            setattr(derived, keyword, derived_uid(source[keyword].value, provenance))
    derived.SeriesNumber = derived_series_number(FrameHeader(source).integer("SeriesNumber"), provenance.shows)
    derived.SeriesDescription = derived_description(source.get("SeriesDescription"), provenance.suffix)
    if source.get("ContentQualification") == "PRODUCT":  # PS3.3 C.8.13.2.1.1: made with software that is no approved product
        derived.ContentQualification = "RESEARCH"
    created = when.astimezone(_zone(source) or when.tzinfo)
    derived.InstanceCreationDate = created.strftime("%Y%m%d")
    derived.InstanceCreationTime = created.strftime("%H%M%S.%f")
    _append(derived, "ContributingEquipmentSequence", _equipment(provenance, created))
    _keep_lossy_history(source, derived)
    if "PerFrameFunctionalGroupsSequence" in source:
        _derive_frames(source, derived, provenance, {index: (notes or {}).get(index, "") for index in _chosen(source, frames)})
    else:
        derived.ImageType = derived_image_type(source.get("ImageType"))
        _set_derivation(derived, provenance, (notes or {}).get(0, ""))
        derived.SourceImageSequence = Sequence([_source_image(source)])
    return derived


def _required(source: Dataset, keyword: str) -> str:
    value = source.get(keyword)
    if not value:
        raise MissingTag(f"an image has no {keyword}: a derived image cannot refer to it; repair or re-export the series")
    return str(value)


def _copy_without_pixels(source: Dataset) -> Dataset:
    """Copy every element but the dropped ones; undecoded elements stay undecoded, so that they're written as they were."""
    result = Dataset()
    for tag in list(source.keys()):
        if tag not in _DROPPED_TAGS and not (tag.is_private and tag.group in _PRIVATE_PIXEL_GROUPS):
            result[tag] = copy.deepcopy(source.get_item(tag))
    implicit_vr, little_endian = source.original_encoding
    result.set_original_encoding(implicit_vr, little_endian, source.original_character_set)
    return result


_DROPPED_TAGS = frozenset(Tag(keyword) for keyword in _DROPPED)


def _zone(source: Dataset) -> timezone | None:
    """Return the zone of TimezoneOffsetFromUTC, e.g. "+0100"; None when it's absent or no offset."""
    text = str(source.get("TimezoneOffsetFromUTC") or "").strip()
    if len(text) != 5 or text[0] not in "+-" or not text[1:].isdigit() or int(text[1:3]) > 14:
        return None
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[3:]))
    return timezone(-offset if text[0] == "-" else offset)


def _append(dataset: Dataset, keyword: str, *items: Dataset) -> None:
    """Append items to a sequence, which is made where it's absent or empty."""
    setattr(dataset, keyword, Sequence([*(dataset.get(keyword) or []), *items]))


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _equipment(provenance: Provenance, created: datetime) -> Dataset:
    """Return OneNEX as contributing equipment (PS3.3 C.12.1, PS3.16 CID 7005)."""
    item = Dataset()
    item.Manufacturer = "OneNEX"
    item.ManufacturerModelName = "OneNEX"
    item.SoftwareVersions = [provenance.version[:MAX_LO], f"weights {provenance.weights_hash}"[:MAX_LO]]
    item.ContributionDateTime = created.strftime("%Y%m%d%H%M%S.%f")
    item.ContributionDescription = derivation_description(provenance)[:MAX_ST]
    item.PurposeOfReferenceCodeSequence = Sequence([_code("109102", "DCM", "Processing Equipment")])
    return item


def _set_derivation(dataset: Dataset, provenance: Provenance, note: str) -> None:
    """Say how the image was made, after what the source says of its own making."""
    text = derivation_description(provenance, note)[:MAX_ST]
    earlier = str(dataset.get("DerivationDescription") or "").strip()[: max(0, MAX_ST - len(text) - 2)]
    dataset.DerivationDescription = f"{earlier}; {text}" if earlier else text
    _append(dataset, "DerivationCodeSequence", _code(*DERIVATION_CODES[provenance.shows]))


def _source_image(source: Dataset, frame: int | None = None) -> Dataset:
    """Refer to the source (or to one 0-based frame of it) as the input of an image processing operation (CID 7202)."""
    item = Dataset()
    item.ReferencedSOPClassUID = _required(source, "SOPClassUID")
    item.ReferencedSOPInstanceUID = _required(source, "SOPInstanceUID")
    if frame is not None:
        item.ReferencedFrameNumber = frame + 1
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = Sequence([_code("121322", "DCM", "Source image for image processing operation")])
    return item


def _keep_lossy_history(source: Dataset, derived: Dataset) -> None:
    """An image that was lossy once stays lossy, also where only its transfer syntax said so (PS3.3 C.7.6.1.1.5)."""
    syntax = getattr(source, "file_meta", Dataset()).get("TransferSyntaxUID")
    lossy = str(source.get("LossyImageCompression") or "")
    if lossy != "01" and (syntax in _ALWAYS_LOSSY or (syntax in _PERHAPS_LOSSY and not lossy)):
        derived.LossyImageCompression = "01"
        if not source.get("LossyImageCompressionMethod"):
            derived.LossyImageCompressionMethod = {**_ALWAYS_LOSSY, **_PERHAPS_LOSSY}[syntax]


def _chosen(source: Dataset, frames: Collection[int] | None) -> list[int]:
    """Return the derived frames in rising order."""
    return list(range(len(source.PerFrameFunctionalGroupsSequence))) if frames is None else sorted(frames)


def _derive_frames(source: Dataset, derived: Dataset, provenance: Provenance, chosen: Mapping[int, str]) -> None:
    """Write the derivation of every chosen frame, with its note, and the evidence that the macro asks for at the top level."""
    per_frame = derived.PerFrameFunctionalGroupsSequence
    if len(chosen) < len(per_frame):
        _unshare(derived, "MRImageFrameTypeSequence")
    _unshare(derived, "DerivationImageSequence")
    for group in [*(derived.get("SharedFunctionalGroupsSequence") or []), *(per_frame[index] for index in chosen)]:
        for frame_type in group.get("MRImageFrameTypeSequence") or []:
            frame_type.FrameType = derived_image_type(frame_type.get("FrameType"))
    for index, note in chosen.items():
        item = Dataset()
        _set_derivation(item, provenance, note)
        item.SourceImageSequence = Sequence([_source_image(source, index)])
        _append(per_frame[index], "DerivationImageSequence", item)
    _append(derived, "SourceImageEvidenceSequence", _evidence(source))
    derived.ImageType = derived_image_type(source.get("ImageType"))
    if len(chosen) < len(per_frame) and values_of(source.get("ImageType"))[:1] != ["DERIVED"]:
        derived.ImageType = ["MIXED", *derived.ImageType[1:]]
    if derived.ImageType[0] == "DERIVED" and values_of(source.get("ImageType"))[:1] != ["DERIVED"]:
        drop_pulse_sequence(derived)


def drop_pulse_sequence(derived: Dataset) -> None:
    """Remove what validators reject in an enhanced image that is DERIVED (docs/decisions/0004)."""
    for keyword in _PULSE_SEQUENCE:
        derived.pop(Tag(keyword), None)


def _unshare(derived: Dataset, keyword: str) -> None:
    """Move a shared functional group into every frame, so that frames may differ (a group is shared or per frame, never both)."""
    shared = (derived.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    if keyword in shared:
        for group in derived.PerFrameFunctionalGroupsSequence:
            setattr(group, keyword, copy.deepcopy(shared[keyword].value))
        del shared[keyword]


def _evidence(source: Dataset) -> Dataset:
    """Name study, series and instance of the source (Source Image Evidence Sequence, PS3.3 C.8.13.2)."""
    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID = _required(source, "SOPClassUID")
    instance.ReferencedSOPInstanceUID = _required(source, "SOPInstanceUID")
    series.SeriesInstanceUID = _required(source, "SeriesInstanceUID")
    series.ReferencedSOPSequence = Sequence([instance])
    study.StudyInstanceUID = _required(source, "StudyInstanceUID")
    study.ReferencedSeriesSequence = Sequence([series])
    return study
