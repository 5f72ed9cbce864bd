"""What tells a pair from two scans that are none: how alike they are, what is left of a motion, how clipped each is.

All images are (slice, row, column); those of `Aligned` are in units of the fast scan's series scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from onenex.physics.scale import series_scale
from onenex.series import FloatImages

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

_FOREGROUND = 0.1
_SMOOTH = 1.5
"""Pixels, standard deviation of the Gaussian against noise before brightness is compared."""
_FINE, _COARSE = 1.0, 4.0
"""Pixels: structure is what a Gaussian of the first leaves and one of the second takes away."""
_BINS = 32
_SHARES = 16
"""Of the pixels, by brightness, through whose medians the line of intensities is drawn."""
_BLOCK, _BLOCKS = 48, 5
"""Side of the squares in which shifts are looked for: so many pixels, or so many squares along the matrix where that's more."""
_FARTHEST = 8
"""Pixels, largest shift looked for; a quarter of smaller blocks."""
_SURE = 0.5
"""Correlation at its peak from which the shift of a block counts."""
LEAST_PIXELS = 100
"""Pixels without which nothing is read from a slice."""
_SATURATED = 0.999


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """A pair, ready to be measured."""

    fast: Array
    reference: Array
    """In the brightness of the fast scan."""
    mask: Mask
    """Foreground of both, where the reference covers the fast scan."""
    gain: float
    """Fast scan's unit over the reference's, as both came."""
    gains: tuple[float, ...]
    """Of each slice; NaN where nothing is bright."""
    scale: float
    """Series scale of the fast scan, its unit."""


def align(fast: FloatImages, reference: FloatImages, inside: Mask | None = None) -> Aligned:
    """Bring a reference to the brightness of the fast scan, by one number for the series.

    That is the median ratio in the brighter half of the foreground, both smoothed: there the Rician floor weighs little. As
    `physics.scale.brightness`. There is no offset: a magnitude's zero is the same on every scan.
    """
    scales = series_scale([fast]), series_scale([reference])
    first, second = np.float32(1 / scales[0]) * fast, np.float32(1 / scales[1]) * reference
    smooth = [ndimage.gaussian_filter(images, (0, _SMOOTH, _SMOOTH)) for images in (first, second)]
    mask = (smooth[0] > _FOREGROUND) & (smooth[1] > _FOREGROUND)
    if inside is not None:
        mask &= ndimage.binary_erosion(inside, np.ones((1, 3, 3), np.bool_), iterations=3, border_value=1)
    if mask.sum() < LEAST_PIXELS:
        return Aligned(fast=first, reference=second, mask=mask, gain=scales[0] / scales[1], gains=(np.nan,) * len(fast), scale=scales[0])
    gain = _ratio(smooth[0], smooth[1], mask)
    gains = tuple(_ratio(one, other, few) / gain for one, other, few in zip(*smooth, mask, strict=True))
    return Aligned(
        fast=first, reference=np.float32(gain) * second, mask=mask, gain=gain * scales[0] / scales[1], gains=gains, scale=scales[0]
    )  # fmt: skip


def _ratio(first: Array, second: Array, mask: Mask) -> float:
    """Return the median ratio of two smoothed images in the brighter half of `mask`; NaN where that's next to nothing."""
    if mask.sum() < LEAST_PIXELS:
        return float("nan")
    bright = mask & (second >= np.median(second[mask]))
    return float(np.median(first[bright] / second[bright]))


def mutual_information(images: tuple[Array, Array], mask: Mask) -> float:
    """Return the normalised mutual information (H(A) + H(B)) / H(A, B), 1…2, inside `mask`.

    Source
    ------
    Studholme, Hill & Hawkes, Pattern Recognit. 32:71 (1999); `_BINS` bins from the 0.5th to the 99.5th percentile of each.
    """
    values = [one[mask] for one in images]
    if values[0].size < 2:
        return 1.0
    codes = []
    for one in values:
        low, high = np.percentile(one, (0.5, 99.5))
        codes.append(np.clip((one - low) / max(high - low, 1e-9) * _BINS, 0, _BINS - 1).astype(np.intp))
    joint = np.bincount(codes[0] * _BINS + codes[1], minlength=_BINS**2).reshape(_BINS, _BINS) / values[0].size
    both = _entropy(joint.ravel())
    return (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / both if both > 0 else 1.0


def _entropy(shares: NDArray[np.float64]) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log(some)).sum())


def smoothed(images: Array) -> Array:
    """Return a stack smoothed against noise."""
    return np.asarray(ndimage.gaussian_filter(images, (0, _SMOOTH, _SMOOTH)), np.float32)


def band(images: Array) -> Array:
    """Return the structure of a stack: edges and texture of a few pixels."""
    fine, coarse = (ndimage.gaussian_filter(images, (0, width, width)) for width in (_FINE, _COARSE))
    return np.asarray(fine - coarse, np.float32)


NOISE_IN_BAND = (1 / (4 * np.pi)) * (1 / _FINE**2 + 1 / _COARSE**2 - 4 / (_FINE**2 + _COARSE**2))
NOISE_SMOOTHED = 1 / (4 * np.pi * _SMOOTH**2)
"""Variance that white noise of variance 1 has in `band`, and in `smoothed`."""


def correlation(images: tuple[Array, Array], mask: Mask, noise_variances: tuple[float, float] = (0.0, 0.0)) -> float:
    """Return the correlation of two images inside `mask` as it would be without noise, about −1…1; 0 where nothing varies.

    Parameters
    ----------
    images
        Fast scan and reference, one shape.
    noise_variances
        What noise adds to the variance of each.

    Source
    ------
    Spearman, Am. J. Psychol. 15:72 (1904): Pearson's r over the roots of both reliabilities. These count as at least 0.2.
    """
    a, b = (one[mask].astype(np.float64) for one in images)
    if a.size < 2:
        return 0.0
    totals = float(a.var()), float(b.var())
    if min(totals) < 1e-12:
        return 0.0
    true = [max(total - max(own, 0), 0.2 * total) for total, own in zip(totals, noise_variances, strict=True)]
    return float(np.mean((a - a.mean()) * (b - b.mean()))) / float(np.sqrt(true[0] * true[1]))


def shifts(bands: tuple[Array, Array], mask: Mask) -> NDArray[np.float64]:
    """Return the shifts (block, 2), rows and columns in pixels, of blocks of one slice of the reference against the fast scan.

    Only blocks that lie mostly in the foreground and whose peak is sure have a row here.

    Parameters
    ----------
    bands
        (row, column) structures of the two.
    mask
        (row, column).
    """
    side = min(max(_BLOCK, min(mask.shape) // _BLOCKS), *mask.shape)
    places = [
        np.s_[top : top + side, left : left + side]
        for top in range(0, mask.shape[0] - side + 1, max(1, side // 2))
        for left in range(0, mask.shape[1] - side + 1, max(1, side // 2))
        if mask[top : top + side, left : left + side].mean() > 0.4
    ]
    if not places:
        return np.zeros((0, 2))
    window = np.outer(*[np.hanning(side + 2)[1:-1]] * 2)
    rim = min(_FARTHEST, side // 4) + 1
    size = fft.next_fast_len(side + 2 * rim, real=True)
    blocks = [np.stack([image[place] for place in places]) * window for image in bands]
    spectra = [fft.rfft2(one, (size, size)) for one in blocks]
    overlap = _near(fft.irfft2(np.abs(fft.rfft2(window, (size, size))) ** 2, (size, size))[None], rim)
    norms = np.sqrt(np.square(blocks[0]).sum(axis=(1, 2)) * np.square(blocks[1]).sum(axis=(1, 2)))
    surfaces = _near(fft.irfft2(np.conj(spectra[0]) * spectra[1], (size, size)), rim) * (overlap.max() / overlap)
    surfaces /= np.maximum(norms, 1e-12)[:, None, None]
    return np.array([found for one in surfaces if (found := _peak(one)) is not None]).reshape(-1, 2)


def _near(surfaces: NDArray[np.float64], rim: int) -> NDArray[np.float64]:
    """Return the lags up to `rim` of correlations (n, row, column), with zero in the middle."""
    return np.asarray(np.roll(surfaces, (rim, rim), axis=(1, 2))[:, : 2 * rim + 1, : 2 * rim + 1])


_NEIGHBOURS = np.array([(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)], dtype=np.float64)
_QUADRATIC = np.linalg.pinv(np.stack([np.ones(9), *_NEIGHBOURS.T, *np.square(_NEIGHBOURS).T, _NEIGHBOURS.prod(axis=1)], axis=1))
"""(6, 9): 3 × 3 values → the quadratic through them: 1, r, c, r², c², rc."""


def _peak(surface: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return where a correlation (odd square, zero shift in its middle) peaks, by a quadratic; None when low, flat or at the rim."""
    row, column = (int(k) for k in np.unravel_index(int(np.argmax(surface)), surface.shape))
    middle = len(surface) // 2
    if surface[row, column] < _SURE or not (0 < row < len(surface) - 1 and 0 < column < len(surface) - 1):
        return None
    _, r, c, rr, cc, rc = _QUADRATIC @ surface[row - 1 : row + 2, column - 1 : column + 2].ravel()
    determinant = 4 * rr * cc - rc**2
    if rr >= 0 or determinant <= 0:
        return None
    off = np.clip([(rc * c - 2 * cc * r) / determinant, (rc * r - 2 * rr * c) / determinant], -1, 1)
    return float(row - middle + off[0]), float(column - middle + off[1])


def line(smooth: tuple[Array, Array], mask: Mask) -> tuple[float, float]:
    """Return (slope, offset) of the line from the reference's brightness to the fast scan's, through the medians of equal shares of pixels.

    A pair's is near (1, 0); another contrast bends it. (0, 0) where there is too little to see.

    Parameters
    ----------
    smooth
        Fast scan and reference, smoothed against noise.
    """
    y, x = (images[mask].astype(np.float64) for images in smooth)
    if x.size < 10 * _SHARES or np.ptp(x) < 1e-6:
        return 0.0, 0.0
    parts = np.array_split(np.argsort(x, kind="stable"), _SHARES)
    slope, offset = np.polyfit([np.median(x[part]) for part in parts], [np.median(y[part]) for part in parts], 1)
    return float(slope), float(offset)


def clipped(images: FloatImages) -> float:
    """Return the share 0…1 of a stack's foreground that is saturated: as bright as its brightest pixel, if more than one is."""
    top = float(images.max(initial=0))
    bright = int((images >= _SATURATED * top).sum()) if top > 0 else 0
    inside = int((images > _FOREGROUND * top).sum())
    return bright / inside if bright > 1 and inside else 0.0
