"""Scans of a known object from a known place: grids in the patient, rigid motion, k-space matrices, Rician noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from onenex.physics import noise
from onenex.series import FloatImages

Matrix = NDArray[np.float64]
"""4 × 4, homogeneous coordinates; of motions: a point of the fast scan, patient coordinates (LPS, mm) → the same anatomy in the reference."""

SHIFT_PIXELS, ROTATION_DEGREES, TILT_DEGREES = 4.0, 3.0, 1.0
"""How far a patient moves at most between two scans; TILT_DEGREES of it out of the plane, and one slice through it, where slices are thin."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where the pixels of a stack lie in the patient."""

    shape: tuple[int, int, int]
    """(slice, row, column)."""
    spacing_mm: tuple[float, float, float]
    axes: NDArray[np.float64]
    """(3, 3): unit vectors from slice to slice, along rising rows, along rising columns; LPS."""
    first_mm: NDArray[np.float64]
    """(3,), centre of the first pixel of the first slice."""

    @property
    def matrix(self) -> Matrix:
        """(slice, row, column, 1) → LPS mm."""
        found = np.eye(4)
        found[:3, :3] = self.axes.T * np.asarray(self.spacing_mm)
        found[:3, 3] = self.first_mm
        return found

    @property
    def centre_mm(self) -> NDArray[np.float64]:
        return self.at((np.asarray(self.shape) - 1) / 2)

    def at(self, index: NDArray[np.float64] | tuple[float, float, float]) -> NDArray[np.float64]:
        """Where (slice, row, column) lies, LPS mm."""
        return np.asarray(self.first_mm + self.axes.T @ (np.asarray(index) * np.asarray(self.spacing_mm)))

    def part(self, slices: slice, rows: slice, columns: slice) -> Grid:
        """The grid of a window of the stack."""
        spans = [range(*span.indices(n)) for span, n in zip((slices, rows, columns), self.shape, strict=True)]
        return replace(self, shape=tuple(len(span) for span in spans), first_mm=self.at(tuple(float(span[0]) for span in spans)))

    def matrix_of(self, rows: int, columns: int) -> Grid:
        """The same field of view, edge to edge, on another matrix."""
        scale = (1.0, self.shape[1] / rows, self.shape[2] / columns)
        spacing = tuple(mm * factor for mm, factor in zip(self.spacing_mm, scale, strict=True))
        first = self.at(tuple((factor - 1) / 2 for factor in scale))
        return replace(self, shape=(self.shape[0], rows, columns), spacing_mm=spacing, first_mm=first)


@dataclass(frozen=True)
class Thing:
    """What is scanned."""

    images: FloatImages
    """(slice, row, column), bright foreground about 1."""
    grid: Grid
    thin: bool
    """Whether it may be cut anywhere; slices of thick ones stay what they are."""

    @cached_property
    def _splines(self) -> NDArray[np.float32]:
        axes = (0, 1, 2) if self.thin else (1, 2)
        found = self.images.astype(np.float64)
        for axis in axes:
            found = ndimage.spline_filter1d(found, 3, axis=axis, mode="nearest")
        return found.astype(np.float32)

    def seen(self, grid: Grid, motion: Matrix) -> FloatImages:
        """The object on `grid` when the patient lies so that a point p of the scan shows what is at `motion` p."""
        matrix = np.linalg.inv(self.grid.matrix) @ motion @ grid.matrix
        linear, offset = matrix[:3, :3], matrix[:3, 3]
        if self.thin:
            return np.asarray(ndimage.affine_transform(self._splines, linear, offset, grid.shape, order=3, mode="nearest", prefilter=False))
        slices = []
        for index in range(grid.shape[0]):
            source = linear[0, 0] * index + offset[0]
            if abs(source - round(source)) > 0.01 or np.abs(linear[0, 1:]).max() > 1e-6:
                raise ValueError("a thick slice cannot be cut anew")
            here = offset[1:] + linear[1:, 0] * index
            plane = self._splines[round(source)]
            slices.append(ndimage.affine_transform(plane, linear[1:, 1:], here, grid.shape[1:], order=3, mode="nearest", prefilter=False))
        return np.stack(slices)


@dataclass(frozen=True, kw_only=True)
class View:
    """How a scan is taken."""

    grid: Grid
    """Of the images that the scanner shows."""
    acquired: tuple[int, int]
    """(row, column), the matrix measured; what is shown is that, zero-filled or cut in k-space."""
    sigma: float
    """Channel noise, in units of the object."""
    motion: Matrix


def scan(thing: Thing, view: View, generator: np.random.Generator) -> FloatImages:
    """Take a scan: (slice, row, column), units of the object; noise as of `physics.noise.rician`, coloured by the zero-filling."""
    fine = [
        max(n, round(shown * mm / own))
        for n, shown, mm, own in zip(view.acquired, view.grid.shape[1:], view.grid.spacing_mm[1:], thing.grid.spacing_mm[1:], strict=True)
    ]
    seen = thing.seen(view.grid.matrix_of(*fine), view.motion)
    measured = resized(seen, view.acquired)
    measured = measured + np.float32(view.sigma) * noise.gaussian(measured.shape, generator)
    return np.abs(resized(measured, view.grid.shape[1:])).astype(np.float32)


def resized(images: NDArray[np.float32] | NDArray[np.complex64], shape: tuple[int, int]) -> NDArray[np.complex64]:
    """Images (…, row, column) of the same field of view on another matrix, by zero-filling or cutting k-space."""
    found = images.astype(np.complex64)
    for axis, n_new in ((-2, shape[0]), (-1, shape[1])):
        n = found.shape[axis]
        if n != n_new:
            found = _resized_axis(found, n, n_new, axis)
    return found


def _resized_axis(images: NDArray[np.complex64], n: int, n_new: int, axis: int) -> NDArray[np.complex64]:
    kept = min(n, n_new)
    frequency = np.arange(kept) - kept // 2
    shift = np.exp(2j * np.pi * frequency * (n / n_new - 1) / 2 / n)  # the fields of view share their edges, not their first pixels
    k = np.moveaxis(fft.fft(images, axis=axis), axis, -1)
    wide = np.zeros((*k.shape[:-1], n_new), np.complex64)
    wide[..., frequency % n_new] = k[..., frequency % n] * shift * (n_new / n)
    return np.asarray(np.moveaxis(fft.ifft(wide, axis=-1), -1, axis), np.complex64)


def draw_motion(grid: Grid, thin: bool, pixel_mm: float, generator: np.random.Generator) -> Matrix:
    """Draw how the patient moved, about the middle of `grid`: in the plane, and a little out of it where slices are thin.

    `pixel_mm` is the unit of the shift.
    """
    angle, distance = generator.uniform(-1, 1) * ROTATION_DEGREES, SHIFT_PIXELS * np.sqrt(generator.uniform())
    heading = generator.uniform(0, 2 * np.pi)
    shift = distance * pixel_mm * (np.cos(heading) * grid.axes[1] + np.sin(heading) * grid.axes[2])
    turn = grid.axes[0] * np.radians(angle)
    if thin:
        angle *= np.sqrt(1 - (TILT_DEGREES / ROTATION_DEGREES) ** 2)
        tilt, lean = np.radians(TILT_DEGREES) * generator.uniform(), generator.uniform(0, 2 * np.pi)
        turn = grid.axes[0] * np.radians(angle) + tilt * (np.cos(lean) * grid.axes[1] + np.sin(lean) * grid.axes[2])
        shift = 0.9 * shift + generator.uniform(-1, 1) * min(grid.spacing_mm[0], 0.4 * SHIFT_PIXELS * pixel_mm) * grid.axes[0]
    return rigid(turn, shift, grid.centre_mm)


def rigid(turn: NDArray[np.float64], shift_mm: NDArray[np.float64], centre_mm: NDArray[np.float64]) -> Matrix:
    """The motion that turns by the rotation vector `turn` (radians) about `centre_mm`, then shifts."""
    from scipy.spatial.transform import Rotation

    found = np.eye(4)
    found[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    found[:3, 3] = centre_mm - found[:3, :3] @ centre_mm + shift_mm
    return found
