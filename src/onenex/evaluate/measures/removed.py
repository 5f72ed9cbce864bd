"""What a method removed (image − measured): does it show the edges of the reference, and are its pixels alike where noise's are not?"""

# shapes: N pixel, K pattern

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from onenex.evaluate.metrics import Mask

Image = NDArray[np.float32] | NDArray[np.float64]
"""(row, column)."""
Values = NDArray[np.float64]

FINE, COARSE = 1.0, 2.0
"""Gaussians under which the reference's edges are seen, pixels."""
EDGE_SHARE = 0.25
"""Share of a region's pixels, the steepest of the reference, that are edges."""
BLOCK = 16
"""Side of the blocks in which neighbouring pixels are compared, pixels."""
LEAST_SHARE = 0.5
"""Of a block: with fewer pixels in the region it says nothing."""
LEVELS = 8
"""Groups of edge pixels by the reference's brightness, in which the noise's bias is told."""
LEAST_PIXELS = 50
"""Edge pixels; fewer say nothing."""


@dataclass(frozen=True, kw_only=True)
class Patterns:
    """What damage to the edges of a reference slice would look like, in one region."""

    edges: Mask
    """(row, column), the steepest pixels."""
    patterns_NK: Values
    """Slopes along rows and columns (a shift), curvature at two widths (blur or sharpening); orthonormal over the edge pixels."""
    harmless_NK: Values
    """What isn't counted: a constant, and the bias of noise at each level of the reference (the Rician floor); orthonormal to all others."""


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Blocks of one region."""

    weight: Values
    """(block row, row, block column, column), 1 inside the region."""
    pixels: Values
    """(block row, block column), inside the region."""
    pairs: Values
    """Neighbours along rows or columns, both inside."""


def edge_patterns(reference: Image) -> tuple[Values, Values]:
    """Return the patterns (4, row, column) of a reference (row, column), and how steep it is (row, column)."""
    image = np.asarray(reference, dtype=np.float64)
    fine, coarse = (ndimage.gaussian_filter(image, width, truncate=3) for width in (FINE, COARSE))
    slopes = np.gradient(fine)
    return np.stack([*slopes, ndimage.laplace(fine), ndimage.laplace(coarse)]), np.hypot(*slopes)


def patterns(damage: Values, steepness: Values, region: Mask, levels: tuple[Image, Image]) -> Patterns | None:
    """Take from `edge_patterns` the edges of a region; None where it has too few.

    Parameters
    ----------
    damage, steepness
        Of `edge_patterns`.
    region
        (row, column).
    levels
        The reference and the measured image, (row, column) each: their mean difference at each level of the reference is the noise's bias.
    """
    n_pixels = int(region.sum())
    if n_pixels * EDGE_SHARE < LEAST_PIXELS:
        return None
    edges = region & (steepness >= np.quantile(steepness[region], 1 - EDGE_SHARE)) & (steepness > 0)
    n_edges = int(edges.sum())
    if n_edges < LEAST_PIXELS:
        return None
    reference, measured = (np.asarray(one[edges], dtype=np.float64) for one in levels)
    columns = np.column_stack([np.ones(n_edges), _level_bias(reference - measured, reference), *damage[:, edges]])
    columns /= np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    orthonormal, triangle = np.linalg.qr(columns)
    useful = np.abs(np.diag(triangle)) > 1e-6
    return Patterns(edges=edges, patterns_NK=orthonormal[:, 2:][:, useful[2:]], harmless_NK=orthonormal[:, :2][:, useful[:2]])


def edge_correlation(removed: Image, found: Patterns) -> float:
    """Return the multiple correlation, 0…1, of what was removed (row, column) with the patterns of damaged edges.

    0 for noise of any strength and colour, and where nothing was removed; 1 where nothing but detail was. What chance explains is
    taken off (adjusted R²).

    Source
    ------
    Method noise: Buades, Coll & Morel, Multiscale Model. Simul. 4:490 (2005), §2, looked at by regression instead of by eye.
    """
    values = np.asarray(removed[found.edges], dtype=np.float64)
    left = values - found.harmless_NK @ (found.harmless_NK.T @ values)
    total, n_patterns = float(np.square(left).sum()), found.patterns_NK.shape[1]
    if total <= 1e-12 * float(np.square(values).sum()) or n_patterns == 0:
        return 0.0
    explained = float(np.square(found.patterns_NK.T @ left).sum()) / total
    freedom = len(values) - found.harmless_NK.shape[1]
    adjusted = 1 - (1 - explained) * freedom / (freedom - n_patterns)
    return float(np.sqrt(np.clip(adjusted, 0, 1)))


def _level_bias(difference_N: Values, level_N: Values) -> Values:
    """Return the mean difference of pixels of like level, in `LEVELS` groups of equal size."""
    order = np.argsort(level_N)
    bias = np.empty_like(difference_N)
    for group in np.array_split(order, LEVELS):
        bias[group] = difference_N[group].mean()
    return bias


def blocks(region: Mask) -> Blocks:
    """Prepare a region (row, column) for `neighbour_correlation`."""
    weight = _parted(region)
    pixels = weight.sum(axis=(1, 3))
    pairs = (weight[:, :-1] * weight[:, 1:]).sum(axis=(1, 3)) + (weight[..., :-1] * weight[..., 1:]).sum(axis=(1, 3))
    return Blocks(weight=weight, pixels=pixels, pairs=pairs)


def neighbour_correlation(removed: Image, found: Blocks) -> float:
    """Return the correlation of neighbouring pixels of what was removed: the median over blocks, of rows and columns together.

    Each block loses its mean first. 0 for white noise (but for −1 / 256), positive for structure and for noise with colour, negative where the
    noise's coarse part was left in the image.

    Parameters
    ----------
    removed
        (row, column).
    found
        Of `blocks`.

    Returns
    -------
    float
        −1…1; NaN without a block that shows anything.
    """
    values = _parted(removed) * found.weight
    mean = values.sum(axis=(1, 3)) / np.maximum(found.pixels, 1)
    values = (values - mean[:, None, :, None]) * found.weight
    power = np.einsum("iajb,iajb->ij", values, values)
    seen = (found.pixels >= LEAST_SHARE * BLOCK**2) & (power > 0)
    if not seen.any():
        return float("nan")
    products = np.einsum("iajb,iajb->ij", values[:, :-1], values[:, 1:]) + np.einsum("iajb,iajb->ij", values[..., :-1], values[..., 1:])
    return float(np.median((products[seen] / found.pairs[seen]) / (power[seen] / found.pixels[seen])))


def _parted(image: Image | Mask) -> Values:
    """Return (block row, row, block column, column) of the whole blocks of an image."""
    rows, columns = (n // BLOCK for n in image.shape)
    return np.asarray(image[: rows * BLOCK, : columns * BLOCK], dtype=np.float64).reshape(rows, BLOCK, columns, BLOCK)
