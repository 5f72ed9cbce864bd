"""From a path to DICOM headers: a file, a folder, a DICOMDIR or a zip archive; pixels stay on disk."""

from __future__ import annotations

import logging
import lzma
import os
import shutil
import stat
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from onenex.dicom.frames import CONVERSION_ERRORS, FrameHeader
from onenex.errors import DataError, DecodeError

logger = logging.getLogger(__name__)

MAX_UNPACKED_BYTES = 32 * 2**30
MAX_UNPACKED_FILES = 500_000
HEADER_ERRORS = (*CONVERSION_ERRORS, InvalidDicomError, MemoryError, zlib.error)
"""What pydicom raises, by experience, on bytes that are damaged or no DICOM at all."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """One DICOM file as found: its header, and what is visibly wrong with the file."""

    path: Path
    dataset: Dataset | None
    """Everything before the pixels; None when the header itself cannot be read."""
    problem: str = ""
    """ "is truncated …", "has no pixel data"; empty when nothing is visibly wrong."""

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID, empty when the header cannot be read."""
        return "" if self.dataset is None else FrameHeader(self.dataset).text("SeriesInstanceUID")


@dataclass(kw_only=True)
class Found:
    """What lies at a path."""

    origin: Path
    """The path that was asked for."""
    headers: list[Header] = field(default_factory=list)
    unpacked: Path | None = None
    """Temporary folder of an unpacked archive; whoever holds the headers removes it in the end."""


_is_quiet: ContextVar[bool] = ContextVar("_is_quiet", default=False)
logging.getLogger("pydicom").addFilter(lambda _: not _is_quiet.get())


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's remarks on sloppy but readable values: scanners write them every day, and they quote the values."""
    token = _is_quiet.set(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _is_quiet.reset(token)


def find(path: Path) -> Found:
    """Read the headers of every DICOM file at `path`.

    Parameters
    ----------
    path
        A DICOM file, a folder (searched to any depth), a DICOMDIR, or a zip archive.

    Raises
    ------
    DataError
        No such path, no permission, an empty folder, no DICOM in it, or an archive that is unsafe, too large or damaged.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist: give a DICOM file, a folder of them, a DICOMDIR or a zip archive")
    found = Found(origin=path)
    try:
        if path.is_dir():
            candidates = _walk(path)
        elif zipfile.is_zipfile(path) and not _sniff(path):
            found.unpacked = _unpack(path)
            candidates = _walk(found.unpacked)
        else:
            candidates = _from_file(path)
        found.headers = _read_all(path, candidates)
    except BaseException as error:
        if found.unpacked is not None:
            shutil.rmtree(found.unpacked, ignore_errors=True)
        if isinstance(error, PermissionError):
            raise DataError(f"{path} cannot be read ({error.strerror}): check its permissions") from error
        raise
    return found


def read_header(path: Path) -> Header | None:
    """Read one file up to its pixels; None when it is no DICOM file or is a DICOMDIR.

    A file with the DICOM prefix that cannot be parsed comes back with `dataset=None` and the problem in words. Files
    without preamble or file meta are read when they start like one and hold a SOPClassUID.
    """
    kind = _sniff(path)
    if not kind:
        return None
    try:
        with quiet(), path.open("rb") as file:
            dataset = dcmread(file, stop_before_pixels=True, force=kind == "bare")
            header = FrameHeader(dataset)
            sop_class = header.text("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
            if sop_class == MediaStorageDirectoryStorage:
                return None
            if not sop_class or not header.text("SeriesInstanceUID"):
                return None if kind == "bare" else _damaged(path, "SOPClassUID or SeriesInstanceUID is missing")
            _mend_meta(dataset)
            return Header(path=path, dataset=dataset, problem=_pixel_problem(file, dataset, path.stat().st_size))
    except PermissionError:
        raise
    except HEADER_ERRORS as error:
        logger.debug("header unreadable error=%s", type(error).__name__)
        return None if kind == "bare" else _damaged(path, type(error).__name__)


def read_full(path: Path) -> FileDataset:
    """Read one file with its pixels.

    Raises
    ------
    DecodeError
        The file has gone or cannot be parsed.
    """
    try:
        with quiet():
            dataset = dcmread(path, force=True)
            _mend_meta(dataset)
            return dataset
    except HEADER_ERRORS as error:
        raise DecodeError(f"{path} cannot be read any more ({error}): check the file, or send the series again") from error


def _damaged(path: Path, what: str) -> Header:
    return Header(path=path, dataset=None, problem=f"has a damaged header ({what})")


def _walk(folder: Path) -> list[Path]:
    paths = []
    for base, folders, names in os.walk(folder):
        folders.sort()
        paths += [Path(base) / name for name in sorted(names) if not name.startswith("._")]
    if not paths:
        raise DataError(f"{folder} is empty: give a folder that holds DICOM files")
    return [path for path in paths if path.is_file()]


def _from_file(path: Path) -> list[Path]:
    if not _sniff(path):
        return [path]
    try:
        with quiet():
            dataset = dcmread(path, stop_before_pixels=True, force=True)
            sop_class = dataset.file_meta.get("MediaStorageSOPClassUID")
            records = dataset.get("DirectoryRecordSequence") if sop_class == MediaStorageDirectoryStorage else None
            if sop_class != MediaStorageDirectoryStorage:
                return [path]
            names = [record.get("ReferencedFileID") for record in records or []]
    except HEADER_ERRORS:
        return [path]
    listed = [[name] if isinstance(name, str) else list(name) for name in names if name]
    present = [found for parts in listed if (found := _locate(path.parent, [str(part) for part in parts])) is not None]
    if not present:
        raise DataError(f"{path} lists {len(listed)} files and none of them is beside it: copy the whole disc, not the DICOMDIR alone")
    if len(present) < len(listed):
        logger.warning("DICOMDIR lists missing files n_listed=%d n_present=%d", len(listed), len(present))
    return present


def _locate(root: Path, parts: list[str]) -> Path | None:
    """Find a DICOMDIR entry below `root`, whatever case the disc was copied in."""
    place = root
    for part in parts:
        if part in ("", ".", "..") or "/" in part or "\\" in part:
            return None
        if not (place / part).exists():
            matches = [entry for entry in place.iterdir() if entry.name.lower().split(";")[0] == part.lower()] if place.is_dir() else []
            if not matches:
                return None
            part = matches[0].name  # noqa: PLW2901
        place = place / part
    return place if place.is_file() else None


def _read_all(path: Path, candidates: list[Path]) -> list[Header]:
    headers = [header for candidate in candidates if (header := read_header(candidate)) is not None]
    if not headers:
        what = "is not a DICOM file" if path.is_file() and len(candidates) == 1 else f"holds {len(candidates)} files, but no DICOM image"
        raise DataError(f"{path} {what}: give a DICOM file, a folder of them, a DICOMDIR or a zip archive")
    if len(headers) < len(candidates):
        logger.info("files that are no DICOM ignored n_files=%d n_ignored=%d", len(candidates), len(candidates) - len(headers))
    return headers


def _sniff(path: Path) -> str:
    """Return "part10" for the DICOM prefix, "bare" for what starts like a dataset without it, "" for anything else."""
    try:
        with path.open("rb") as file:
            return kind_of(file.read(132))
    except IsADirectoryError:
        return ""


def kind_of(start: bytes) -> str:
    """Tell by the first 132 bytes of a file what `_sniff` returns."""
    if start[128:132] == b"DICM":
        return "part10"
    group, element = struct.unpack("<HH", start[:4]) if len(start) >= 8 else (0, 0)
    big_group, big_element = struct.unpack(">HH", start[:4]) if len(start) >= 8 else (0, 0)
    return "bare" if (group in (2, 8) and element < 0x100) or (big_group == 8 and big_element < 0x100) else ""


def _mend_meta(dataset: FileDataset) -> None:
    """Name the transfer syntax that pydicom found at work where the file itself names none."""
    if dataset.file_meta.get("TransferSyntaxUID"):
        return
    implicit, little = dataset.original_encoding
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _pixel_problem(file: BinaryIO, dataset: FileDataset, size: int) -> str:
    """Look at the element where reading stopped: is it pixel data, and does the file hold all of it?"""
    if "Rows" not in dataset:
        return ""  # not an image: selection says so
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == DeflatedExplicitVRLittleEndian:
        return ""
    start = file.read(12)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    if len(start) < 8 or struct.unpack(order + "H", start[:2])[0] != 0x7FE0:
        return "has no pixel data" if len(start) == 0 or len(start) >= 8 else "is truncated"
    implicit = dataset.original_encoding[0]
    length = struct.unpack(order + "L", start[4:8] if implicit else start[8:12].ljust(4, b"\xff"))[0]
    begin = file.tell() - (4 if implicit else 0)
    if length != 0xFFFFFFFF and begin + length > size:
        return f"is truncated: its pixel data should be {length} bytes and {max(0, size - begin)} are there"
    return "" if length else "has no pixel data"


def _unpack(path: Path) -> Path:
    """Unpack a zip archive into a new temporary folder and return it (PS3.12 Annex W media, or any zip)."""
    folder = Path(tempfile.mkdtemp(prefix="onenex-"))
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir() and "__MACOSX" not in info.filename]
            _check_archive(path, members, shutil.disk_usage(folder).free)
            for info in members:
                archive.extract(info, folder)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, RuntimeError, OSError, EOFError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(f"{path} cannot be unpacked ({error}): unpack it yourself and give the folder") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _check_archive(path: Path, members: list[zipfile.ZipInfo], free_bytes: int) -> None:
    total = sum(info.file_size for info in members)
    if total > min(MAX_UNPACKED_BYTES, 0.9 * free_bytes) or len(members) > MAX_UNPACKED_FILES:
        raise DataError(
            f"{path} would unpack to {len(members)} files of {total / 2**30:.1f} GiB, more than the temporary folder or OneNEX allows: "
            "unpack it yourself and give the folder"
        )
    for info in members:
        name = PurePosixPath(info.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in name.parts[0] or stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"{path} holds a file name that leads out of its folder or a link: the archive is unsafe and was not unpacked")
