"""NIfTI in: `.nii` and `.nii.gz`, 2-D to 4-D (nifti_writer.py writes them: header, affine and unchanged voxels bit for bit).

Slices are cut across the direction that the header names (dim_info); else across the only axis of length 1; else across the axis with
the largest voxel spacing (a 2-D multi-slice scan); else across the last spatial axis. Of the two other axes the later one becomes the
rows. Both steps are a transposition, so they are undone exactly. A 4-D file is one series with one stack per volume.
"""

from __future__ import annotations

import logging
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from numpy.typing import NDArray

from onenex.bids import acquisition, sidecar, skip_reason, stem
from onenex.errors import DataError, OutOfDomain
from onenex.series import FloatImages, FrameRef, Provenance, Series, SliceStack

if TYPE_CHECKING:
    from onenex.nifti_writer import NiftiWriter

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one file's array becomes (slice, row, column) volumes and back."""

    shape: tuple[int, int, int]
    """Spatial shape, as in the file (1 where an axis is missing)."""
    n_volumes: int
    axes: tuple[int, int, int]
    """File axes that become slice, row, column."""
    dtype: np.dtype[Any]
    byte_order: str
    """Of the header, "<" or ">": a byte has none of its own."""
    offset: int
    """Bytes before the first voxel."""
    slope: float
    inter: float
    spacing_mm: tuple[float, float, float] | None
    """Between slices, rows, columns."""


class NiftiSource:
    """Reads the volumes of one file and writes derived ones (implements `onenex.series.Source`)."""

    def __init__(self, path: Path, layout: Layout) -> None:
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
            images[index] = scaled(plane, self.layout)
        bad = images.size - int(np.isfinite(images).sum())
        if bad:
            where = int(np.argmax(~np.isfinite(images).all(axis=(1, 2)))) + 1
            place = f"{self.path}, {stack.label}" if stack.label else str(self.path)
            what = f"{bad} of {images.size} voxels are NaN, infinite or beyond float32 (first in slice {where})"
            raise OutOfDomain(f"{place}: {what}: replace them, e.g. by 0")
        return images

    def writer(self, series: Series, folder: Path, provenance: Provenance) -> NiftiWriter:
        """Open a derived file inside `folder`."""
        from onenex.nifti_writer import NiftiWriter

        return NiftiWriter(source=self, folder=folder, provenance=provenance)

    def map_writer(self, series: Series, folder: Path, provenance: Provenance, top: float) -> NiftiWriter:
        """Open the file of a map inside `folder`; floats have room for anything, so `top` goes unused."""
        del top
        return self.writer(series, folder, provenance)


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


def _layout(path: Path) -> Layout:
    """Read and check a header, and choose the slice direction (see the module's docstring)."""
    image = load(path)
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
    return Layout(
        shape=(spatial[0], spatial[1], spatial[2]),
        n_volumes=shape[3] if len(shape) == 4 else 1,
        axes=axes,
        dtype=dtype,
        byte_order=header.endianness,
        offset=offset,
        slope=float(image.dataobj.slope),
        inter=float(image.dataobj.inter),
        spacing_mm=_spacing_mm(header, axes),
    )


def load(path: Path) -> Any:  # nibabel's classes are half typed
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


def scaled(stored: NDArray[Any], layout: Layout) -> FloatImages:
    """Numbers of the file → unit of the file, as float32 (nifti1.h: y = scl_slope · x + scl_inter)."""
    with np.errstate(over="ignore", invalid="ignore"):
        if (layout.slope, layout.inter) == (1.0, 0.0):
            return stored.astype(np.float32)
        return (stored.astype(np.float64) * layout.slope + layout.inter).astype(np.float32)


def _spacing_mm(header: Any, axes: tuple[int, int, int]) -> tuple[float, float, float] | None:
    """Return the voxel spacing between slices, rows and columns, mm; None when the header doesn't say."""
    unit = {"meter": 1000.0, "micron": 0.001}.get(header.get_xyzt_units()[0], 1.0)
    zooms = [abs(float(zoom)) * unit for zoom in header.get_zooms()[:3]]
    return (zooms[axes[0]], zooms[axes[1]], zooms[axes[2]]) if len(zooms) == 3 and all(zooms) else None
