"""Where the brain is on axial head slices: thresholds and morphology, slice by slice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from onenex.evaluate.metrics import SMOOTHING_PIXELS, Mask
from onenex.series import FloatImages

Slice = NDArray[np.bool_]
"""(row, column)."""

HEAD_LEVEL = 0.25
"""Of Otsu's threshold, half of what `metrics.foreground` asks for: on some sequences the scalp is far darker than the brain."""
CONCAVE, SCALP, NECK, GULF = 0.25, 0.08, 0.06, 0.12
"""In radii of the head (about 85 mm in adults), for many files say nothing of their pixel size: how deep a notch of the head is filled;
what is cut off all around; half the width that a tongue of tissue must have to survive; half the width of gulfs that are filled.
Chosen by eye on the heads of the training split, like the next three."""
BONE_LEVEL = 0.5
"""Of the median inside the head: what is darker is bone, or fluid, which is filled in again."""
FAT_LEVEL, FAT_PERCENTILE = 1.45, 70
"""On sequences on which white matter is brighter than everything but fat: what is that much above the percentile is fat."""
LEAST_PART = 0.2
"""Of the largest part of the brain in its slice: hemispheres count, most muscles don't."""
LEAST_PIXELS = 1000
"""Of a head in one slice, scalp cut off."""


def brain_mask(images: FloatImages, *, bright_fat: bool = False) -> Mask:
    """Return about where the brain is on each axial slice.

    The scalp is cut off, bone told by its darkness, thin bridges opened, large parts kept and grown back, sulci and ventricles
    filled. At the base of the skull eyes may stay in; sagittal and coronal slices, with face and neck, are beyond it. It is meant
    for the reference, whose mask then serves all images of the stack: Dice then speaks of tissues, not of how a skull was stripped
    under noise.

    Parameters
    ----------
    images
        (slice, row, column), axial, any unit.
    bright_fat
        Whether fat is the brightest tissue by far, as on T1-weighted images: then what outshines the brain is cut off as well.

    Returns
    -------
    Mask
        Same shape; empty on slices where no brain was found.
    """
    blurred = ndimage.gaussian_filter(images, (0, SMOOTHING_PIXELS, SMOOTHING_PIXELS))
    if blurred.max() - blurred.min() <= 1e-6 * abs(float(blurred.max())):
        return np.zeros(images.shape, dtype=np.bool_)
    heads = blurred > HEAD_LEVEL * threshold_otsu(np.minimum(blurred, np.percentile(blurred, 99.5)))
    return np.stack([_brain(image, ndimage.binary_opening(head), bright_fat) for image, head in zip(images, heads, strict=True)])


def _brain(image: FloatImages, tissue: Slice, bright_fat: bool) -> Slice:
    head = _largest(ndimage.binary_fill_holes(tissue))
    head = ndimage.binary_fill_holes(_closed(head, CONCAVE * _radius(head)))
    radius = _radius(head)
    inside = _eroded(head, SCALP * radius)
    if inside.sum() < LEAST_PIXELS:
        return np.zeros_like(inside)
    blurred = ndimage.gaussian_filter(image, radius / 100)
    soft = inside & (blurred > BONE_LEVEL * np.median(blurred[inside]))
    if bright_fat:
        soft &= blurred < FAT_LEVEL * np.percentile(blurred[inside], FAT_PERCENTILE)
    parts, n_parts = ndimage.label(_eroded(soft, NECK * radius))
    if n_parts == 0:
        return np.zeros_like(inside)
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    grown = _dilated((areas >= LEAST_PART * areas.max())[parts] & (parts > 0), 1.1 * NECK * radius) & soft
    return np.asarray(ndimage.binary_fill_holes(_closed(grown, GULF * radius)) & inside)


def core(mask: Mask, margin: float = 0.03) -> Mask:
    """Return a mask (slice, row, column) less a rim of `margin` of its radius, slice by slice."""
    return np.stack([_eroded(one, margin * _radius(one)) for one in mask])


def _radius(shape: Slice) -> float:
    """Return the radius of a disc of the same area, pixels."""
    return float(np.sqrt(shape.sum() / np.pi))


def _eroded(shape: Slice, radius: float) -> Slice:
    """Erode by a disc; beyond the edge of the image nothing belongs to the shape."""
    return np.asarray(ndimage.distance_transform_edt(np.pad(shape, 1))[1:-1, 1:-1] > radius)


def _dilated(shape: Slice, radius: float) -> Slice:
    return np.asarray(ndimage.distance_transform_edt(~shape) <= radius) if shape.any() else shape


def _closed(shape: Slice, radius: float) -> Slice:
    margin = int(radius) + 2
    return _eroded(_dilated(np.pad(shape, margin), radius), radius)[margin:-margin, margin:-margin]


def _largest(shape: Slice) -> Slice:
    parts, n_parts = ndimage.label(shape)
    return np.asarray(parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])) if n_parts else shape
