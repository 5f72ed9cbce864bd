"""`measure`: every measure of every slice, inside the foreground and over the whole slice, as one frozen record a slice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from onenex.errors import DataError
from onenex.evaluate.measures import contrast, removed, resolution, sharpness, similarity
from onenex.evaluate.metrics import Mask
from onenex.evaluate.perceptual import SMALLEST_SIDE, Lpips
from onenex.series import FloatImages

Image = NDArray[np.float32]
"""(row, column)."""
NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Measures:
    """One slice in one region. NaN: the measure doesn't exist here (see each), or the region is empty."""

    n_pixels: int
    mse: float
    """Unit², the reference's own noise subtracted where it is known; then it can be below 0."""
    psnr: float
    """dB; infinite when `mse` ≤ 0. Average `mse` over slices, not this."""
    nrmse: float
    """Root of `mse` over the root mean square of the reference."""
    ssim: float
    ms_ssim: float
    frc_seventh: float
    """Cycles per pixel, 0…0.5, up to which the Fourier-ring correlation with the reference stays above 1/7."""
    frc_half: float
    """The same for 1/2, the threshold for a reference without noise."""
    removed_edges: float
    """Multiple correlation 0…1 of image − measured with the reference's edges; NaN without the measured image."""
    removed_neighbours: float
    """Correlation of neighbouring pixels of image − measured less that of reference − measured; NaN without the measured image, or for itself."""
    edge_fwhm: float
    """Pixels; NaN over the whole slice and with fewer than `sharpness.LEAST_EDGES` edges."""
    edge_fwhm_ratio: float
    """To the reference; NaN like `edge_fwhm`."""
    edge_height_ratio: float
    """Height of the edges over that in the reference; NaN like `edge_fwhm`."""
    n_edges: int
    """0 over the whole slice: edges are looked for in the foreground only."""
    cnr: float
    """NaN over the whole slice, and where the foreground doesn't show two tissues; infinite without noise."""
    contrast_ratio: float
    """To the reference; NaN like `cnr`."""
    lpips: float
    """NaN unless asked for, and for slices smaller than `perceptual.SMALLEST_SIDE`."""


@dataclass(frozen=True, kw_only=True)
class SliceMeasures:
    """One slice in both regions."""

    foreground: Measures
    whole: Measures

    def as_row(self) -> dict[str, float | int]:
        """Return every number under `foreground_…` and `whole_…`, the same keys for every slice."""
        return {f"{region}_{name}": value for region, measures in asdict(self).items() for name, value in measures.items()}


@dataclass(frozen=True, kw_only=True)
class _Region:
    """What a target knows of one region."""

    mask: Mask
    foreground: bool
    spectrum: resolution.Spectrum
    patterns: removed.Patterns | None
    blocks: removed.Blocks
    noise_neighbours: float


@dataclass(frozen=True, kw_only=True)
class Target:
    """One reference slice, prepared once for any number of images that are held against it. Make it with `prepare`."""

    reference: Image
    reference_variance: Image | None
    measured: Image | None
    data_range: float
    scales: tuple[similarity.Scale, ...]
    foreground: _Region
    whole: _Region
    edges: sharpness.Edges
    tissues: contrast.Tissues | None


def prepare(reference: Image, mask: Mask, *, data_range: float, measured: Image | None = None, reference_variance: Image | None = None) -> Target:
    """Prepare one slice for `measure_slice`; arguments as in `measure`, without their first axis.

    Raises
    ------
    DataError
        As in `measure`.
    """
    named = {"mask": mask, "measured": measured, "reference variance": reference_variance}
    _check(reference, named, data_range)
    everywhere = np.ones(reference.shape, dtype=np.bool_)
    damage, steepness = removed.edge_patterns(reference)

    def region(where: Mask, foreground: bool) -> _Region:
        blocks = removed.blocks(where)
        return _Region(
            mask=where,
            foreground=foreground,
            spectrum=resolution.spectrum(reference, resolution.window(reference.shape, where if foreground else None)),
            patterns=None if measured is None else removed.patterns(damage, steepness, where, (reference, measured)),
            blocks=blocks,
            noise_neighbours=NAN if measured is None else removed.neighbour_correlation(reference - measured, blocks),
        )

    return Target(
        reference=reference,
        reference_variance=reference_variance,
        measured=measured,
        data_range=data_range,
        scales=similarity.scales(reference),
        foreground=region(mask, True),
        whole=region(everywhere, False),
        edges=sharpness.find_edges(reference, mask, data_range),
        tissues=contrast.tissues(reference, mask),
    )


def measure_slice(image: Image, target: Target, *, noise_sigma: Image | None = None, lpips: Lpips | None = None) -> SliceMeasures:
    """Measure one slice against a prepared reference.

    Parameters
    ----------
    image
        (row, column), the unit of the reference.
    target
        Of `prepare`.
    noise_sigma
        (row, column), noise of `image` where a map of it exists (a measured image has one, a restored one hasn't): the CNR then counts
        that noise, not what differs from the reference. Don't compare the two kinds.
    lpips
        As in `measure`.

    Raises
    ------
    DataError
        As in `measure`.
    """
    _check(target.reference, {"image": image, "noise σ": noise_sigma}, target.data_range)
    maps = similarity.pyramid(image, target.scales, target.data_range)
    return SliceMeasures(
        foreground=_in_region(image, target, target.foreground, maps, noise_sigma=noise_sigma, lpips=lpips),
        whole=_in_region(image, target, target.whole, maps, lpips=lpips),
    )


def measure(
    images: FloatImages,
    reference: FloatImages,
    mask: Mask,
    data_range: float,
    *,
    measured: FloatImages | None = None,
    reference_variance: FloatImages | None = None,
    lpips: Lpips | None = None,
) -> list[SliceMeasures]:
    """Measure every slice of a stack. For several stacks against one reference, `prepare` each slice once.

    Parameters
    ----------
    images, reference
        (slice, row, column), one unit, finite, both sides at least 11.
    mask
        (slice, row, column), the foreground (`metrics.foreground`). Slices without any get NaN there.
    data_range
        In the unit of the images, the same for all slices (1 in units of the series scale).
    measured
        (slice, row, column), what the images were made from; None leaves the measures of what was removed out.
    reference_variance
        (slice, row, column), noise of the reference (`repeats.independent_reference`); subtracted from squared errors, so MSE, PSNR,
        NRMSE and CNR are unbiased. SSIM, MS-SSIM, ring correlation and edges see the reference as it is.
    lpips
        From `perceptual.load`; None leaves LPIPS out. In the foreground all pixels outside the mask are those of the reference.

    Raises
    ------
    DataError
        Shapes that differ or are too small, numbers that aren't finite, a data range that isn't positive.
    """
    if images.ndim != 3 or images.shape != reference.shape:
        raise DataError(f"images {images.shape} and reference {reference.shape} must be (slice, row, column) of one shape")
    found = []
    for index in range(len(images)):
        own, variance = (None if one is None else one[index] for one in (measured, reference_variance))
        target = prepare(reference[index], mask[index], data_range=data_range, measured=own, reference_variance=variance)
        found.append(measure_slice(images[index], target, lpips=lpips))
    return found


def pooled_mse(measures: Sequence[Measures]) -> float:
    """Return the mean squared error over the pixels of several slices; NaN without pixels.

    PSNR of a group of slices comes from this: single unbiased errors may be below 0, and their decibels infinite.
    """
    n_pixels = sum(one.n_pixels for one in measures)
    return sum(one.mse * one.n_pixels for one in measures if one.n_pixels) / n_pixels if n_pixels else NAN


def _in_region(
    image: Image,
    target: Target,
    region: _Region,
    maps: list[tuple[similarity.Values, similarity.Values]],
    *,
    noise_sigma: Image | None = None,
    lpips: Lpips | None = None,
) -> Measures:
    n_pixels = int(region.mask.sum())
    if not n_pixels:
        return _nothing()
    mse = similarity.mean_squared_error(image, target.reference, region.mask, target.reference_variance)
    weight = region.mask if region.foreground else None
    correlation = resolution.ring_correlation(image, region.spectrum)
    edges, neighbours = _removed(image, target, region)
    widths = sharpness.sharpness(image, target.edges) if region.foreground else _NO_EDGES
    tissue = _contrast(image, target, noise_sigma) if region.foreground else _NO_CONTRAST
    return Measures(
        n_pixels=n_pixels,
        mse=float(mse),
        psnr=float(similarity.psnr(mse, target.data_range)),
        nrmse=float(similarity.nrmse(mse, target.reference, region.mask, target.reference_variance)),
        ssim=float(similarity.ssim(maps[0][0], weight)),
        ms_ssim=float(similarity.ms_ssim(maps, weight)),
        frc_seventh=resolution.cutoff(correlation, resolution.SEVENTH),
        frc_half=resolution.cutoff(correlation, resolution.HALF),
        removed_edges=edges,
        removed_neighbours=neighbours,
        edge_fwhm=widths.fwhm,
        edge_fwhm_ratio=widths.ratio,
        edge_height_ratio=widths.height_ratio,
        n_edges=widths.n_edges,
        cnr=tissue.cnr,
        contrast_ratio=tissue.ratio,
        lpips=NAN if lpips is None else _lpips(image, target, region, lpips),
    )


def _removed(image: Image, target: Target, region: _Region) -> tuple[float, float]:
    """Return the correlation of what was removed with the edges, and that of its neighbours beyond noise's."""
    if target.measured is None:
        return NAN, NAN
    gone = image - target.measured
    edges = NAN if region.patterns is None else removed.edge_correlation(gone, region.patterns)
    return edges, removed.neighbour_correlation(gone, region.blocks) - region.noise_neighbours


def _contrast(image: Image, target: Target, noise_sigma: Image | None) -> contrast.Contrast:
    if target.tissues is None:
        return _NO_CONTRAST
    return contrast.contrast(image, target.reference, target.tissues, noise_sigma=noise_sigma, reference_variance=target.reference_variance)


def _lpips(image: Image, target: Target, region: _Region, lpips: Lpips) -> float:
    if min(image.shape) < SMALLEST_SIDE:
        return NAN
    shown = np.where(region.mask, image, target.reference)
    return float(lpips.distance(shown[None], target.reference[None], data_range=target.data_range)[0])


_NO_EDGES = sharpness.Sharpness(fwhm=NAN, ratio=NAN, height_ratio=NAN, n_edges=0)
_NO_CONTRAST = contrast.Contrast(cnr=NAN, ratio=NAN)


def _nothing() -> Measures:
    """Return the record of an empty region."""
    return Measures(
        n_pixels=0, mse=NAN, psnr=NAN, nrmse=NAN, ssim=NAN, ms_ssim=NAN, frc_seventh=NAN, frc_half=NAN, removed_edges=NAN,
        removed_neighbours=NAN, edge_fwhm=NAN, edge_fwhm_ratio=NAN, edge_height_ratio=NAN, n_edges=0, cnr=NAN, contrast_ratio=NAN, lpips=NAN,
    )  # fmt: skip


def _check(reference: Image, others: dict[str, NDArray[np.float32] | Mask | None], data_range: float) -> None:
    """Refuse what cannot be measured."""
    if not (math.isfinite(data_range) and data_range > 0):
        raise DataError(f"data_range is {data_range}: give a positive number in the unit of the images")
    for name, values in {"reference": reference, **others}.items():
        if values is None:
            continue
        if reference.ndim != 2 or values.shape != reference.shape:
            raise DataError(f"{name} is {values.shape}, the reference {reference.shape}: every slice needs one shape (row, column)")
        if not np.isfinite(values).all():
            raise DataError(f"{name} holds NaN or infinite numbers: replace them first")
