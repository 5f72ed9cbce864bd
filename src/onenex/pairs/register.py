"""Where the patient lay in the reference, as against the fast scan: one small rigid motion for a stack, found by SimpleITK.

Three models are fitted, each from the last: no motion, motion in the plane, motion in space. The simplest that explains the images is
kept, for each step further lets the reference be interpolated more. Never call this in a forked process after it ran in its parent.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np

from onenex.errors import DataError
from onenex.pairs.geometry.search import IN_PLANE, IN_SPACE, STILL, Frame, Level, Parameters, explained, frame_of, levels, overlap, search
from onenex.pairs.geometry.space import Rigid, check
from onenex.pairs.records import Geometry
from onenex.series import FloatImages

log = logging.getLogger(__name__)

_MARGIN = 10.0
"""Log-likelihood by which a model must be better, besides what its parameters are worth."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What counts as a small motion, and when it is looked for in space."""

    most_mm: float = 12.0
    """Largest displacement of the middle of the foreground."""
    most_deg: float = 5.0
    least_px: float = 0.1
    """Mean displacement inside the foreground, pixels of the fast scan, below which the scans count as aligned: interpolation would cost more."""
    least_slices: int = 5
    """For a motion in space, in both scans."""
    least_overlap: float = 0.3
    """Share of the fast scan's foreground that the reference must hold."""
    most_step_ratio: float = 10.0
    """Step between slices over the size of a pixel, up to which a motion in space can be seen."""


def register(
    fast: FloatImages, fast_geometry: Geometry, reference: FloatImages, reference_geometry: Geometry, *, motion: Motion | None = None
) -> Rigid:
    """Find the motion from points of the fast scan to points of the reference.

    Parameters
    ----------
    fast, reference
        (slice, row, column), magnitudes, each in its own unit and on its own grid.
    motion
        What counts as a small motion.

    Returns
    -------
    Rigid
        Its `how` says what was fitted, or why the identity was kept.

    Raises
    ------
    DataError
        Not registered, and why: the motion is too large, there is too little to see, or a stack is irregular.
    ModelError
        SimpleITK is missing, or the process was forked from one that used it.

    Notes
    -----
    The metric is the correlation coefficient r of both images, smoothed, inside the fast scan's foreground (the two scans have one
    contrast); with Gaussian residuals n/2 · ln((1 − r₀²)/(1 − r₁²)) is the log-likelihood ratio of two motions, n the number of
    independent pixels. A model with three more parameters must win 3/2 · ln n (Schwarz, Ann. Stat. 6:461 (1978)) and a margin.
    The result depends on nothing but the arguments: one thread, a fixed seed.
    """
    check(fast, fast_geometry, "the fast scan")
    check(reference, reference_geometry, "the reference")
    motion = motion or Motion()
    frame = frame_of(fast, fast_geometry)
    if (share := overlap(frame, reference_geometry)) < motion.least_overlap:
        raise DataError(f"not registered: the reference holds {share:.0%} of what the fast scan shows: the two do not overlap enough")
    fitted = _models(
        frame, levels(frame, (fast, fast_geometry), (reference, reference_geometry)), motion, _sees_space(fast_geometry, reference_geometry, motion)
    )
    rigid = frame.rigid(*fitted)
    moved = float(np.linalg.norm(rigid.translation_mm))
    if moved > motion.most_mm or rigid.angle_deg > motion.most_deg:
        raise DataError(
            f"not registered: the reference seems {moved:.1f} mm and {rigid.angle_deg:.1f}° from the fast scan, "
            f"more than {motion.most_mm:g} mm or {motion.most_deg:g}°"
        )
    log.info("event=registered how=%s shift_mm=%.2f angle_deg=%.2f", rigid.how.replace(" ", "_"), moved, rigid.angle_deg)
    return rigid


def _models(frame: Frame, both: list[Level], motion: Motion, in_space: bool) -> tuple[Parameters, str]:
    """Return the parameters of the simplest model that explains the images, and what it is."""
    coarse, fine = both
    chosen, how, best = STILL, "no motion seen", explained(fine, STILL)
    for free, name in ((IN_PLANE, "in the plane"), (IN_SPACE, "in space"))[: 2 if in_space else 1]:
        found = search(fine, search(coarse, chosen, free), free)
        value = explained(fine, found)
        gain = fine.n_independent / 2 * math.log((1 - best) / (1 - value))
        log.debug("event=model name=%s gain=%.1f r2=%.4f", name, gain, value)
        if gain < 1.5 * math.log(fine.n_independent) + _MARGIN:
            continue
        if frame.apart_px(found, chosen) < motion.least_px:
            how = "motion too small to interpolate for" if chosen == STILL else how
            continue
        chosen, how, best = found, name, value
    return chosen, how


def _sees_space(fast: Geometry, reference: Geometry, motion: Motion) -> bool:
    """Return whether slices are many and close enough to see a motion out of the plane."""
    counts = [len(one.positions_mm) for one in (fast, reference)]
    ratios = [(one.step_mm or math.inf) / max(one.spacing_mm) for one in (fast, reference)]
    return min(counts) >= motion.least_slices and max(ratios) <= motion.most_step_ratio
