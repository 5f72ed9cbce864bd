"""Checks a derived series against its source: identity, geometry, references, pixels."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from onenex.dicom.source import DicomSource
from onenex.errors import UnsupportedSeries
from onenex.series import FrameRef, Series

SAME = ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient")


def faults(source: Series, derived: Series) -> list[str]:
    """Return what is wrong with `derived`, in words; empty when all is well. Classic, single-frame series only.

    Raises
    ------
    UnsupportedSeries
        A series that did not come from DICOM.
    """
    if not isinstance(source.source, DicomSource) or not isinstance(derived.source, DicomSource):
        raise UnsupportedSeries("only DICOM series can be checked against each other")
    found = []
    old, new = ([frame for stack in series.stacks for frame in stack.frames] for series in (source, derived))
    if source.uid == derived.uid:
        found.append("SeriesInstanceUID is the source's")
    if len(old) != len(new):
        return [*found, f"{len(new)} images instead of {len(old)}"]
    uids = {frame.sop_instance_uid for frame in new}
    if len(uids) != len(new) or uids & {frame.sop_instance_uid for frame in old}:
        found.append("SOPInstanceUIDs are not new and unique")
    for before, after in zip(old, new, strict=True):
        found += [
            fault for fault in _header_faults(source.source.dataset(before.path), derived.source.dataset(after.path), before) if fault not in found
        ]
    changed = [not np.array_equal(source.source.images(a), derived.source.images(b)) for a, b in zip(source.stacks, derived.stacks, strict=True)]
    return found if all(changed) else [*found, "pixels did not change"]


def _header_faults(old: Dataset, new: Dataset, before: FrameRef) -> list[str]:
    found = [f"{keyword} differs" for keyword in SAME if old.get(keyword) != new.get(keyword)]
    if list(new.get("ImageType", []))[:1] != ["DERIVED"]:
        found.append("ImageType does not say DERIVED")
    if before.sop_instance_uid not in {item.get("ReferencedSOPInstanceUID") for item in new.get("SourceImageSequence", [])}:
        found.append("SourceImageSequence does not name the source image")
    return found
