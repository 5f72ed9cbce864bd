"""Damage on purpose, to test the guard: draw where and how (`draw`), then plant it (`plant`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, special

Image = NDArray[np.float32]
"""(row, column)."""
Mask = NDArray[np.bool_]
"""(row, column)."""
Degrade = Callable[[Image], tuple[Image, Image]]
"""Clean slice → expected measured slice and its σ."""

ERASED, ADDED, SHIFTED, SMOOTHED, SWAPPED = "lesion erased", "lesion added", "edge shifted", "region smoothed", "slice swapped"
KINDS = (ERASED, ADDED, SHIFTED, SMOOTHED, SWAPPED)
RADII = (2.0, 3.0, 4.0, 6.0, 8.0)
"""Radii of lesions, pixels."""
CONTRASTS = (2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
"""Contrasts of lesions, standard deviations of the slice's noise where they lie."""
LESION_EDGE = 0.7
"""Standard deviation, pixels, of the blur of a lesion's border."""
REGION_RADIUS = (8.0, 14.0)
"""Radius of a region whose edge is shifted or which is smoothed, pixels."""
REGION_BLUR = (1.5, 2.5)
"""Standard deviation of the smoothing, pixels."""
LEAST_EDGE = 2.0
"""Only edges of at least this slope, σ per pixel, are shifted: moving a fainter one changes less than the noise."""
LEAST_DETAIL = 1.0
"""Only regions whose smoothing takes away at least this much, σ root mean square, are smoothed: elsewhere there is nothing to lose."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """An honest result, to be damaged. Images (row, column) in one unit."""

    measured: Image
    restored: Image
    sigma: Image
    """Noise standard deviation of `measured`."""
    foreground: Mask
    """Where there is anatomy: damage stays inside."""
    degrade: Degrade
    neighbour: Image | None = None
    """The restored slice next to it."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One piece of damage, drawn but not yet planted."""

    kind: str
    row: float = 0.0
    column: float = 0.0
    radius: float = 0.0
    """Pixels."""
    contrast: float = 0.0
    """Lesions: signed, standard deviations of the noise."""
    shift: tuple[int, int] = (0, 0)
    """Shifted edges: pixels along rows and columns."""
    blur: float = 0.0
    """Smoothed regions: standard deviation, pixels."""


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A damaged pair."""

    measured: Image
    restored: Image
    honest: Image
    """(row, column) what an honest result would have shown: the yardstick for what is left of the fault."""
    signal: Image
    """(row, column) what the fault put into the standardised residual."""
    where: Mask
    """Pixels that it touched."""


def draw(kind: str, scene: Scene, generator: np.random.Generator) -> Fault | None:
    """Draw a fault of one kind, or None where the scene has no place for it.

    Lesions lie anywhere in the foreground, whole; dark ones only where the tissue is bright enough to lose that much.
    """
    if kind in (ERASED, ADDED):
        return _draw_lesion(kind, scene, generator)
    if kind == SHIFTED:
        return _draw_shift(scene, generator)
    if kind == SMOOTHED:
        return _draw_smoothing(scene, generator)
    return Fault(kind=SWAPPED) if scene.neighbour is not None else None


def plant(fault: Fault, scene: Scene) -> Planted:
    """Plant a drawn fault.

    An erased lesion is put into the measured slice, as much as the expected magnitude changes, and is absent from the result;
    every other fault is in the result alone.
    """
    restored = scene.restored
    weight = _disc(restored.shape, fault, edge=1.5)
    if fault.kind in (ERASED, ADDED):
        other = np.maximum(restored + _lesion(fault, scene), 0)
    elif fault.kind == SHIFTED:
        other = restored + weight * (np.roll(restored, fault.shift, axis=(0, 1)) - restored)
    elif fault.kind == SMOOTHED:
        other = restored + weight * (ndimage.gaussian_filter(restored, fault.blur) - restored)
    elif scene.neighbour is not None:
        other = scene.neighbour
    else:
        raise ValueError("no slice beside this one: draw returns None then")
    other = np.asarray(other, dtype=np.float32)
    mean, sigma = scene.degrade(restored)
    change = scene.degrade(other)[0] - mean
    signal = np.asarray(change / sigma * scene.foreground, dtype=np.float32)
    where: Mask = np.abs(signal) > 0.1 * np.abs(signal).max(initial=1e-6)
    if fault.kind == ERASED:
        measured = np.maximum(scene.measured + change, 0).astype(np.float32)
        return Planted(measured=measured, restored=restored, honest=other, signal=signal, where=where)
    return Planted(measured=scene.measured, restored=other, honest=restored, signal=-signal, where=where)


def ideal_snr(signal: Image, noise: Image | None = None) -> float:
    """Return the signal-to-noise ratio of the best linear detector that knows the fault's shape and place and presumes white noise.

    Parameters
    ----------
    signal
        (row, column), in units of the noise.
    noise
        (row, column) a sample of the slice's noise, standardised, 0 outside; gives its colour by ring averages. White when None.

    Source
    ------
    The non-prewhitening matched filter: Barrett & Myers, Foundations of Image Science (2004), ch. 13.
    """
    energy = float(np.sum(np.square(signal, dtype=np.float64)))
    if noise is None or energy == 0 or not noise.any():
        return float(np.sqrt(energy))
    power = np.square(np.abs(fft.fft2(noise))) / np.count_nonzero(noise)
    radius = np.hypot(*np.meshgrid(*(fft.fftfreq(n) for n in noise.shape), indexing="ij"))
    ring = np.minimum((radius * 64).astype(int), 40)
    mean_power = np.bincount(ring.ravel(), power.ravel()) / np.maximum(np.bincount(ring.ravel()), 1)
    spread = np.sqrt(np.sum(np.square(np.abs(fft.fft2(signal))) * mean_power[ring]) / signal.size)
    return float(energy / spread)


def _draw_lesion(kind: str, scene: Scene, generator: np.random.Generator) -> Fault | None:
    radius = float(generator.choice(RADII))
    contrast = float(generator.choice(CONTRASTS) * generator.choice([-1, 1]))
    place = _pick(_inside(scene.foreground, radius + 1), generator)
    if place is None:
        return None
    fault = Fault(kind=kind, row=place[0], column=place[1], radius=radius, contrast=contrast)
    covered = _disc(scene.restored.shape, fault, edge=LESION_EDGE) > 0.5
    if contrast < 0 and np.percentile(scene.restored[covered], 10) + contrast * _local(scene.sigma, fault) < 0:
        return Fault(kind=kind, row=place[0], column=place[1], radius=radius, contrast=-contrast)
    return fault


def _draw_shift(scene: Scene, generator: np.random.Generator) -> Fault | None:
    radius = float(generator.uniform(*REGION_RADIUS))
    slopes = np.stack(np.gradient(ndimage.gaussian_filter(scene.restored, 1.0))) / np.maximum(scene.sigma, 1e-9)
    place = _pick(_inside(scene.foreground, 4) & (np.hypot(*slopes) > LEAST_EDGE), generator)
    sign = int(generator.choice([-1, 1]))
    if place is None:
        return None
    along_rows = abs(slopes[0][place]) >= abs(slopes[1][place])
    return Fault(kind=SHIFTED, row=place[0], column=place[1], radius=radius, shift=(sign, 0) if along_rows else (0, sign))


def _draw_smoothing(scene: Scene, generator: np.random.Generator) -> Fault | None:
    radius, blur = float(generator.uniform(*REGION_RADIUS)), float(generator.uniform(*REGION_BLUR))
    lost = (scene.restored - ndimage.gaussian_filter(scene.restored, blur)) / np.maximum(scene.sigma, 1e-9)
    local = ndimage.uniform_filter(np.square(lost), 2 * int(radius) + 1)
    place = _pick(_inside(scene.foreground, radius) & (local > LEAST_DETAIL**2), generator)
    return None if place is None else Fault(kind=SMOOTHED, row=place[0], column=place[1], radius=radius, blur=blur)


def _lesion(fault: Fault, scene: Scene) -> Image:
    """Return what the lesion adds to the clean slice."""
    return _disc(scene.restored.shape, fault, edge=LESION_EDGE) * np.float32(fault.contrast * _local(scene.sigma, fault))


def _local(sigma: Image, fault: Fault) -> float:
    """Return σ where the fault is."""
    return float(np.median(sigma[_disc(sigma.shape, fault, edge=LESION_EDGE) > 0.5]))


def _disc(shape: tuple[int, ...], fault: Fault, *, edge: float) -> Image:
    """Return a disc of height 1 with a blurred border (row, column)."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    distance = np.hypot(rows - fault.row, columns - fault.column)
    return np.asarray(0.5 * special.erfc((distance - fault.radius) / (np.sqrt(2) * edge)), dtype=np.float32)


def _inside(foreground: Mask, margin: float) -> Mask:
    """Return pixels at least `margin` from the background and from the end of the image."""
    return np.asarray(ndimage.distance_transform_edt(np.pad(foreground, 1))[1:-1, 1:-1] > margin)


def _pick(allowed: Mask, generator: np.random.Generator) -> tuple[int, int] | None:
    """Pick one pixel of those allowed."""
    candidates = np.argwhere(allowed)
    if not len(candidates):
        return None
    row, column = candidates[generator.integers(len(candidates))]
    return int(row), int(column)
