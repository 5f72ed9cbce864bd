"""Pixel by pixel and window by window: squared error, PSNR, NRMSE, SSIM and MS-SSIM, each slice on its own."""

# shapes: ... any leading axes (slices), H row, W column

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from onenex.errors import DataError
from onenex.evaluate.metrics import SSIM_WINDOW, Mask

Values = NDArray[np.float64]
Images = NDArray[np.float32] | NDArray[np.float64]

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales of MS-SSIM, finest first."""
K1, K2, DEVIATION = 0.01, 0.03, 1.5
"""Constants and window of SSIM (Wang 2004)."""
_BORDER = SSIM_WINDOW // 2


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What is known of a reference at one scale before any image is held against it."""

    reference: Values
    mean: Values
    variance: Values
    beyond: Literal["reflect", "mirror"]
    """How images go on beyond their border: with the last pixel twice (scikit-image, finest scale) or once (torchmetrics, the others)."""


def psnr(mse: Values, data_range: float) -> Values:
    """Return 10·log₁₀(data_range² / mse), dB, of every mean squared error; infinite where it is ≤ 0, NaN where it is NaN."""
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(data_range**2 / np.maximum(mse, 0)))


def mean_squared_error(images: Images, reference: Images, mask: Mask | None = None, reference_variance: Images | None = None) -> Values:
    """Return the mean of (images − reference)² of every slice.

    Parameters
    ----------
    images, reference
        (..., row, column), one unit.
    mask
        (..., row, column), the pixels that count; None = all.
    reference_variance
        (..., row, column), variance of the noise of `reference`, unit²; it is subtracted. The result then estimates the error
        against the noise-free reference as long as the noise of `images` is another, and may come out below 0.

    Returns
    -------
    Values
        (...), NaN where no pixel counts.
    """
    error = np.square(np.asarray(images, dtype=np.float64) - reference)
    return region_mean(error if reference_variance is None else error - reference_variance, mask)


def nrmse(mse: Values, reference: Images, mask: Mask | None = None, reference_variance: Images | None = None) -> Values:
    """Return √mse over the root mean square of the reference, of every slice; as scikit-image's "euclidean" normalisation.

    Parameters
    ----------
    mse
        (...), from `mean_squared_error` with the same other arguments; less than 0 counts as 0.
    reference, mask, reference_variance
        As there.

    Returns
    -------
    Values
        (...), NaN where the reference is zero everywhere.
    """
    power = np.square(np.asarray(reference, dtype=np.float64))
    mean_power = region_mean(power if reference_variance is None else power - reference_variance, mask)
    return np.asarray(np.sqrt(np.maximum(mse, 0) / np.where(mean_power > 0, mean_power, np.nan)))


def scales(reference: Images) -> tuple[Scale, ...]:
    """Prepare a reference for `ssim_maps` and `ms_ssim`.

    Parameters
    ----------
    reference
        (..., row, column), both sides at least `SSIM_WINDOW`.

    Returns
    -------
    tuple[Scale, ...]
        Finest first, each half the size of the one before (an odd last row or column is left out); as many as have room for
        the window, at most five.

    Raises
    ------
    DataError
        A slice smaller than the window.
    """
    here = np.asarray(reference, dtype=np.float64)
    if min(here.shape[-2:]) < SSIM_WINDOW:
        raise DataError(f"SSIM needs slices of at least {SSIM_WINDOW} × {SSIM_WINDOW} pixels, not {here.shape[-2:]}")
    found: list[Scale] = []
    while len(found) < len(WEIGHTS) and min(here.shape[-2:]) >= SSIM_WINDOW:
        beyond: Literal["reflect", "mirror"] = "mirror" if found else "reflect"
        mean = _window(here, beyond)
        found.append(Scale(reference=here, mean=mean, variance=_window(np.square(here), beyond) - np.square(mean), beyond=beyond))
        here = halved(here)
    return tuple(found)


def ssim_maps(images: Values, scale: Scale, data_range: float) -> tuple[Values, Values]:
    """Return the structural similarity and its contrast-structure factor at every pixel.

    Parameters
    ----------
    images
        (..., row, column), the shape and the unit of the reference of `scale`.
    scale
        Of `scales`.
    data_range
        In the unit of the images.

    Source
    ------
    Wang et al., IEEE Trans. Image Process. 13:600 (2004), eq. 13, with their settings: Gaussian window of standard deviation 1.5,
    11 pixels wide, K₁ 0.01, K₂ 0.03, population covariance.
    """
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean = _window(images, scale.beyond)
    variance = _window(np.square(images), scale.beyond) - np.square(mean)
    covariance = _window(images * scale.reference, scale.beyond) - mean * scale.mean
    contrast_structure = (2 * covariance + c2) / (variance + scale.variance + c2)
    luminance = (2 * mean * scale.mean + c1) / (np.square(mean) + np.square(scale.mean) + c1)
    return luminance * contrast_structure, contrast_structure


def ssim(similarity: Values, mask: Mask | None = None) -> Values:
    """Return the mean of maps of similarity (..., row, column) over a mask; without one over all windows that lie inside the slice.

    The second is the number that scikit-image prints. torchmetrics has the same map, but counts windows that reach beyond the border.
    """
    return region_mean(similarity, mask) if mask is not None else region_mean(_inner(similarity), None)


def ms_ssim(maps: Sequence[tuple[Values, Values]], mask: Mask | None = None) -> Values:
    """Return the multi-scale structural similarity of every slice, 0…1.

    Parameters
    ----------
    maps
        Of `pyramid`. Fewer than five scales get the exponents of the finest ones, divided by their sum.
    mask
        (..., row, column) at the finest scale; at coarser ones a pixel counts by its share of the mask. None = as torchmetrics: all
        windows that lie inside the slice, at the coarsest scale those beyond its border too.

    Source
    ------
    Wang, Simoncelli & Bovik, Asilomar Conf. Signals Syst. Comput. (2003), eq. 7. Negative means count as 0, as in torchmetrics.
    """
    exponents = np.array(WEIGHTS[: len(maps)]) / sum(WEIGHTS[: len(maps)])
    weight = None if mask is None else np.asarray(mask, dtype=np.float64)
    product: Values = np.ones(maps[0][0].shape[:-2])
    for level, ((whole, contrast_structure), exponent) in enumerate(zip(maps, exponents, strict=True)):
        values = whole if level == len(maps) - 1 else contrast_structure if weight is not None else _inner(contrast_structure)
        mean = region_mean(values, weight)
        product = product * np.maximum(mean, 0) ** exponent
        weight = None if weight is None else halved(weight)
    return product


def pyramid(images: Images, prepared: Sequence[Scale], data_range: float) -> list[tuple[Values, Values]]:
    """Return `ssim_maps` of images (..., row, column) at every scale, the finest first."""
    here = np.asarray(images, dtype=np.float64)
    maps = []
    for scale in prepared:
        maps.append(ssim_maps(here, scale, data_range))
        here = halved(here) if len(maps) < len(prepared) else here
    return maps


def region_mean(values: Values, weight: Mask | Values | None) -> Values:
    """Return the weighted mean over rows and columns: (..., row, column) → (...); NaN without any weight."""
    if weight is None:
        return np.asarray(values.mean(axis=(-2, -1)))
    total = np.asarray(np.sum(weight, axis=(-2, -1), dtype=np.float64))
    summed = np.einsum("...ij,...ij->...", values, np.asarray(weight, dtype=np.float64))
    return np.asarray(summed / np.where(total > 0, total, np.nan))


def halved(images: Values) -> Values:
    """Return the means of 2 × 2 pixels; an odd last row or column is left out."""
    rows, columns = (n - n % 2 for n in images.shape[-2:])
    even = images[..., :rows, :columns]
    return np.asarray((even[..., ::2, ::2] + even[..., 1::2, ::2] + even[..., ::2, 1::2] + even[..., 1::2, 1::2]) / 4)


def _window(images: Values, beyond: Literal["reflect", "mirror"]) -> Values:
    """Return the mean under the window of SSIM at every pixel."""
    return np.asarray(ndimage.gaussian_filter(images, DEVIATION, radius=_BORDER, mode=beyond, axes=(-2, -1)))


def _inner(values: Values) -> Values:
    return values[..., _BORDER:-_BORDER, _BORDER:-_BORDER]
