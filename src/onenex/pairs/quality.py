"""Whether a reference that was brought onto a fast scan's grid makes a pair with it: scores, limits, and a verdict with its reasons.

What each limit parts is drawn by `scoring.figure.figure` (docs/images/pairs-quality.png).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onenex.errors import DataError
from onenex.pairs.scoring import noise as noises
from onenex.pairs.scoring import scores
from onenex.series import FloatImages

Mask = NDArray[np.bool_]

_ALIKE = ("correlation", "structure", "nmi", "offset")
"""Scores of which a stack has the median of its slices."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a pair must keep, as a whole and in each slice."""

    correlation: float = 0.93
    """Of brightness, corrected for noise, at least. Pairs have 0.96 and more, another contrast, patient or slice less."""
    structure: float = 0.88
    """Correlation of edges and texture, corrected for noise, at least. Pairs have 0.95 and more."""
    nmi: float = 1.12
    """Normalised mutual information, 1…2, at least; it falls with noise, so this only keeps out what has nothing in common."""
    motion_px: float = 0.7
    """Upper quartile of the shifts of blocks, pixels of the fast scan, at most. Noise alone makes up to 0.6 of it, one pixel 0.95 and more."""
    noise_ratio: float = 0.85
    """Noise of the reference over that of the fast scan, at most, of the stack alone; two averages have 0.71. Infinite where the reference is
    a mean of repeats and so less noisy by making."""
    clipped: float = 0.01
    """Share of the foreground that is saturated, at most."""
    gain: float = 1.2
    """Factor between the brightness of a slice and that of the stack, at most."""
    offset: float = 0.2
    """Of the line of intensities, share of the scale, at most either way."""
    snr: float = 2.0
    """Of the fast scan, at least: below that there is nothing to learn from."""
    foreground: float = 0.01
    """Share of the pixels, at least."""
    slices: float = 0.5
    """Share of slices that must be good for a stack to be."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of a stack (`_ALIKE`: medians over its slices), or of one slice.

    NaN where there is too little to measure; no limit rejects that.
    """

    correlation: float
    structure: float
    nmi: float
    motion_px: float
    noise_ratio: float
    clipped: float
    """The larger share of the two scans."""
    gain: float
    """The fast scan's unit over the reference's: the reference times this has the fast scan's brightness."""
    offset: float
    """Of the line of intensities, unit of the fast scan; to be judged, not to be added: zero is zero on every magnitude."""
    snr: float
    """Mean of the fast scan's foreground over its noise, in pixels as measured."""
    reference_snr: float
    """Infinite when no noise is found."""
    foreground: float


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The verdict on a stack and on each slice."""

    scores: Scores
    reasons: tuple[str, ...]
    """Why the stack is no pair; empty when it is one."""
    slices: tuple[Scores, ...]
    slice_reasons: tuple[tuple[str, ...], ...]
    """Why each slice is no pair by itself."""

    @property
    def accepted(self) -> bool:
        """Whether the stack is a pair; slices with reasons of their own are not, even then."""
        return not self.reasons

    @property
    def accepted_slices(self) -> tuple[int, ...]:
        """Slices of an accepted stack that are pairs."""
        return tuple(k for k, reasons in enumerate(self.slice_reasons) if self.accepted and not reasons)


def assess(
    fast: FloatImages,
    reference: FloatImages,
    *,
    inside: Mask | None = None,
    sigma: FloatImages | None = None,
    source: FloatImages | None = None,
    limits: Limits | None = None,
) -> Quality:
    """Judge a pair.

    Parameters
    ----------
    fast, reference
        (slice, row, column), magnitudes on one grid, each in its own unit.
    inside
        (slice, row, column), where the reference covers the fast scan; None = everywhere.
    sigma
        (slice, row, column), the fast scan's noise, its unit, where a better estimate than the pair's own is known.
    source
        The reference before it was resampled, any shape: interpolation blurs what was clipped.

    Raises
    ------
    DataError
        The two stacks differ in shape, or are empty.
    """
    if fast.shape != reference.shape or fast.ndim != 3 or 0 in fast.shape:
        raise DataError(f"a pair needs two stacks of one shape, not {fast.shape} and {reference.shape}: bring the reference onto the grid first")
    limits = limits or Limits()
    top = max(scores.clipped(fast), scores.clipped(reference if source is None else source))
    measured = _measure(scores.align(fast, reference, inside), sigma, top)
    each = tuple(_scores(measured, k) for k in range(len(fast)))
    whole = _scores(measured, None)
    seen = [one for one in each if one.foreground >= limits.foreground]
    if seen:  # a bad slice more or less is its own matter
        alike = {name: float(np.nanmedian([getattr(one, name) for one in seen])) for name in _ALIKE}
        whole = replace(whole, **alike)
    of_slices = replace(limits, noise_ratio=math.inf)
    slice_reasons = tuple(_reasons(one, of_slices, whole.gain, measured.pair.scale) for one in each)
    reasons = _reasons(whole, limits, whole.gain, measured.pair.scale)
    n_good = sum(not one for one in slice_reasons)
    if not reasons and n_good < limits.slices * len(each):
        reasons = (f"only {n_good} of {len(each)} slices are good",)
    return Quality(scores=whole, reasons=reasons, slices=each, slice_reasons=slice_reasons)


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """What is worked out once for all slices of a pair; images (slice, row, column), units of the fast scan's scale."""

    pair: scores.Aligned
    shown: scores.Aligned
    """As it was measured: without what is k-space filled with zeros."""
    shares: tuple[float, float]
    """What that leaves of the matrix: (rows, columns)."""
    bands: tuple[scores.Array, scores.Array]
    smooth: tuple[scores.Array, scores.Array]
    shifts: tuple[NDArray[np.float64], ...]
    """(block, 2) of each slice, pixels of `pair`."""
    inner: scores.Aligned
    """Where noise is compared: the middle of what was measured."""
    inner_share: float
    """Of the pixels of `shown`."""
    noise: noises.Noise
    """In pixels of `shown`."""
    sigma: FloatImages | None
    clipped: float


def _measure(pair: scores.Aligned, sigma: FloatImages | None, clipped: float) -> _Measured:
    shown, shares = noises.as_measured(pair)
    inner, parts = noises.as_measured(pair, noises.INNER)
    inner_share = math.prod(parts) / math.prod(shares)
    bands = scores.band(shown.fast), scores.band(shown.reference)
    return _Measured(
        pair=pair,
        shown=shown,
        shares=shares,
        bands=bands,
        smooth=(scores.smoothed(pair.fast), scores.smoothed(pair.reference)),
        shifts=tuple(scores.shifts((bands[0][k], bands[1][k]), shown.mask[k]) / shares for k in range(len(pair.mask))),
        inner=inner,
        inner_share=inner_share,
        noise=noises.noise(inner).on(inner_share),
        sigma=sigma,
        clipped=clipped,
    )


def _scores(measured: _Measured, k: int | None) -> Scores:
    """Return the scores of slice `k`, or of the stack."""
    pair, part = measured.pair, slice(None) if k is None else slice(k, k + 1)
    mask, spread = pair.mask[part], measured.shares[0] * measured.shares[1]
    smooth, bands = ((one[0][part], one[1][part]) for one in (measured.smooth, measured.bands))
    noise = measured.noise if k is None else noises.noise(measured.inner, k).on(measured.inner_share)
    whole = measured.noise.fast, measured.noise.reference
    moved = np.concatenate(measured.shifts[part])
    sigma = math.sqrt(noise.fast)
    if measured.sigma is not None and mask.any():
        sigma = float(np.median(measured.sigma[part][mask])) / pair.scale
    bright = float(pair.fast[part][mask].mean()) if mask.any() else 0.0
    reference_sigma = math.sqrt(max(noise.reference, 0.0))
    return Scores(
        correlation=scores.correlation(smooth, mask, (scores.NOISE_SMOOTHED * whole[0] / spread, scores.NOISE_SMOOTHED * whole[1] / spread)),
        structure=scores.correlation(bands, measured.shown.mask[part], (scores.NOISE_IN_BAND * whole[0], scores.NOISE_IN_BAND * whole[1])),
        nmi=scores.mutual_information(smooth, mask),
        motion_px=float(np.percentile(np.hypot(*moved.T), 75)) if len(moved) else math.nan,
        noise_ratio=noise.ratio if noise.fast > 0 or k is None else math.nan,
        clipped=measured.clipped,
        gain=pair.gain if k is None else pair.gain * pair.gains[k],
        offset=scores.line(smooth, mask)[1] * pair.scale,
        snr=bright / sigma if sigma > 0 else math.inf,
        reference_snr=bright / reference_sigma if reference_sigma > 0 else math.inf,
        foreground=float(mask.mean()),
    )


def _reasons(found: Scores, limits: Limits, gain: float, scale: float) -> tuple[str, ...]:
    """Return what is wrong, a phrase each; the first is the gravest."""
    if found.foreground < limits.foreground:
        return (f"next to nothing is seen in both (foreground {found.foreground:.1%})",)
    uneven = max(found.gain / gain, gain / found.gain) if gain > 0 and found.gain > 0 else math.nan
    checks = (
        (found.correlation < limits.correlation, f"another brightness (correlation {found.correlation:.2f}, limit {limits.correlation:g})"),
        (found.structure < limits.structure, f"another anatomy (structure {found.structure:.2f}, limit {limits.structure:g})"),
        (found.nmi < limits.nmi, f"little in common (mutual information {found.nmi:.2f}, limit {limits.nmi:g})"),
        (found.motion_px > limits.motion_px, f"not aligned (blocks {found.motion_px:.1f} px off, limit {limits.motion_px:g})"),
        (found.noise_ratio > limits.noise_ratio, f"the reference is no less noisy (ratio {found.noise_ratio:.2f}, limit {limits.noise_ratio:g})"),
        (found.clipped > limits.clipped, f"clipped ({found.clipped:.1%} of the foreground saturated, limit {limits.clipped:.0%})"),
        (uneven > limits.gain, f"the slice is {uneven:.2f}× as bright as the stack says (limit {limits.gain:g})"),
        (abs(found.offset) > limits.offset * scale, f"zero is not zero (offset {found.offset / scale:+.2f} of the scale, limit {limits.offset:g})"),
        (found.snr < limits.snr, f"too noisy to learn from (signal-to-noise ratio {found.snr:.1f}, limit {limits.snr:g})"),
    )  # fmt: skip
    return tuple(reason for failed, reason in checks if failed)
