"""How two stacks lie to each other in the patient."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onenex.volume import Geometry

_SAME_PIXEL = 0.25
"""Of a pixel: as far apart as slices of one grid may be written."""
_UNKNOWN_STEP_MM = 2.0


def tilt_deg(a: Geometry, b: Geometry) -> float:
    """Return the larger of the angles between the slice normals and between the rows, degrees 0 … 90, whichever way they point."""
    cosines = [abs(float(a.normal @ b.normal)), abs(float(np.dot(a.orientation[:3], b.orientation[:3])))]
    return float(np.degrees(np.arccos(min(1.0, *cosines))))


def covered(fast: Geometry, reference: Geometry) -> float:
    """Return the share 0 … 1 of the fast scan's slices whose middle lies in the reference: half a step or less from a slice, inside the image."""
    middles = _middles(fast)
    along = middles @ reference.normal
    reach = 0.505 * (reference.step_mm or reference.slice_thickness_mm or _UNKNOWN_STEP_MM)
    near = np.abs(along[:, None] - reference.coordinates_mm[None, :]).min(axis=1) <= reach
    first = np.asarray(reference.positions_mm[0])
    for axis, n, mm in ((reference.orientation[:3], reference.columns, reference.spacing_mm[1]),
                        (reference.orientation[3:], reference.rows, reference.spacing_mm[0])):  # fmt: skip
        index = (middles - first) @ np.asarray(axis) / mm
        near &= (index > -0.5) & (index < n - 0.5)
    return float(near.mean())


def same_grid(a: Geometry, b: Geometry) -> bool:
    """Whether two stacks have the same pixels at the same places: slice for slice, to a quarter of a pixel."""
    if (a.rows, a.columns, len(a.positions_mm)) != (b.rows, b.columns, len(b.positions_mm)):
        return False
    tolerance = _SAME_PIXEL * min(*a.spacing_mm, *b.spacing_mm)
    return bool(np.allclose(_corners(a), _corners(b), rtol=0, atol=tolerance))


def _middles(geometry: Geometry) -> NDArray[np.float64]:
    """(slice, 3), centre of each slice, mm."""
    return np.asarray(geometry.positions_mm) + 0.5 * _diagonal(geometry)


def _corners(geometry: Geometry) -> NDArray[np.float64]:
    """(3, slice, 3), first pixel, last of the first row, last of all, of each slice, mm."""
    first = np.asarray(geometry.positions_mm)
    row = (geometry.columns - 1) * geometry.spacing_mm[1] * np.asarray(geometry.orientation[:3])
    return np.stack([first, first + row, first + _diagonal(geometry)])


def _diagonal(geometry: Geometry) -> NDArray[np.float64]:
    row = (geometry.columns - 1) * geometry.spacing_mm[1] * np.asarray(geometry.orientation[:3])
    column = (geometry.rows - 1) * geometry.spacing_mm[0] * np.asarray(geometry.orientation[3:])
    return np.asarray(row + column)
