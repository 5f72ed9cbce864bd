"""The guard: is a result faithful to what was measured? Where it isn't, the measured pixels come back (DESIGN §2.6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from onenex.errors import OutOfDomain
from onenex.model.examination import LIMITS, Check, Examination, Limits, examine
from onenex.model.residual import Image, Mask
from onenex.physics.noise import rice_mean

__all__ = ["LIMITS", "Check", "Examination", "Guarded", "Limits", "Verdict", "examine", "guard", "rician_model"]

Degrade = Callable[[Image], tuple[Image, Image]]
"""A result (row, column) → the magnitude expected of the fast scan, and its standard deviation."""

MAX_STEPS = 4
"""Local blends tried before the whole slice is given up."""
GROWTH = 0.6
"""A flagged place takes in the suspicion beside it down to this share of the limit."""
MARGIN, RAMP = 4, 5.0
"""Pixels given up around a flagged place, and pixels over which the result then comes back."""
LINE_MARGIN = 2
"""Pixels given up on either side of a line of interference."""
MAX_REASONS = 3


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is said of one slice, in DICOM and in the report."""

    passed: bool
    """Before anything was blended back."""
    reasons: tuple[str, ...]
    """A sentence for each of the `MAX_REASONS` checks that failed worst, the worst first; empty when all passed."""
    kept: float
    """Share 0…1 of the change that the result still makes to the slice, by absolute value: 1 untouched, 0 the measured slice."""
    share_given_up: float
    """Share of the judged area that shows the measured slice again, wholly or in part."""
    steps: int
    """Blends that were needed."""
    checks: tuple[Check, ...]
    """Every number and its limit, before blending."""
    suspicion: Image
    """(row, column), before blending; see `Examination`."""
    flagged: Mask
    """(row, column), before blending."""
    kept_map: Image
    """(row, column), share of the change kept at each pixel."""
    uncertainty: float | None = None
    """Median over the judged area of the uncertainty map over σ, when a map was given."""
    uncertainty_flagged: float | None = None
    """The same over the flagged pixels; None without any."""


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A slice that passes."""

    image: Image
    """(row, column)."""
    verdict: Verdict


def rician_model(noise_sigma: Image) -> Degrade:
    """Return the degradation model of physics alone: Rician magnitude with the given noise.

    Parameters
    ----------
    noise_sigma
        (row, column), channel standard deviation, the unit of the slices.

    Source
    ------
    Gudbjartsson & Patz, Magn. Reson. Med. 34:910 (1995), as in `physics.noise.rice_variance`.
    """

    def degrade(image: Image) -> tuple[Image, Image]:
        mean = rice_mean(image, noise_sigma)
        variance = np.square(image, dtype=np.float64) + 2 * np.square(noise_sigma, dtype=np.float64) - np.square(mean)
        return mean.astype(np.float32), np.sqrt(np.maximum(variance, 0)).astype(np.float32)

    return degrade


def guard(measured: Image, restored: Image, degrade: Degrade, *, uncertainty: Image | None = None, limits: Limits = LIMITS) -> Guarded:
    """Return a slice that passes: the result, or the result with measured pixels where it isn't faithful.

    A flagged place gets its measured pixels back entirely, with a smooth border, and the rest of the slice keeps its result. Not half of them:
    half a lesion that isn't there still looks like one, and passes the test just because it is fainter. And
    not the whole slice: noise everywhere costs the reader more than noise in one place that the report names. The whole
    slice is given up where the fault isn't local: σ is wrong, more than `Limits.share` of it is flagged, or
    `MAX_STEPS` blends did not pass.

    Parameters
    ----------
    measured, restored
        (row, column) the slice and its result, one unit.
    degrade
        The degradation model, asked again for every blend.
    uncertainty
        (row, column) standard deviation of samples of the result. It is reported; it excuses nothing.

    Raises
    ------
    OutOfDomain
        As `examine`; an uncertainty map of another shape.
    """
    if uncertainty is not None and uncertainty.shape != measured.shape:
        raise OutOfDomain(f"the uncertainty map has shape {uncertainty.shape}, the slice {measured.shape}: give them the same")
    mean, sigma = degrade(restored)
    first = examine(measured, restored, mean, sigma, limits=limits)
    found, lost, kept_map, steps = first, np.zeros(measured.shape, dtype=bool), np.ones(measured.shape, dtype=np.float32), 0
    image = restored
    while not found.passed:
        steps += 1
        lost |= _grown(found)
        share = float(lost[first.area].mean()) if first.area.any() else 0.0
        spread_only = not found.flagged.any()
        if steps > MAX_STEPS or spread_only or share > limits.share:
            image, kept_map = measured, np.zeros_like(kept_map)
            break
        kept_map = _kept(lost)
        image = _blended(measured, restored, kept_map)
        found = examine(measured, image, *degrade(image), given_up=kept_map == 0, limits=limits)
    verdict = _verdict(first, steps, kept_map, np.abs(restored - measured), None if uncertainty is None else uncertainty / np.maximum(sigma, 1e-12))
    return Guarded(image=image, verdict=verdict)


def _verdict(first: Examination, steps: int, kept_map: Image, change: Image, uncertainty: Image | None) -> Verdict:
    """Sum up: `change` is what the result did to the slice, `uncertainty` is in units of σ."""
    flagged, area = first.flagged, first.area
    failed = sorted((check for check in first.checks if not check.passed), key=lambda check: -check.value / check.limit)
    return Verdict(
        passed=first.passed,
        reasons=tuple(str(check) for check in failed[:MAX_REASONS]),
        kept=1.0 if first.passed else float((kept_map * change).sum(dtype=np.float64) / max(float(change.sum(dtype=np.float64)), 1e-30)),
        share_given_up=float((kept_map[area] < 1).mean()) if area.any() else 0.0,
        steps=steps,
        checks=first.checks,
        suspicion=first.suspicion,
        flagged=flagged,
        kept_map=kept_map,
        uncertainty=float(np.median(uncertainty[area])) if uncertainty is not None and area.any() else None,
        uncertainty_flagged=float(np.median(uncertainty[flagged])) if uncertainty is not None and flagged.any() else None,
    )


def _blended(measured: Image, restored: Image, kept_map: Image) -> Image:
    """Return the slice that keeps the given share of the change; shares 0 and 1 are exact."""
    blend = np.where(kept_map == 1, restored, measured + kept_map * (restored - measured))
    return np.asarray(np.where(kept_map == 0, measured, blend), dtype=np.float32)


def _grown(found: Examination) -> Mask:
    """Return the flagged places with the suspicion beside them and a margin; lines have a margin of their own."""
    near = ndimage.binary_propagation(found.flagged & ~found.lines, mask=(found.suspicion > GROWTH) & ~found.lines)
    lines = ndimage.binary_dilation(found.lines, iterations=LINE_MARGIN)
    return np.asarray(ndimage.binary_dilation(near, iterations=MARGIN) | lines)


def _kept(lost: Mask) -> Image:
    """Return the share of the change to keep: 0 in `lost`, rising smoothly to 1 within `RAMP` pixels."""
    ramp = np.clip(ndimage.distance_transform_edt(~lost) / RAMP, 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), dtype=np.float32)
