"""Make a fast scan of a clean one: draw how it was acquired (`draw_scan`), then acquire it (`acquire`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from onenex.physics import kspace, noise

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ScanRanges:
    """From what `draw_scan` draws; probabilities are independent of each other."""

    sigma: tuple[float, float] = (0.002, 0.15)
    """Channel noise of the result, in units of the image scale; drawn log-uniformly."""
    g_factor: float = 0.5
    """Probability of spatially varying noise."""
    correlated: float = 0.6
    """Probability of a k-space window (zero-filling, partial Fourier, ellipse, taper)."""
    filtered: float = 0.3
    """Probability of a scanner's smoothing or sharpening filter on the magnitude."""
    masked: float = 0.25
    """Probability that the scanner sets the background to zero."""
    coils: float = 0.15
    """Probability of non-central chi instead of Rician noise."""
    averaged: float = 0.15
    """Probability of 2…4 averages of magnitudes instead of one."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One drawn acquisition: everything but the noise itself."""

    sigma: float
    """Channel standard deviation of one average in the result, root mean square over the image, unit of the images."""
    window: kspace.Window
    """(row, column) k-space window, before the magnitude."""
    relative_sigma: Array
    """(row, column) noise relative to `sigma`, root mean square 1."""
    magnitude_filter: kspace.Window | None = None
    """(row, column) transfer function applied to the magnitude."""
    n_coils: int = 1
    nex: int = 1
    mask_threshold: float = 0.0
    """Amplitude below which the smoothed clean image counts as background and is zeroed; 0 = never."""


@dataclass(frozen=True, kw_only=True)
class Degraded:
    """A simulated pair."""

    measured: Array
    """(row, column) the fast scan."""
    reference: Array
    """(row, column) the same scan without noise, at the same resolution."""
    sigma: Array
    """(row, column) standard deviation of the noise in `measured` far above the Rician floor."""


def draw_window(shape: tuple[int, int], generator: np.random.Generator) -> kspace.Window:
    """Draw a k-space window as scanners use them."""
    fractions = generator.uniform(0.5, 1.0, 2)
    if generator.random() < 0.5:
        fractions[:] = fractions[0]
    window = kspace.zero_filled(shape, float(fractions[0]), float(fractions[1]))
    if generator.random() < 0.4:
        window = window * kspace.elliptical(shape, float(fractions[0]), float(fractions[1]))
    if generator.random() < 0.25:
        window = window * kspace.partial_fourier(shape, generator.uniform(0.6, 0.95), int(generator.integers(2)))
    if generator.random() < 0.5:
        window = window * kspace.tukey(shape, generator.uniform(0.8, 1.4), generator.uniform(0.2, 1.0))
    return window


def draw_scan(shape: tuple[int, int], ranges: ScanRanges, generator: np.random.Generator) -> Scan:
    """Draw one acquisition for slices of `shape` (row, column)."""
    flat = np.ones(shape, dtype=np.float32)
    varying = generator.random() < ranges.g_factor
    correlated = generator.random() < ranges.correlated
    magnitude_filter = None
    if generator.random() < ranges.filtered:
        amount = generator.uniform(-0.6, 0.7)
        blur = kspace.gaussian_transfer(shape, generator.uniform(0.5, 1.5))
        magnitude_filter = (1 - amount * (1 - blur)).astype(np.float32)
    low, high = np.log(ranges.sigma)
    return Scan(
        sigma=float(np.exp(generator.uniform(low, high))),
        window=draw_window(shape, generator) if correlated else flat,
        relative_sigma=noise.g_factor_map(shape, generator) if varying else flat,
        magnitude_filter=magnitude_filter,
        n_coils=int(generator.integers(2, 5)) if generator.random() < ranges.coils else 1,
        nex=int(generator.integers(2, 5)) if generator.random() < ranges.averaged else 1,
        mask_threshold=generator.uniform(0.03, 0.1) if generator.random() < ranges.masked else 0.0,
    )


def acquire(clean: Array, scan: Scan, generator: np.random.Generator) -> Degraded:
    """Acquire `clean` (row, column, noise-free magnitude) as `scan` says.

    Returns
    -------
    Degraded
        Pair and sigma map. `scan.sigma` is what one average shows after the window and before the magnitude filter;
        the sigma map also counts averaging and the filter.
    """
    signal = np.abs(kspace.apply_window(clean, scan.window)).astype(np.float32)
    gain = max(kspace.noise_gain(scan.window), 1e-6)
    channel_sigma = scan.sigma * scan.relative_sigma
    total = np.zeros(clean.shape, dtype=np.float32)
    for _ in range(scan.nex):
        power = np.zeros(clean.shape, dtype=np.float32)
        for coil in range(scan.n_coils):
            coloured = kspace.apply_window(noise.gaussian(clean.shape, generator), scan.window) / gain * channel_sigma
            power += np.abs((signal if coil == 0 else 0) + coloured) ** 2
        total += np.sqrt(power)
    measured = total / scan.nex
    sigma = channel_sigma / np.sqrt(scan.nex)
    if scan.magnitude_filter is not None:
        measured = np.maximum(kspace.apply_window(measured.astype(np.float32), scan.magnitude_filter).real, 0)
        signal = np.maximum(kspace.apply_window(signal, scan.magnitude_filter).real, 0)
        sigma = sigma * kspace.noise_gain(scan.window * scan.magnitude_filter) / gain
    if scan.mask_threshold > 0:
        body = ndimage.gaussian_filter(signal, 2.0) > scan.mask_threshold
        measured, signal = measured * body, signal * body
    return Degraded(measured=measured.astype(np.float32), reference=signal.astype(np.float32), sigma=sigma.astype(np.float32))
