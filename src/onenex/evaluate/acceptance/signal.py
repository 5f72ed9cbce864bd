"""Signal-to-noise ratio, uniformity and intensity of the acceptance phantom, before and after."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from onenex.evaluate.acceptance import layouts
from onenex.evaluate.acceptance.phantom import BODY, SIDE, Disc
from onenex.evaluate.acceptance.records import Check, Measured, Stack
from onenex.series import FloatImages

Mask = NDArray[np.bool_]

GAIN_LIMIT = 0.05
BIAS_LIMIT = 0.01
QUANTITATIVE_SNR = 5.0
"""Intensities are judged where the signal is at least this many σ: below, magnitudes themselves are more than 2 % off (σ² / 2A²)."""
SNR_RADIUS = 12.0
SNR_PLACES = ((0.0, 20.0), (-60.0, 0.0), (60.0, 0.0), (0.0, 62.0), (0.0, -65.0))
"""Of the regions of interest from the container's centre, (rows, columns), pixels."""
CENTIMETRE_RADIUS = 5.64
"""Of a disc of 1 cm² with pixels of 1 mm, as ACR's phantom has them (25 cm on 256)."""
SHADING, SHADING_TOLERANCE = "slow shading", 0.5
"""Percentage points: the step in which ACR states its limits of uniformity."""
UNIFORM_SHARE = 0.75
"""Of the container's area that NEMA MS 3 looks at."""
_NINE_POINTS = np.outer((1, 2, 1), (1, 2, 1)) / 16


def distance(row: float, column: float) -> NDArray[np.float64]:
    """Return the distance of every pixel (row, column) from a place, pixels."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    return np.asarray(np.hypot(rows - row, columns - column))


def snr(pair: FloatImages, region: Mask) -> float:
    """Return the signal-to-noise ratio of two scans (2, row, column) of the same slice.

    Source
    ------
    NEMA MS 1-2008, method 1: the mean signal over the standard deviation of the difference image, divided by √2.
    """
    signal = float(pair.mean(axis=0)[region].mean())
    noise = float(np.std((pair[0] - pair[1])[region], ddof=1) / np.sqrt(2))
    return signal / max(noise, 1e-9)


def snr_check(uniform: list[Stack]) -> Check:
    """Ask whether the signal-to-noise ratio rises in every region of interest."""
    measured = []
    for stack in uniform:
        pairs = [slice(first, first + 2) for first in range(0, len(stack.scans), 2)]
        gains = []
        for rows, columns in SNR_PLACES:
            region = distance(BODY.row + rows, BODY.column + columns) < SNR_RADIUS
            gains.append([snr(stack.after[pair], region) / snr(stack.before[pair], region) - 1 for pair in pairs])
        means = np.mean(gains, axis=1)
        worst = int(np.argmin(means))
        value, spread = float(means[worst]), standard_error(np.asarray(gains[worst]))
        text = f"least of {len(SNR_PLACES)} regions {value:+.0%} ± {spread:.0%}"
        measured.append(Measured(label=f"σ {stack.sigma:g}", value=value, spread=spread, margin=value - GAIN_LIMIT, text=text))
    return Check(
        name="signal-to-noise ratio",
        asks="Does the signal-to-noise ratio rise in every region of interest?",
        limit=f"≥ {GAIN_LIMIT:+.0%}",
        source="NEMA MS 1-2008 (method 1, difference of two scans); limit: FDA 510(k) K191688",
        measured=tuple(measured),
    )


def integral_uniformity(image: FloatImages, kernel: NDArray[np.float64], region: Mask) -> float:
    """Return 100 · (1 − (max − min) / (max + min)) of the image (row, column) smoothed by `kernel`, in `region`, percent."""
    smoothed = ndimage.convolve(image.astype(np.float64), kernel)[region]
    high, low = float(smoothed.max()), float(smoothed.min())
    return 100 * (1 - (high - low) / (high + low))


def slow_uniformity(image: FloatImages, region: Mask) -> float:
    """Return the integral uniformity, percent, of the second-order surface that fits an image (row, column) in `region`.

    Noise hardly reaches it: it tells shading that single scans hide.
    """
    rows, columns = ((index - SIDE / 2) / SIDE for index in np.nonzero(region))
    terms = np.stack([np.ones_like(rows), rows, columns, rows**2, rows * columns, columns**2], axis=1)
    surface = terms @ np.linalg.lstsq(terms, image[region].astype(np.float64), rcond=None)[0]
    high, low = float(surface.max()), float(surface.min())
    return 100 * (1 - (high - low) / (high + low))


def uniformity_check(uniform: list[Stack]) -> Check:
    """Ask whether a uniform slice gets less uniform, by ACR's and by NEMA's measure, and whether it gets other shading."""
    centimetre = (np.hypot(*np.ogrid[-5:6, -5:6]) <= CENTIMETRE_RADIUS).astype(np.float64)
    centimetre /= centimetre.sum()
    region = distance(BODY.row, BODY.column) < BODY.radius * np.sqrt(UNIFORM_SHARE)
    region &= distance(layouts.VESSEL.row, layouts.VESSEL.column) > layouts.VESSEL.radius + 8
    ways: dict[str, Callable[[FloatImages], float]] = {
        "1 cm²": lambda image: integral_uniformity(image, centimetre, region),
        "nine points": lambda image: integral_uniformity(image, _NINE_POINTS, region),
        SHADING: lambda image: slow_uniformity(image, region),
    }
    measured = []
    for stack in uniform:
        for name, way in ways.items():
            before, after = (np.array([way(image) for image in images]) for images in (stack.before, stack.after))
            value, spread = float((after - before).mean()), standard_error(after - before)
            margin = SHADING_TOLERANCE - abs(value) if name == SHADING else value
            text = f"{before.mean():.1f} % → {after.mean():.1f} % ({value:+.1f} ± {spread:.1f})"
            measured.append(Measured(label=f"σ {stack.sigma:g}, {name}", value=value, spread=spread, margin=margin, text=text))
    return Check(
        name="uniformity",
        asks="Is a uniform slice as uniform as before, and its shading the same?",
        limit=f"not lower (shading: ± {SHADING_TOLERANCE:g})",
        source="percent integral uniformity: ACR Large Phantom Guidance (regions of 1 cm²); NEMA MS 3-2008 (nine-point filter); shading: our own",
        measured=tuple(measured),
    )


def outside(after: float, before: float, truth: float) -> float:
    """Return how far a mean intensity is from the span between the true and the measured one, signed, unit of its arguments.

    Magnitudes lie above the truth (Gudbjartsson & Patz 1995). A denoiser may leave that or take it away; what goes beyond either is bias of its own.
    """
    low, high = min(before, truth), max(before, truth)
    return min(after - low, 0.0) + max(after - high, 0.0)


def bias_check(edges: list[Stack], uniform: list[Stack]) -> Check:
    """Ask whether mean intensities stay, in the container and in the cylinders."""
    container = Disc(row=BODY.row, column=BODY.column, radius=40.0, signal=0.0)
    regions = {step: layouts.cylinders(step) for step in (layouts.HIGH_STEP, *layouts.LOW_STEPS)}
    measured = []
    for stack, plain in zip(edges, uniform, strict=True):
        found = []
        for step, discs in [*regions.items(), (0.0, [container])]:
            source = stack if step else plain
            region = np.any([distance(disc.row, disc.column) < disc.radius - 4 for disc in discs], axis=0)
            region &= distance(layouts.VESSEL.row, layouts.VESSEL.column) > (layouts.VESSEL.radius + 4 if not step else -1)
            truth = float(source.clean[region].mean())
            if truth < QUANTITATIVE_SNR * stack.sigma:
                continue
            before, after = (images[:, region].mean(axis=1) for images in (source.before, source.after))
            beyond = outside(float(after.mean()), float(before.mean()), truth) / truth
            found.append((abs(beyond), beyond, standard_error(after) / truth, truth))
        size, value, spread, truth = max(found)
        text = f"{value:+.2%} ± {spread:.2%} where the signal is {truth:.2f}"
        measured.append(Measured(label=f"σ {stack.sigma:g}", value=value, spread=spread, margin=BIAS_LIMIT - size, text=text))
    return Check(
        name="intensity",
        asks=f"Do mean intensities stay between the true and the scanned ones, where the signal is ≥ {QUANTITATIVE_SNR:g} σ?",
        limit=f"< {BIAS_LIMIT:.0%} of the signal",
        source="no published limit; measured in regions of interest as NEMA MS 1 takes the signal",
        measured=tuple(measured),
    )


def standard_error(values: NDArray[np.float64]) -> float:
    """Return the standard error of the mean of some values; NaN for a single one."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
