"""Width of edges and places of holes of the acceptance phantom, before and after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onenex.evaluate.acceptance import layouts, phantom
from onenex.evaluate.acceptance.phantom import BODY, Disc
from onenex.evaluate.acceptance.records import Check, Measured, Stack
from onenex.evaluate.acceptance.signal import distance, standard_error
from onenex.series import FloatImages

Values = NDArray[np.float64]

WIDTH_LIMIT = 0.05
SHIFT_LIMIT = 0.1
"""Pixels."""
EDGE_REACH = 5.0
"""Pixels to either side of an edge that count."""
STEP, BANDWIDTH = 0.1, 0.3
"""Distance of the points of an edge profile and width of the local fit at each, pixels."""
POINT_HALF_SIDE = 8
"""Half side of the square in which a hole is looked for, pixels."""
_OUTLINE = (Disc(row=BODY.row, column=BODY.column, radius=BODY.radius, signal=BODY.signal),)


def edge_width(image: FloatImages, discs: Sequence[Disc]) -> float:
    """Return the full width at half maximum, pixels, of the line spread function across the edges of discs of one step.

    Parameters
    ----------
    image
        (row, column) with the coil's shading, which is taken out.
    discs
        Whose edges: their pixels make one profile by distance from the edge. It is differentiated by local straight lines.

    Source
    ------
    Richard et al., Med. Phys. 39:4115 (2012): the edge of a cylinder by radius, which gives resolution at the contrast of that cylinder.
    """
    flat = image / phantom.coil_shading()
    places, values = [], []
    for disc in discs:
        place = distance(disc.row, disc.column) - disc.radius
        near = np.abs(place) < EDGE_REACH
        places.append(place[near])
        values.append(flat[near] / disc.signal)
    return _half_width(*_slopes(np.concatenate(places), np.concatenate(values)))


def _slopes(place: Values, value: Values) -> tuple[Values, Values]:
    """Return points along a profile and its downward slope there, by local linear regression."""
    grid = np.arange(-EDGE_REACH + 1, EDGE_REACH - 1 + STEP / 2, STEP)
    offset = place[None, :] - grid[:, None]
    weight = np.exp(-np.square(offset / BANDWIDTH) / 2)
    n, first, second = weight.sum(axis=1), (weight * offset).sum(axis=1), (weight * offset**2).sum(axis=1)
    total, moment = weight @ value, (weight * offset) @ value
    return np.asarray(grid), np.asarray(-(n * moment - first * total) / (n * second - first**2))


def _half_width(grid: Values, slope: Values) -> float:
    """Return the width of the peak of `slope` at half its height, the crossings interpolated; NaN where it has no such width."""
    top = int(np.argmax(np.where(np.abs(grid) < EDGE_REACH / 2, slope, -np.inf)))
    half = slope[top] / 2
    left, right = np.flatnonzero(slope[: top + 1] <= half), np.flatnonzero(slope[top:] <= half)
    if half <= 0 or not len(left) or not len(right):
        return float("nan")
    a, b = int(left[-1]), top + int(right[0])
    low = grid[a] + STEP * (half - slope[a]) / (slope[a + 1] - slope[a])
    high = grid[b] - STEP * (half - slope[b]) / (slope[b - 1] - slope[b])
    return float(high - low)


def edge_check(stacks: list[Stack], *, name: str, steps: Sequence[float], outline: bool) -> Check:
    """Ask whether edges of some steps, and the container's outline, are wider than in the noise-free scan."""
    groups = {f"step {step:+g}": tuple(layouts.cylinders(step)) for step in steps} | ({"outline": _OUTLINE} if outline else {})
    measured = []
    for stack in stacks:
        for label, discs in groups.items():
            clean = edge_width(stack.clean, discs)
            value = edge_width(stack.after.mean(axis=0), discs) / clean - 1
            spread = standard_error(np.array([edge_width(image, discs) / clean for image in stack.after]))
            text = f"{clean:.2f} → {clean * (1 + value):.2f} pixels ({value:+.1%} ± {spread:.1%})"
            measured.append(Measured(label=f"σ {stack.sigma:g}, {label}", value=value, spread=spread, margin=WIDTH_LIMIT - value, text=text))
    return Check(
        name=name,
        asks="Are edges as sharp as in the same scan without noise (full width at half maximum of the line spread function)?",
        limit=f"≤ {WIDTH_LIMIT:+.0%}",
        source="circular edge by contrast: Richard et al. 2012; sharpness of boundaries: FDA 510(k) K191688; no published limit",
        measured=tuple(measured),
    )


def displacement(image: FloatImages, clean: FloatImages, point: Disc) -> tuple[float, float]:
    """Return how far (rows, columns) a hole of `image` lies from where it is in `clean`, pixels.

    Least squares of the known profile, its two slopes and a constant: as a centroid, but without the far field's noise. Right for shifts
    well below a pixel.
    """
    row, column = round(point.row), round(point.column)
    reach = POINT_HALF_SIDE + 1
    window = np.s_[row - POINT_HALF_SIDE : row + reach, column - POINT_HALF_SIDE : column + reach]
    wider = clean[row - reach : row + reach + 1, column - reach : column + reach + 1].astype(np.float64)
    slopes = [slope[1:-1, 1:-1] for slope in np.gradient(wider)]
    terms = np.stack([wider[1:-1, 1:-1], *slopes, np.ones_like(slopes[0])])
    found = np.linalg.lstsq(terms.reshape(4, -1).T, image[window].astype(np.float64).ravel(), rcond=None)[0]
    return float(-found[1] / found[0]), float(-found[2] / found[0])


def _places(images: FloatImages, clean: FloatImages) -> Values:
    """Return the displacements of all holes in all scans, (scan, hole, (row, column))."""
    return np.array([[displacement(image, clean, point) for point in layouts.points()] for image in images])


def off_course(after: Values, before: Values) -> Values:
    """Return how far displacements (…, (row, column)) are from the straight way between the true place (0) and that in the scan before.

    Noise moves what a scan shows of a hole (0.1 pixels at σ 0.1). A denoiser may leave that or take it away; what is off this way it has done itself.
    """
    along = (after * before).sum(axis=-1) / np.maximum(np.square(before).sum(axis=-1), 1e-12)
    nearest = np.clip(along, 0, 1)[..., None] * before
    return np.asarray(np.hypot(*np.moveaxis(after - nearest, -1, 0)))


def geometry_check(grids: list[Stack]) -> Check:
    """Ask whether denoising moves the holes of the grid, in any scan."""
    measured = []
    for stack in grids:
        after, before = (_places(images, stack.clean) for images in (stack.after, stack.before))
        moved = off_course(after, before)
        value, spread = float(moved.max()), standard_error(moved.max(axis=1))
        together = float(np.hypot(*(after - before).mean(axis=(0, 1))))
        text = f"largest of {moved.shape[1]} points in {moved.shape[0]} scans {value:.3f} ± {spread:.3f} pixels; all together {together:.3f}"
        measured.append(Measured(label=f"σ {stack.sigma:g}", value=value, spread=spread, margin=SHIFT_LIMIT - value, text=text))
    return Check(
        name="geometry",
        asks="Does any point of any scan move away from where it is or was seen before?",
        limit=f"≤ {SHIFT_LIMIT:g} pixels",
        source="known points: ACR Large Phantom Guidance (geometric accuracy), NEMA MS 2-2008; the limit is ours and far stricter",
        measured=tuple(measured),
    )
