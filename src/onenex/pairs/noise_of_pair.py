"""Which scan of a pair is the noisier: read from their finest detail, and from that of their difference."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, ndimage

from onenex.pairs.scores import LEAST_PIXELS, Aligned, Array, Mask
from onenex.physics.estimate import local_sigma

_OUTER, _MIDDLE, _EMPTY = 0.85, (0.4, 0.6), 0.05
"""Shares of Nyquist, and of the power in the middle that the outside of k-space has at least when it was measured."""


def coarse(pair: Aligned) -> Aligned:
    """Return a pair on half its matrix: the inner half of k-space.

    Scanners fill k-space with zeros for a larger matrix, and for fewer phase encodings: the outer half may hold no noise at all, and
    then says nothing about which scan has more of it.
    """
    small = [max(n // 2, 1) for n in pair.mask.shape[1:]]
    index = [np.rint(np.arange(m) * n / m).astype(int) for n, m in zip(pair.mask.shape[1:], small, strict=True)]
    images = [_inner(one, (small[0], small[1])) for one in (pair.fast, pair.reference)]
    return replace(pair, fast=images[0], reference=images[1], mask=pair.mask[:, index[0][:, None], index[1]])


def filled(images: Array) -> bool:
    """Return whether the outer k-space of a stack holds next to nothing, along its rows or its columns: zeros, or what a steep filter left."""
    power = np.square(np.abs(fft.fft2(images))).mean(axis=0)
    for axis in (0, 1):
        profile, frequency = power.mean(axis=1 - axis), 2 * np.abs(fft.fftfreq(power.shape[axis]))
        outer, middle = profile[frequency > _OUTER], profile[(frequency > _MIDDLE[0]) & (frequency < _MIDDLE[1])]
        if outer.size and middle.size and outer.mean() < _EMPTY * middle.mean():
            return True
    return False


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
