"""NIfTI out: derived files with the source's header and bits, and maps as float32 in the same space."""

from __future__ import annotations

import contextlib
import gzip
import io
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onenex.bids import free_name, write_sidecar
from onenex.errors import DataError, OutOfDomain
from onenex.nifti import Layout, load, scaled
from onenex.series import FloatImages, Provenance, SliceStack

if TYPE_CHECKING:
    from onenex.nifti import NiftiSource

_GZIP_LEVEL = 4
_DESCRIP_BYTES = 80  # nifti1.h: char descrip[80]
_FLOAT32 = 16  # nifti1.h: NIFTI_TYPE_FLOAT32


class NiftiWriter:
    """Writes one derived file, volume by volume in the order of the source (implements `onenex.series.SeriesWriter`).

    The bytes before the voxels (header, extensions) are the source's own, but for `descrip`, which gets a note where its 80 bytes have
    room. A map is float32 instead, whatever the source's type. A JSON sidecar of the source is copied, with what OneNEX did under the
    key "OneNEX".
    """

    def __init__(self, *, source: NiftiSource, folder: Path, provenance: Provenance) -> None:
        self._source, self._provenance = source, provenance
        self._path = free_name(folder.absolute(), source.path, provenance.suffix)
        self._n_written = 0
        self._notes: dict[str, str] = {}
        gzipped = self._path.suffix == ".gz"
        self._file = gzip.GzipFile(self._path, "wb", compresslevel=_GZIP_LEVEL, mtime=0) if gzipped else self._path.open("wb")
        weakref.finalize(self, _let_go, self._file)
        self._file.write(_header(source, provenance))

    def write(self, stack: SliceStack, images: FloatImages, notes: Sequence[str] = ()) -> None:
        """Write one volume; voxels that equal the source's are written with the source's bits.

        Raises
        ------
        DataError
            The stack isn't the file's next volume, or `images` doesn't fit it.
        OutOfDomain
            `images` holds NaN or infinite voxels.
        """
        layout = self._source.layout
        if stack.frames[0].frame != self._n_written * len(stack.frames) or images.shape != (len(stack.frames), stack.rows, stack.columns):
            raise DataError(f"{self._path.name}: volumes must be written whole and in the order of {self._source.path}")
        if not np.isfinite(images).all():
            raise OutOfDomain(f"result for {self._source.path}, volume {self._n_written + 1}, holds NaN or infinite voxels: please report this")
        result = images.astype(_map_type(layout)) if self._provenance.shows else self._exact(stack, images)
        self._file.write(result.transpose(np.argsort(layout.axes)).tobytes(order="F"))
        where = f"{stack.label}, " if stack.label else ""
        self._notes |= {f"{where}slice {index + 1}": note for index, note in enumerate(notes) if note}
        self._n_written += 1

    def _exact(self, stack: SliceStack, images: FloatImages) -> NDArray[Any]:
        """Return numbers as the file holds them, those of unchanged voxels bit for bit."""
        stored, layout = self._source.stored(stack), self._source.layout
        result = np.empty(stored.shape, layout.dtype)
        for index, (plane, old) in enumerate(zip(images, stored, strict=True)):
            result[index] = _unscaled(plane, layout)
            np.copyto(result[index], old, where=plane == scaled(old, layout))
        return result

    def close(self) -> list[Path]:
        """Finish the file and return it, followed by its sidecar if there is one.

        Raises
        ------
        DataError
            A volume is missing.
        """
        self._file.close()
        if self._n_written != self._source.layout.n_volumes:
            raise DataError(f"{self._path.name}: {self._n_written} of {self._source.layout.n_volumes} volumes were written")
        return [self._path, *write_sidecar(self._path, self._source.path, self._provenance, self._notes)]


def _let_go(file: io.BufferedIOBase) -> None:
    """Close a file that was given up; what a full disk still complains of then is known already."""
    with contextlib.suppress(OSError):
        file.close()


def _unscaled(images: FloatImages, layout: Layout) -> NDArray[Any]:
    """Unit of the file → numbers of the file; integers are rounded, and clipped to what the type can hold."""
    raw = (images.astype(np.float64) - layout.inter) / layout.slope
    if layout.dtype.kind == "f":
        return raw.astype(layout.dtype)
    limits = np.iinfo(layout.dtype)
    top = float(limits.max) if layout.dtype.itemsize < 8 else np.nextafter(float(limits.max), 0)
    return np.clip(np.rint(raw), float(limits.min), top).astype(layout.dtype)


def _map_type(layout: Layout) -> np.dtype[Any]:
    """Return float32 in the byte order of the source's header."""
    return np.dtype(np.float32).newbyteorder(layout.byte_order)  # type: ignore[arg-type]


def _header(source: NiftiSource, provenance: Provenance) -> bytes:
    """Return the bytes before the first voxel, with a note in `descrip` where it has room; of a map also with its own type and no scale."""
    with gzip.open(source.path) if source.path.suffix.lower() == ".gz" else source.path.open("rb") as file:
        head = bytearray(file.read(source.layout.offset))
    header = np.frombuffer(head, load(source.path).header.structarr.dtype, count=1)
    if provenance.shows:
        for name, value in (("datatype", _FLOAT32), ("bitpix", 32), ("scl_slope", 1), ("scl_inter", 0), ("cal_min", 0), ("cal_max", 0)):
            header[name] = value
    old = bytes(header["descrip"][0]).rstrip(b"\0 ")
    new = b"; ".join(part for part in (old, _note(provenance).encode("ascii", "replace")) if part)
    if len(new) < _DESCRIP_BYTES:
        header["descrip"] = new
    return bytes(head)


def _note(provenance: Provenance) -> str:
    """Return version, mode, strength and weights in few characters."""
    guided = f" {provenance.preset} {provenance.n_steps}x{provenance.n_samples}" if provenance.preset else ""
    what = f"OneNEX {provenance.version}" + (f" {provenance.shows}" if provenance.shows else "")
    off = "" if provenance.guard else " guard off"
    engine = f" {provenance.engine}" if provenance.engine != "torch" else ""
    return f"{what} {provenance.mode}{guided} s={provenance.strength:g} w={provenance.weights_hash}{off}{engine}"
