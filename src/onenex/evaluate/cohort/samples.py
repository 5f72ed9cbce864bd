"""The images of a cohort, each with a reference of its own, one scan and one condition after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from onenex.errors import DataError
from onenex.evaluate import material, metrics
from onenex.evaluate.cases import MAX_INPUTS, simulate
from onenex.evaluate.measures.record import Image
from onenex.evaluate.measures.repeats import independent_reference
from onenex.evaluate.trials import CONDITIONS
from onenex.physics.scale import brightness, series_scale
from onenex.scans import ScanInfo, load_images, read_manifest


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is evaluated of a cohort. It is fixed before any result is seen."""

    split: str = "test"
    slices: int | None = None
    """Slices of 256 × 256 of each input, or as many pixels of another size, spread evenly over those that show something; None = all."""
    conditions: tuple[tuple[float, bool], ...] = CONDITIONS
    """(σ in units of the series scale, whether it varies over the image) of the simulated scans of clean files."""
    max_inputs: int | None = MAX_INPUTS
    """Of repeats: how many inputs of each number of averages, the first ones; None = all."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """How the input of a scan comes about."""

    name: str
    sigma: float | None = None
    """Of simulated scans."""
    varying: bool = False
    nex: int = 1
    """Of repeats: how many of them are averaged in the input."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One scan under one condition: what is worked on, and kept, as a whole."""

    info: ScanInfo
    condition: Condition
    unseen: bool
    """False when the training split holds other slices or directions of the same series."""

    @property
    def acceleration(self) -> float | None:
        """How many times faster the input is than its reference; None where that means nothing (simulated noise)."""
        if self.info.kind == "repeats":
            return self.info.n_repeats / self.condition.nex
        return self.info.acceleration if self.info.kind == "pairs" else None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image to restore. Units of the series scale; images (row, column)."""

    number: int
    """Which input of the unit: 0 for all but repeats."""
    slice: int
    """Counted among the slices of the scan."""
    measured: Image
    scale: float
    """Series scale of the whole input, in the unit of `measured`: a slice is restored as in the company of all others."""
    reference: Image
    reference_variance: Image | None = field(repr=False)
    """Of the reference's own noise, where it is known without bias."""
    mask: metrics.Mask
    """Foreground."""


def units(data: Path, plan: Plan) -> list[Unit]:
    """Return what there is to do in a folder.

    Raises
    ------
    DataError
        The manifest cannot be read, or has no scan of the split.
    """
    infos = read_manifest(data)
    trained = {info.id for info in infos if info.split == "train"} if plan.split != "train" else set()
    found = [
        Unit(info=info, condition=condition, unseen=info.id not in trained)
        for info in infos if info.split == plan.split
        for condition in conditions(info, plan)
    ]  # fmt: skip
    if not found:
        raise DataError(f"{data}: no scan of split '{plan.split}' to evaluate: give another folder, or another --split")
    return found


def conditions(info: ScanInfo, plan: Plan) -> list[Condition]:
    """Return the conditions of a scan: levels of noise, numbers of averages, or the one that its fast scan has."""
    if info.kind == "clean":
        named = [(f"σ {sigma:.2f} {'varying' if varying else 'uniform'}", sigma, varying) for sigma, varying in plan.conditions]
        return [Condition(name=name, sigma=sigma, varying=varying) for name, sigma, varying in named]
    if info.kind == "pairs":
        return [Condition(name="fast scan")]
    sizes = material.sizes_of_means(info.n_repeats)
    return [Condition(name="repeats" if nex == 1 else f"repeats, means of {nex}", nex=nex) for nex in sizes]


def samples(unit: Unit, plan: Plan) -> Iterator[Sample]:
    """Yield the images of a unit; one scan is in memory, never more.

    Raises
    ------
    DataError
        The scan's file is missing or damaged.
    """
    makers = {"clean": _of_clean, "repeats": _of_repeats, "pairs": _of_pairs}
    return makers[unit.info.kind](unit, plan)


def _of_clean(unit: Unit, plan: Plan) -> Iterator[Sample]:
    """Yield simulated scans of a clean file. What is drawn for a slice doesn't depend on which slices are chosen."""
    clean = material.clean_scan(unit.info)
    measured, _ = simulate(clean, unit.info, unit.condition.sigma or 0.0, unit.condition.varying)
    scale = series_scale([measured])
    for k in _chosen(clean.mask, plan):
        yield Sample(number=0, slice=k, measured=measured[k], scale=scale, reference=clean.images[k], reference_variance=None, mask=clean.mask[k])


def _of_repeats(unit: Unit, plan: Plan) -> Iterator[Sample]:
    """Yield means of some repeats against the mean of all others (see `metrics.unbiased_mse`)."""
    info, nex = unit.info, unit.condition.nex
    scan = material.repeated_scan(info)
    scaled, mask = scan.images, scan.mask
    chosen, per_volume = _chosen(mask, plan), material.slices_per_volume(info)
    for number, group in enumerate(material.groups_of(info.n_repeats, nex, plan.max_inputs)):
        inputs = scaled[:, list(group)].mean(axis=1)
        scales = {volume: series_scale([inputs[volume * per_volume : (volume + 1) * per_volume]]) for volume in {k // per_volume for k in chosen}}
        for k in chosen:
            reference, variance = independent_reference(scaled[k : k + 1], group)
            yield Sample(
                number=number,
                slice=k,
                measured=inputs[k],
                scale=scales[k // per_volume],
                reference=reference[0],
                reference_variance=variance[0],
                mask=mask[k],
            )


def _of_pairs(unit: Unit, plan: Plan) -> Iterator[Sample]:
    """Yield fast scans against their references, brought to one brightness by one factor a scan."""
    images = load_images(unit.info)
    fast, reference = (images[:, which] / np.float32(series_scale([images[:, which]])) for which in (0, 1))
    reference = reference * np.float32(brightness(fast, reference))
    mask = metrics.foreground(reference) & ~metrics.saturated(images[:, 1])
    for k in _chosen(mask, plan):
        yield Sample(number=0, slice=k, measured=fast[k], scale=1.0, reference=reference[k], reference_variance=None, mask=mask[k])


def _chosen(mask: metrics.Mask, plan: Plan) -> list[int]:
    """Return the slices to evaluate: those that show something, or that many of them, spread evenly."""
    seen = material.showing(mask)
    kept = seen if plan.slices is None else material.spread_evenly(seen, plan.slices, mask[0].size)
    return [int(k) for k in kept]


def order(found: Sequence[Unit]) -> list[Unit]:
    """Return units with the largest first, so that no worker is left with one at the end."""
    return sorted(found, key=lambda unit: -unit.info.rows * unit.info.columns * unit.info.n_slices)
