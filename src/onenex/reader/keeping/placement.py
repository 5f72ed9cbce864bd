"""Where a stack lies in the patient, and how it is turned to be shown.

DICOM is shown as stored. NIfTI has no such convention: its slices are turned as radiologists look at them (the patient's left on the
right, the front above or on the left, the head above).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onenex import nifti
from onenex.dicom.frames import FrameHeader
from onenex.dicom.source import DicomSource
from onenex.dicom.stacks import ORIENTATION_TOLERANCE, SPACING_TOLERANCE, frame_of
from onenex.errors import StudyError
from onenex.nifti import NiftiSource
from onenex.series import FloatImages, Series, SliceStack

_SHOWN_TOWARDS = np.array([1.0, 1.0, -1.0])
"""Left (x), back (y) and feet (−z) are to the right or below; patient coordinates are LPS (PS3.3 C.7.6.2.1.1)."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A stack as it is shown."""

    shape: tuple[int, int, int]
    """Slices, rows, columns."""
    spacing_mm: tuple[float, float, float] | None
    """Between slices, rows, columns."""
    axes: tuple[tuple[float, ...], tuple[float, ...]] | None
    """Unit vectors along a row and along a column, LPS; None where the source does not say."""
    origin_mm: tuple[float, ...] | None
    """Centre of the first pixel of the first slice."""
    order: tuple[int, int, int] = (0, 1, 2)
    """Axes of the stack as read that become slice, row, column."""
    flipped: tuple[int, ...] = ()
    """Axes that are turned round then."""

    def turned(self, images: FloatImages) -> FloatImages:
        """Return images as read in the order in which they are shown."""
        return np.flip(images.transpose(self.order), self.flipped)

    def differs_from(self, other: Placement) -> str:
        """Return in what two stacks differ beyond what scanners round, for people; empty when they lie alike."""
        if self.shape != other.shape:
            return f"{_times(self.shape)} slices × rows × columns, not {_times(other.shape)}"
        if self.spacing_mm and other.spacing_mm and not np.allclose(self.spacing_mm, other.spacing_mm, rtol=SPACING_TOLERANCE, atol=1e-4):
            return f"{_times(self.spacing_mm)} mm from slice to slice, row to row and column to column, not {_times(other.spacing_mm)}"
        if self.axes is None or other.axes is None or self.origin_mm is None or other.origin_mm is None:
            return ""
        if not np.allclose(self.axes, other.axes, rtol=0, atol=ORIENTATION_TOLERANCE):
            return "another orientation"
        way = _components(np.subtract(self.origin_mm, other.origin_mm), self.axes)
        between, rows, columns = self.spacing_mm or (1.0, 1.0, 1.0)
        if any(abs(way) > (max(between / 2, 0.1), max(2 * rows, 0.1), max(2 * columns, 0.1))):
            return f"another place: {abs(way).max():.1f} mm away"
        return ""


def placement_of(series: Series, stack: SliceStack) -> Placement:
    """Read a stack's place from its headers.

    Raises
    ------
    StudyError
        DICOM that is not MONOCHROME2.
    DecodeError, DataError
        The header cannot be read.
    """
    if isinstance(series.source, NiftiSource):
        return _of_nifti(series.source, stack)
    shape = (len(stack.frames), stack.rows, stack.columns)
    if not isinstance(series.source, DicomSource):
        return Placement(shape=shape, spacing_mm=stack.spacing_mm, axes=None, origin_mm=None)
    ref = stack.frames[0]
    header = FrameHeader(series.source.dataset(ref.path), ref.frame)
    photometric = header.text("PhotometricInterpretation").upper() or "MONOCHROME2"
    if photometric != "MONOCHROME2":
        raise StudyError(f"{series.path}: PhotometricInterpretation (0028,0004) is {photometric}: only MONOCHROME2 is shown")
    frame = frame_of(header, ref)
    axes = None if frame.orientation is None else (frame.orientation[:3], frame.orientation[3:])
    return Placement(shape=shape, spacing_mm=stack.spacing_mm, axes=axes, origin_mm=frame.position)


def _of_nifti(source: NiftiSource, stack: SliceStack) -> Placement:
    """Turn the axes of a file (nifti1.h: patient coordinates are RAS) so that it is shown as radiologists look at it."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(nifti.load(source.path).affine, np.float64)
    columns = affine[:3, list(source.layout.axes)]
    lengths = np.linalg.norm(columns, axis=0)
    shape = np.array([len(stack.frames), stack.rows, stack.columns])
    if not np.isfinite(affine).all() or not lengths.all():
        return Placement(shape=_three(shape), spacing_mm=stack.spacing_mm, axes=None, origin_mm=None)
    main = [int(np.argmax(abs(columns[:, axis]))) for axis in range(3)]
    order = (0, 1, 2) if main[2] < main[1] else (0, 2, 1)
    vectors = (columns / lengths)[:, order]
    turn = [axis for axis in (1, 2) if vectors[main[order[axis]], axis] * _SHOWN_TOWARDS[main[order[axis]]] < 0]
    vectors[:, turn] *= -1
    if vectors[:, 0] @ np.cross(vectors[:, 2], vectors[:, 1]) < 0:
        turn.append(0)
    first = np.zeros(3)
    for axis in turn:
        first[order[axis]] = shape[order[axis]] - 1
    spacing = stack.spacing_mm
    return Placement(
        shape=_three(shape[list(order)]),
        spacing_mm=None if spacing is None else (spacing[0], spacing[order[1]], spacing[order[2]]),
        axes=(tuple(vectors[:, 2].tolist()), tuple(vectors[:, 1].tolist())),
        origin_mm=tuple((affine[:3, 3] + columns @ first).tolist()),
        order=order,
        flipped=tuple(sorted(turn)),
    )


def _components(way_mm: NDArray[np.float64], axes: tuple[tuple[float, ...], tuple[float, ...]]) -> NDArray[np.float64]:
    """Return a way along slices, rows and columns."""
    along, down = np.asarray(axes[0]), np.asarray(axes[1])
    return np.asarray([way_mm @ np.cross(along, down), way_mm @ down, way_mm @ along])


def _three(numbers: NDArray[np.int64]) -> tuple[int, int, int]:
    return int(numbers[0]), int(numbers[1]), int(numbers[2])


def _times(numbers: tuple[float, ...]) -> str:
    return " × ".join(f"{number:g}" for number in numbers)
