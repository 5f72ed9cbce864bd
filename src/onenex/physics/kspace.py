"""k-space windows: what a scanner did not measure or weighted down, and what that does to image and noise.

A window is a real array (row, column) with the centre of k-space at index n // 2, values 0…1 (above 1 only for
sharpening filters). Zero-filling shows in images as correlated noise; `noise_gain` says how much of it is left.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Window = NDArray[np.float32]


def frequencies(n: int) -> NDArray[np.float32]:
    """Return the centred frequencies of `n` samples as a fraction of the Nyquist frequency, −1 ≤ f < 1."""
    return ((np.arange(n) - n // 2) / (n / 2)).astype(np.float32)


def zero_filled(shape: tuple[int, int], row_fraction: float, column_fraction: float) -> Window:
    """Keep the central fraction (0…1] of each axis, as a smaller matrix interpolated to `shape` by zero-filling."""
    rows = np.abs(frequencies(shape[0])) <= row_fraction
    columns = np.abs(frequencies(shape[1])) <= column_fraction
    return np.outer(rows, columns).astype(np.float32)


def elliptical(shape: tuple[int, int], row_fraction: float = 1.0, column_fraction: float = 1.0) -> Window:
    """Keep the ellipse whose half axes are the given fractions of Nyquist (corners not acquired)."""
    rows, columns = np.meshgrid(frequencies(shape[0]), frequencies(shape[1]), indexing="ij")
    return ((rows / row_fraction) ** 2 + (columns / column_fraction) ** 2 <= 1).astype(np.float32)


def partial_fourier(shape: tuple[int, int], fraction: float, axis: int = 0) -> Window:
    """Keep the leading `fraction` (½…1) of the lines along `axis`, the rest zero-filled."""
    kept = frequencies(shape[axis]) < 2 * fraction - 1
    other = np.ones(shape[1 - axis], dtype=bool)
    return (np.outer(kept, other) if axis == 0 else np.outer(other, kept)).astype(np.float32)


def tukey(shape: tuple[int, int], cut: float, taper: float) -> Window:
    """Cosine taper from 1 to 0 between (1 − taper)·cut and cut of Nyquist, radially (a scanner's raw-data filter).

    `taper` 1 is a Hann window, `taper` near 0 an elliptical one.
    """
    rows, columns = np.meshgrid(frequencies(shape[0]), frequencies(shape[1]), indexing="ij")
    radius = np.hypot(rows, columns) / cut
    phase = np.clip((radius - (1 - taper)) / max(taper, 1e-6), 0, 1)
    return (0.5 * (1 + np.cos(np.pi * phase))).astype(np.float32)


def gaussian_transfer(shape: tuple[int, int], sigma_pixels: float) -> Window:
    """Transfer function of an image-space Gaussian blur with standard deviation `sigma_pixels`."""
    rows, columns = np.meshgrid(frequencies(shape[0]), frequencies(shape[1]), indexing="ij")
    return np.exp(-((np.pi * sigma_pixels) ** 2) * (rows**2 + columns**2) / 2).astype(np.float32)


def apply_window(images: NDArray[np.complex64] | NDArray[np.float32], window: Window) -> NDArray[np.complex64]:
    """Multiply the k-space of images (…, row, column) with `window`; returns complex images."""
    k = fft.fft2(images.astype(np.complex64, copy=False))
    return np.asarray(fft.ifft2(k * fft.ifftshift(window)), dtype=np.complex64)


def noise_gain(window: Window) -> float:
    """Return the factor by which `window` changes the standard deviation of white noise: the root mean square of it."""
    return float(np.sqrt(np.mean(np.square(window, dtype=np.float64))))
