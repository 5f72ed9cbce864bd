"""Between the slices of a reference: which of them make up a slice of the fast scan, with what weights, and where none does."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from onenex.errors import DataError
from onenex.pairs.geometry.space import Slots, slots
from onenex.pairs.records import Geometry

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_SAME_SLICE = 0.15
"""Slices this share of their thickness apart, or less, show the same: nothing is interpolated between them."""
_BETWEEN = 0.35
"""A slice farther than this share of a step from slices of the reference, in the median of its pixels, would be a blend of two of them …"""
_ISOTROPIC = 2.5
"""… which counts where the reference's step is more than this many pixels."""
_THICKER, _THINNER = 1.3, 0.75
"""Slice thickness of the reference over that of the fast scan: above the first it's refused, below the second slices are averaged."""
_MISSING = 0.1
"""Weight that slices may have which are not there; the others take it over."""
_MOST_TILT_DEG = 20.0


@dataclass(frozen=True, kw_only=True)
class Blend:
    """What a slice of the fast scan is made of."""

    weights: dict[int, Array]
    """Slice of the reference → weight, (row, column) or (1, 1)."""
    covered: Mask
    """(row, column): pixels whose slices are all there."""
    how: str = ""
    """What was done between slices; empty when one slice shows it."""


@dataclass(frozen=True, kw_only=True)
class Through:
    """The stack of a reference seen along its normal."""

    geometry: Geometry
    own_mm: float
    """Thickness of its slices."""
    wanted_mm: float
    """Thickness of the fast scan's."""
    slots: Slots | None = field(default=None)
    """None when the stack is irregular: then only slices that lie on each other are matched."""

    @property
    def averages(self) -> bool:
        """Whether slices of the reference are so thin that they are averaged."""
        return self.own_mm < _THINNER * self.wanted_mm

    def blend(self, height_mm: Array) -> Blend | str:
        """Return what makes up a slice whose pixels lie at `height_mm` (row, column) along the normal, or why nothing does.

        Notes
        -----
        Cubic convolution over four slices (Keys, IEEE Trans. Acoust. 29:1153 (1981), a = −½), or the mean over the fast scan's thickness.
        """
        corners = height_mm[np.ix_([0, -1], [0, -1])]
        off = np.abs(self.geometry.coordinates_mm[:, None, None] - corners).max(axis=(1, 2))
        nearest = int(np.argmin(off))
        if not self.averages and off[nearest] <= _SAME_SLICE * min(self.own_mm, self.wanted_mm):
            return Blend(weights={nearest: np.ones((1, 1))}, covered=np.ones(height_mm.shape, np.bool_))
        if self.slots is None:
            return "the reference has no slice there, and its stack is too irregular to read between slices"
        place, n = (height_mm - self.slots.first_mm) / self.slots.step_mm, len(self.slots.of_slot)
        width = self.wanted_mm / self.slots.step_mm if self.averages else 1.0
        by_slot = _box(place, width, n) if self.averages else _keys(place, n)
        covered = (place >= width / 2 - 1) & (place <= n - width / 2)
        weights: dict[int, Array] = {}
        there = np.zeros(place.shape)
        for slot, weight in by_slot.items():
            index = self.slots.of_slot[slot]
            if index is not None:
                weights[index] = weight
                there += weight
        covered &= np.abs(1 - there) <= _MISSING
        if not covered.any():
            return "the reference has no slice there"
        apart = float(np.median(np.abs(place - np.rint(place))[covered]))
        if not self.averages and apart > _BETWEEN and self.slots.step_mm > _ISOTROPIC * max(self.geometry.spacing_mm):
            return "it lies between two slices of the reference"
        there = np.where(covered, there, 1)
        how = f"mean over {self.wanted_mm:.1f} mm" if self.averages else "cubic between slices"
        return Blend(weights={index: weight / there for index, weight in weights.items()}, covered=covered, how=how)


def through(geometry: Geometry, onto: Geometry, cosine: float) -> Through:
    """Return the stack of a reference, ready to be read for a fast scan.

    Parameters
    ----------
    geometry, onto
        Of the reference; of the fast scan.
    cosine
        Between the normals of the two.

    Raises
    ------
    DataError
        The reference's slices are too thick or too tilted to show what the fast scan's show.
    """
    tilt = float(np.degrees(np.arccos(np.clip(abs(cosine), 0, 1))))
    if tilt > _MOST_TILT_DEG:
        raise DataError(f"slices of the reference are tilted by {tilt:.0f}° against those of the fast scan: none shows the same")
    own, wanted = (one.slice_thickness_mm or one.step_mm for one in (geometry, onto))
    own, wanted = own or wanted or 1.0, wanted or own or 1.0
    if own > _THICKER * wanted:
        raise DataError(f"slices of the reference are {own:.1f} mm thick, those of the fast scan {wanted:.1f} mm: it shows less detail")
    try:
        regular = slots(geometry)
    except DataError:
        regular = None
    return Through(geometry=geometry, own_mm=own, wanted_mm=wanted, slots=regular)


def _keys(place: Array, n: int) -> dict[int, Array]:
    """Return slot → weight (row, column) of cubic convolution at fractional slots; beyond the first and last slot these are repeated."""
    found: dict[int, Array] = {}
    clipped = np.clip(place, 0, n - 1)
    for slot in range(int(np.floor(clipped.min())) - 1, int(np.ceil(clipped.max())) + 2):
        x = np.abs(clipped - slot)
        weight = np.where(x < 1, (1.5 * x - 2.5) * x**2 + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0.0))
        if weight.any():
            inner = min(max(slot, 0), n - 1)
            found[inner] = found[inner] + weight if inner in found else weight
    return found


def _box(place: Array, width: float, n: int) -> dict[int, Array]:
    """Return slot → weight (row, column) of the mean over `width` slots around fractional ones."""
    found: dict[int, Array] = {}
    low, high = place - width / 2, place + width / 2
    for slot in range(max(0, int(np.floor(low.min()))), min(n - 1, int(np.ceil(high.max()))) + 1):
        overlap = np.clip(np.minimum(high, slot + 0.5) - np.maximum(low, slot - 0.5), 0, None)
        if overlap.any():
            found[slot] = overlap / width
    return found
