"""A series as one enhanced multi-frame file, as newer Philips scanners export it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from tests.dicom.make import make_enhanced, save

if TYPE_CHECKING:
    from tests.pairs.hospital.vendors import Shot

CONTRASTS = {"T1w": "T1", "T2w": "T2", "PDw": "PROTON_DENSITY", "T2-FLAIR": "FLUID_ATTENUATED", "STIR": "STIR", "T2*w": "T2_STAR"}
_CLASSIC = (
    "ScanningSequence", "SequenceVariant", "ScanOptions", "ImagingFrequency", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "ImageOrientationPatient", "NumberOfAverages", "RepetitionTime", "EchoTime",
    "InversionTime", "FlipAngle", "ParallelReductionFactorInPlane", "ReceiveCoilName", "ImageType", "MRAcquisitionType", "BodyPartExamined",
    "SliceLocation", "AcquisitionNumber",
)  # fmt: skip
"""What an enhanced image says in its functional groups instead."""


def save_enhanced(path: Path, stored: NDArray[np.uint16], shot: Shot, attrs: Mapping[str, object], *, coil: tuple[str, str, str]) -> Path:
    """Write (slice, row, column) integers; `attrs` are those of the classic series, `coil` the words for the body part, the study and the coil."""
    top = {keyword: value for keyword, value in attrs.items() if keyword not in _CLASSIC}
    contrast = CONTRASTS[shot.sequence]
    slope = (float(str(attrs["RescaleSlope"])), 0.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    make_enhanced(
        path, len(stored), stored=stored, rescale=[slope] * len(stored), **{**top, "BodyPartExamined": None, "AcquisitionContrast": contrast}
    )
    dataset = dcmread(path)
    dataset.MRAcquisitionType = str(attrs.get("MRAcquisitionType", "2D"))
    dataset.AcquisitionDateTime = shot.began.strftime("%Y%m%d%H%M%S.%f")
    _put_shared(dataset.SharedFunctionalGroupsSequence[0], shot, attrs, coil)
    for place, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        group.PlanePositionSequence[0].ImagePositionPatient = [float(round(mm, 5)) for mm in shot.grid.at((float(place), 0.0, 0.0))]
        group.MREchoSequence[0].EffectiveEchoTime = float(str(attrs["EchoTime"]))
        group.MRImageFrameTypeSequence[0].AcquisitionContrast = contrast
    return save(dataset, path)


def _put_shared(shared: Dataset, shot: Shot, attrs: Mapping[str, object], coil: tuple[str, str, str]) -> None:
    measures, timing, modifier = shared.PixelMeasuresSequence[0], shared.MRTimingAndRelatedParametersSequence[0], shared.MRModifierSequence[0]
    for keyword in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"):
        setattr(measures, keyword, attrs[keyword])
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = attrs["ImageOrientationPatient"]
    timing.RepetitionTime, timing.FlipAngle = attrs["RepetitionTime"], attrs["FlipAngle"]
    if shot.nex is None:
        del shared.MRAveragesSequence
    else:
        shared.MRAveragesSequence[0].NumberOfAverages = float(shot.nex)
    if "InversionTime" in attrs:
        modifier.InversionRecovery, modifier.InversionTimes = "YES", [float(str(attrs["InversionTime"]))]
    if shot.acceleration is None:
        del modifier.ParallelAcquisition, modifier.ParallelReductionFactorInPlane
    else:
        modifier.ParallelAcquisition = "YES" if shot.acceleration > 1 else "NO"
        modifier.ParallelReductionFactorInPlane = float(shot.acceleration)
    shared.MRReceiveCoilSequence[0].ReceiveCoilName = coil[2]
    shared.FrameAnatomySequence[0].AnatomicRegionSequence[0].CodeMeaning = {"CSPINE": "Cervical spine", "TSPINE": "Thoracic spine"}.get(
        coil[0], {"LSPINE": "Lumbar spine"}.get(coil[0], coil[0].capitalize())
    )
