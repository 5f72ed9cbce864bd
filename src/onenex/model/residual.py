"""What is left of the measured slice when the expected one is taken away, and the searches for structure in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Image = NDArray[np.float32]
"""(row, column)."""
Mask = NDArray[np.bool_]
"""(row, column)."""

AREA_SNR = 2.3
"""Mean over σ of the smoothed expectation above which a pixel is judged: air shows 1.9 (Rician), tissue of twice the noise 2.4."""
STANDS_OUT = 1.0
"""Or what the slice shows above its surroundings, smoothed alike, over σ (white noise: 0.14): a lost lesion may lie where the result is dark."""
AREA_PIXELS = 2.0
"""Standard deviation of that smoothing."""
FAINT = 0.02
"""Share of the slice's bright tissue below which, smoothed alike, nothing is judged: air, whatever σ says of it (a scanner's filter or
interpolation may leave coarser noise there than in tissue), and no window that anybody reads at shows it."""
BROAD_PIXELS = 14.0
"""Misfit smoother than this (standard deviation of a Gaussian) is the degradation model's, not a lesion's, and is taken off."""
LEVELS, LEVEL_PIXELS = 12, 400
"""Most signal levels at which the bias of the expectation is measured, and pixels that the faintest must have."""
FLOOR_DOUBT = 4.0
"""Several coils or averages of magnitudes lift dark tissue above the Rician mean: by this over (mean / σ)², standard deviations, at most,
is no spot. Half of what four coils do (Constantinides et al. 1997); most of the rest is found by the levels."""
BORDER = 3
"""Pixels at the ends of the slice that are not judged: rows wrap around there."""
COLOUR = 2.0
"""How much more than white noise of the expected σ a residual may show under a broad filter: as much as noise of a matrix that was
interpolated by two along both axes. Not more, for in a small slice a fault itself is part of the bulk."""
EDGE_WINDOW = 11
"""Side of the windows in which the residual is compared with the edges, pixels."""
EDGE_TOLERANCE = 0.04
"""Displacement, pixels, that is no reason for suspicion whatever the contrast of the edge."""
_MAD = 1.4826
"""Median absolute deviation → standard deviation of a Gaussian."""


@dataclass(frozen=True, kw_only=True)
class Residual:
    """The standardised residual z = (y − m) / σ, its bias taken off."""

    z: Image
    """0 outside `area`."""
    doubt: Image
    """How far above its expectation the slice may lie because the noise floor is not Rician, standard deviations; 0 outside `area`."""
    area: Mask
    """Where it is judged: signal above the Rician floor and not too faint to be seen, not blanked by the scanner, not the measured slice itself."""
    spread: float
    """Robust standard deviation of z in the area: 1 for noise of the expected strength, less where the result keeps some of the noise."""


def residual(measured: Image, mean: Image, sigma: Image, given_up: Mask | None = None) -> Residual:
    """Return the standardised residual of one slice.

    The expectation may be off in three ways that are no damage, and each is removed with statistics too coarse to hide
    any: a bias that depends on the signal level alone (several coils, averages of magnitudes), by medians over pixels of
    like level; a misfit smoother than `BROAD_PIXELS`; a wrong σ, which the searches meet with their own yardstick.

    Parameters
    ----------
    measured, mean, sigma
        (row, column): the slice, its expectation and standard deviation under the result, one unit, σ > 0.
    given_up
        Pixels where the result is the measured slice again: nothing is left to judge.
    """
    ratio = mean / sigma
    outside = ndimage.binary_dilation(measured == 0) | _faint(measured, mean)
    if given_up is not None:
        outside |= given_up
    area = _judged(measured / sigma, ratio) & ~outside
    z = np.where(area, (measured - mean) / sigma, np.float32(0))
    doubt = np.where(area, FLOOR_DOUBT / np.square(np.maximum(ratio, 1)), np.float32(0)).astype(np.float32)
    if not area.any():
        return Residual(z=z, doubt=doubt, area=area, spread=0.0)
    z[area] -= _level_bias(z[area], ratio[area])
    inside = area.astype(np.float32)
    (broad,), (weight,) = _gaussians(z, (BROAD_PIXELS,)), _gaussians(inside, (BROAD_PIXELS,))
    z = (z - broad / np.maximum(weight, 0.05)) * inside
    return Residual(z=z, doubt=doubt, area=area, spread=robust_spread(z[area]))


def robust_spread(values: Image) -> float:
    """Return the standard deviation of the bulk of `values` about 0; 0 without values."""
    return float(_MAD * np.median(np.abs(values))) if values.size else 0.0


def blobs(found: Residual, widths: Sequence[float]) -> list[Image]:
    """Search for spots: the residual under Gaussians, counted in standard deviations.

    The yardstick is what white noise of the expected σ would show under the same Gaussian; where this residual's own bulk
    shows more (correlated noise, σ too low), that, up to `COLOUR` times as much.

    Parameters
    ----------
    found
        The residual.
    widths
        Standard deviations of the Gaussians, pixels; one of radius / 1.6 answers best to a disc.

    Returns
    -------
    list[Image]
        Signed, one (row, column) for each width.

    Source
    ------
    Matched filters; Marr & Hildreth, Proc. R. Soc. B 207:187 (1980) for the range of widths.
    """
    fields: list[Image] = []
    judged = np.flatnonzero(found.area)
    for width, smooth, doubt in zip(widths, _gaussians(found.z, widths), _gaussians(found.doubt, widths), strict=True):
        white = _white_spread(width)
        yardstick = np.float32(np.clip(robust_spread(smooth.ravel()[judged]), white, COLOUR * white))
        field = np.where(smooth > 0, np.maximum(smooth - doubt, 0), smooth) * found.area / yardstick
        fields.append(field.astype(np.float32, copy=False))
    return fields


def edge_shifts(found: Residual, mean: Image, sigma: Image) -> tuple[Image, Image]:
    """Compare the residual with the edges of the expectation, in windows.

    An edge displaced by d pixels leaves d times the gradient behind. The score is that of the hypothesis "no displacement"
    in a linear model, with a displacement of `EDGE_TOLERANCE` counted as chance.

    Returns
    -------
    tuple[Image, Image]
        Score along rows and along columns, in standard deviations.

    Source
    ------
    Lucas & Kanade, IJCAI (1981), per axis, with Rao's score in place of the estimate.
    """
    scores = []
    n_pixels, judged = EDGE_WINDOW**2, np.flatnonzero(found.area)
    for gradient in np.gradient(mean):
        slope = np.where(found.area, gradient / sigma, 0).astype(np.float32)
        cross = ndimage.uniform_filter(found.z * slope, EDGE_WINDOW) * n_pixels
        power = ndimage.uniform_filter(np.square(slope), EDGE_WINDOW) * n_pixels
        score = cross / np.sqrt(power + np.square(EDGE_TOLERANCE * power) + 1) * found.area
        scores.append(np.asarray(score / np.clip(robust_spread(score.ravel()[judged]), 1, COLOUR), dtype=np.float32))
    return scores[0], scores[1]


def _judged(measured: Image, ratio: Image) -> Mask:
    """Return where there is a signal to judge; `measured` in units of σ."""
    near, around = _gaussians(measured, (AREA_PIXELS, BROAD_PIXELS))
    rows, columns = (ndimage.gaussian_filter1d(np.ones(n, dtype=np.float32), BROAD_PIXELS, mode="constant") for n in measured.shape)
    seen = (_gaussians(ratio, (AREA_PIXELS,))[0] > AREA_SNR) | (near - around / np.outer(rows, columns) > STANDS_OUT)
    area: Mask = np.zeros(measured.shape, dtype=bool)
    inner = slice(BORDER, -BORDER)
    area[inner, inner] = seen[inner, inner]
    return area


def _faint(measured: Image, mean: Image) -> Mask:
    """Return where neither slice nor expectation shows more than air does."""
    (near,) = _gaussians(np.maximum(measured, mean), (AREA_PIXELS,))
    faint: Mask = near < FAINT * float(np.percentile(mean, 99))
    return faint


def _level_bias(z_N: Image, ratio_N: Image) -> Image:
    """Return the median of z at each pixel's signal level, linear between levels; the faintest levels are the narrowest."""
    n_levels = int(np.clip(np.sqrt(z_N.size / LEVEL_PIXELS), 1, LEVELS))
    order = np.argsort(ratio_N)
    borders = np.quantile(ratio_N, np.square(np.arange(1, n_levels) / n_levels))
    groups = [group for group in np.split(order, np.searchsorted(ratio_N[order], borders)) if group.size]
    centres, medians = ([np.median(values[group]) for group in groups] for values in (ratio_N, z_N))
    return np.asarray(np.interp(ratio_N, centres, medians), dtype=np.float32)


def _gaussians(image: Image, widths: Sequence[float]) -> list[Image]:
    """Blur (row, column) by Gaussians of several standard deviations, pixels; zeros lie beyond the edges."""
    n_rows, n_columns = image.shape
    shape = [fft.next_fast_len(n + int(3 * max(widths)), real=True) for n in image.shape]
    spectrum = fft.rfft2(image.astype(np.float32, copy=False), shape)
    rows, columns = fft.fftfreq(shape[0]).astype(np.float32), fft.rfftfreq(shape[1]).astype(np.float32)
    blurred = []
    for width in widths:
        across, along = (np.exp(-2 * np.square(np.pi * width * axis)) for axis in (rows, columns))
        blurred.append(fft.irfft2(spectrum * across[:, None] * along[None], shape)[:n_rows, :n_columns])
    return blurred


def _white_spread(width: float) -> float:
    """Return the standard deviation of unit white noise after a Gaussian of `width` pixels."""
    frequencies = fft.fftfreq(256)
    return float(np.mean(np.exp(-4 * np.square(np.pi * width * frequencies))))
