"""Noise of magnitude images: Rician and non-central chi draws, their moments, g-factor maps, NEX averaging.

`sigma` is always the standard deviation of *one* channel (real or imaginary) of the complex image before the
magnitude is taken, in the unit of the images. Every function that draws takes its generator.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

Array = NDArray[np.float32]
Sigma = float | NDArray[np.float32] | NDArray[np.float64]


def gaussian(shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[np.complex64]:
    """Draw complex white noise with unit standard deviation in each of its two channels."""
    real = generator.standard_normal(shape, dtype=np.float32)
    return (real + 1j * generator.standard_normal(shape, dtype=np.float32)).astype(np.complex64)


def rician(amplitude: Array, sigma: Sigma, generator: np.random.Generator) -> Array:
    """Return the magnitude of `amplitude` with complex Gaussian noise.

    Parameters
    ----------
    amplitude
        Noise-free magnitudes, any shape.
    sigma
        Channel standard deviation, a number or a map that broadcasts to `amplitude`.
    generator
        Source of the draw.

    Source
    ------
    Gudbjartsson & Patz, Magn. Reson. Med. 34:910 (1995), eq. 1. In air the mean is σ√(π/2) = 1.2533 σ.
    """
    noise = gaussian(amplitude.shape, generator)
    return np.asarray(np.abs(amplitude + np.asarray(sigma, dtype=np.float32) * noise), dtype=np.float32)


def noncentral_chi(amplitude: Array, sigma: Sigma, n_coils: int, generator: np.random.Generator) -> Array:
    """Return a sum-of-squares image of `n_coils` coils with equal, independent noise.

    Source
    ------
    Constantinides et al., Magn. Reson. Med. 38:852 (1997). The distribution depends on the coils only through the
    combined amplitude, so all signal is put into the first coil.
    """
    sigma32 = np.asarray(sigma, dtype=np.float32)
    power = np.abs(amplitude + sigma32 * gaussian(amplitude.shape, generator)) ** 2
    for _ in range(n_coils - 1):
        power += np.abs(sigma32 * gaussian(amplitude.shape, generator)) ** 2
    return np.asarray(np.sqrt(power), dtype=np.float32)


def rice_mean(amplitude: Array, sigma: Sigma) -> NDArray[np.float64]:
    """Return the expected magnitude of `amplitude` under Rician noise (Gudbjartsson & Patz 1995, by Koay's form).

    E[M] = σ √(π/2) [ (1 + 2t) I₀ₑ(t) + 2t I₁ₑ(t) ] with t = A² / 4σ² and exponentially scaled Bessel functions.
    """
    sigma64 = np.maximum(np.asarray(sigma, dtype=np.float64), 1e-12)
    t = np.square(amplitude / sigma64) / 4
    mean = sigma64 * np.sqrt(np.pi / 2) * ((1 + 2 * t) * special.i0e(t) + 2 * t * special.i1e(t))
    return np.asarray(mean)


def rice_variance(amplitude: Array, sigma: Sigma) -> NDArray[np.float64]:
    """Return the variance of the magnitude: A² + 2σ² − E[M]²; σ² far above the floor, 0.4292 σ² in air."""
    second_moment = np.square(amplitude, dtype=np.float64) + 2 * np.square(np.asarray(sigma, dtype=np.float64))
    return np.asarray(second_moment - np.square(rice_mean(amplitude, sigma)))


def g_factor_map(shape: tuple[int, int], generator: np.random.Generator, peak: float = 2.5) -> Array:
    """Draw a smooth map of relative noise like that of parallel imaging with a ring of coils.

    Parameters
    ----------
    shape
        (row, column).
    peak
        Largest ratio between the noisiest and the quietest place, > 1; each draw uses 1.2…`peak`.

    Returns
    -------
    Array
        (row, column), smooth, positive, root mean square 1.

    Source
    ------
    Pruessmann et al., Magn. Reson. Med. 42:952 (1999): the g-factor rises towards the middle of the object, with
    structure from the coils. Here a random smooth field plus a random central bump, not a coil simulation.
    """
    rows, columns = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    centre = generator.uniform(-0.3, 0.3, 2)
    width = generator.uniform(0.4, 1.0)
    bump = np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / (2 * width**2))
    coarse = generator.standard_normal((4, 4))
    field = ndimage.zoom(coarse, (shape[0] / 4, shape[1] / 4), order=3, mode="nearest", grid_mode=True)[: shape[0], : shape[1]]
    mix = generator.uniform(-0.5, 1.0) * bump + generator.uniform(0.0, 0.5) * field
    span = float(mix.max() - mix.min()) or 1.0
    log_map = (mix - mix.min()) / span * np.log(generator.uniform(1.2, peak))
    relative = np.exp(log_map)
    return np.asarray(relative / np.sqrt(np.mean(relative**2)), dtype=np.float32)


def nex_average(amplitude: Array, sigma: Sigma, nex: int, generator: np.random.Generator) -> Array:
    """Return the mean of `nex` independent Rician magnitudes: variance falls as 1/NEX, the Rician floor stays."""
    total = np.zeros(amplitude.shape, dtype=np.float64)
    for _ in range(nex):
        total += rician(amplitude, sigma, generator)
    return (total / nex).astype(np.float32)
