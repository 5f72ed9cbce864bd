"""A patient who moves between two scans: the head phantom as an object in space, cut into slices anywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from onenex.pairs.geometry.space import Rigid, pixel_centres, vector
from onenex.pairs.records import Geometry
from onenex.physics import noise
from onenex.physics.phantom import FOV_MM, HIGHEST_MM, LOWEST_MM, head_phantom
from onenex.physics.scale import series_scale

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_SIDE, _LEVELS = 160, 33


@dataclass(frozen=True)
class Head:
    """A phantom in space."""

    coefficients: NDArray[np.float32]
    """(level, row, column) of its cubic spline; bright foreground about 1."""

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """Its signal at points (…, 3), mm."""
        x, y, z = np.moveaxis(points, -1, 0)
        step, rise = FOV_MM / _SIDE, (HIGHEST_MM - LOWEST_MM) / (_LEVELS - 1)
        places = [(z - LOWEST_MM) / rise, y / step + (_SIDE - 1) / 2, x / step + (_SIDE - 1) / 2]
        return np.maximum(ndimage.map_coordinates(self.coefficients, places, order=3, mode="nearest", prefilter=False), 0)


@cache
def head(seed: int = 0, sequence: str = "T2w") -> Head:
    images = head_phantom((_LEVELS, _SIDE, _SIDE), sequence=sequence, seed=seed, supersampling=1)
    smooth = ndimage.gaussian_filter(images / series_scale([images]), (0, 0.6, 0.6))
    return Head(ndimage.spline_filter(smooth, 3, output=np.float32))


def axial(n_slices: int = 12, side: int = 128, *, step_mm: float = 4.0, fov_mm: float = FOV_MM, lowest_mm: float = 0.0) -> Geometry:
    """A square axial stack whose field of view is centred."""
    return grid(n_slices, (side, side), step_mm=step_mm, fov_mm=(fov_mm, fov_mm), lowest_mm=lowest_mm)


def grid(
    n_slices: int, shape: tuple[int, int], *, step_mm: float = 4.0, fov_mm: tuple[float, float] = (FOV_MM, FOV_MM), lowest_mm: float = 0.0,
    offset_mm: tuple[float, float] = (0.0, 0.0),
) -> Geometry:  # fmt: skip
    """An axial stack: (row, column) matrix and field of view, offset of its middle along (row, column)."""
    spacing = (fov_mm[0] / shape[0], fov_mm[1] / shape[1])
    x, y = (offset_mm[axis] - spacing[axis] * (shape[axis] - 1) / 2 for axis in (1, 0))
    positions = tuple((x, y, lowest_mm + step_mm * index) for index in range(n_slices))
    return Geometry(rows=shape[0], columns=shape[1], spacing_mm=spacing, orientation=AXIAL, positions_mm=positions, slice_thickness_mm=step_mm)


def scan(thing: Head, geometry: Geometry, motion: Rigid | None = None, *, levels: int = 2) -> NDArray[np.float32]:
    """Noise-free slices (slice, row, column), averaged over their thickness, of a head that `motion` took to where it is scanned."""
    back = (motion or Rigid()).inverse()
    images = np.zeros((len(geometry.positions_mm), geometry.rows, geometry.columns), np.float32)
    thickness = geometry.slice_thickness_mm or 0.0
    for index in range(len(images)):
        points = pixel_centres(geometry, index)
        for level in (np.arange(levels) + 0.5) / levels - 0.5:
            images[index] += thing.at(back.apply(points + level * thickness * geometry.normal)) / levels
    return images


def noisy(images: NDArray[np.float32], sigma: float, generator: np.random.Generator) -> NDArray[np.float32]:
    return noise.rician(images, sigma, generator)


def motion_of(generator: np.random.Generator, *, shift_mm: float, angle_deg: float, in_space: bool, centre: tuple[float, float, float]) -> Rigid:
    """A motion of up to `shift_mm` along and `angle_deg` about each axis; half of it out of the plane when in space."""
    share = np.array([0.5, 0.5, 1.0]) if in_space else np.array([0.0, 0.0, 1.0])
    turn = np.radians(angle_deg) * generator.uniform(-1, 1, 3) * share
    move = shift_mm * generator.uniform(-1, 1, 3) * (np.array([1.0, 1.0, 0.5]) if in_space else np.array([1.0, 1.0, 0.0]))
    return Rigid(rotation_rad=vector(turn), translation_mm=vector(move), centre_mm=centre)


def without(geometry: Geometry, *missing: int) -> Geometry:
    """The stack with slices left out."""
    return replace(geometry, positions_mm=tuple(place for index, place in enumerate(geometry.positions_mm) if index not in missing))
