"""NIfTI in and out: `.nii` and `.nii.gz`, 2-D to 4-D; header, affine and every unchanged voxel come back bit for bit.

Slices are cut across the direction that the header names (dim_info); else across the only axis of length 1; else across the axis with
the largest voxel spacing (a 2-D multi-slice scan); else across the last spatial axis. Of the two other axes the later one becomes the
rows. Both steps are a transposition, so they are undone exactly. A 4-D file is one series with one stack per volume.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import logging
import math
import weakref
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from numpy.typing import NDArray

from onenex.bids import acquisition, free_name, sidecar, skip_reason, stem, write_sidecar
from onenex.errors import DataError, OutOfDomain
from onenex.series import FloatImages, FrameRef, Provenance, Series, SliceStack

log = logging.getLogger(__name__)

_GZIP_LEVEL = 4
_DESCRIP_BYTES = 80  # nifti1.h: char descrip[80]


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """How one file's array becomes (slice, row, column) volumes and back."""

    shape: tuple[int, int, int]
    """Spatial shape, as in the file (1 where an axis is missing)."""
    n_volumes: int
    axes: tuple[int, int, int]
    """File axes that become slice, row, column."""
    dtype: np.dtype[Any]
    offset: int
    """Bytes before the first voxel."""
    slope: float
    inter: float
    spacing_mm: tuple[float, float, float] | None
    """Between slices, rows, columns."""


class NiftiSource:
    """Reads the volumes of one file and writes derived ones (implements `onenex.series.Source`)."""

    def __init__(self, path: Path, layout: _Layout) -> None:
        self.path = path
        self.layout = layout
        self._proxy: Any = ArrayProxy(  # type: ignore[no-untyped-call]
            str(path), ((*layout.shape, layout.n_volumes), layout.dtype, layout.offset, 1.0, 0.0), mmap=False, keep_file_open=True
        )
        self._held: tuple[int, NDArray[Any]] | None = None

    def stored(self, stack: SliceStack) -> NDArray[Any]:
        """Return one volume's numbers as the file holds them, (slice, row, column).

        Raises
        ------
        DataError
            The file is truncated or damaged.
        """
        volume = stack.frames[0].frame // len(stack.frames)
        if self._held is None or self._held[0] != volume:
            try:
                array = np.asanyarray(self._proxy[..., volume])
            except (OSError, EOFError, ValueError, MemoryError, zlib.error) as error:
                raise DataError(f"{self.path} is truncated or damaged (volume {volume + 1}): fetch it again. {error}") from error
            self._held = (volume, array)
        return self._held[1].transpose(self.layout.axes)

    def images(self, stack: SliceStack) -> FloatImages:
        """Return one volume, (slice, row, column) float32, in the unit of the file after scl_slope and scl_inter.

        Raises
        ------
        DataError
            The file is truncated or damaged.
        OutOfDomain
            It holds NaN or infinite voxels, or numbers beyond float32.
        """
        stored = self.stored(stack)
        images = np.empty(stored.shape, np.float32)
        for index, plane in enumerate(stored):
            images[index] = _scaled(plane, self.layout)
        bad = images.size - int(np.isfinite(images).sum())
        if bad:
            where = int(np.argmax(~np.isfinite(images).all(axis=(1, 2)))) + 1
            place = f"{self.path}, {stack.label}" if stack.label else str(self.path)
            what = f"{bad} of {images.size} voxels are NaN, infinite or beyond float32 (first in slice {where})"
            raise OutOfDomain(f"{place}: {what}: replace them, e.g. by 0")
        return images

    def writer(self, series: Series, folder: Path, provenance: Provenance) -> NiftiWriter:
        """Open a derived file inside `folder`."""
        return NiftiWriter(source=self, folder=folder, provenance=provenance)


class NiftiWriter:
    """Writes one derived file, volume by volume in the order of the source (implements `onenex.series.SeriesWriter`).

    The bytes before the voxels (header, extensions) are the source's own, but for `descrip`, which gets a note where its 80 bytes have
    room. A JSON sidecar of the source is copied, with what OneNEX did under the key "OneNEX".
    """

    def __init__(self, *, source: NiftiSource, folder: Path, provenance: Provenance) -> None:
        self._source, self._provenance = source, provenance
        self._path = free_name(folder.absolute(), source.path, provenance.description_suffix)
        self._n_written = 0
        gzipped = self._path.suffix == ".gz"
        self._file = gzip.GzipFile(self._path, "wb", compresslevel=_GZIP_LEVEL, mtime=0) if gzipped else self._path.open("wb")
        weakref.finalize(self, _let_go, self._file)
        self._file.write(_noted_header(source, provenance))

    def write(self, stack: SliceStack, images: FloatImages) -> None:
        """Write one volume; voxels that equal the source's are written with the source's bits.

        Raises
        ------
        DataError
            The stack isn't the file's next volume, or `images` doesn't fit it.
        OutOfDomain
            `images` holds NaN or infinite voxels.
        """
        stored, layout = self._source.stored(stack), self._source.layout
        if stack.frames[0].frame != self._n_written * len(stack.frames) or images.shape != stored.shape:
            raise DataError(f"{self._path.name}: volumes must be written whole and in the order of {self._source.path}")
        if not np.isfinite(images).all():
            raise OutOfDomain(f"result for {self._source.path}, volume {self._n_written + 1}, holds NaN or infinite voxels: please report this")
        result = np.empty(stored.shape, layout.dtype)
        for index, (plane, old) in enumerate(zip(images, stored, strict=True)):
            result[index] = _unscaled(plane, layout)
            np.copyto(result[index], old, where=plane == _scaled(old, layout))
        self._file.write(result.transpose(np.argsort(layout.axes)).tobytes(order="F"))
        self._n_written += 1

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
        return [self._path, *write_sidecar(self._path, self._source.path, self._provenance)]


def _let_go(file: io.BufferedIOBase) -> None:
    """Close a file that was given up; what a full disk still complains of then is known already."""
    with contextlib.suppress(OSError):
        file.close()


def read_series(path: Path) -> list[Series]:
    """Read the header of one `.nii` or `.nii.gz` file; voxels are read when they are needed.

    Raises
    ------
    DataError
        No NIfTI, colour or complex voxels, more than four dimensions, or a header that contradicts itself.
    """
    source = NiftiSource(path, _layout(path))
    layout = source.layout
    n_slices, rows, columns = (layout.shape[axis] for axis in layout.axes)
    stacks = tuple(
        SliceStack(
            label=f"volume {volume + 1}" if layout.n_volumes > 1 else "",
            frames=tuple(FrameRef(path=path, frame=volume * n_slices + index) for index in range(n_slices)),
            rows=rows,
            columns=columns,
            spacing_mm=layout.spacing_mm,
        )
        for volume in range(layout.n_volumes)
    )
    said = sidecar(path)
    log.info("read nifti volumes=%d slices=%d rows=%d columns=%d dtype=%s", layout.n_volumes, n_slices, rows, columns, layout.dtype)
    return [
        Series(
            uid=path.name,
            path=path,
            description=str(said.get("SeriesDescription") or stem(path)),
            number=None,
            acquisition=acquisition(path, said),
            stacks=stacks,
            skip_reason=skip_reason(path, said),
            source=source,
        )
    ]


def _layout(path: Path) -> _Layout:
    """Read and check a header, and choose the slice direction (see the module's docstring)."""
    image = _load(path)
    header = image.header
    shape = tuple(int(length) for length in image.shape)
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    if not 2 <= len(shape) <= 4 or 0 in shape:
        raise DataError(f"{path} has the shape {shape}: OneNEX takes images of two to four dimensions")
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        what = "colour" if dtype.fields else "complex" if dtype.kind == "c" else str(dtype)
        raise DataError(f"{path} holds {what} voxels: OneNEX takes magnitude images of integers or of 32 or 64 bit floats")
    spatial = (*shape, 1, 1)[:3]
    zooms = [abs(float(zoom)) for zoom in header.get_zooms()[:3]]
    offset, n_bytes = int(image.dataobj.offset), math.prod(shape) * dtype.itemsize
    if path.suffix.lower() != ".gz" and path.stat().st_size < offset + n_bytes:
        raise DataError(f"{path} is truncated: its header asks for {offset + n_bytes} bytes, it has {path.stat().st_size}; fetch it again")
    axes = _axes(spatial, zooms, header.get_dim_info()[2])
    return _Layout(
        shape=(spatial[0], spatial[1], spatial[2]),
        n_volumes=shape[3] if len(shape) == 4 else 1,
        axes=axes,
        dtype=dtype,
        offset=offset,
        slope=float(image.dataobj.slope),
        inter=float(image.dataobj.inter),
        spacing_mm=_spacing_mm(header, axes),
    )


def _load(path: Path) -> Any:  # nibabel's classes are half typed
    """Open a file with nibabel, whose errors and odd formats become a DataError."""
    if not path.is_file():
        raise DataError(f"{path} does not exist or is no file")
    try:
        image = nib.load(path)
    except (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError, OSError, EOFError, ValueError, KeyError, zlib.error) as error:
        raise DataError(f"{path} is no NIfTI file, or a damaged one: {error}") from error
    if not isinstance(image, nib.Nifti1Image | nib.Nifti2Image) or not path.name.lower().endswith((".nii", ".nii.gz")):
        raise DataError(f"{path} is no .nii or .nii.gz file: convert it first")
    return image


def _axes(shape: tuple[int, ...], zooms: list[float], named: int | None) -> tuple[int, int, int]:
    """Return the file axes that become slice, row, column."""
    single = [axis for axis in range(3) if shape[axis] == 1]
    coarse = int(np.argmax(zooms)) if len(zooms) == 3 else 2
    if named is not None:
        chosen = named
    elif len(single) == 1:
        chosen = single[0]
    elif all(zooms[coarse] > 1.01 * zoom for axis, zoom in enumerate(zooms) if axis != coarse):
        chosen = coarse
    else:
        chosen = 2
    first, second = (axis for axis in range(3) if axis != chosen)
    return chosen, second, first


def _scaled(stored: NDArray[Any], layout: _Layout) -> FloatImages:
    """Numbers of the file → unit of the file, as float32 (nifti1.h: y = scl_slope · x + scl_inter)."""
    with np.errstate(over="ignore", invalid="ignore"):
        if (layout.slope, layout.inter) == (1.0, 0.0):
            return stored.astype(np.float32)
        return (stored.astype(np.float64) * layout.slope + layout.inter).astype(np.float32)


def _unscaled(images: FloatImages, layout: _Layout) -> NDArray[Any]:
    """Unit of the file → numbers of the file; integers are rounded, and clipped to what the type can hold."""
    raw = (images.astype(np.float64) - layout.inter) / layout.slope
    if layout.dtype.kind == "f":
        return raw.astype(layout.dtype)
    limits = np.iinfo(layout.dtype)
    top = float(limits.max) if layout.dtype.itemsize < 8 else np.nextafter(float(limits.max), 0)
    return np.clip(np.rint(raw), float(limits.min), top).astype(layout.dtype)


def _noted_header(source: NiftiSource, provenance: Provenance) -> bytes:
    """Return the bytes before the first voxel, with a note in `descrip` where it has room."""
    with gzip.open(source.path) if source.path.suffix.lower() == ".gz" else source.path.open("rb") as file:
        head = bytearray(file.read(source.layout.offset))
    template = _load(source.path).header.structarr.dtype
    header = np.frombuffer(head, template, count=1)
    old = bytes(header["descrip"][0]).rstrip(b"\0 ")
    note = f"OneNEX {provenance.version} {provenance.mode} s={provenance.strength:g} w={provenance.weights_hash}".encode("ascii", "replace")
    new = b"; ".join(part for part in (old, note) if part)
    if len(new) < _DESCRIP_BYTES:
        header["descrip"] = new
    return bytes(head)


def _spacing_mm(header: Any, axes: tuple[int, int, int]) -> tuple[float, float, float] | None:
    """Return the voxel spacing between slices, rows and columns, mm; None when the header doesn't say."""
    unit = {"meter": 1000.0, "micron": 0.001}.get(header.get_xyzt_units()[0], 1.0)
    zooms = [abs(float(zoom)) * unit for zoom in header.get_zooms()[:3]]
    return (zooms[axes[0]], zooms[axes[1]], zooms[axes[2]]) if len(zooms) == 3 and all(zooms) else None
