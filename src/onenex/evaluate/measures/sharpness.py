"""How wide edges are: strong straight edges of the reference, their mean profile in both images, an error function through each."""

# shapes: E edge, L line along the edge, T sample across it, G template, 4 parameters

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from onenex.evaluate.metrics import Mask

Image = NDArray[np.float32] | NDArray[np.float64]
"""(row, column)."""
Values = NDArray[np.float64]

REACH, STEP = 3.5, 0.5
"""Half length of a profile and distance of its samples, pixels."""
LINES = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Parallel profiles that are averaged, pixels along the edge."""
SMOOTHING = 1.0
"""Gaussian before gradients are looked at, pixels."""
APART = 5
"""Side of the neighbourhood in which only the steepest point is an edge, pixels."""
STRAIGHT = 0.92
"""Cosine of the most that the gradient may turn over `TURN` pixels along the edge, to either side."""
TURN = 3.0
MAX_CANDIDATES, MAX_EDGES = 200, 120
"""The steepest that are fitted in the reference, and the best of them that are kept."""
LEAST_EDGES = 10
"""With fewer there is no median worth reporting."""
LEAST_STEP = 0.08
"""Height of an edge in the reference, share of the data range."""
MISFIT = 0.08
"""Root mean square of what the error function misses in the reference, share of the height: more is no single edge."""
WIDEST = 6.0
"""FWHM in the reference, pixels: wider slopes are no edges, and don't fit into a profile."""
OFF_CENTRE = 1.0
"""Pixels between the steepest pixel and the centre of its edge, at most."""
FWHM = 2 * float(np.sqrt(2 * np.log(2)))
"""Full width at half maximum over standard deviation of a Gaussian."""
_WIDTHS, _CENTRES = np.geomspace(0.25, 4.0, 21), np.arange(-2.0, 2.01, 0.25)
_NARROWEST, _BROADEST, _FARTHEST = 0.15, 6.0, 2.5
_ITERATIONS = 8
_ALONG = np.arange(-REACH, REACH + STEP / 2, STEP)


@dataclass(frozen=True, kw_only=True)
class Edges:
    """Edges of a reference slice."""

    places: Values
    """(2, edge, line, sample): row and column of every sample, the middle one where the reference rises through its half."""
    fwhm_E: Values
    """Width of each in the reference, pixels."""
    height: float
    fwhm: float
    """Of their mean profile in the reference; NaN with fewer than `LEAST_EDGES`."""


@dataclass(frozen=True, kw_only=True)
class Sharpness:
    """Edges of an image beside those of its reference; NaN with fewer than `LEAST_EDGES`."""

    fwhm: float
    """Of the mean profile, pixels."""
    ratio: float
    """That over the reference's: 1 as sharp, more is blurred."""
    height_ratio: float
    """Height of the mean profile over the reference's: 1 as high, less is lost contrast or lost edges."""
    n_edges: int


@dataclass(frozen=True, kw_only=True)
class _Fit:
    height_E: Values
    centre_E: Values
    """Pixels from the middle of the profile."""
    fwhm_E: Values
    misfit_E: Values
    """Root mean square of the residual, unit of the profiles."""


def find_edges(reference: Image, mask: Mask, data_range: float) -> Edges:
    """Find strong, straight, single edges whose profiles lie wholly inside the mask.

    Only the reference decides, so every method is measured at the same places. The outline of the body is no edge here: the
    noise floor of air changes its profile.

    Parameters
    ----------
    reference, mask
        (row, column).
    data_range
        In the unit of the reference.
    """
    rows, columns, normals = _candidates(np.asarray(reference, dtype=np.float64), mask, LEAST_STEP * data_range)
    places = _places(rows, columns, normals)
    if not len(rows):
        return Edges(places=places, fwhm_E=np.zeros(0), height=float("nan"), fwhm=float("nan"))
    smooth = _interpolated(reference)
    found = _fit(_profiles(smooth, places))
    good = (found.height_E >= LEAST_STEP * data_range) & (found.misfit_E <= MISFIT * found.height_E) & (found.fwhm_E <= WIDEST)
    kept = np.flatnonzero(good & (np.abs(found.centre_E) <= OFF_CENTRE))[:MAX_EDGES]
    centred = places[:, kept] + (normals[:, kept] * found.centre_E[kept])[:, :, None, None]
    fwhm, height = _of_mean(smooth, centred)
    return Edges(places=centred, fwhm_E=found.fwhm_E[kept], fwhm=fwhm, height=height)


def sharpness(image: Image, edges: Edges) -> Sharpness:
    """Measure the edges of a reference in an image (row, column) of the same slice.

    The edge spread function is taken for an error function, b + a·½[1 + erf((t − c) / √2 s)], and its width is that of its
    derivative: FWHM = 2.355 s. It holds the width of a pixel, and in both images alike what is bent about the edges.

    Source
    ------
    The edge method of ISO 12233 and IEC 62220-1, with a parametric edge spread function in place of its numerical derivative, and
    edges that the anatomy offers.
    """
    fwhm, height = _of_mean(_interpolated(image), edges.places)
    return Sharpness(fwhm=fwhm, ratio=fwhm / edges.fwhm, height_ratio=height / edges.height, n_edges=len(edges.fwhm_E))


def _of_mean(coefficients: Values, places: Values) -> tuple[float, float]:
    """Return width and height of the mean profile. Noise averages out of it before the fit, which alone would take noise for steepness."""
    if places.shape[1] < LEAST_EDGES:
        return float("nan"), float("nan")
    found = _fit(_profiles(coefficients, places).mean(axis=0, keepdims=True))
    return float(found.fwhm_E[0]), float(found.height_E[0])


def _candidates(reference: Values, mask: Mask, least_step: float) -> tuple[Values, Values, Values]:
    """Return row, column and unit normal (2, E) of the steepest points, the steepest first."""
    slopes = np.stack(np.gradient(ndimage.gaussian_filter(reference, SMOOTHING, truncate=3)))
    steep = np.hypot(slopes[0], slopes[1])
    top = (steep == ndimage.maximum_filter(steep, APART)) & mask & (steep > least_step / (2 * WIDEST))
    rows, columns = np.nonzero(top)
    normals = slopes[:, rows, columns] / steep[rows, columns]
    good = np.ones(len(rows), dtype=np.bool_)
    for side in (-1.0, 1.0):
        good &= _holds(mask, rows + side * REACH * normals[0], columns + side * REACH * normals[1])
        there = _nearest(reference.shape, rows - side * TURN * normals[1], columns + side * TURN * normals[0])
        turned = (slopes[:, there[0], there[1]] * normals).sum(axis=0)
        good &= (turned >= STRAIGHT * steep[there]) & (turned >= steep[rows, columns] / 2)
    order = np.flatnonzero(good)
    order = order[np.argsort(-steep[rows[order], columns[order]], kind="stable")][:MAX_CANDIDATES]
    return rows[order].astype(np.float64), columns[order].astype(np.float64), normals[:, order]


def _holds(mask: Mask, rows: Values, columns: Values) -> Mask:
    """Return whether the mask holds at places, and these lie inside the slice."""
    inside = (rows >= 0) & (columns >= 0) & (rows <= mask.shape[0] - 1) & (columns <= mask.shape[1] - 1)
    return np.asarray(inside & mask[_nearest(mask.shape, rows, columns)])


def _nearest(shape: tuple[int, ...], rows: Values, columns: Values) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    row, column = (np.clip(np.rint(places), 0, n - 1).astype(np.int64) for places, n in zip((rows, columns), shape, strict=True))
    return row, column


def _places(rows: Values, columns: Values, normals: Values) -> Values:
    """Return (2, E, L, T): where the profiles of every edge are sampled."""
    centres = np.stack([rows, columns])[:, :, None, None]
    tangents = np.stack([-normals[1], normals[0]])
    return np.asarray(centres + normals[:, :, None, None] * _ALONG + tangents[:, :, None, None] * np.array(LINES)[:, None])


def _interpolated(image: Image) -> Values:
    """Return the coefficients of the cubic spline through an image."""
    return np.asarray(ndimage.spline_filter(np.asarray(image, dtype=np.float64), order=3, mode="mirror"))


def _profiles(coefficients: Values, places: Values) -> Values:
    """Return (E, T), the mean over the parallel lines."""
    sampled = ndimage.map_coordinates(coefficients, places, order=3, mode="mirror", prefilter=False)
    return np.asarray(sampled.mean(axis=1))


def _fit(profiles_ET: Values) -> _Fit:
    """Fit rising error functions: the best of a table of templates, then Levenberg–Marquardt on all profiles at once."""
    widths_G, centres_G, templates_GT = _templates()
    centred = profiles_ET - profiles_ET.mean(axis=1, keepdims=True)
    best_E = np.argmax(centred @ templates_GT.T, axis=1)
    centre, width = centres_G[best_E], widths_G[best_E]
    damping = np.full(len(best_E), 1e-3)
    error, height = _error(profiles_ET, centre, width)
    for _ in range(_ITERATIONS):
        step = _step(profiles_ET, centre, width, damping)
        new_centre = np.clip(centre + np.clip(step[:, 0], -0.5, 0.5), -_FARTHEST, _FARTHEST)
        new_width = np.clip(width * np.exp(np.clip(step[:, 1], -0.5, 0.5)), _NARROWEST, _BROADEST)
        new_error, new_height = _error(profiles_ET, new_centre, new_width)
        better = new_error < error
        centre, width = np.where(better, new_centre, centre), np.where(better, new_width, width)
        error, height = np.where(better, new_error, error), np.where(better, new_height, height)
        damping = np.where(better, damping / 5, damping * 10)
    return _Fit(height_E=height, centre_E=centre, fwhm_E=FWHM * width, misfit_E=np.sqrt(error / len(_ALONG)))


def _error(profiles_ET: Values, centre_E: Values, width_E: Values) -> tuple[Values, Values]:
    """Return the squared error and the height of the best edge with this centre and width; both are linear problems."""
    shape = special.ndtr((_ALONG - centre_E[:, None]) / width_E[:, None])
    shape = shape - shape.mean(axis=1, keepdims=True)
    centred = profiles_ET - profiles_ET.mean(axis=1, keepdims=True)
    height = (shape * centred).sum(axis=1) / np.maximum(np.square(shape).sum(axis=1), 1e-12)
    return np.square(centred - height[:, None] * shape).sum(axis=1), height


def _step(profiles_ET: Values, centre_E: Values, width_E: Values, damping_E: Values) -> Values:
    """Return (E, 2): change of centre and of log width, with offset and height free (variable projection, Kaufman's form)."""
    u = (_ALONG - centre_E[:, None]) / width_E[:, None]
    shape = special.ndtr(u)
    shape = shape - shape.mean(axis=1, keepdims=True)
    power = np.maximum(np.square(shape).sum(axis=1, keepdims=True), 1e-12)
    centred = profiles_ET - profiles_ET.mean(axis=1, keepdims=True)
    height = (shape * centred).sum(axis=1, keepdims=True) / power
    residual = centred - height * shape
    density = np.exp(-np.square(u) / 2) / np.sqrt(2 * np.pi)
    columns = np.stack([-height * density / width_E[:, None], -height * u * density], axis=1)
    columns = columns - columns.mean(axis=2, keepdims=True)
    columns = columns - (columns * shape[:, None]).sum(axis=2, keepdims=True) / power[:, None] * shape[:, None]
    normal = columns @ columns.transpose(0, 2, 1)
    diagonal = np.einsum("eii->ei", normal)
    normal = normal + (damping_E[:, None] * diagonal + 1e-12 + 1e-9 * np.square(height))[:, :, None] * np.eye(2)
    return np.asarray(np.linalg.solve(normal, (columns @ residual[:, :, None]))[:, :, 0])


@cache
def _templates() -> tuple[Values, Values, Values]:
    """Return width and centre of every template, and the templates (G, T) without mean, of unit length."""
    widths, centres = (grid.ravel() for grid in np.meshgrid(_WIDTHS, _CENTRES, indexing="ij"))
    shapes = special.ndtr((_ALONG - centres[:, None]) / widths[:, None])
    shapes -= shapes.mean(axis=1, keepdims=True)
    return widths, centres, shapes / np.linalg.norm(shapes, axis=1, keepdims=True)
