"""The search of `register.py`: two scans as SimpleITK images in one frame, at a coarse and a fine level, and the steps towards each other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from onenex.errors import DataError, ModelError
from onenex.pairs.geometry.space import Rigid, axes, slots, vector
from onenex.pairs.records import Geometry
from onenex.series import FloatImages

T = TypeVar("T", bound=np.generic)
Array = NDArray[np.float32]
Image = Any
"""A `SimpleITK.Image`; SimpleITK is not typed."""
Parameters = tuple[float, float, float, float, float, float]
"""Euler angles about x, y, z (rad), then a translation in units of the frame's radius."""

STILL: Parameters = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
IN_PLANE, IN_SPACE = (0.0, 0.0, 1.0, 1.0, 1.0, 0.0), (1.0,) * 6
"""Which of `Parameters` are free: z runs through the slices."""
_FOREGROUND = 0.1
_SIDE = 170
"""About the matrix on which the fine level works; the coarse one has half of it."""
_WIDTH = 0.8
"""Of the Gaussian that smooths a level, its pixels."""
_SAMPLES = 40_000
"""Points of the fast scan that a step looks at."""
_SEED = 20_260
_MOST_SHEAR = 0.25
"""Pixels by which slices of one stack may be shifted against each other."""
_STEPS = 60
_FIRST_STEP_PX, _LAST_STEP_PX = 1.0, 0.01
"""Pixels of the level."""

_used_by: list[int] = []
"""The process in which ITK made its threads: a fork of it has none, and would wait for them for ever."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The fast scan's own coordinates: (x along columns, y along rows, z through slices), in units of `radius_mm`, about `centre_mm`.

    In these units a radian and a unit of translation move the foreground alike, as a gradient descent wants it.
    """

    turn: NDArray[np.float64]
    """(3, 3): its columns are x, y and z in the patient."""
    centre_mm: NDArray[np.float64]
    radius_mm: float
    points: NDArray[np.float64]
    """(n, 3), mm, patient: points of the foreground."""
    pixel_mm: float

    def rigid(self, parameters: Parameters, how: str = "") -> Rigid:
        """Return the motion in the patient. ITK's Euler3DTransform turns about y, then x, then z."""
        x, y, z = parameters[:3]
        rotation = self.turn @ Rotation.from_euler("ZXY", [z, x, y]).as_matrix() @ self.turn.T
        return Rigid(
            rotation_rad=vector(Rotation.from_matrix(rotation).as_rotvec()),
            translation_mm=vector(self.turn @ np.asarray(parameters[3:]) * self.radius_mm),
            centre_mm=vector(self.centre_mm),
            how=how,
        )

    def apart_px(self, one: Parameters, other: Parameters) -> float:
        """Return the mean distance, pixels of the fast scan, between where two motions take the foreground."""
        apart = self.rigid(one).apply(self.points) - self.rigid(other).apply(self.points)
        return float(np.linalg.norm(apart, axis=1).mean()) / self.pixel_mm


def foreground(images: FloatImages) -> NDArray[np.bool_]:
    """Return where a stack (slice, row, column) shows something: above a tenth of its brightest parts, after smoothing."""
    smooth = ndimage.gaussian_filter(images, (0, 2, 2), output=np.float32)
    return np.asarray(smooth > _FOREGROUND * np.percentile(smooth, 99.9))


def frame_of(fast: FloatImages, geometry: Geometry) -> Frame:
    """Return the frame about the middle of the foreground.

    Raises
    ------
    DataError
        There is next to no foreground.
    """
    step = max(1, max(geometry.rows, geometry.columns) // 64)
    index = np.argwhere(foreground(fast)[:, ::step, ::step]) * np.array([1, step, step])
    if len(index) < 100:
        raise DataError("not registered: the fast scan shows next to nothing")
    normal, down, along = axes(geometry).T
    starts = np.asarray(geometry.positions_mm)[index[:, 0]]
    points = starts + index[:, 1:2] * geometry.spacing_mm[0] * down + index[:, 2:] * geometry.spacing_mm[1] * along
    centre = points.mean(axis=0)
    radius = max(10.0, float(np.sqrt(np.square(points - centre).sum(axis=1).mean())))
    pixel = float(np.sqrt(geometry.spacing_mm[0] * geometry.spacing_mm[1]))
    return Frame(turn=np.stack([along, down, normal], axis=1), centre_mm=centre, radius_mm=radius, points=points, pixel_mm=pixel)


def overlap(frame: Frame, reference: Geometry) -> float:
    """Return the share 0…1 of the foreground that the field of view of the reference holds, as long as nothing moves."""
    places, (normal, down, along) = slots(reference), axes(reference).T
    first = np.asarray(reference.positions_mm[places.of_slot[0] or 0])
    away = frame.points - first
    rows, columns = ((direction, reference.spacing_mm[k], n) for k, (direction, n) in enumerate(((down, reference.rows), (along, reference.columns))))
    sizes = ((normal, places.step_mm, len(places.of_slot)), rows, columns)
    index = [away @ direction / step for direction, step, _ in sizes]
    held = [(where >= -0.5) & (where <= n - 0.5) for where, (_, _, n) in zip(index, sizes, strict=True)]
    return float(np.logical_and.reduce(held).mean())


@dataclass(frozen=True, kw_only=True)
class Level:
    """Both scans, smoothed alike."""

    fixed: Image
    fixed_mask: Image
    moving: Image
    moving_mask: Image
    share: float
    """Of the fast scan's pixels that a step looks at."""
    pixel: float
    """Size of a pixel, units of the frame."""
    n_independent: float
    """Pixels of the foreground over the size of the smoothing."""


def levels(frame: Frame, fast: tuple[FloatImages, Geometry], reference: tuple[FloatImages, Geometry]) -> list[Level]:
    """Return the coarse and the fine level.

    Raises
    ------
    DataError
        A stack is irregular.
    ModelError
        SimpleITK is missing, or the process was forked from one that used it.
    """
    finest = max(1, round(max(fast[0].shape[1:]) / _SIDE))
    mask = ndimage.binary_dilation(foreground(fast[0]), np.ones((1, 3, 3), np.bool_), iterations=2)
    found = []
    for shrink in (2 * finest, finest):
        width_mm = _WIDTH * shrink * frame.pixel_mm
        fixed, real = _stack(_smooth(*fast, width_mm), fast[1], shrink)
        inside = _stack(mask, fast[1], shrink)[0] & real[:, None, None]
        less = (shrink + 1) // 2
        moving, there = _stack(_smooth(*reference, width_mm), reference[1], less)
        known = np.broadcast_to(there[:, None, None], moving.shape)
        found.append(
            Level(
                fixed=_image(frame, fixed, fast[1], shrink), fixed_mask=_image(frame, inside.astype(np.uint8), fast[1], shrink),
                moving=_image(frame, moving, reference[1], less),
                moving_mask=_image(frame, known.astype(np.uint8), reference[1], less),
                share=min(1.0, _SAMPLES / max(1.0, float(inside.sum()))), pixel=shrink * frame.pixel_mm / frame.radius_mm,
                n_independent=max(2.0, float(inside.sum()) / (4 * np.pi * _WIDTH**2)),
            )
        )  # fmt: skip
    return found


def search(level: Level, start: Parameters, free: tuple[float, ...]) -> Parameters:
    """Return the motion of the best correlation near `start`; parameters that are not free stay."""
    method = _method(level, start)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(level.share, _SEED)
    method.SetOptimizerAsRegularStepGradientDescent(_FIRST_STEP_PX * level.pixel, _LAST_STEP_PX * level.pixel, _STEPS, 0.5, 1e-9, method.Never)
    method.SetOptimizerWeights(list(free))
    try:
        found = method.Execute(level.fixed, level.moving).GetParameters()
    except RuntimeError as error:  # ITK: all points left the reference on the way
        raise DataError("not registered: the search left the reference") from error
    return _six(found)


def explained(level: Level, parameters: Parameters) -> float:
    """Return r², the share of the fast scan's variance in its foreground that the reference explains, 0…1."""
    return float(np.clip(-_method(level, parameters).MetricEvaluate(level.fixed, level.moving), 0, 1 - 1e-6))


def _six(values: tuple[float, ...]) -> Parameters:
    a, b, c, d, e, f = (float(value) for value in values)
    return a, b, c, d, e, f


def _method(level: Level, start: Parameters) -> Any:
    """Return the comparison of both scans from `start`, in one thread."""
    sitk = simple_itk()
    transform = sitk.Euler3DTransform()
    transform.SetParameters(start)
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsCorrelation()
    method.MetricUseFixedImageGradientFilterOff()  # gradients where they are needed: twice as fast, and the motion found is nearer
    method.MetricUseMovingImageGradientFilterOff()
    method.SetMetricFixedMask(level.fixed_mask)
    method.SetMetricMovingMask(level.moving_mask)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(transform, False)
    return method


def _stack(images: NDArray[T], geometry: Geometry, shrink: int) -> tuple[NDArray[T], NDArray[np.bool_]]:
    """Return a stack (slot, row, column) on regular slots, gaps filled with the nearest slice, and which slots are real."""
    of_slot = slots(geometry).of_slot
    there = [slot for slot, index in enumerate(of_slot) if index is not None]
    nearest = [min(there, key=lambda other: abs(other - slot)) for slot in range(len(of_slot))]
    array = np.stack([images[of_slot[slot] or 0, ::shrink, ::shrink] for slot in nearest])
    real = np.isin(np.arange(len(of_slot)), there)
    return array, real


def _image(frame: Frame, array: NDArray[np.generic], geometry: Geometry, shrink: int) -> Image:
    """Return what `_stack` made as an image in the frame."""
    places = slots(geometry)
    normal, down, along = axes(geometry).T
    starts = np.asarray(geometry.positions_mm) @ np.stack([down, along], axis=1)
    if np.ptp(starts, axis=0).max() > _MOST_SHEAR * min(geometry.spacing_mm):
        raise DataError("not registered: the slices of a stack are shifted against each other in their plane")
    first = np.asarray(geometry.positions_mm[places.of_slot[0] or 0])
    spacing = (geometry.spacing_mm[1] * shrink, geometry.spacing_mm[0] * shrink, places.step_mm)
    image = simple_itk().GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing([value / frame.radius_mm for value in spacing])
    image.SetOrigin([float(value) for value in frame.turn.T @ (first - frame.centre_mm) / frame.radius_mm])
    image.SetDirection([float(value) for value in (frame.turn.T @ np.stack([along, down, normal], axis=1)).ravel()])
    return image


def _smooth(images: FloatImages, geometry: Geometry, width_mm: float) -> Array:
    """Return a stack smoothed in the plane by a Gaussian of `width_mm`."""
    widths = (0.0, *(width_mm / spacing for spacing in geometry.spacing_mm))
    return np.asarray(ndimage.gaussian_filter(images, widths, output=np.float32))


def simple_itk() -> ModuleType:
    """Return SimpleITK.

    Raises
    ------
    ModelError
        It's missing, or this process was forked from one that used it.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise ModelError("registration needs SimpleITK: pip install 'onenex[train]'") from error
    if not _used_by:
        _used_by.append(os.getpid())
    if _used_by[0] != os.getpid():
        raise ModelError("SimpleITK hangs in a process forked from one that used it: start workers with multiprocessing's 'spawn'")
    return SimpleITK
