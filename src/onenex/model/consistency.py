"""Local Fourier-ring consistency: does the result share with the measured slice what noise lets two scans share?"""

# shapes: W window, K coefficient of a window's spectrum, R ring

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from onenex.model.residual import Image, Residual

SIDE, STEP = 32, 16
"""Side and distance of the windows, pixels; small slices get smaller ones."""
RINGS = (1.5, 3.5, 6.5, 9.5, 12.5, 16.5)
"""Borders of the rings, periods per window of `SIDE` pixels."""
MISMATCH = 0.05
"""Share of the result's amplitude that counts as noise: no degradation model is better than that."""
MIN_SHARE = 0.5
"""Windows with less than this share of their weight in the judged area say nothing."""

Table = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class RingConsistency:
    """Scores of every window and ring, in standard deviations of what noise does to them."""

    invented_WR: Table
    """How far the ring correlation of slice and result lies below what noise predicts: the result holds what the slice lacks."""
    removed_WR: Table
    """How far the power of the residual lies above that of noise: the slice holds what the result lacks."""
    rows_W: NDArray[np.int64]
    columns_W: NDArray[np.int64]
    """First row and column of each window."""
    side: int
    pixels: tuple[str, ...]
    """Periods of each ring, pixels, in words."""

    def paint(self, scores_W: Table, shape: tuple[int, int]) -> Image:
        """Return the largest score of the windows over each pixel (row, column): only their middle half is painted."""
        image = np.zeros(shape, dtype=np.float32)
        quarter = self.side // 4
        for score, row, column in zip(scores_W, self.rows_W, self.columns_W, strict=True):
            middle = image[row + quarter : row + 3 * quarter, column + quarter : column + 3 * quarter]
            np.maximum(middle, score, out=middle)
        return image


def ring_consistency(mean: Image, sigma: Image, found: Residual) -> RingConsistency:
    """Compare slice and expectation, ring by ring of local spectra.

    With N the noise and S the result's power in a ring, an honest result correlates with the slice at least as
    √(S / (S + N)), and leaves a residual of at most N. What runs against the slice counts like what it knows nothing of: a
    result that takes away a tenth more than the noise is against it in flat tissue, and invents nothing. N is what σ says, or
    the median over windows of the residual's own power where that is more (coloured noise).

    Parameters
    ----------
    mean, sigma
        (row, column) what the degradation model expects of the slice, and its σ. No side shorter than 16.
    found
        The residual: with the expectation it makes up the slice, less the bias that is no damage.

    Source
    ------
    Saxton & Baumeister, J. Microsc. 127:127 (1982) for ring correlation, here in windows and against a prediction instead
    of a fixed threshold; Fisher, Metron 1:3 (1921) for the transform that gives correlations an even spread.
    """
    side = min(SIDE, *(n - n % 2 for n in mean.shape))
    rows_W, columns_W = (ravelled for ravelled in _corners(mean.shape, side))
    taper = _taper(side)
    weight_W = _windows(found.area.astype(np.float32), rows_W, columns_W, side).reshape(len(rows_W), side * side) @ np.square(taper).ravel()
    kept = weight_W > MIN_SHARE * float(np.square(taper).sum())
    rows_W, columns_W, weight_W = rows_W[kept], columns_W[kept], weight_W[kept]
    rings_KR = _rings(side)
    expected_WK, z_WK = (_spectra(image, rows_W, columns_W, side) for image in (np.where(found.area, mean / sigma, 0), found.z))
    slice_WK = expected_WK + z_WK
    cross_WR = (slice_WK * expected_WK.conj()).real @ rings_KR
    power_WR, own_WR, left_WR = (np.square(np.abs(spectrum)) @ rings_KR for spectrum in (slice_WK, expected_WK, z_WK))
    noise_WR = weight_W[:, None] * rings_KR.sum(axis=0)
    bulk_R = np.median(left_WR / noise_WR, axis=0) if len(noise_WR) else np.ones(rings_KR.shape[1], dtype=np.float32)
    noise_WR = noise_WR * np.maximum(1, bulk_R)
    tolerated_WR = noise_WR + MISMATCH**2 * own_WR
    n_R = rings_KR.sum(axis=0) / 2.0  # half of the coefficients: the taper ties neighbours together
    seen_WR = cross_WR / np.sqrt(np.maximum(power_WR * own_WR, 1e-6))
    predicted_WR = np.sqrt(own_WR / (own_WR + tolerated_WR))
    drop_WR = np.arctanh(np.clip(predicted_WR, 0, 0.999)) - np.arctanh(np.clip(seen_WR, 0, 0.999))
    return RingConsistency(
        invented_WR=np.asarray(drop_WR * np.sqrt(2 * n_R), dtype=np.float32),
        removed_WR=np.asarray((left_WR / tolerated_WR - 1) * np.sqrt(n_R), dtype=np.float32),
        rows_W=rows_W,
        columns_W=columns_W,
        side=side,
        pixels=tuple(f"{SIDE / high:.0f}…{SIDE / low:.0f}" for low, high in pairwise(RINGS)),
    )


def _corners(shape: tuple[int, ...], side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return first row and column of windows that cover the image, the last ones flush with its end."""
    starts = [np.unique(np.append(np.arange(0, n - side, max(1, side * STEP // SIDE)), n - side)) for n in shape]
    rows, columns = np.meshgrid(*starts, indexing="ij")
    return rows.ravel(), columns.ravel()


def _windows(image: Image, rows_W: NDArray[np.int64], columns_W: NDArray[np.int64], side: int) -> Image:
    """Cut windows (window, row, column) out of an image."""
    return np.lib.stride_tricks.sliding_window_view(image, (side, side))[rows_W, columns_W]


def _spectra(image: Image, rows_W: NDArray[np.int64], columns_W: NDArray[np.int64], side: int) -> NDArray[np.complex64]:
    """Return the tapered half spectra (W, K) of the windows, their weighted mean removed."""
    windows = _windows(image.astype(np.float32, copy=False), rows_W, columns_W, side)
    taper = _taper(side)
    mean = np.einsum("wij,ij->w", windows, taper) / taper.sum()
    spectra = fft.rfft2((windows - mean[:, None, None]) * taper)
    return np.asarray(spectra.reshape(len(windows), side * (side // 2 + 1)), dtype=np.complex64)


@cache
def _taper(side: int) -> Image:
    """Hann window (row, column)."""
    one = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(side) + 0.5) / side)
    return np.outer(one, one).astype(np.float32)


@cache
def _rings(side: int) -> Table:
    """Return (K, R): how often each coefficient of the half spectrum counts in each ring (twice but for the first and last column)."""
    rows, columns = np.meshgrid(fft.fftfreq(side, 1 / SIDE), fft.rfftfreq(side, 1 / SIDE), indexing="ij")
    radius = np.hypot(rows, columns)
    twice = np.where((columns == 0) | (np.isclose(columns, SIDE / 2)), 1.0, 2.0)
    members = [(radius >= low) & (radius < high) for low, high in pairwise(RINGS)]
    return np.stack([(one * twice).ravel() for one in members], axis=1).astype(np.float32)
