"""A picture of the acceptance phantom: without noise, as scanned, and as each mode leaves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from onenex.evaluate.acceptance import layouts
from onenex.evaluate.acceptance.records import Stack
from onenex.evaluate.pictures.canvas import canvas, save, show
from onenex.series import FloatImages

SHOWN = (layouts.UNIFORM, layouts.ARTEFACTS, layouts.EDGES, layouts.GRID, layouts.CONTRAST)
WINDOW = (0.0, 1.15)
CONTRAST_WINDOW = (0.55, 1.05)
"""Grey window of the low-contrast slice, which would show nothing in the other."""


def draw(stacks: Mapping[str, Sequence[Stack]], path: Path) -> Path:
    """Draw the first scan of each kind of slice at the middle σ: a row without noise, one as scanned, one a mode.

    Parameters
    ----------
    stacks
        Mode → what it made of every kind of slice at every σ; at least one mode.
    path
        PNG file to write, at most `pictures_canvas.LIMIT_BYTES`.
    """
    first = next(iter(stacks.values()))
    sigmas = sorted({stack.sigma for stack in first})
    sigma = sigmas[len(sigmas) // 2]
    rows: dict[str, list[FloatImages]] = {
        "without noise": [_of(first, kind, sigma).clean for kind in SHOWN],
        f"scanned, σ {sigma:g}": [_of(first, kind, sigma).scans[0].image for kind in SHOWN],
    } | {f"mode {mode}": [_of(made, kind, sigma).after[0] for kind in SHOWN] for mode, made in stacks.items()}
    figure = canvas(2.4 * len(SHOWN), 2.4 * len(rows) + 0.2)
    axes = np.asarray(figure.subplots(len(rows), len(SHOWN), squeeze=False))
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        for place, kind, image in zip(line, SHOWN, images, strict=True):
            show(place, image, CONTRAST_WINDOW if kind == layouts.CONTRAST else WINDOW)
        line[0].set_ylabel(label, fontsize=8)
    for place, kind in zip(axes[0], SHOWN, strict=True):
        place.set_title(kind, fontsize=8)
    return save(figure, path)


def _of(stacks: Sequence[Stack], kind: str, sigma: float) -> Stack:
    return next(stack for stack in stacks if (stack.kind, stack.sigma) == (kind, sigma))
