"""How good an image is: PSNR, SSIM and the unbiased error against repeats, always inside a foreground mask."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.metrics import structural_similarity

from onenex.errors import DataError
from onenex.series import FloatImages

Mask = NDArray[np.bool_]
Group = tuple[int, ...]
"""0-based repeats whose mean is one input."""
SMOOTHING_PIXELS = 1.5
"""Gaussian blur before the foreground threshold, so that single noisy pixels do not decide."""
FLOOR_PIXELS = 4.0
"""Gaussian blur of the moments that tell the Rician floor of repeats."""
SSIM_WINDOW = 11
"""Side of the SSIM window, pixels: a Gaussian of 1.5 cut at 3.5 of its standard deviations."""
SATURATED_SHARE = 1e-4
"""A series counts as clipped when more than this share of its pixels sits exactly on its largest value."""


def psnr(mse: float, data_range: float) -> float:
    """Return 10·log₁₀(data_range² / mse) in dB; infinite when `mse` ≤ 0.

    An unbiased `mse` can come out zero or negative by chance when the true error is too small for the repeats to show.
    """
    return 10 * math.log10(data_range**2 / mse) if mse > 0 else math.inf


def mean_squared_error(images: FloatImages, reference: FloatImages, mask: Mask) -> float:
    """Return the mean of (images − reference)² where `mask` holds; all three of one shape."""
    _need_pixels(mask)
    return float(np.mean(np.square(images[mask].astype(np.float64) - reference[mask])))


def ssim_map(image: FloatImages, reference: FloatImages, data_range: float) -> NDArray[np.float64]:
    """Return the structural similarity at every pixel of one slice.

    Parameters
    ----------
    image, reference
        (row, column), one unit, both sides at least `SSIM_WINDOW`.
    data_range
        In the unit of the images.

    Raises
    ------
    DataError
        A slice smaller than the window.

    Source
    ------
    Wang et al., IEEE Trans. Image Process. 13:600 (2004), with their settings: Gaussian window of standard deviation
    1.5, K₁ 0.01, K₂ 0.03, population covariance. Computed by scikit-image.
    """
    if min(image.shape) < SSIM_WINDOW:
        raise DataError(f"SSIM needs slices of at least {SSIM_WINDOW} × {SSIM_WINDOW} pixels, not {image.shape}")
    _, similarity = structural_similarity(
        image.astype(np.float64),
        reference.astype(np.float64),
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        K1=0.01,
        K2=0.03,
        full=True,
    )
    return np.asarray(similarity)


def ssim(images: FloatImages, reference: FloatImages, mask: Mask, data_range: float) -> float:
    """Return the mean of the SSIM maps of a stack where `mask` holds; arrays (slice, row, column)."""
    _need_pixels(mask)
    total = sum(
        float(ssim_map(image, target, data_range)[inside].sum())
        for image, target, inside in zip(images, reference, mask, strict=True)
        if inside.any()
    )
    return total / int(mask.sum())


def foreground(images: FloatImages) -> Mask:
    """Return where tissue is, from a clean series or the mean of repeats.

    Each slice is blurred; pixels above *half* of one Otsu threshold for the whole stack are tissue. Half, because Otsu
    parts bright from dark tissue as readily as tissue from air. Specks vanish (opening, 3 × 3 cross) and holes of a
    slice are filled, so cerebrospinal fluid and bone inside the body count. The Rician floor of a mean of repeats lies
    below the threshold as long as the mean signal-to-noise ratio of tissue is above 3 or so.

    Parameters
    ----------
    images
        (slice, row, column), any unit.

    Returns
    -------
    Mask
        Same shape. Nothing is foreground in a constant stack.

    Source
    ------
    Otsu, IEEE Trans. Syst. Man Cybern. 9:62 (1979), by scikit-image, on values clipped at the 99.5th percentile.
    """
    blurred = ndimage.gaussian_filter(images, (0, SMOOTHING_PIXELS, SMOOTHING_PIXELS))
    if blurred.max() - blurred.min() <= 1e-6 * abs(float(blurred.max())):
        return np.zeros(images.shape, dtype=np.bool_)
    clipped = np.minimum(blurred, np.percentile(blurred, 99.5))
    tissue = blurred > threshold_otsu(clipped) / 2
    return np.stack([ndimage.binary_fill_holes(ndimage.binary_opening(one)) for one in tissue])


def saturated(images: FloatImages) -> Mask:
    """Return where a series as stored was clipped at its container's end; same shape as `images`.

    What lies there is no measurement: a flat patch that any smoother gets right, and repeats that agree too well.
    """
    at_top = images >= images.max()
    return at_top if at_top.mean() > SATURATED_SHARE else np.zeros(images.shape, dtype=np.bool_)


def others_mean(repeats: FloatImages, group: Group) -> FloatImages:
    """Return the mean of all repeats outside `group`: (slice, repeat, row, column) → (slice, row, column)."""
    return np.asarray(np.delete(repeats, group, axis=1).mean(axis=1), dtype=np.float32)


def unbiased_mse(restored: Sequence[FloatImages], groups: Sequence[Group], repeats: FloatImages, mask: Mask) -> float:
    """Estimate the error of restored scans against the noise-free mean, which nobody measured; mean over `groups`.

    Let yᵢ = x + nᵢ with independent zero-mean noise, and f see one repeat or the mean of a group of them. With r the
    mean of the m *other* repeats, E(f − r)² = E(f − x)² + Var(r), because the noise of r is independent of f. So Var(r)
    is subtracted:

    - m ≥ 2: from the spread among the others, s²/m with the sample variance s²;
    - m = 1 (one of two repeats): ½ (y₁ − y₂)², which takes the noise of both to be equally strong. The score is then
      mean((f(y₁) − y₂)²) − ½ mean((y₁ − y₂)²), and that of the input itself ½ mean((y₁ − y₂)²).

    It is unbiased, not non-negative: a nearly perfect f can score below 0. x is the mean of *magnitudes*, with its
    Rician floor; hence the foreground mask. Motion and pulsation between repeats count as error for every f alike.

    Parameters
    ----------
    restored
        (slice, row, column) each: f of the mean of one group.
    groups
        Which repeats (0-based) each of `restored` was made of.
    repeats
        (slice, repeat, row, column), the unit of `restored`.
    mask
        (slice, row, column).

    Raises
    ------
    DataError
        No repeat is left for the reference, the only one left has no equal to tell its noise by, or the mask is empty.
    """
    _need_pixels(mask)
    inside = repeats.transpose(0, 2, 3, 1)[mask].astype(np.float64)
    estimates = []
    for images, group in zip(restored, groups, strict=True):
        others = np.delete(inside, group, axis=1)
        n_others = others.shape[1]
        if n_others == 0 or (n_others == 1 and len(group) != 1):
            raise DataError(f"no unbiased score for repeats {list(group)} of {repeats.shape[1]}: one repeat against one, or two more than are used")
        noise_of_mean = np.square(inside[:, group[0]] - others[:, 0]) / 2 if n_others == 1 else others.var(axis=1, ddof=1) / n_others
        estimates.append(float(np.mean(np.square(images[mask] - others.mean(axis=1)) - noise_of_mean)))
    return float(np.mean(estimates))


def second_moment_mse(restored: Sequence[FloatImages], groups: Sequence[Group], repeats: FloatImages, mask: Mask) -> float:
    """Estimate the error of restored² against the noise-free amplitude²; arguments and errors as in `unbiased_mse`.

    E(y²) = A² + 2σ² for Rician magnitudes, so here, unlike among magnitudes, the floor can be taken off a reference (DESIGN §7).
    2σ² is smooth: with M the local mean and V the local variance of y², A⁴ = M² − V.

    Source
    ------
    Gudbjartsson & Patz, Magn. Reson. Med. 34:910 (1995): the moments of y².
    """
    squares = np.square(repeats, dtype=np.float64)
    blur = (0, FLOOR_PIXELS, FLOOR_PIXELS)
    mean = ndimage.gaussian_filter(squares.mean(axis=1), blur)
    variance = ndimage.gaussian_filter(squares.var(axis=1, ddof=1), blur)
    floor = mean - np.sqrt(np.maximum(np.square(mean) - variance, 0))
    return unbiased_mse([np.square(images) for images in restored], groups, (squares - floor[:, None]).astype(np.float32), mask)


def leave_one_out_ssim(restored: Sequence[FloatImages], groups: Sequence[Group], repeats: FloatImages, mask: Mask, data_range: float) -> float:
    """Return the mean SSIM of restored scans against the mean of the other repeats; arguments as in `unbiased_mse`.

    The reference keeps its own noise, so 1 is out of reach; the order of methods is what counts.
    """
    found = [ssim(images, others_mean(repeats, group), mask, data_range) for images, group in zip(restored, groups, strict=True)]
    return float(np.mean(found))


def _need_pixels(mask: Mask) -> None:
    if not mask.any():
        raise DataError("the foreground mask is empty: nothing to score")
