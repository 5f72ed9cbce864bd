"""The acceptance phantom: discs drawn exactly in k-space, coil shading, and complex noise.

Positions are (row, column) in pixels, 0 at the centre of the first pixel. Signals are in units of the series scale: the brightest
large structure is about 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

from onenex.physics import kspace, noise
from onenex.physics.artefacts import KSpace
from onenex.series import FloatImages

Complex = NDArray[np.complex128]

SIDE = 256
"""Matrix of every slice."""
CENTRE = (SIDE - 1) / 2
BODY_RADIUS = 98.0
BODY_SIGNAL = 0.75
"""Of the container; what lies in it adds to this or takes away."""


@dataclass(frozen=True, kw_only=True)
class Disc:
    """A disc with a sharp edge; discs add up."""

    row: float
    column: float
    radius: float
    """Pixels."""
    signal: float
    """What it adds, units of the series scale."""


PHASE_SHARE, READOUT_SHARE = 0.7, 0.8
"""Measured share of k-space along rows' index (phase encoding) and columns' (readout); the rest is filled with zeros.

Clinical scans are: of the eight classic series that we develop with, the medians are 0.63 and 0.78 (AcquisitionMatrix over Rows and Columns).
"""
USUAL = kspace.zero_filled((SIDE, SIDE), PHASE_SHARE, READOUT_SHARE)
"""Window of a usual scan."""
WHOLE = np.ones((SIDE, SIDE), dtype=np.float32)
"""Window of a scan that measures the whole matrix: the sharpest image there can be, with white noise."""

BODY = Disc(row=CENTRE + 0.3, column=CENTRE - 0.2, radius=BODY_RADIUS, signal=BODY_SIGNAL)
"""The container, its centre between pixels."""


def kspace_of(discs: Sequence[Disc]) -> KSpace:
    """Return the k-space of some discs, sampled up to Nyquist's frequency: what a scanner with a square matrix measures.

    Source
    ------
    The transform of a disc of radius r is r J₁(2πr|k|) / |k|: Koay et al., Magn. Reson. Med. 58:430 (2007), here in two dimensions.
    """
    k = (np.arange(SIDE) - SIDE // 2) / SIDE
    total = np.zeros((SIDE, SIDE), dtype=np.complex128)
    for disc in discs:
        turn_rows, turn_columns = (np.exp(-2j * np.pi * k * place) for place in (disc.row, disc.column))
        total += disc.signal * _transform(disc.radius) * np.outer(turn_rows, turn_columns)
    return total


@lru_cache(maxsize=16)
def _transform(radius: float) -> NDArray[np.float64]:
    """Return the k-space of a unit disc at pixel (0, 0)."""
    k = (np.arange(SIDE) - SIDE // 2) / SIDE
    length = np.hypot(k[:, None], k[None, :])
    apart = length > 0
    found = np.full(length.shape, np.pi * radius**2)
    found[apart] = radius * special.j1(2 * np.pi * radius * length[apart]) / length[apart]
    return found


def image_of(k: KSpace) -> NDArray[np.complex128]:
    """Return the complex image (row, column) of a k-space."""
    return np.asarray(fft.ifft2(fft.ifftshift(k)))


def coil_shading() -> NDArray[np.float64]:
    """Return the receive profile (row, column): 1 at the centre, about ±12 % over the container, smooth."""
    place = (np.arange(SIDE) - CENTRE) / BODY_RADIUS
    rows, columns = place[:, None], place[None, :]
    return np.asarray(1 + 0.07 * (rows**2 + columns**2) - 0.05 * rows + 0.04 * columns)


def received(k: KSpace, window: kspace.Window = USUAL) -> Complex:
    """Return the noise-free complex image (row, column) that the coil receives."""
    return image_of(k * window) * coil_shading()


def scan(noise_free: Complex, sigma: float, generator: np.random.Generator, window: kspace.Window = USUAL) -> FloatImages:
    """Return one magnitude scan (row, column) with complex noise of channel standard deviation `sigma` in what `window` lets through."""
    drawn = kspace.apply_window(noise.gaussian((SIDE, SIDE), generator), window) / kspace.noise_gain(window)
    return np.asarray(np.abs(noise_free + sigma * drawn), dtype=np.float32)


def energy(radius: float, window: kspace.Window = USUAL) -> float:
    """Return the sum of squares of a unit disc's image over the variance of unit noise at each frequency.

    Its root times contrast over σ is the signal-to-noise ratio of an ideal observer; with the whole of k-space that is Rose's contrast · √area / σ.
    """
    k = kspace_of([Disc(row=CENTRE, column=CENTRE, radius=radius, signal=1.0)])
    return float(np.mean(np.square(np.abs(k * window))) * kspace.noise_gain(window) ** 2)
