"""A multi-tissue head phantom: what a noise-free scanner would see, for demo and tests.

Folded cortex, ventricles, deep nuclei, lesions and vessels are drawn from noise-warped distance functions; relaxation
times and the signal equation of a sequence turn tissues into signal. Positions are in mm: x to the left, y to the
back, z up (DICOM's patient axes), the head's centre at 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from onenex.series import FloatImages

Field = NDArray[np.float32]
"""(row, column) on the supersampled grid."""

AIR, SKIN, FAT, BONE, MARROW, CSF, GREY, WHITE, NUCLEUS, PALLIDUM, LESION, VESSEL, MUSCLE = range(13)
TISSUES = ("air", "skin", "fat", "bone", "marrow", "csf", "grey", "white", "nucleus", "pallidum", "lesion", "vessel", "muscle")
RELAXATION: tuple[tuple[float, float, float], ...] = (
    (1.0, 1.0, 0.0),
    (1100.0, 40.0, 0.75),
    (380.0, 75.0, 0.80),
    (900.0, 1.0, 0.10),
    (400.0, 60.0, 0.55),
    (4160.0, 1600.0, 1.00),
    (1600.0, 99.0, 0.84),
    (1080.0, 69.0, 0.72),
    (1350.0, 76.0, 0.80),
    (1200.0, 55.0, 0.76),
    (1700.0, 150.0, 0.88),
    (1900.0, 1.0, 0.05),
    (1410.0, 40.0, 0.78),
)
"""(T1 ms, T2 ms, proton density relative to water) per tissue at 3 T, rounded after Stanisz et al., Magn Reson Med 54:507 (2005);
flowing blood is given no signal (flow void)."""

FOV_MM = 230.0
LOWEST_MM, HIGHEST_MM = -12.0, 52.0
_BRAIN_MM = (65.0, 84.0, 84.0)
_SINK_MM = 15.0
_ELLIPSOIDS: tuple[tuple[int, tuple[float, float, float], tuple[float, float, float]], ...] = (
    (NUCLEUS, (16, -20, 13), (4.5, 10, 9)),
    (NUCLEUS, (26.5, -4, 3), (5.5, 17, 11)),
    (PALLIDUM, (20, -1, 1), (4.5, 9, 6.5)),
    (NUCLEUS, (10.5, 13, 6), (8, 14, 9)),
    (CSF, (8, -17, 14), (4.5, 15, 8)),
    (CSF, (11, 4, 21), (5, 22, 6)),
    (CSF, (21, 27, 11), (5.5, 17, 8)),
    (CSF, (1.0, 4, -1), (1.8, 12, 9)),
)
"""(tissue, centre in mm, half axes in mm) of the paired structures, drawn in this order on both sides."""
_VESSELS: tuple[tuple[float, float, float], ...] = (
    (0.0, -49.0, 1.5),
    (4.5, -46.0, 1.3),
    (38.0, -14.0, 1.4),
    (-39.0, -12.0, 1.4),
    (0.0, 89.5, 3.2),
    (-3.5, 52.0, 1.3),
)
"""(x, y, radius) in mm of vessels that run up through the slices."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Timing of one sequence, ms."""

    repetition_ms: float
    echo_ms: float
    inversion_ms: float | None = None


TIMINGS = {
    "T1w": Timing(repetition_ms=550.0, echo_ms=11.0),
    "T2w": Timing(repetition_ms=4800.0, echo_ms=92.0),
    "PDw": Timing(repetition_ms=3200.0, echo_ms=18.0),
    "T2-FLAIR": Timing(repetition_ms=9000.0, echo_ms=105.0, inversion_ms=2430.0),
}


def signal(sequence: str) -> NDArray[np.float32]:
    """Return the signal of every tissue of `TISSUES` in a (inversion recovery) spin-echo sequence, in thousandths of water's full signal.

    Source: Haacke et al., Magnetic Resonance Imaging (1999), ch. 8; magnitude of 1 - 2 exp(-TI/T1) + exp(-TR/T1) for inversion recovery.

    Raises
    ------
    ValueError
        A sequence that `TIMINGS` does not list.
    """
    if sequence not in TIMINGS:
        raise ValueError(f"no timing for sequence {sequence!r}: take one of {', '.join(TIMINGS)}")
    timing = TIMINGS[sequence]
    t1, t2, density = np.asarray(RELAXATION, np.float64).T
    longitudinal = 1 - np.exp(-timing.repetition_ms / t1)
    if timing.inversion_ms is not None:
        longitudinal = np.abs(1 - 2 * np.exp(-timing.inversion_ms / t1) + np.exp(-timing.repetition_ms / t1))
    return np.asarray(1000 * density * longitudinal * np.exp(-timing.echo_ms / t2), np.float32)


def head_phantom(shape: tuple[int, int, int] = (12, 256, 256), *, sequence: str = "T2w", seed: int = 0, supersampling: int = 3) -> FloatImages:
    """Return a noise-free axial head, (slice, row, column) float32, in thousandths of water's full signal, lowest slice first.

    The same seed gives the same head. The field of view is `FOV_MM` along columns whatever the matrix; slices spread over
    `LOWEST_MM` … `HIGHEST_MM`. Partial volume comes from `supersampling`² points a pixel and two levels a slice; a smooth receive
    profile (about ±12 %) lies over it all.
    """
    n_slices, rows, columns = shape
    values = signal(sequence)
    head = _Head(seed)
    images = np.zeros(shape, np.float32)
    y_mm, x_mm = (_positions(n * supersampling, FOV_MM / (columns * supersampling)) for n in (rows, columns))
    for index, z_mm in enumerate(slice_positions(n_slices)):
        for level_mm in (z_mm - 1.0, z_mm + 1.0):
            fine = values[head.labels(x_mm, y_mm, level_mm)] * head.texture(x_mm, y_mm, level_mm)
            images[index] += fine.reshape(rows, supersampling, columns, supersampling).mean(axis=(1, 3)) / 2
        images[index] *= _receive_profile(rows, columns)
    return images


def slice_positions(n_slices: int) -> NDArray[np.float64]:
    """Return the z of every slice, mm, rising."""
    if n_slices == 1:
        return np.array([12.0])
    return np.linspace(LOWEST_MM, HIGHEST_MM, n_slices)


def _positions(n: int, step_mm: float) -> NDArray[np.float64]:
    return np.asarray((np.arange(n) - (n - 1) / 2) * step_mm, np.float64)


def _receive_profile(rows: int, columns: int) -> Field:
    y = np.linspace(-1, 1, rows)[:, None] if rows > 1 else np.zeros((1, 1))
    x = np.linspace(-1, 1, columns)[None, :] if columns > 1 else np.zeros((1, 1))
    return (0.94 + 0.12 * (x**2 + y**2) / 2 - 0.04 * y + 0.03 * x).astype(np.float32)


class _Waves:
    """A smooth random field of unit variance: a sum of plane waves, so that it can be read at any point of space."""

    def __init__(self, generator: np.random.Generator, wavelength_mm: float, n: int = 40) -> None:
        direction = generator.normal(size=(n, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        self._k = 2 * np.pi / (wavelength_mm * generator.uniform(0.75, 1.35, (n, 1))) * direction
        self._phase = generator.uniform(0, 2 * np.pi, n)

    def at(self, x_mm: NDArray[np.float64], y_mm: NDArray[np.float64], z_mm: float) -> Field:
        """Return the field over the grid y × x at one level; separable, so one matrix product does it."""
        k = self._k
        along_y = np.exp(1j * (y_mm[:, None] * k[:, 1] + z_mm * k[:, 2] + self._phase)).astype(np.complex64)
        along_x = np.exp(1j * x_mm[:, None] * k[:, 0]).astype(np.complex64)
        return np.asarray((along_y @ along_x.T).imag * np.sqrt(2 / len(k)), np.float32)


@dataclass(frozen=True)
class _Place:
    """One level of the head: warped coordinates in mm and the depth under the brain's surface."""

    x: Field
    y: Field
    z: float
    depth: Field
    step: float

    def inside(self, centre: tuple[float, float, float], axes: tuple[float, float, float]) -> NDArray[np.bool_]:
        return ((self.x - centre[0]) / axes[0]) ** 2 + ((self.y - centre[1]) / axes[1]) ** 2 + ((self.z - centre[2]) / axes[2]) ** 2 < 1


class _Head:
    """The random fields of one head, and the tissue at any point of it."""

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self._warp = (_Waves(generator, 55.0), _Waves(generator, 55.0))
        self._ripple = (_Waves(generator, 17.0), _Waves(generator, 17.0))
        self._folds, self._sulci, self._shell = _Waves(generator, 25.0, 60), _Waves(generator, 38.0, 60), _Waves(generator, 24.0)
        self._texture = _Waves(generator, 7.0, 60)
        side = generator.choice([-1.0, 1.0], 7)
        self._lesions = [
            ((float(s * generator.uniform(20, 36)), float(generator.uniform(-30, 42)), float(z)), float(generator.uniform(1.6, 3.6)))
            for s, z in zip(side, generator.permutation(np.linspace(8, 44, 7)), strict=True)
        ]

    def labels(self, x_mm: NDArray[np.float64], y_mm: NDArray[np.float64], z_mm: float) -> NDArray[np.intp]:
        """Return the tissue number over the grid y × x at level z."""
        place = self._place(x_mm, y_mm, z_mm)
        labels = np.full(place.depth.shape, AIR, np.intp)
        self._paint_shells(labels, place, self._shell.at(x_mm, y_mm, z_mm))
        self._paint_cortex(labels, place, self._folds.at(x_mm, y_mm, z_mm), self._sulci.at(x_mm, y_mm, z_mm))
        for tissue, centre, axes in _mirrored():
            labels[place.inside(centre, axes) & (place.depth > 0)] = tissue
        for centre, radius in self._lesions:
            labels[place.inside(centre, (radius, 1.25 * radius, 1.6 * radius)) & (labels == WHITE)] = LESION
        for x, y, radius in _VESSELS:
            labels[(place.x - x) ** 2 + (place.y - y) ** 2 < radius**2] = VESSEL
        return labels

    def texture(self, x_mm: NDArray[np.float64], y_mm: NDArray[np.float64], z_mm: float) -> Field:
        """Return a slight variation of signal inside tissues, mean 1, standard deviation 2 %."""
        return (1 + 0.02 * self._texture.at(x_mm, y_mm, z_mm)).astype(np.float32)

    def _place(self, x_mm: NDArray[np.float64], y_mm: NDArray[np.float64], z_mm: float) -> _Place:
        """Warp the coordinates, gently as a whole and finely as a ripple, and measure the depth under the brain's surface."""
        shift = [1.8 * slow.at(x_mm, y_mm, z_mm) + 0.5 * fast.at(x_mm, y_mm, z_mm) for slow, fast in zip(self._warp, self._ripple, strict=True)]
        x = (x_mm[None, :] + shift[0]).astype(np.float32)
        y = (y_mm[:, None] + shift[1]).astype(np.float32)
        a, b, c = _BRAIN_MM
        radius = np.sqrt((x / a) ** 2 + (y / b) ** 2 + ((z_mm - _SINK_MM) / c) ** 2)
        return _Place(
            x=x, y=y, z=z_mm, depth=((1 - radius) * (a + b) / 2).astype(np.float32), step=float(x_mm[1] - x_mm[0]) if len(x_mm) > 1 else 1.0
        )

    @staticmethod
    def _paint_shells(labels: NDArray[np.intp], place: _Place, shell: Field) -> None:
        """Paint skin, fat, muscle, both tables of the skull with marrow between them, and the fluid around the brain."""
        depth, fat = place.depth, 4.5 + 1.0 * shell
        muscle = np.clip(7 - 0.3 * (place.z + 12), 0, 7) * np.clip((np.abs(place.x) - 48) / 8, 0, 1)
        skull = 11.0 + fat + muscle
        labels[depth > -(skull + 2.0)] = SKIN
        labels[depth > -skull] = FAT
        labels[depth > -(11.0 + muscle)] = MUSCLE
        labels[depth > -11.0] = BONE
        labels[(depth > -9.4) & (depth < -5.4 + 0.5 * shell)] = MARROW
        labels[depth > -2.6 + 0.8 * shell] = CSF

    @staticmethod
    def _paint_cortex(labels: NDArray[np.intp], place: _Place, folds: Field, sulci: Field) -> None:
        """Fold the cortex: where the field `folds` crosses zero near the surface, fluid dips in, with grey matter along it."""
        depth = place.depth
        near = np.minimum(_distance_to_zero(folds, place.step), _distance_to_zero(sulci, place.step))
        reach = np.clip(1.15 - depth / (19.0 + 5.0 * sulci), 0, 1)
        fissure = np.abs(place.x + 1.2 * folds)
        callosum = ((place.y - 2) / 40) ** 2 + ((place.z - 4) / 23) ** 2
        midline = np.where(callosum > 1, fissure, np.inf)
        labels[depth > 0] = WHITE
        ribbon = (depth < 3.0 + 0.5 * folds) | (near < 3.3 * np.sqrt(reach) - 0.2) | (midline < 3.4 * np.clip(2.5 * (callosum - 1), 0, 1))
        labels[(depth > 0) & ribbon] = GREY
        fluid = (near < 1.15 * reach - 0.3) | (midline < 0.7) | (depth < 0.8 * np.maximum(0, folds))
        labels[(depth > 0) & fluid] = CSF


def _mirrored() -> Iterator[tuple[int, tuple[float, float, float], tuple[float, float, float]]]:
    """Yield every deep structure on both sides."""
    for tissue, (x, y, z), axes in _ELLIPSOIDS:
        yield tissue, (x, y, z), axes
        yield tissue, (-x, y, z), axes


def _distance_to_zero(values: Field, step_mm: float) -> Field:
    """Return about how far, in mm in the plane, each point is from the field's zero line: |f| / |∇f|, bounded where the slope is flat."""
    slope = np.hypot(*(np.gradient(values, step_mm, axis=axis) if values.shape[axis] > 1 else np.zeros_like(values) for axis in (0, 1)))
    return np.asarray(np.abs(values) / np.maximum(ndimage.uniform_filter(slope, 5), 0.05), np.float32)
