"""`read_series`: a file, folder, DICOMDIR or zip archive in, a list of `Series` out; headers only, pixels when asked for."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydicom.dataset import Dataset

from onenex.dicom.acquisition import acquisition_of
from onenex.dicom.files import Found, Header, find, quiet
from onenex.dicom.frames import FrameHeader
from onenex.dicom.pixels import coding_of
from onenex.dicom.protocol_time import scan_time
from onenex.dicom.select import skip_reason
from onenex.dicom.source import DicomSource
from onenex.dicom.stacks import Frame, by_geometry, frame_of, stacks_of
from onenex.errors import InconsistentSeries
from onenex.series import Acquisition, FrameRef, Series, SliceStack

logger = logging.getLogger(__name__)

Instance = tuple[Path, Dataset]


def read_series(path: Path | str) -> list[Series]:
    """Read every series at `path`.

    Frames of one SeriesInstanceUID become one `Series` for each geometry (matrix, spacing, orientation), and one for each
    reason to refuse some of them: magnitude and phase images under one UID come back as an accepted and a skipped
    series. A file that is visibly damaged or truncated, or has no pixels, makes all of its series skipped, for a
    derived series with holes would mislead; a file whose header cannot be read at all is a skipped series of its own.
    Damage that only decoding shows raises `DecodeError` in `Series.source.images`.

    Parameters
    ----------
    path
        A DICOM file, a folder (searched to any depth), a DICOMDIR, or a zip archive of them, which is unpacked into a
        temporary folder that lives as long as the series.

    Returns
    -------
    list of Series
        By study, series number and order in the scanner; at least one.

    Raises
    ------
    DataError
        Nothing there, nothing DICOM there, or an archive that cannot be unpacked safely.
    """
    found = find(Path(path))
    source = DicomSource(found.unpacked)
    with quiet():
        by_uid: dict[str, list[Header]] = defaultdict(list)
        for header in _without_copies(found.headers):
            by_uid[header.series_uid].append(header)
        damaged = by_uid.pop("", [])
        series = [one for headers in by_uid.values() for one in _series_of(headers, found, source)]
        series += [_unreadable(header, found, source) for header in damaged]
    series.sort(key=lambda one: (one.number is None, one.number or 0))
    logger.info(
        "series read n_files=%d n_series=%d n_skipped=%d", len(found.headers), len(series), sum(one.skip_reason is not None for one in series)
    )
    return series


def _without_copies(headers: Sequence[Header]) -> list[Header]:
    """Drop further files that hold an instance again."""
    kept: dict[str, Header] = {}
    for header in headers:
        uid = FrameHeader(header.dataset).text("SOPInstanceUID") if header.dataset is not None else ""
        if uid in kept and kept[uid].problem and not header.problem:
            kept[uid] = header
        kept.setdefault(uid or str(header.path), header)
    if len(kept) < len(headers):
        logger.warning("copies of the same instance ignored n_copies=%d", len(headers) - len(kept))
    return list(kept.values())


def _series_of(headers: Sequence[Header], found: Found, source: DicomSource) -> list[Series]:
    """Return the series of one SeriesInstanceUID."""
    damage = _damage(headers)
    by_reason: dict[str | None, list[Frame]] = {}
    datasets = {header.path: header.dataset for header in headers if header.dataset is not None}
    for path, dataset in datasets.items():
        for frame in range(n_frames(dataset)):
            reason = skip_reason(dataset, frame) or damage or coding_problem(dataset, frame)
            by_reason.setdefault(reason, []).append(frame_at(path, dataset, frame))
    made = []
    for reason, frames in by_reason.items():
        groups = by_geometry(frames)
        parts = [stacks_of(group) for group in groups]
        if reason is not None:  # what is refused is refused once, whatever its geometries
            parts = [tuple(stack for stacks in parts for stack in stacks)]
        for stacks, group in zip(parts, groups, strict=False):
            one = _series(stacks, (group[0].ref, datasets[group[0].ref.path]), reason, found, source)
            made.append(replace(one, damaged=reason is not None and reason == damage))
    return made


def _series(stacks: tuple[SliceStack, ...], first: tuple[FrameRef, Dataset], reason: str | None, found: Found, source: DicomSource) -> Series:
    ref, dataset = first
    header, acquisition = FrameHeader(dataset, ref.frame), acquisition_of(dataset, ref.frame)
    return Series(
        uid=header.text("SeriesInstanceUID"),
        path=_origin({frame.path for stack in stacks for frame in stack.frames}, found),
        description=header.text("SeriesDescription") or header.text("ProtocolName"),
        number=header.integer("SeriesNumber"),
        acquisition=acquisition,
        stacks=stacks if header.integer("Rows") else (),
        skip_reason=reason,
        source=source,
        study_uid=header.text("StudyInstanceUID"),
        scan_time=scan_time(header, acquisition, max((len(stack.frames) for stack in stacks), default=1)),
    )


def _unreadable(header: Header, found: Found, source: DicomSource) -> Series:
    return Series(
        uid="",
        path=header.path if found.unpacked is None else found.origin,
        description="",
        number=None,
        acquisition=Acquisition(),
        stacks=(),
        skip_reason=f"{header.path.name} {header.problem}: send its series again from the scanner or PACS",
        damaged=True,
        source=source,
    )


def _damage(headers: Sequence[Header]) -> str | None:
    """Say which files of a series are damaged; files of anything but images have no pixels to miss."""
    bad = [header for header in headers if header.problem]
    if not bad:
        return None
    others = f" (and {len(bad) - 1} more of its {len(headers)} files)" if len(bad) > 1 else ""
    return f"{bad[0].path.name} {bad[0].problem}{others}: send the series again from the scanner or PACS"


def coding_problem(dataset: Dataset, frame: int) -> str | None:
    """Say what is wrong with how a frame is stored; None when nothing is."""
    try:
        coding_of(dataset, frame)
    except InconsistentSeries as error:
        return str(error)
    return None


def n_frames(dataset: Dataset) -> int:
    """Count the frames that a header speaks of."""
    header = FrameHeader(dataset)
    per_frame = header.items("PerFrameFunctionalGroupsSequence")
    if per_frame:
        return len(per_frame)
    return max(1, min(header.integer("NumberOfFrames") or 1, 1_000_000))


def frame_at(path: Path, dataset: Dataset, frame: int) -> Frame:
    """Read the sorting facts of one frame of a file."""
    ref = FrameRef(path=path, frame=frame, sop_instance_uid=FrameHeader(dataset).text("SOPInstanceUID"))
    return frame_of(FrameHeader(dataset, frame), ref)


def _origin(paths: set[Path], found: Found) -> Path:
    """Where a series came from, for people: the archive, its one file, or the folder that holds its files."""
    if found.unpacked is not None or not paths:
        return found.origin
    return next(iter(paths)) if len(paths) == 1 else Path(os.path.commonpath([path.parent for path in paths]))
