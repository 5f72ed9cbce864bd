"""The rows of the ablation: which slices of which file, scanned how, and how a result is scored.

Unlike the rows of `onenex benchmark denoisers` these are few slices spread over the whole file, for mode `full` is slow; and on split `train`
they are those that training holds out, or, where asked for, the last slice of a file too short to hold one out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from onenex.errors import DataError
from onenex.evaluate import material, metrics
from onenex.evaluate.cases import MAX_INPUTS, MAX_VOLUMES, Score, score_clean, score_repeats, simulate
from onenex.evaluate.material import PIXELS, Indices, slices_per_volume
from onenex.physics.scale import series_scale
from onenex.scans import ScanInfo, read_manifest
from onenex.series import FloatImages

CONDITIONS = ((0.03, True), (0.06, False), (0.10, True))
"""(σ, varying) of the simulated rows."""
HOLDOUT_EVERY = 8
"""Split `train`: only slices that training holds out, every 8th (`train.config`)."""
SEEN = ", slice seen"
"""End of the condition of a row whose slice training has seen."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured."""

    split: str = "test"
    """`test`, or `train` for the slices held out there."""
    slices: int = 2
    """Slices of 256 × 256, or as many pixels of another size, of each input; at least one slice."""
    one_a_file: bool = False
    """Whether each file has one row only: single repeats, or one of `CONDITIONS` by turns."""
    short: bool = False
    """Split `train`: whether files too short to hold a slice out take part with their last one, which training has seen (under other noise)."""
    quick: bool = False
    """The first file of each kind, one σ, one input, one slice."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One row before it is denoised. Images are in units of the series scale."""

    info: ScanInfo
    condition: str
    simulated: bool
    unseen: bool
    """False when the training split holds other slices or directions of the same series."""
    turn: bool
    """Whether this is the one row of its file for variants that are too slow for all rows."""
    stacks: tuple[FloatImages, ...]
    """(slice, row, column) each: the chosen slices of one input and one volume."""
    scales: tuple[float, ...]
    """Of each stack: what the model would find on the whole volume. A slice is denoised as in the company of all others."""
    score: Callable[[Sequence[FloatImages]], Score]
    """Takes the denoised stacks in the same order."""
    mask: metrics.Mask
    """(slice, row, column), foreground of the chosen slices."""
    reference: FloatImages | None = None
    """(slice, row, column), the clean slices of a simulated row."""


def files(data: Path, plan: Plan) -> list[ScanInfo]:
    """Return the files that have a slice to score: repeats first, then clean ones.

    Raises
    ------
    DataError
        There is none.
    """
    found = [info for info in read_manifest(data) if info.split == plan.split and len(allowed(info, plan))]
    if not found:
        raise DataError(f"{data}: the manifest lists no file of split '{plan.split}' with a slice to score")
    repeats, clean = ([info for info in found if info.kind == kind] for kind in ("repeats", "clean"))
    return [*repeats[:1], *clean[:1]] if plan.quick else [*repeats, *clean]


def trials(data: Path, infos: Sequence[ScanInfo], plan: Plan) -> Iterator[Trial]:
    """Yield the rows of some files of `data`: repeats leave-one-out, clean files under `CONDITIONS`."""
    trained = {info.id for info in read_manifest(data) if info.split == "train"}
    clean = [info.id for info in infos if info.kind == "clean"]
    for info in infos:
        if info.kind == "repeats":
            yield from repeats_trials(info, plan, unseen=info.id not in trained)
        else:
            yield from clean_trials(info, plan, unseen=info.id not in trained, turn=clean.index(info.id) % len(CONDITIONS))


def allowed(info: ScanInfo, plan: Plan) -> Indices:
    """Return the indices of the slices of a file that may be scored."""
    if info.split == "train":
        held_out = np.arange(HOLDOUT_EVERY - 1, info.n_slices, HOLDOUT_EVERY)
        return np.array([info.n_slices - 1]) if plan.short and not len(held_out) else held_out
    return np.arange(min(info.n_slices, slices_per_volume(info) * MAX_VOLUMES) if info.kind == "repeats" else info.n_slices)


def chosen(info: ScanInfo, plan: Plan, mask: metrics.Mask | None = None) -> Indices:
    """Return the slices that are scored, spread evenly over those allowed; with `mask` only over those that show something."""
    found = allowed(info, plan)
    if mask is not None:
        seen = found[material.showing(mask[found])]
        found = seen if len(seen) else found
    return material.spread_evenly(found, 0 if plan.quick else plan.slices, info.rows * info.columns)


def groups_of(info: ScanInfo, plan: Plan) -> list[list[metrics.Group]]:
    """Return which repeats make the inputs of each row of a file: single ones; means of 2 and 3 where enough are left for a reference."""
    sizes = [1] if plan.quick or plan.one_a_file else material.sizes_of_means(info.n_repeats)
    return [material.groups_of(info.n_repeats, nex, 1 if plan.quick else MAX_INPUTS) for nex in sizes]


def slices_worth(info: ScanInfo, plan: Plan) -> tuple[float, float]:
    """Return the slices of 256 × 256 that the rows of a file amount to: of all rows, and of the one by turns."""
    inputs = [len(groups) for groups in groups_of(info, plan)] if info.kind == "repeats" else [1] * len(_conditions(plan, 0))
    one = len(chosen(info, plan)) * info.rows * info.columns / PIXELS
    return one * sum(inputs), one * inputs[0]


def repeats_trials(info: ScanInfo, plan: Plan, *, unseen: bool) -> Iterator[Trial]:
    """Yield the rows of a file of real repeats: leave-one-out, unbiased (see `metrics.unbiased_mse`)."""
    scan = material.repeated_scan(info, int(allowed(info, plan)[-1]) + 1)
    scaled, mask = scan.images, scan.mask
    slices = chosen(info, plan, mask)
    per_volume = slices_per_volume(info)
    for groups in groups_of(info, plan):
        stacks, scales = [], []
        for group in groups:
            whole = scaled[:, list(group)].mean(axis=1)
            for volume in np.unique(slices // per_volume):
                stacks.append(whole[slices[slices // per_volume == volume]])
                scales.append(series_scale([whole[volume * per_volume : (volume + 1) * per_volume]]))
        nex = len(groups[0])
        yield Trial(
            info=info,
            condition="real repeats" if nex == 1 else f"real repeats, means of {nex}",
            simulated=False,
            unseen=unseen,
            turn=nex == 1,
            stacks=tuple(stacks),
            scales=tuple(scales),
            score=partial(score_repeats, scaled[slices], mask[slices], groups),
            mask=mask[slices],
        )


def clean_trials(info: ScanInfo, plan: Plan, *, unseen: bool, turn: int = 0) -> Iterator[Trial]:
    """Yield the simulated rows of a clean file. What is drawn for a slice doesn't depend on which slices are chosen.

    Parameters
    ----------
    info, plan, unseen
        The file, how much of it, and whether training saw nothing of it.
    turn
        Which of `CONDITIONS` is the row for slow variants.
    """
    whole = material.clean_scan(info)
    slices = chosen(info, plan, whole.mask)
    seen = info.split == "train" and not len(allowed(info, replace(plan, short=False)))
    for sigma, varying in _conditions(plan, turn):
        measured, _ = simulate(whole, info, sigma, varying)
        yield Trial(
            info=info,
            condition=f"σ {sigma:.2f} {'varying' if varying else 'uniform'}{SEEN if seen else ''}",
            simulated=True,
            unseen=unseen,
            turn=plan.quick or (sigma, varying) == CONDITIONS[turn],
            stacks=(measured[slices],),
            scales=(series_scale([measured]),),
            score=partial(score_clean, material.Clean(images=whole.images[slices], mask=whole.mask[slices])),
            mask=whole.mask[slices],
            reference=whole.images[slices],
        )


def _conditions(plan: Plan, turn: int) -> Sequence[tuple[float, bool]]:
    if plan.quick:
        return CONDITIONS[1:2]
    return CONDITIONS[turn : turn + 1] if plan.one_a_file else CONDITIONS
