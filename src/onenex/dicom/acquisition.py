"""From a header to an `Acquisition`: standard attributes first, then what the protocol's author wrote; each with its evidence."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from pydicom.dataset import Dataset

from onenex.dicom import phrases
from onenex.dicom.contrast import sequence_of
from onenex.dicom.frames import FrameHeader, cite
from onenex.dicom.traits import image_type, private_text
from onenex.series import UNKNOWN, Acquisition

T = TypeVar("T")
Finding = tuple[Any, str]
"""(value, evidence)."""

PROTOCOL_TEXTS = (
    "SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName", "PerformedProcedureStepDescription",
    "RequestedProcedureDescription", "StudyDescription",
)  # fmt: skip
NOMINAL_FIELDS_T = (0.064, 0.2, 0.23, 0.25, 0.3, 0.35, 0.4, 0.5, 0.55, 0.6, 0.7, 1.0, 1.2, 1.5, 3.0, 5.0, 7.0)
PROTON_MHZ_PER_T = 42.577
_GE_PARALLEL = "GEMS_PARM_01"
_ASCCONV = re.compile(r"sPat\.(lAccelFactPE|lAccelFact3D)\s*=\s*(\d+)")


def acquisition_of(dataset: Dataset, frame: int = 0) -> Acquisition:
    """Return how a frame was acquired, as far as its header tells.

    Parameters
    ----------
    dataset
        Header of a classic or enhanced MR image.
    frame
        0-based frame of an enhanced one.

    Returns
    -------
    Acquisition
        `evidence` names for each known field the attribute that it came from. Fields that nothing speaks of are
        "unknown" or None.
    """
    header = FrameHeader(dataset, frame)
    findings: dict[str, Finding | None] = {
        "vendor": _vendor(header),
        "organ": _organ(header),
        "sequence": sequence_of(header),
        "plane": _plane(header),
        "field_strength_T": _field_strength(header),
        "nex": _positive(header, "NumberOfAverages"),
        "acceleration": _acceleration(header),
        "fat_suppressed": _fat_suppressed(header),
    }
    known = {name: finding for name, finding in findings.items() if finding is not None}

    def value(name: str, default: T) -> T:
        found: T = known[name][0] if name in known else default
        return found

    return Acquisition(
        vendor=value("vendor", UNKNOWN),
        organ=value("organ", UNKNOWN),
        sequence=value("sequence", UNKNOWN),
        plane=value("plane", UNKNOWN),
        field_strength_T=value("field_strength_T", None),
        nex=value("nex", None),
        acceleration=value("acceleration", None),
        fat_suppressed=value("fat_suppressed", None),
        evidence={name: finding[1] for name, finding in known.items()},
    )


def _texts(header: FrameHeader, *keywords: str) -> Iterator[tuple[str, str]]:
    """Yield (keyword, text) of those attributes that say anything."""
    for keyword in keywords:
        text = header.text(keyword)
        if text:
            yield keyword, text


def _named(header: FrameHeader, keywords: tuple[str, ...], vocabulary: Mapping[str, re.Pattern[str]]) -> Finding | None:
    for keyword, text in _texts(header, *keywords):
        name = phrases.named(text, vocabulary)
        if name is not None:
            return name, cite(keyword)
    return None


def _vendor(header: FrameHeader) -> Finding | None:
    return _named(header, ("Manufacturer", "ManufacturerModelName"), phrases.VENDORS)


def _organ(header: FrameHeader) -> Finding | None:
    searches: tuple[Callable[[], Finding | None], ...] = (
        lambda: _named(header, ("BodyPartExamined",), phrases.ORGANS),
        lambda: _anatomic_region(header, phrases.ORGANS),
        lambda: _named(header, PROTOCOL_TEXTS, phrases.ORGANS),
        lambda: _named(header, ("BodyPartExamined",), phrases.OTHER_ORGANS) if "SPINE" not in header.text("BodyPartExamined").upper() else None,
        lambda: _named(header, ("ReceiveCoilName",), phrases.ORGANS),
        lambda: _named(header, ("BodyPartExamined",), phrases.OTHER_ORGANS),
        lambda: _anatomic_region(header, phrases.OTHER_ORGANS),
        lambda: _named(header, PROTOCOL_TEXTS, phrases.OTHER_ORGANS),
    )
    return next((found for search in searches if (found := search()) is not None), None)


def _anatomic_region(header: FrameHeader, vocabulary: Mapping[str, re.Pattern[str]]) -> Finding | None:
    for item in header.items("AnatomicRegionSequence"):
        name = phrases.named(FrameHeader(item).text("CodeMeaning"), vocabulary)
        if name is not None:
            return name, cite("AnatomicRegionSequence")
    return None


def _plane(header: FrameHeader) -> Finding | None:
    """Nearest plane to the slice normal (PS3.3 C.7.6.2.1.1: x to the left, y to the back, z to the head)."""
    cosines = header.numbers("ImageOrientationPatient")
    if len(cosines) == 6:
        normal = np.abs(np.cross(cosines[:3], cosines[3:]))
        if np.isfinite(normal).all() and normal.max() > 0.5:
            return ("sagittal", "coronal", "axial")[int(normal.argmax())], cite("ImageOrientationPatient")
    return _named(header, PROTOCOL_TEXTS, {"axial": phrases.AXIAL, "sagittal": phrases.SAGITTAL, "coronal": phrases.CORONAL})


def _field_strength(header: FrameHeader) -> Finding | None:
    """Tesla, brought to the nominal value within 4 %; gauss and millitesla are told by the resonance frequency."""
    frequency_T = _field_from_frequency(header)
    stated = header.number("MagneticFieldStrength")
    if stated is not None and stated > 0 and math.isfinite(stated):
        if stated <= 25:
            return _nominal(stated), cite("MagneticFieldStrength")
        guesses = (stated / 1e4, stated / 1e3)
        if frequency_T is not None:
            best = min(guesses, key=lambda guess: abs(math.log(guess / frequency_T)))
            return _nominal(best), cite("MagneticFieldStrength", "ImagingFrequency")
        return _nominal(guesses[0] if stated >= 9000 else guesses[1]), cite("MagneticFieldStrength")
    return None if frequency_T is None else (_nominal(frequency_T), cite("ImagingFrequency"))


def _field_from_frequency(header: FrameHeader) -> float | None:
    frequency = header.number("TransmitterFrequency") or header.number("ImagingFrequency")
    nucleus = (header.text("ResonantNucleus") or header.text("ImagedNucleus")).upper()
    if not frequency or frequency <= 0 or not math.isfinite(frequency) or nucleus not in ("", "1H", "H", "H1", "PROTON"):
        return None
    megahertz = frequency / 1e6 if frequency > 1e5 else frequency
    return megahertz / PROTON_MHZ_PER_T if 1 < megahertz < 1000 else None


def _nominal(field_T: float) -> float:
    nearest = min(NOMINAL_FIELDS_T, key=lambda nominal: abs(nominal - field_T))
    return nearest if abs(nearest - field_T) <= 0.04 * nearest else round(field_T, 2)


def _positive(header: FrameHeader, keyword: str) -> Finding | None:
    value = header.number(keyword)
    return (value, cite(keyword)) if value is not None and value > 0 and math.isfinite(value) else None


def _acceleration(header: FrameHeader) -> Finding | None:
    """In-plane reduction factor, times that of the partition direction where the sequence is 3-D."""
    is_3d = header.text("MRAcquisitionType").upper() == "3D"
    standard = _positive(header, "ParallelReductionFactorInPlane")
    if standard is not None:
        partitions = header.number("ParallelReductionFactorOutOfPlane") or 1.0
        second = header.number("ParallelReductionFactorSecondInPlane") or 1.0
        return standard[0] * max(1.0, second) * (max(1.0, partitions) if is_3d else 1.0), standard[1]
    if header.text("ParallelAcquisition").upper() == "NO":
        return 1.0, cite("ParallelAcquisition")
    return _private_acceleration(header, is_3d) or _text_acceleration(header, is_3d)


def _private_acceleration(header: FrameHeader, is_3d: bool) -> Finding | None:
    asset = private_text(header.dataset, _GE_PARALLEL, 0x0043, 0x83)
    factors = [float(part) for part in asset.split("\\") if re.fullmatch(r"\s*[0-9]*\.?[0-9]+\s*", part) and float(part) > 0]
    if factors:  # GE states the sampled share: 0.5 is a factor of 2
        shares = [1 / factor if factor <= 1 else factor for factor in factors]
        return round(math.prod(shares if is_3d else shares[:1]), 3), "GE private (0043,1083)"
    mode = re.fullmatch(r"p(\d)(?:s(\d))?", private_text(header.dataset, "SIEMENS MR HEADER", 0x0051, 0x11).strip().lower())
    if mode:
        return _product(mode, is_3d), "Siemens private (0051,1011)"
    protocol = dict(_ASCCONV.findall(private_text(header.dataset, "SIEMENS CSA HEADER", 0x0029, 0x20)))
    if "lAccelFactPE" in protocol:
        partitions = int(protocol.get("lAccelFact3D", 1)) if is_3d else 1
        return float(int(protocol["lAccelFactPE"]) * partitions), "Siemens private (0029,1020)"
    return None


def _text_acceleration(header: FrameHeader, is_3d: bool) -> Finding | None:
    for keyword, text in _texts(header, "SeriesDescription", "ProtocolName"):
        match = phrases.ACCELERATION.search(phrases.numeric(text))
        if match:
            return _product(match, is_3d), cite(keyword)
    return None


def _product(match: re.Match[str], is_3d: bool) -> float:
    return float(match[1]) * (float(match[2]) if is_3d and match[2] else 1.0)


def _fat_suppressed(header: FrameHeader) -> Finding | None:
    suppression = header.text("SpectrallySelectedSuppression").upper()
    excitation = header.text("SpectrallySelectedExcitation").upper()
    if suppression.startswith("FAT") or excitation == "WATER":
        return True, cite("SpectrallySelectedSuppression" if suppression.startswith("FAT") else "SpectrallySelectedExcitation")
    options = header.tokens("ScanOptions")
    if "FS" in options:
        return True, cite("ScanOptions")
    if {"W", "WATER"} & set(image_type(header)[2:]):
        return True, cite("ImageType")
    for keyword, text in _texts(header, "SeriesDescription", "ProtocolName", "SequenceName"):
        if phrases.FAT_SUPPRESSED.search(phrases.normalise(text)):
            return True, cite(keyword)
    if suppression == "NONE":
        return False, cite("SpectrallySelectedSuppression")
    return (False, cite("ScanOptions")) if any(options) else None
