"""Artefacts of the scanner that no denoiser may take away: ghosts of periodic motion, zippers of radio interference.

k-space is (row frequency, column frequency), centre at index n // 2; rows are the phase-encoding direction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

KSpace = NDArray[np.complex128]
Array = NDArray[np.float32]

_AMPLITUDES = (0.01, 0.6)
"""Of drawn zippers, units of the images."""
_GHOST_SHARES = (0.01, 0.2)
"""Of drawn ghosts, share of the object's own amplitude."""


def ghosted(k: KSpace, amplitude: float, shift: float) -> KSpace:
    """Return a k-space whose lines a periodic motion modulates: copies of `amplitude` appear `shift` pixels up and down.

    Source
    ------
    Haacke & Patrick, Magn. Reson. Imaging 4:349 (1986): a sinusoidal modulation along phase encoding makes one pair of ghosts.
    """
    n = len(k)
    lines = np.arange(n) - n // 2
    return np.asarray(k * (1 + 2 * amplitude * np.cos(2 * np.pi * lines * shift / n))[:, None])


def zipper(shape: tuple[int, int], column: float, amplitude: float, generator: np.random.Generator) -> KSpace:
    """Draw the k-space of a radio transmitter at one frequency: a line along phase encoding, its phase random from line to line.

    Parameters
    ----------
    shape
        (row, column) of the k-space.
    column
        Where the line lies.
    amplitude
        Root mean square of the line's complex values, unit of the images.
    generator
        Draws the phases.
    """
    n_rows, n_columns = shape
    k = (np.arange(n_columns) - n_columns // 2) / n_columns
    phases = np.exp(2j * np.pi * generator.random(n_rows))
    return np.asarray(np.outer(amplitude * np.sqrt(n_rows) * phases, np.exp(-2j * np.pi * k * column)))


def spoilt(image: Array, generator: np.random.Generator) -> Array:
    """Return a magnitude image (row, column) with ghosts, zippers or both, faint to plain, along either axis: artefacts of a scan without noise."""
    turned = image.T if generator.random() < 0.5 else image
    k = fft.fftshift(fft.fft2(turned)).astype(np.complex128)
    which = generator.integers(1, 4)
    if which & 1:
        share = np.exp(generator.uniform(*np.log(_GHOST_SHARES)))
        k = ghosted(k, float(share), float(generator.uniform(0.1, 0.5) * len(k)))
    if which & 2:
        for _ in range(int(generator.integers(1, 4))):
            amplitude = np.exp(generator.uniform(*np.log(_AMPLITUDES)))
            k = k + zipper((k.shape[0], k.shape[1]), int(generator.integers(k.shape[1])), float(amplitude), generator)
    found = np.abs(fft.ifft2(fft.ifftshift(k))).astype(np.float32)
    return np.ascontiguousarray(found.T if turned is not image else found)
