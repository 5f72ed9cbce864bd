"""Contrast-to-noise ratio of the low-contrast discs, before and after."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from onenex.evaluate.acceptance import phantom
from onenex.evaluate.acceptance.layouts import Scan, Site
from onenex.evaluate.acceptance.records import Check, Measured, Stack
from onenex.evaluate.acceptance.signal import standard_error
from onenex.series import FloatImages

Values = NDArray[np.float64]

RING = (2.0, 5.0)
"""The ring around a disc that it is compared with: its inner and outer edge beyond the disc's, pixels."""
HALF_SIDE = 11
"""Half side of the square around a place that is looked at, and radius of the region in which noise is measured, pixels."""


def contrast_check(stacks: list[Stack]) -> Check:
    """Ask whether discs of any size and contrast stand out less from the noise than before.

    A disc's contrast is its mean less that of a ring around it, both less what the noise-free container has there; the noise is the
    standard deviation of the pixels at empty places of the same σ. The ratios are averaged over all scans of all σ.
    """
    found: dict[tuple[float, int], list[tuple[float, float]]] = {}
    container = np.abs(phantom.received(phantom.kspace_of([phantom.BODY])))
    for stack in stacks:
        noise = [pixel_noise(images, stack.scans, container) for images in (stack.before, stack.after)]
        for scan, before, after in zip(stack.scans, stack.before - container, stack.after - container, strict=True):
            for site in (one for one in scan.sites if one.rose):
                ratios = [np.sign(site.rose) * contrast(image, site) / level for image, level in zip((before, after), noise, strict=True)]
                found.setdefault((site.radius, round(abs(site.rose))), []).append((ratios[0], ratios[1]))
    return Check(
        name="low-contrast discs",
        asks="Does every disc stand out from the noise at least as far as before (contrast-to-noise ratio)?",
        limit="ratio not lower",
        source="discs as ACR's low-contrast insert; Rose, J. Opt. Soc. Am. 38:196 (1948)",
        measured=tuple(_compared(cell, rows) for cell, rows in sorted(found.items())),
    )


def contrast(image: FloatImages, site: Site) -> float:
    """Return the mean of a disc less that of the ring around it, in an image (row, column) with the container taken off."""
    seen, apart = around(image, site), _apart()
    ring = (apart > site.radius + RING[0]) & (apart < site.radius + RING[1])
    return float(seen[apart <= site.radius].mean() - seen[ring].mean())


def pixel_noise(images: FloatImages, scans: tuple[Scan, ...], container: Values) -> float:
    """Return the standard deviation of pixels (slice, row, column) around empty places, root mean square over them."""
    variances = [
        around(image - container, site)[_apart() < HALF_SIDE].var(ddof=1)
        for image, scan in zip(images, scans, strict=True)
        for site in scan.sites
        if not site.rose
    ]
    return max(float(np.sqrt(np.mean(variances))), 1e-9)


def around(image: Values | FloatImages, site: Site) -> Values | FloatImages:
    """Return the square of `HALF_SIDE` around a place of an image (row, column)."""
    return image[site.row - HALF_SIDE : site.row + HALF_SIDE + 1, site.column - HALF_SIDE : site.column + HALF_SIDE + 1]


@cache
def _apart() -> Values:
    """Return the distance of every pixel of such a square from its centre."""
    return np.asarray(np.hypot(*np.ogrid[-HALF_SIDE : HALF_SIDE + 1, -HALF_SIDE : HALF_SIDE + 1]))


def _compared(cell: tuple[float, int], rows: list[tuple[float, float]]) -> Measured:
    """Compare one cell before and after; `rows` are (ratio before, ratio after)."""
    before, after = (np.array([row[column] for row in rows]) for column in (0, 1))
    value, spread = float((after - before).mean()), standard_error(after - before)
    text = f"{before.mean():.2f} → {after.mean():.2f} ({value:+.2f} ± {spread:.2f})"
    return Measured(label=f"{2 * cell[0]:g} pixels wide, Rose {cell[1]}", value=value, spread=spread, margin=value, text=text)
