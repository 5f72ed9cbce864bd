"""One scan under one condition, restored by every method and measured, image by image."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onenex import model as models
from onenex.evaluate import perceptual
from onenex.evaluate.cohort.kept import Kept, Line, Place, kept
from onenex.evaluate.cohort.methods import Choice, Method, Result, Rival
from onenex.evaluate.cohort.samples import Plan, Sample, Unit, samples
from onenex.evaluate.cohort.tissues import Tissues, tissues_of
from onenex.evaluate.fingerprint import fingerprint
from onenex.evaluate.material import PIXELS
from onenex.evaluate.measures.record import Target, measure_slice, prepare
from onenex.scans import ScanInfo
from onenex.series import FloatImages

CODE = ("physics", "scans.py", "evaluate/measures", "evaluate/cohort", "evaluate/segmentation", "evaluate/metrics.py", "evaluate/perceptual.py",
    "evaluate/cases.py", "evaluate/trials.py")  # fmt: skip
"""What all figures are made by, beside the methods' own code."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be done with every unit."""

    plan: Plan
    choice: Choice
    cache: Path
    segmenter: str | None = None
    """Command template of an external tool, beside the segmentations that come with OneNEX."""
    segment: bool = True


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a process measures with."""

    model: models.Model
    methods: list[Method]
    lpips: perceptual.Lpips | None
    code: dict[str, str] = field(repr=False)
    """Name of a method → fingerprint of the code that its figures are made by."""


@lru_cache(maxsize=1)
def bench(choice: Choice) -> Bench:
    """Load networks, methods and LPIPS once a process; one thread each, since processes share the cores."""
    torch.set_num_threads(1)
    model = choice.model()
    lpips = perceptual.load() if perceptual.available() else None
    methods = choice.methods(model)
    return Bench(model=model, methods=methods, lpips=lpips, code={one.name: fingerprint(one.key, (*CODE, *one.code)) for one in methods})


def evaluate(unit: Unit, order: Order) -> int:
    """Measure what is missing of a unit, keep it, and return how many measurements were new.

    Raises
    ------
    DataError
        The scan cannot be read, or a method or a segmentation cannot be used.
    """
    tools = bench(order.choice)
    files = {method.name: file_of(unit, method, order, tools) for method in tools.methods}
    if all(one.finished(order.plan) is not None for one in files.values()):
        return 0
    known = {name: one.lines() for name, one in files.items()}
    places: list[Place] = []
    n_new = 0
    for sample in samples(unit, order.plan):
        place = sample.number, sample.slice
        places.append(place)
        missing = [method for method in tools.methods if place not in known[method.name]]
        for method, line in _lines(unit, sample, missing, order, tools):
            files[method.name].add(line)
            n_new += 1
    for one in files.values():
        if one.finished(order.plan) is None:
            one.finish(order.plan, places)
    return n_new


def file_of(unit: Unit, method: Method, order: Order, tools: Bench) -> Kept:
    """Return where the measurements of a unit by a method are kept."""
    beside = f"{order.segmenter} {order.segment} {tools.lpips is None}"
    return kept(order.cache, unit, tools.code[method.name], method.name, tools.model.weights_hash, beside)


def _lines(unit: Unit, sample: Sample, methods: Sequence[Method], order: Order, tools: Bench) -> list[tuple[Method, Line]]:
    """Restore and measure one image by some methods."""
    if not methods:
        return []
    target = prepare(sample.reference, sample.mask, data_range=1.0, measured=sample.measured, reference_variance=sample.reference_variance)
    parted = tissues_of(unit, sample, order.segmenter) if order.segment else None

    @lru_cache(maxsize=1)
    def sigma() -> FloatImages:
        return tools.model.estimate_sigma(sample.measured[None], sample.scale)

    if any(isinstance(method, Rival) for method in methods):
        sigma()  # so that its time is nobody's
    return [(method, _line(sample, method, target, unit.info, (sigma, tools.lpips, parted))) for method in methods]


def _line(
    sample: Sample,
    method: Method,
    target: Target,
    info: ScanInfo,
    with_: tuple[Callable[[], FloatImages], perceptual.Lpips | None, Tissues | None],
) -> Line:
    sigma, lpips, parted = with_
    start = time.perf_counter()
    found = method(sample, info, sigma)
    seconds = (time.perf_counter() - start) * PIXELS / sample.measured.size
    measures = measure_slice(found.image, target, lpips=lpips)
    segmented = {} if parted is None else parted.compare(found.image)
    return {"number": sample.number, "slice": sample.slice, "seconds": seconds, **_told(found), **segmented, **_plain(measures.as_row())}


def _told(found: Result) -> dict[str, Any]:
    guard = found.guard
    told: dict[str, Any] = {"n_not_finite": found.n_not_finite, "guard_passed": None, "guard_kept": None}
    return told if guard is None else told | {"guard_passed": guard.passed, "guard_kept": guard.kept}


def _plain(values: dict[str, float | int]) -> dict[str, float | int | None]:
    """Return numbers as JSON knows them: None where there is none (NaN); infinity stays."""
    return {name: None if np.isnan(value) else value for name, value in values.items()}


def patient_of(info: ScanInfo, pattern: str | None) -> str:
    """Return whose scan this is: by the manifest, or by what `pattern` finds in its id, or a patient of its own."""
    if info.patient:
        return info.patient
    match = re.search(pattern, info.id) if pattern else None
    return match[0] if match else info.id
