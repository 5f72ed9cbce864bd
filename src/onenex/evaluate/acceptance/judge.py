"""Which tests there are: from stacks before and after to judged measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np

from onenex.evaluate.acceptance import layouts
from onenex.evaluate.acceptance.artefacts import artefact_checks
from onenex.evaluate.acceptance.contrast import contrast_check
from onenex.evaluate.acceptance.layouts import Scan
from onenex.evaluate.acceptance.observer import detectability_check
from onenex.evaluate.acceptance.records import Check, Stack
from onenex.evaluate.acceptance.sharpness import edge_check, geometry_check
from onenex.evaluate.acceptance.signal import bias_check, snr_check, uniformity_check
from onenex.series import FloatImages

Denoise = Callable[[FloatImages], FloatImages]
"""Stack (slice, row, column) → the same, denoised."""


def denoised(scans: Sequence[Scan], denoise: Denoise) -> list[Stack]:
    """Denoise all scans, those of one kind and one σ as one stack, as a series would be."""
    stacks = []
    for (kind, sigma), group in groupby(scans, key=lambda scan: (scan.kind, scan.sigma)):
        members = tuple(group)
        stacks.append(Stack(kind=kind, sigma=sigma, scans=members, after=denoise(np.stack([scan.image for scan in members]))))
    return stacks


def checks(stacks: Sequence[Stack], generator: np.random.Generator) -> tuple[Check, ...]:
    """Return every test of one mode.

    Parameters
    ----------
    stacks
        Every kind of slice at every σ.
    generator
        Of the resamples that give low-contrast discs their intervals.
    """
    of = {kind: [stack for stack in stacks if stack.kind == kind] for kind in layouts.KINDS}
    high = (layouts.HIGH_STEP,)
    every = (*high, *layouts.LOW_STEPS)
    return (
        snr_check(of[layouts.UNIFORM]),
        edge_check(of[layouts.EDGES], name="edges, high contrast", steps=high, outline=True),
        edge_check(of[layouts.EDGES], name="edges, low contrast", steps=layouts.LOW_STEPS, outline=False),
        edge_check(of[layouts.SHARPEST], name="edges, whole matrix", steps=every, outline=True),
        contrast_check(of[layouts.CONTRAST]),
        detectability_check(of[layouts.CONTRAST], generator),
        geometry_check(of[layouts.GRID]),
        uniformity_check(of[layouts.UNIFORM]),
        *artefact_checks(list(zip(of[layouts.ARTEFACTS], of[layouts.UNIFORM], strict=True))),
        bias_check(of[layouts.EDGES], of[layouts.UNIFORM]),
    )
