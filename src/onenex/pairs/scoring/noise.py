"""Which scan of a pair is the noisier: read from the finest detail that was measured, and from that of their difference."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from onenex.pairs.scoring.scores import LEAST_PIXELS, Aligned, Array, Mask
from onenex.physics.estimate import local_sigma

_MIDDLE = (0.15, 0.45)
"""Shares of Nyquist across a profile of k-space: less there is mostly anatomy, more may be empty."""
_FALL = 0.2
"""Power behind a cliff over that before it, at most. Scans filled with zeros have 0.17 and less, others 0.28 and more."""
_LOWEST = 0.35
"""Share of Nyquist from which cliffs are looked for."""
INNER = 0.75
"""Share of what was measured in which noise is compared: at its edge the two scans differ in sharpness before they differ in noise."""
_LEAST_SIDE = 40
"""Pixels: less is no picture."""


def as_measured(pair: Aligned, inner: float = 1.0) -> tuple[Aligned, tuple[float, float]]:
    """Return a pair on the matrix that both scans were measured on, and what share of rows and of columns that is.

    Scanners fill k-space with zeros for a larger matrix, and for fewer phase encodings. There is no noise there and no anatomy: pixels
    are then smaller than what they show, and their finest detail says nothing about which scan is the noisier, or how alike they are.
    """
    both = [_shares(images, pair.mask) for images in (pair.fast, pair.reference)]
    sizes = pair.mask.shape[1:]
    small = [max(round(inner * min(shares) * n), min(n, _LEAST_SIDE)) for n, *shares in zip(sizes, *both, strict=True)]
    if tuple(small) == sizes:
        return pair, (1.0, 1.0)
    index = [np.rint(np.arange(m) * n / m).astype(int) for n, m in zip(sizes, small, strict=True)]
    images = [_inner(one, (small[0], small[1])) for one in (pair.fast, pair.reference)]
    shown = replace(pair, fast=images[0], reference=images[1], mask=pair.mask[:, index[0][:, None], index[1]])
    return shown, (small[0] / sizes[0], small[1] / sizes[1])


def _shares(images: Array, mask: Mask) -> tuple[float, float]:
    """Return the share of k-space, along rows and along columns, beyond which a stack's power falls off a cliff; 1 where none is seen.

    Anatomy fades slowly and noise not at all. Only the foreground is looked at: a magnitude folds the noise of air outwards.
    """
    inside = ndimage.binary_erosion(mask, np.ones((1, 3, 3), np.bool_), iterations=3)
    window = ndimage.gaussian_filter(inside.astype(np.float32), (0, 3, 3))
    power = np.square(np.abs(fft.fft2(images * window))).sum(axis=0)
    rows, columns = (2 * np.abs(fft.fftfreq(n)) for n in power.shape)
    middle = [(one > _MIDDLE[0]) & (one < _MIDDLE[1]) for one in (rows, columns)]
    return _cliff(power[:, middle[1]].mean(axis=1), rows), _cliff(power[middle[0]].mean(axis=0), columns)


def _cliff(profile: NDArray[np.float64], frequency: NDArray[np.float64]) -> float:
    """Return where a profile of power over `frequency` (shares of Nyquist) falls below `_FALL` within a few hundredths."""
    found, least = 1.0, _FALL
    for cut in np.arange(_LOWEST, 0.95, 1 / len(profile)):
        below, above = (
            profile[(frequency > low) & (frequency < high)] for low, high in ((cut - 0.12, cut - 0.02), (cut + 0.02, cut + 0.12))
        )  # fmt: skip
        if below.size and above.size and above.mean() < least * below.mean():
            found, least = float(cut), float(above.mean() / below.mean())
    return found


def _inner(images: Array, shape: tuple[int, int]) -> Array:
    """Return images of the inner `shape` of their k-space; the first pixel stays where it is."""
    spectrum = fft.fft2(images)
    for axis, m in zip((1, 2), shape, strict=True):
        spectrum = np.take(spectrum, (np.arange(m) - m // 2) % images.shape[axis], axis=axis)
    spectrum = fft.ifftshift(spectrum, axes=(1, 2))
    return np.asarray(fft.ifft2(spectrum).real * (np.prod(shape) / np.prod(images.shape[1:])), np.float32)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Variances of the finest detail of a pair, units of the scale squared."""

    fast: float
    """Noise of the fast scan."""
    reference: float
    """Noise of the reference, as a fast scan would show it; it may come out below zero."""
    anatomy: float
    """What both show."""

    @property
    def ratio(self) -> float:
        """Noise of the reference over that of the fast scan, standard deviations; 1 when there is none in the fast scan.

        The reference has the benefit of the doubt: its anatomy may be sharper by 2.5 %.
        """
        return float(np.sqrt(max(self.reference - 0.05 * self.anatomy, 0) / self.fast)) if self.fast > 0 else 1.0

    def on(self, share: float) -> Noise:
        """Return the noise on a matrix of which that measured has `share` of the pixels: with white noise, in each pixel of it."""
        return Noise(fast=self.fast / share, reference=self.reference / share, anatomy=self.anatomy / share)


def noise(pair: Aligned, index: int | None = None) -> Noise:
    """Return the noise of both scans, from their finest detail away from edges (`physics.estimate.local_sigma`).

    The detail of either scan is noise and anatomy; in their difference the anatomy is gone. Of independent noises a, b and
    anatomy t the details say a + t, b + t and a + b: hence all three. Fine detail that only one scan shows counts as its noise.

    Parameters
    ----------
    index
        Of a slice; None = all of them.
    """
    found = []
    for k in range(len(pair.fast)) if index is None else (index,):
        plain = _plain(pair, k)
        trio = (pair.fast[k], pair.reference[k], pair.fast[k] - pair.reference[k])
        if plain.sum() >= LEAST_PIXELS:
            found.append([float(plain.sum()), *(_detail(image, plain) for image in trio)])
    if not found:
        return Noise(fast=0.0, reference=0.0, anatomy=0.0)
    table = np.asarray(found)
    fast, reference, difference = (float(value) for value in np.average(table[:, 1:], axis=0, weights=table[:, 0]))
    own = max((difference + fast - reference) / 2, 0.0)
    return Noise(fast=own, reference=(difference - fast + reference) / 2, anatomy=max(fast - own, 0.0))


def _detail(image: Array, plain: Mask) -> float:
    """Return the variance of the finest detail of an image (row, column) inside `plain`; `local_sigma` of single pixels is √(π/2) |detail|."""
    return float(np.mean(np.square(local_sigma(image, window=1)[plain]))) * 2 / np.pi


def _plain(pair: Aligned, k: int) -> Mask:
    """Return the third of the foreground of slice `k` that is farthest from edges, (row, column)."""
    slope = ndimage.gaussian_gradient_magnitude(pair.reference[k], 1.5)
    inside = ndimage.binary_erosion(pair.mask[k], iterations=3)
    return np.asarray(inside & (slope <= np.percentile(slope[inside], 33))) if inside.any() else inside
