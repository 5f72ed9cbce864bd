"""What every evaluation is made of: whole scans in units of the series scale with their foreground, groups of repeats, slices spread evenly."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onenex.evaluate import metrics
from onenex.physics.scale import series_scale
from onenex.scans import ScanInfo, load_images
from onenex.series import FloatImages

MAX_NEX = 3
"""Repeats: inputs of 1 to this many averages, as long as two repeats more than that are there."""
PIXELS = 256 * 256
"""Of the slice that counts as one."""
LEAST_FOREGROUND = 0.02
"""Share of a slice that must be tissue for it to be chosen."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Clean:
    """Slices of a clean file."""

    images: FloatImages
    """(slice, row, column), units of the series scale."""
    mask: metrics.Mask
    """(slice, row, column), foreground without saturated pixels."""


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Slices of a file of repeats."""

    images: FloatImages
    """(slice, repeat, row, column), units of the series scale."""
    mask: metrics.Mask
    """(slice, row, column), foreground without pixels that are saturated in any repeat."""

    @property
    def n_others(self) -> int:
        """Repeats besides the one that is shown."""
        return int(self.images.shape[1]) - 1


def clean_scan(info: ScanInfo) -> Clean:
    """Load all slices of a clean file."""
    images = load_images(info)
    scaled = images / np.float32(series_scale([images]))
    return Clean(images=scaled, mask=metrics.foreground(scaled) & ~metrics.saturated(images))


def repeated_scan(info: ScanInfo, n_slices: int | None = None) -> Repeats:
    """Load a file of repeats, all slices or the first ones; the scale is that of all."""
    images = load_images(info)
    scaled = images[:n_slices] / np.float32(series_scale([images.mean(axis=1)]))
    mask = metrics.foreground(scaled.mean(axis=1)) & ~metrics.saturated(images)[:n_slices].any(axis=1)
    return Repeats(images=scaled, mask=mask)


def sizes_of_means(n_repeats: int) -> list[int]:
    """Return how many repeats inputs are means of: one, and up to `MAX_NEX` where enough are left for a reference."""
    return [nex for nex in range(1, MAX_NEX + 1) if nex == 1 or n_repeats >= nex + 2]


def groups_of(n_repeats: int, nex: int, at_most: int | None = None) -> list[metrics.Group]:
    """Part the repeats into groups of `nex`, the first `at_most` of them."""
    return [tuple(range(first, first + nex)) for first in range(0, n_repeats - nex + 1, nex)][:at_most]


def slices_per_volume(info: ScanInfo) -> int:
    """Return how many adjacent slices make one volume: all, unless the note says "N slices per direction"."""
    found = re.search(r"(\d+) slices per direction", info.note)
    return int(found.group(1)) if found else info.n_slices


def showing(mask: metrics.Mask) -> Indices:
    """Return the slices of a foreground (slice, row, column) that show something."""
    return np.flatnonzero(mask.mean(axis=(1, 2)) >= LEAST_FOREGROUND)


def spread_evenly(slices: Indices, worth: int, pixels: int) -> Indices:
    """Return as many of some slices as `worth` slices of `PIXELS` have pixels, at least one, spread evenly; a slice here has `pixels`."""
    n = max(1, worth * PIXELS // pixels)
    return slices if len(slices) <= n else slices[((np.arange(n) + 0.5) * len(slices) / n).astype(np.int64)]
