"""Opens whatever is given: DICOM or NIfTI, told apart by content, never by name alone."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

from onenex.errors import DataError, DecodeError
from onenex.series import Acquisition, FloatImages, Provenance, Series, SeriesWriter, SliceStack

_HEADER_BYTES = 352
_MAGIC = {348: (slice(344, 348), (b"n+1\0", b"ni1\0")), 540: (slice(4, 8), (b"n+2\0", b"ni2\0"))}


def read_series(path: Path | str) -> list[Series]:
    """Return every series of a DICOM file, folder, DICOMDIR or zip, or of a NIfTI file or a folder of them.

    Raises
    ------
    DataError
        Nothing is there, or nothing in it is an image that OneNEX reads.
    DicomError
        DICOM that cannot be read at all.
    """
    from onenex import dicom, nifti

    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist: give a DICOM or NIfTI file, a folder of them, or a zip")
    if path.is_file():
        return list(nifti.read_series(path) if holds_nifti(path) else dicom.read_series(path))
    volumes = [file for file in sorted(path.rglob("*")) if file.name.endswith((".nii", ".nii.gz")) and file.is_file() and holds_nifti(file)]
    series = [one for file in volumes for one in _volumes(file)]
    try:
        return [*dicom.read_series(path), *series]
    except DataError:
        if not series:
            raise
        return series


def _volumes(file: Path) -> list[Series]:
    """Read one NIfTI file among others; one that cannot be read becomes a skipped series and does not stop the others."""
    from onenex import nifti

    try:
        return nifti.read_series(file)
    except DataError as error:
        nothing = _Unreadable(str(error))
        return [
            Series(
                uid=file.name,
                path=file,
                description=file.name,
                number=None,
                acquisition=Acquisition(),
                stacks=(),
                skip_reason=nothing.reason,
                damaged=True,
                source=nothing,
            )
        ]


@dataclass(frozen=True)
class _Unreadable:
    """The source of a series that is only there to be reported."""

    reason: str

    def images(self, _stack: SliceStack) -> FloatImages:
        raise DecodeError(self.reason)

    def writer(self, _series: Series, _folder: Path, _provenance: Provenance) -> SeriesWriter:
        raise DecodeError(self.reason)

    def map_writer(self, _series: Series, _folder: Path, _provenance: Provenance, _top: float) -> SeriesWriter:
        raise DecodeError(self.reason)


def holds_nifti(path: Path) -> bool:
    """Whether a file, gzipped or not, starts with a NIfTI-1 or NIfTI-2 header."""
    try:
        with path.open("rb") as stream:
            gzipped = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if gzipped else path.open("rb") as stream:
            head = stream.read(_HEADER_BYTES)
    except (OSError, EOFError, zlib.error):
        return path.name.endswith((".nii", ".nii.gz"))
    for order in ("little", "big"):
        place, magics = _MAGIC.get(int.from_bytes(head[:4], order), (slice(0), ()))
        if head[place] in magics:
            return True
    return False
