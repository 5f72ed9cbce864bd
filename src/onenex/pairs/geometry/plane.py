"""Slices read between their pixels: by their k-space, as one matrix an axis, or where rows turn by a spline on a finer grid."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from onenex.series import FloatImages

Array = NDArray[np.float64]

_PARALLEL = 0.02
"""Pixels that rows and columns may drift over a whole slice and still count as parallel."""
_WHOLE = 1e-3
"""Pixels: closer to whole ones than this is on them."""
_CACHED = 8
"""Slices whose finer grid is kept."""
_FINER = 2
_MARGIN = 4
"""Pixels of the finer grid around the slice."""


class Plane:
    """Reads the slices of one reference.

    Parameters
    ----------
    images
        (slice, row, column).
    detail
        Share 0…1 of Nyquist, for rows and for columns, that the fast scan's grid can show: what is finer would fold, and is left out.
    """

    def __init__(self, images: FloatImages, detail: tuple[float, float]) -> None:
        self.images, self.detail = images, detail
        self.how = "same grid"
        self._matrices: dict[tuple[int, float, float, int], Array | None] = {}
        self._finer: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        self._mirrored = tuple(_jumps(images, axis) for axis in (1, 2))

    def read(self, k: int, start: Array, per_row: Array, per_column: Array, shape: tuple[int, int]) -> Array:
        """Return slice `k` at a grid of `shape`.

        Parameters
        ----------
        start, per_row, per_column
            (2,) row and column of the grid's first point, and the move from row to row and from column to column of it; pixels of the slice.
        """
        drift = max(abs(per_row[1]) * shape[0], abs(per_column[0]) * shape[1])
        if drift <= _PARALLEL:
            rows = self._matrix(0, float(start[0]), float(per_row[0]), shape[0])
            columns = self._matrix(1, float(start[1]), float(per_column[1]), shape[1])
            image = self.images[k].astype(np.float64)
            image = _whole(start[0] + per_row[0] * np.arange(shape[0]), image, 0) if rows is None else rows @ image
            return _whole(start[1] + per_column[1] * np.arange(shape[1]), image, 1) if columns is None else image @ columns.T
        self.how = "k-space and spline"
        where = _grid(start, per_row, per_column, shape)
        places = [_FINER * part + _MARGIN for part in where]
        return np.asarray(ndimage.map_coordinates(self._fine(k), places, order=3, mode="nearest", prefilter=False), np.float64)

    def covers(self, start: Array, per_row: Array, per_column: Array, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return which points of a grid, as in `read`, lie on pixels of the slice, (row, column)."""
        rows, columns = _grid(start, per_row, per_column, shape)
        n_rows, n_columns = self.images.shape[1:]
        edge = 0.5 + _WHOLE
        return np.asarray((rows >= -edge) & (rows <= n_rows - 1 + edge) & (columns >= -edge) & (columns <= n_columns - 1 + edge))

    def _matrix(self, axis: int, start: float, step: float, count: int) -> Array | None:
        """Return the matrix that reads one axis; None where its points are pixels and nothing is interpolated."""
        start = round(start, 3)  # positions in headers are rounded: the slices of a stack share one matrix
        key = (axis, start, step, count)
        if key not in self._matrices:
            n = self.images.shape[1 + axis]
            places = np.asarray(start + step * np.arange(count))
            on_pixels = self.detail[axis] > 1 - 1e-3 and np.abs(places - np.rint(places)).max() <= _WHOLE
            self._matrices[key] = None if on_pixels else polynomial(places, n, self.detail[axis], mirrored=self._mirrored[axis])
        if self._matrices[key] is not None and self.how == "same grid":
            self.how = "k-space"
        return self._matrices[key]

    def _fine(self, k: int) -> NDArray[np.float32]:
        """Return spline coefficients of slice `k` on the finer grid, whose point `_MARGIN` is the slice's first pixel."""
        if k not in self._finer:
            matrices = []
            for axis in (0, 1):
                n = self.images.shape[1 + axis]
                places = np.asarray((np.arange(_FINER * n + 2 * _MARGIN) - _MARGIN) / _FINER, np.float64)
                key = (2 + axis, 0.0, 0.0, n)
                if key not in self._matrices:
                    self._matrices[key] = polynomial(places, n, self.detail[axis], mirrored=self._mirrored[axis])
                matrices.append(np.asarray(self._matrices[key]))
            finer = (matrices[0] @ self.images[k] @ matrices[1].T).astype(np.float32)
            self._finer[k] = ndimage.spline_filter(finer, order=3, output=np.float32, mode="mirror")
            if len(self._finer) > _CACHED:
                self._finer.popitem(last=False)
        return self._finer[k]


def polynomial(places: Array, n: int, detail: float = 1.0, *, mirrored: bool = False) -> Array:
    """Return the matrix (place, pixel) that reads the trigonometric polynomial through `n` pixels at fractional `places`.

    This is zero-padding (places closer than pixels) or cropping (`detail` < 1) of centred k-space, at any shift. A coefficient
    right at the cut, as the Nyquist line of an even matrix, is shared by both signs of its frequency.

    Parameters
    ----------
    places
        (place,), pixels; 0 is the centre of the first pixel.
    detail
        Share 0…1 of the Nyquist frequency that is kept.
    mirrored
        Continue the pixels by their mirror image instead of periodically: for anatomy that is cut by the edge.
    """
    if mirrored:
        both = polynomial(places, 2 * n, detail)
        return np.asarray(both[:, :n] + both[:, : n - 1 : -1])
    cut = detail * n / 2
    frequencies = np.arange(0, int(np.floor(cut + 1e-6)) + 1)
    weights = np.where(frequencies == 0, 1.0, 2.0)
    weights[np.abs(frequencies - cut) < 1e-6] /= 2
    phase = 2 * np.pi * frequencies / n
    at_places, at_pixels = (np.outer(where, phase) for where in (places, np.arange(n)))
    return np.asarray(((np.cos(at_places) * weights) @ np.cos(at_pixels).T + (np.sin(at_places) * weights) @ np.sin(at_pixels).T) / n)


def _jumps(images: FloatImages, axis: int) -> bool:
    """Return whether the first and the last line along `axis` differ much more than neighbouring lines do: anatomy cut by the edge."""
    first, second, last, before = (np.take(images, index, axis=axis).astype(np.float64) for index in (0, min(1, images.shape[axis] - 1), -1, -2))
    across = np.abs(first - last).mean()
    return bool(across > 1.5 * (np.abs(first - second).mean() + np.abs(last - before).mean()) / 2)


def _whole(places: Array, image: Array, axis: int) -> Array:
    """Return the lines of an image at whole `places`; beyond its edges the last line again."""
    index = np.clip(np.rint(places).astype(int), 0, image.shape[axis] - 1)
    return np.asarray(np.take(image, index, axis=axis))


def _grid(start: Array, per_row: Array, per_column: Array, shape: tuple[int, int]) -> list[Array]:
    """Return row and column of every point of a grid, each (row, column)."""
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    return [start[axis] + per_row[axis] * rows + per_column[axis] * columns for axis in (0, 1)]
