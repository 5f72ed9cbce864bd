"""`glances`, `glance_at`: what a file is and which instance it holds, from as little of its header as that takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import MediaStorageDirectoryStorage

from onenex.dicom.files import HEADER_ERRORS, kind_of, quiet
from onenex.dicom.frames import FrameHeader

_LAST = Tag("SeriesInstanceUID")
_WANTED: list[BaseTag | int] = [Tag("SOPClassUID"), Tag("SOPInstanceUID"), Tag("StudyInstanceUID"), _LAST]


class FileKind(StrEnum):
    """What a file turned out to be."""

    DICOM = "dicom"
    ARCHIVE = "archive"
    """A zip archive, which was not opened."""
    OTHER = "other"
    """No DICOM, or a DICOMDIR, which only lists others."""
    DAMAGED = "damaged"
    """DICOM by its first bytes, but its header cannot be read."""
    DENIED = "denied"
    """It could not be opened."""


@dataclass(frozen=True, kw_only=True)
class Glance:
    """What was seen."""

    kind: FileKind
    sop_uid: str = ""
    series_uid: str = ""
    study_uid: str = ""
    problem: str = ""


def glances(paths: Iterable[Path]) -> list[Glance]:
    """Look at each file up to its SeriesInstanceUID (0020,000E); nothing raises."""
    return [_glance(path) for path in paths]


def glance_at(file: BinaryIO) -> Glance:
    """Look at one open file, wherever it lies.

    Raises
    ------
    OSError
        It cannot be read.
    """
    start = file.read(132)
    kind = kind_of(start)
    if not kind:
        return Glance(kind=FileKind.ARCHIVE if start[:4] == b"PK\x03\x04" else FileKind.OTHER)
    file.seek(0)
    with quiet():
        return _parsed(file, kind == "bare")


def _glance(path: Path) -> Glance:
    try:
        with path.open("rb") as file:
            return glance_at(file)
    except OSError:
        return Glance(kind=FileKind.DENIED, problem="cannot be opened")


def _parsed(file: BinaryIO, bare: bool) -> Glance:
    """Read on; `bare` when there is no DICOM prefix and the file may be anything."""
    try:
        dataset = read_partial(file, stop_when=_past_series, specific_tags=_WANTED, force=bare)
        header = FrameHeader(dataset)
        sop_class = header.text("SOPClassUID") or str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))
        sop, series, study = (header.text(name) for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"))
    except HEADER_ERRORS as error:
        return _damaged(bare, type(error).__name__)
    if sop_class == MediaStorageDirectoryStorage:
        return Glance(kind=FileKind.OTHER)
    if not sop_class or not series:
        return _damaged(bare, "SOPClassUID or SeriesInstanceUID is missing")
    return Glance(kind=FileKind.DICOM, sop_uid=sop, series_uid=series, study_uid=study)


def _damaged(bare: bool, what: str) -> Glance:
    return Glance(kind=FileKind.OTHER) if bare else Glance(kind=FileKind.DAMAGED, problem=f"has a damaged header ({what})")


def _past_series(tag: BaseTag, vr: str | None, length: int) -> bool:
    return bool(tag > _LAST)
