"""Bring a reference onto the grid of the fast scan. The fast scan is never interpolated; the reference is, once, from its original pixels.

In the plane a slice is read as the trigonometric polynomial through its pixels: its k-space, zero-padded or cropped. Where rows and
columns stay parallel that is one matrix an axis and exact; where they turn, the same polynomial is read from a cubic spline on a grid
of twice the matrix. SciPy does that as well as SimpleITK would, and needs no other package where nothing was registered.
Through the plane nothing is interpolated as long as slices lie on each other (`through.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onenex.errors import DataError
from onenex.pairs.geometry.plane import Plane
from onenex.pairs.geometry.space import Rigid, axes, check, check_geometry
from onenex.pairs.geometry.through import Through, through
from onenex.pairs.records import Geometry
from onenex.series import FloatImages

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_LEAST_COVER = 0.6
"""Share of a slice's pixels that the reference must cover."""
_LIKE_THE_BEST = 0.9
"""Of what the best covered slice has, at least: a slice that leaves the stack on one side would cost all others that side."""


@dataclass(frozen=True, kw_only=True)
class Matched:
    """A reference on the grid of the fast scan."""

    images: FloatImages
    """(kept slice, row, column), the reference's unit, ≥ 0; 0 outside `inside`."""
    slices: tuple[int, ...]
    """Which slices of the fast scan these are, rising."""
    inside: Mask
    """(kept slice, row, column): the reference covers this pixel."""
    dropped: tuple[tuple[int, str], ...]
    """The other slices of the fast scan, each with the reason."""
    how: str
    """What was done, a phrase: "k-space 256×256 to 320×320"."""

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the fast scan that the reference covers in every kept slice: cut both to it where edges must not count."""
        everywhere = np.asarray(self.inside.all(axis=0))
        top, left, (bottom, right) = 0, 0, everywhere.shape
        while bottom - top > 1 and right - left > 1:
            part = everywhere[top:bottom, left:right]
            share = [float(edge.mean()) for edge in (part[0], part[-1], part[:, 0], part[:, -1])]
            worst = int(np.argmin(share))
            if share[worst] == 1:
                break
            top, bottom, left, right = top + (worst == 0), bottom - (worst == 1), left + (worst == 2), right - (worst == 3)
        return slice(top, bottom), slice(left, right)

    @property
    def reasons(self) -> dict[str, int]:
        """Reason → number of slices dropped for it."""
        found: dict[str, int] = {}
        for _, reason in self.dropped:
            found[reason] = found.get(reason, 0) + 1
        return found


def resample(images: FloatImages, geometry: Geometry, onto: Geometry, transform: Rigid | None = None) -> Matched:
    """Read a reference at the pixels of the fast scan.

    Parameters
    ----------
    images
        (slice, row, column), magnitudes of the reference.
    geometry
        Where they lie.
    onto
        The grid of the fast scan.
    transform
        From points of the fast scan to points of the reference; None when the patient did not move.

    Raises
    ------
    DataError
        No slice is covered, the reference's slices are too thick or too tilted, or images and geometry contradict each other.

    Notes
    -----
    Bright edges ring in zero-padded k-space as they do on a scanner; what falls below zero is set to zero, for no magnitude is negative.
    """
    check(images, geometry, "the reference")
    check_geometry(onto, "the fast scan")
    road = _road(images, geometry, onto, transform or Rigid())
    kept: list[tuple[int, FloatImages, Mask]] = []
    dropped: list[tuple[int, str]] = []
    between: dict[str, None] = {}
    for index in range(len(onto.positions_mm)):
        found = _slice(road, index)
        if isinstance(found, str):
            dropped.append((index, found))
        else:
            kept.append((index, found[0], found[1]))
            between |= {found[2]: None} if found[2] else {}
    least = _LIKE_THE_BEST * max((inside.mean() for _, _, inside in kept), default=0.0)
    dropped += [(index, "less of it lies inside the reference than of others") for index, _, inside in kept if inside.mean() < least]
    kept = [one for one in kept if one[2].mean() >= least]
    if not kept:
        reasons = ", ".join(dict.fromkeys(reason for _, reason in dropped))
        raise DataError(f"none of {len(dropped)} slices of the fast scan has a reference: {reasons}")
    return Matched(
        images=np.stack([image for _, image, _ in kept]),
        slices=tuple(index for index, _, _ in kept),
        inside=np.stack([inside for _, _, inside in kept]),
        dropped=tuple(sorted(dropped)),
        how=", ".join([f"{road.plane.how} {geometry.rows}×{geometry.columns} to {onto.rows}×{onto.columns}", *between]),
    )


@dataclass(frozen=True, kw_only=True)
class _Road:
    """The way from the fast scan's indices to those of the reference, in units: mm along its normal, its rows, its columns."""

    geometry: Geometry
    onto: Geometry
    transform: Rigid
    per_row: Array
    per_column: Array
    """(3,), the move from row to row and from column to column of the fast scan."""
    through: Through
    plane: Plane


def _road(images: FloatImages, geometry: Geometry, onto: Geometry, transform: Rigid) -> _Road:
    """Return what all slices of one resampling share."""
    turned = axes(geometry).T @ transform.matrix()[:3, :3] @ axes(onto)
    unit = np.array([1.0, *geometry.spacing_mm])
    per_row, per_column = turned[:, 1] * onto.spacing_mm[0] / unit, turned[:, 2] * onto.spacing_mm[1] / unit
    rows, columns = (min(1.0, 1 / max(abs(per_row[axis]), abs(per_column[axis]), 1e-9)) for axis in (1, 2))
    return _Road(
        geometry=geometry, onto=onto, transform=transform, per_row=per_row, per_column=per_column,
        through=through(geometry, onto, float(turned[0, 0])), plane=Plane(images, (rows, columns)),
    )  # fmt: skip


def _slice(road: _Road, index: int) -> tuple[FloatImages, Mask, str] | str:
    """Return slice `index` of the fast scan's grid, which pixels are covered and what was done between slices; or why there is none."""
    turn, unit = axes(road.geometry).T, np.array([1.0, *road.geometry.spacing_mm])
    start = turn @ road.transform.apply(np.asarray(road.onto.positions_mm[index], np.float64)) / unit
    shape = (road.onto.rows, road.onto.columns)
    rows, columns = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    blend = road.through.blend(np.asarray(start[0] + road.per_row[0] * rows + road.per_column[0] * columns))
    if isinstance(blend, str):
        return blend
    image, inside = np.zeros(shape), blend.covered
    for k, weight in blend.weights.items():
        first = start[1:] - (turn @ np.asarray(road.geometry.positions_mm[k], np.float64) / unit)[1:]
        grid = (first, road.per_row[1:], road.per_column[1:], shape)
        image += weight * road.plane.read(k, *grid)
        inside = inside & (road.plane.covers(*grid) | (np.abs(weight) < 0.1))
    if inside.mean() < _LEAST_COVER:
        return "too little of it lies inside the reference"
    return np.where(inside, np.maximum(image, 0), 0).astype(np.float32), inside, blend.how
