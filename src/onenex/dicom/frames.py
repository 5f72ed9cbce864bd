"""One way to ask a classic or an enhanced multi-frame header for the attributes of one frame (PS3.3 C.7.6.16)."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import cast

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

logger = logging.getLogger(__name__)

CONVERSION_ERRORS = (
    BytesLengthException, ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError, EOFError, OSError, struct.error,
)  # fmt: skip
"""What pydicom raises on an element whose bytes do not fit its VR (NotImplementedError, for an unknown VR, is a RuntimeError)."""
MACROS: dict[str, str] = {
    "EffectiveEchoTime": "MREchoSequence",
    "RepetitionTime": "MRTimingAndRelatedParametersSequence",
    "FlipAngle": "MRTimingAndRelatedParametersSequence",
    "EchoTrainLength": "MRTimingAndRelatedParametersSequence",
    "NumberOfAverages": "MRAveragesSequence",
    "InversionRecovery": "MRModifierSequence",
    "InversionTimes": "MRModifierSequence",
    "ParallelAcquisition": "MRModifierSequence",
    "ParallelReductionFactorInPlane": "MRModifierSequence",
    "ParallelReductionFactorOutOfPlane": "MRModifierSequence",
    "ParallelReductionFactorSecondInPlane": "MRModifierSequence",
    "SpectrallySelectedExcitation": "MRModifierSequence",
    "MagnetizationTransfer": "MRImagingModifierSequence",
    "TransmitterFrequency": "MRImagingModifierSequence",
    "ReceiveCoilName": "MRReceiveCoilSequence",
    "AnatomicRegionSequence": "FrameAnatomySequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "DiffusionDirectionality": "MRDiffusionSequence",
    "FrameType": "MRImageFrameTypeSequence",
    "ComplexImageComponent": "MRImageFrameTypeSequence",
    "AcquisitionContrast": "MRImageFrameTypeSequence",
    "VolumetricProperties": "MRImageFrameTypeSequence",
    "VolumeBasedCalculationTechnique": "MRImageFrameTypeSequence",
    "StackID": "FrameContentSequence",
    "InStackPositionNumber": "FrameContentSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "FrameAcquisitionNumber": "FrameContentSequence",
    "NominalCardiacTriggerDelayTime": "CardiacSynchronizationSequence",
    "MetaboliteMapDescription": "MRMetaboliteMapSequence",
}
"""Attribute → the functional group that holds it in enhanced MR (PS3.3 C.8.13.5)."""


@dataclass(frozen=True)
class FrameHeader:
    """The attributes that hold for one frame: its own functional group first, then the shared one, then the instance."""

    dataset: Dataset
    frame: int = 0

    @property
    def is_enhanced(self) -> bool:
        """Whether frames have functional groups of their own."""
        return "PerFrameFunctionalGroupsSequence" in self.dataset

    def raw(self, keyword: str) -> object:
        """Return the value as pydicom gives it, or None when it is absent, empty or unreadable."""
        for holder in self._holders(keyword):
            value = value_of(holder, keyword)
            if value is not None and value != "" and not (isinstance(value, MultiValue) and len(value) == 0):
                return value
        return None

    def text(self, keyword: str) -> str:
        r"""Return the value as text, several values joined by a backslash; empty when absent."""
        value = self.raw(keyword)
        if value is None:
            return ""
        return "\\".join(str(part) for part in value).strip() if isinstance(value, MultiValue) else str(value).strip()

    def tokens(self, keyword: str) -> tuple[str, ...]:
        """Return a multi-valued code string in capitals, () when absent."""
        text = self.text(keyword).upper()
        return tuple(part.strip() for part in text.split("\\")) if text else ()

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Return the values as floats, () when absent or not numeric."""
        value = self.raw(keyword)
        parts = list(value) if isinstance(value, (MultiValue, list, tuple)) else [] if value is None else [value]
        try:
            return tuple(float(str(part)) for part in parts)
        except ValueError:
            return ()

    def number(self, keyword: str) -> float | None:
        """Return the first value as a float, None when absent."""
        values = self.numbers(keyword)
        return values[0] if values else None

    def integer(self, keyword: str) -> int | None:
        """Return the first value as an integer, None when absent."""
        value = self.number(keyword)
        return int(value) if value is not None and abs(value) < 2**53 else None

    def items(self, keyword: str) -> list[Dataset]:
        """Return the items of a sequence, [] when absent."""
        value = self.raw(keyword)
        return list(value) if isinstance(value, Sequence) else []

    def group(self, macro: str) -> Dataset | None:
        """Return the item of a functional group sequence that holds for this frame: its own, else the shared one."""
        return next(self._group(macro), None)

    def _holders(self, keyword: str) -> Iterator[Dataset]:
        macro = MACROS.get(keyword)
        if macro is not None:
            yield from self._group(macro)
        yield self.dataset

    def _group(self, macro: str) -> Iterator[Dataset]:
        for name, index in (("PerFrameFunctionalGroupsSequence", self.frame), ("SharedFunctionalGroupsSequence", 0)):
            groups = value_of(self.dataset, name)
            if isinstance(groups, Sequence) and index < len(groups):
                items = value_of(groups[index], macro)
                if isinstance(items, Sequence) and len(items):
                    yield items[0]


def value_of(dataset: Dataset, keyword: str) -> object:
    """Return an element's value; None when it is absent or so damaged that it cannot be converted."""
    tag = _tag(keyword)
    if tag not in dataset.keys():  # noqa: SIM118 - the keys are plain tags, while `in` of a Dataset parses its operand
        return None
    try:
        return cast(object, dataset[tag].value)
    except CONVERSION_ERRORS as error:
        logger.debug("element unreadable tag=%s error=%s", tag, type(error).__name__)
        return None


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def cite(*keywords: str) -> str:
    """Return attribute names with their tags: "Manufacturer (0008,0070)"."""
    tags = {keyword: tag_for_keyword(keyword) or 0 for keyword in keywords}
    return ", ".join(f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})" for keyword, tag in tags.items())
