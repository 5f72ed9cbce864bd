"""Points of the patient and indices of a stack: axes, where pixels lie, regular slots of slices, and the rigid motion `Rigid`.

Index order is (slice, row, column) everywhere; millimetres are DICOM's patient coordinates (LPS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from onenex.errors import DataError
from onenex.pairs.records import Geometry
from onenex.series import FloatImages

Points = NDArray[np.float64]
"""(…, 3)."""
Vector = tuple[float, float, float]
_IRREGULAR = 0.1
"""Slices may lie this share of the step off a regular grid."""
_MOST_SLOTS = 4
"""Slots of the regular grid for each slice, at most: more gaps than that are no stack."""


@dataclass(frozen=True, kw_only=True)
class Rigid:
    """A small motion of the patient: p ↦ R (p − centre) + centre + translation, from points of the fast scan to points of the reference."""

    rotation_rad: Vector = (0.0, 0.0, 0.0)
    """Rotation vector: its direction is the axis, its length the angle."""
    translation_mm: Vector = (0.0, 0.0, 0.0)
    centre_mm: Vector = (0.0, 0.0, 0.0)
    how: str = field(default="", compare=False)
    """How it was found, a phrase; not part of the numbers."""

    def matrix(self) -> NDArray[np.float64]:
        """Return the 4 × 4 matrix for points (x, y, z, 1), mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_rotvec(self.rotation_rad).as_matrix()
        matrix[:3, 3] = np.asarray(self.centre_mm) + self.translation_mm - matrix[:3, :3] @ self.centre_mm
        return matrix

    def apply(self, points: Points) -> Points:
        """Return where points (…, 3), mm, of the fast scan lie in the reference."""
        matrix = self.matrix()
        return np.asarray(points @ matrix[:3, :3].T + matrix[:3, 3])

    def displacement(self, points: Points) -> Points:
        """Return by how much points (…, 3), mm, move: (…, 3), mm."""
        return np.asarray(self.apply(points) - points)

    def inverse(self) -> Self:
        """Return the motion back, from points of the reference to those of the fast scan."""
        x, y, z = (float(value) for value in np.negative(self.rotation_rad))
        moved = np.asarray(self.centre_mm) + self.translation_mm
        return type(self)(rotation_rad=(x, y, z), translation_mm=vector(np.negative(self.translation_mm)), centre_mm=vector(moved), how=self.how)

    def numbers(self) -> list[float]:
        """Return 12 floats for a manifest: the upper three rows of `matrix`, row by row."""
        return [float(value) for value in self.matrix()[:3].ravel()]

    @classmethod
    def from_numbers(cls, numbers: Sequence[float]) -> Self:
        """Return the motion that `numbers` were taken from; its centre is the origin.

        Raises
        ------
        DataError
            Not 12 finite numbers, or their 3 × 3 part is no rotation.
        """
        values = np.asarray(numbers, dtype=np.float64)
        if values.shape != (12,) or not np.isfinite(values).all():
            raise DataError(f"a rigid motion is 12 finite numbers (three rows of a 4 × 4 matrix), not {len(numbers)}")
        rows = values.reshape(3, 4)
        if np.abs(rows[:, :3] @ rows[:, :3].T - np.eye(3)).max() > 1e-5 or np.linalg.det(rows[:, :3]) < 0:
            raise DataError("the 12 numbers hold no rotation: store what Rigid.numbers() gave")
        return cls(rotation_rad=vector(Rotation.from_matrix(rows[:, :3]).as_rotvec()), translation_mm=vector(rows[:, 3]))

    @property
    def angle_deg(self) -> float:
        """Angle of the rotation, degrees, ≥ 0."""
        return float(np.degrees(np.linalg.norm(self.rotation_rad)))


def vector(values: NDArray[np.float64] | Sequence[float]) -> Vector:
    """Return three numbers as a tuple of floats."""
    x, y, z = (float(value) for value in values)
    return x, y, z


def axes(geometry: Geometry) -> NDArray[np.float64]:
    """Return (3, 3): its columns are the unit vectors along which slice, row and column rise (PS3.3 C.7.6.2.1.1)."""
    along_row, along_column = (np.asarray(part, dtype=np.float64) for part in (geometry.orientation[:3], geometry.orientation[3:]))
    return np.stack([geometry.normal, along_column, along_row], axis=1)


def pixel_centres(geometry: Geometry, index: int, step: int = 1) -> Points:
    """Return (row, column, 3), mm: the centres of every `step`-th pixel of slice `index` (PS3.3 C.7.6.2.1.1, eq. C.7.6.2.1-1)."""
    _, down, along = axes(geometry).T
    rows = np.arange(0, geometry.rows, step)[:, None, None] * geometry.spacing_mm[0] * down
    columns = np.arange(0, geometry.columns, step)[None, :, None] * geometry.spacing_mm[1] * along
    return np.asarray(np.asarray(geometry.positions_mm[index]) + rows + columns)


@dataclass(frozen=True, kw_only=True)
class Slots:
    """Slices of a stack on a regular grid along the normal."""

    first_mm: float
    """Coordinate along the normal of slot 0, mm."""
    step_mm: float
    """> 0."""
    of_slot: tuple[int | None, ...]
    """Which slice of the stack lies in each slot; None in a gap."""


def slots(geometry: Geometry) -> Slots:
    """Return the slices of a stack on a regular grid; where slices are missing it has gaps.

    Raises
    ------
    DataError
        The slices are no regular stack, or two lie at one place.
    """
    coordinates = geometry.coordinates_mm
    order = np.argsort(coordinates, kind="stable")
    step = geometry.step_mm or (1.0 if len(coordinates) == 1 else 0.0)  # a single slice of unknown thickness is a stack as well
    if step <= 0:
        raise DataError("slices are no regular stack: most lie at one place")
    distances = np.diff(coordinates[order])
    number = np.concatenate([[0], np.cumsum(np.rint(distances / step))]).astype(int)
    if len(number) > 1 and number[-1] > 0:
        step = float((coordinates[order[-1]] - coordinates[order[0]]) / number[-1])
    off = np.abs(coordinates[order] - coordinates[order[0]] - number * step).max()
    if len(np.unique(number)) < len(number) or off > _IRREGULAR * step or number[-1] >= _MOST_SLOTS * len(number):
        raise DataError(f"slices are no regular stack: up to {off:.2f} mm off steps of {step:.2f} mm")
    places: list[int | None] = [None] * int(number[-1] + 1)
    for slot, index in zip(number, order, strict=True):
        places[int(slot)] = int(index)
    return Slots(first_mm=float(coordinates[order[0]]), step_mm=step, of_slot=tuple(places))


def check(images: FloatImages, geometry: Geometry, what: str) -> None:
    """Refuse a stack whose pixels and geometry contradict each other.

    Parameters
    ----------
    images
        (slice, row, column).
    what
        How a message calls it: "the fast scan".

    Raises
    ------
    DataError
        Shapes differ, a pixel is not finite, a spacing is not positive, or the orientation is not two perpendicular unit vectors.
    """
    shape = (len(geometry.positions_mm), geometry.rows, geometry.columns)
    if images.shape != shape or 0 in shape:
        raise DataError(f"{what}: images have shape {images.shape}, their geometry says {shape}")
    if not np.isfinite(images).all():
        raise DataError(f"{what}: pixels are NaN or infinite")
    check_geometry(geometry, what)


def check_geometry(geometry: Geometry, what: str) -> None:
    """Refuse a geometry that is none; arguments and error as `check`."""
    numbers = np.array([*geometry.spacing_mm, *geometry.orientation, *np.ravel(geometry.positions_mm)])
    if not np.isfinite(numbers).all() or min(geometry.spacing_mm) <= 0:
        raise DataError(f"{what}: spacings and positions must be finite numbers, spacings above 0")
    if np.abs(axes(geometry).T @ axes(geometry) - np.eye(3)).max() > 1e-3:
        raise DataError(f"{what}: its orientation is not two perpendicular unit vectors (ImageOrientationPatient)")
