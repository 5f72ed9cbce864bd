"""Small faint spots in clean images: what a denoiser must not take for noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_RADII = (0.7, 6.0)
"""Pixels; mean of an ellipse's half axes."""
_CONTRASTS = (0.01, 0.3)
"""What spots differ from what they lie in, units of the series scale."""
_AT_MOST = 60
"""Spots in an image."""
_TISSUE = 0.1
"""Signal of what they lie in, at least."""


def with_lesions(image: Array, generator: np.random.Generator) -> Array:
    """Return a clean image (row, column), units of the series scale, with small faint spots where it shows something.

    Bright and dark ellipses of one to a dozen pixels, most of them at the edge of what noise lets anybody see. A denoiser that has seldom
    seen such takes them for noise.
    """
    found = image.copy()
    places = np.argwhere(image > _TISSUE)
    if not len(places):
        return found
    for _ in range(int(generator.integers(1, _AT_MOST))):
        row, column = places[generator.integers(len(places))] + generator.uniform(-0.5, 0.5, 2)
        contrast = _log_uniform(_CONTRASTS, generator) * generator.choice((-1.0, 1.0))
        _add_ellipse(found, (float(row), float(column)), contrast, generator)
    return np.maximum(found, 0)


def _add_ellipse(image: Array, centre: tuple[float, float], contrast: float, generator: np.random.Generator) -> None:
    """Add an ellipse of random size, shape and direction to an image; its edge covers pixels in part."""
    radius, stretch, angle = _log_uniform(_RADII, generator), np.sqrt(generator.uniform(1, 2)), generator.uniform(0, np.pi)
    reach = int(np.ceil(radius * stretch)) + 1
    first = [max(0, round(place) - reach) for place in centre]
    patch = image[first[0] : round(centre[0]) + reach + 1, first[1] : round(centre[1]) + reach + 1]
    down, across = (np.arange(n) + start - place for n, start, place in zip(patch.shape, first, centre, strict=True))
    along = down[:, None] * np.cos(angle) + across[None, :] * np.sin(angle)
    beside = across[None, :] * np.cos(angle) - down[:, None] * np.sin(angle)
    cover = np.clip(radius + 0.5 - np.hypot(along / stretch, beside * stretch), 0, 1)
    patch += np.float32(contrast) * cover.astype(np.float32)


def _log_uniform(limits: tuple[float, float], generator: np.random.Generator) -> float:
    return float(np.exp(generator.uniform(*np.log(limits))))
