"""Fourier-ring correlation: up to which spatial frequency an image and its reference show the same."""

# shapes: R ring

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.signal.windows import tukey

from onenex.evaluate.metrics import Mask

Image = NDArray[np.float32] | NDArray[np.float64]
"""(row, column)."""
Values = NDArray[np.float64]

SEVENTH = 1 / 7
"""Rosenthal & Henderson's threshold for two images that are equally noisy."""
HALF = 0.5
"""The same signal-to-noise ratio, seen against a noise-free image: √(2C / (1 + C)) with C = 1/7."""
NYQUIST = 0.5
"""Cycles per pixel: the highest frequency there is along an axis."""
TAPER = 0.1
"""Share of the slice's side over which it fades out at each end."""
INSET, SOFT = 3, 2.0
"""Pixels taken off a mask, and Gaussian that then softens it (standard deviation, pixels) without reaching beyond it."""
SMOOTHING = 3
"""Neighbouring rings whose mean is compared with a threshold."""
_EMPTY = 1e-12
"""Share of the whole power below which a ring holds nothing."""


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """A reference's spectrum under a soft window."""

    window: Values
    """(row, column), 0…1."""
    half: NDArray[np.complex128]
    """Half spectrum of the reference, windowed and without its mean."""
    power_R: Values


def window(shape: tuple[int, int], mask: Mask | None = None) -> Values:
    """Return a soft window (row, column) 0…1: fading towards the ends of the slice, and inside `mask` where one is given."""
    taper = np.outer(*(_fade(n) for n in shape))
    if mask is None:
        return taper
    inner = ndimage.minimum_filter(mask, 2 * INSET + 1, mode="constant", cval=0)
    return np.asarray(taper * ndimage.gaussian_filter(inner.astype(np.float64), SOFT, radius=INSET, mode="constant"))


def spectrum(reference: Image, weight: Values) -> Spectrum:
    """Prepare a reference (row, column) under a window of `window`."""
    half = _half_spectrum(reference, weight)
    return Spectrum(window=weight, half=half, power_R=_ring_sums(np.square(half.real) + np.square(half.imag), weight.shape))


def ring_correlation(image: Image, reference: Spectrum) -> Values:
    """Return the correlation of an image with its reference in every ring of frequencies: (R,), −1…1.

    Ring k holds the frequencies from k − ½ to k + ½ cycles per shorter side, k = 0 … half the shorter side. A ring in which either
    image is empty correlates with nothing: 0.

    Source
    ------
    Saxton & Baumeister, J. Microsc. 127:127 (1982).
    """
    half = _half_spectrum(image, reference.window)
    shape = reference.window.shape
    cross_R = _ring_sums(half.real * reference.half.real + half.imag * reference.half.imag, shape)
    power_R = _ring_sums(np.square(half.real) + np.square(half.imag), shape)
    seen = (power_R > _EMPTY * power_R.sum()) & (reference.power_R > _EMPTY * reference.power_R.sum())
    return np.where(seen, cross_R / np.sqrt(np.where(seen, power_R * reference.power_R, 1)), 0)


def cutoff(correlation_R: Values, threshold: float) -> float:
    """Return the frequency, cycles per pixel, at which the correlation first falls below a threshold; `NYQUIST` where it never does.

    Parameters
    ----------
    correlation_R
        Of `ring_correlation`; ring 0, the mean, doesn't count.
    threshold
        `SEVENTH` or `HALF`.

    Returns
    -------
    float
        0…0.5, linear between rings. NaN where there are fewer than two rings.
    """
    curve = correlation_R[1:]
    if len(curve) < 2:
        return float("nan")
    smooth = ndimage.uniform_filter1d(curve, SMOOTHING, mode="nearest")
    step = NYQUIST / len(curve)
    below = np.flatnonzero(smooth < threshold)
    if not below.size:
        return NYQUIST
    first = int(below[0])
    if first == 0:
        return 0.0
    high, low = float(smooth[first - 1]), float(smooth[first])
    return step * (first + (high - threshold) / (high - low))


def _half_spectrum(image: Image, weight: Values) -> NDArray[np.complex128]:
    total = weight.sum()
    mean = float((image * weight).sum() / total) if total > 0 else 0.0
    return np.asarray(fft.rfft2((image - mean) * weight))


def _ring_sums(values: Values, shape: tuple[int, ...]) -> Values:
    """Return the sum over each ring of values on the half spectrum, every coefficient with its mirror image."""
    ring, twice, n_rings = _rings(shape[0], shape[1])
    sums: Values = np.bincount(ring, (values * twice).ravel(), minlength=n_rings + 1)[:n_rings].astype(np.float64, copy=False)
    return sums


@lru_cache(maxsize=4)
def _rings(n_rows: int, n_columns: int) -> tuple[NDArray[np.int64], Values, int]:
    """Return the ring of every coefficient of the half spectrum, how often it counts, and the number of rings."""
    shorter = min(n_rows, n_columns)
    radius = shorter * np.hypot(fft.fftfreq(n_rows)[:, None], fft.rfftfreq(n_columns)[None])
    n_rings = shorter // 2 + 1
    twice = np.full(n_columns // 2 + 1, 2.0)
    twice[0] = 1
    if n_columns % 2 == 0:
        twice[-1] = 1
    return np.minimum(np.rint(radius), n_rings).astype(np.int64).ravel(), twice, n_rings


def _fade(n: int) -> Values:
    """Return a window of n pixels that rises and falls as a cosine over `TAPER` of its length."""
    return np.asarray(tukey(n + 2, 2 * TAPER)[1:-1])
