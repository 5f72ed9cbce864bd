"""Where the time of a slice goes: stage by stage, against the floating-point operations that the networks need and this machine's peak."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onenex.errors import DataError
from onenex.evaluate.costs.roofline import Peak, Work, measured_peak, work_of_networks
from onenex.model import Model, engine, examination
from onenex.physics import noise
from onenex.physics.phantom import head_phantom
from onenex.series import FloatImages

_SIDE, _SIGMA = 256, 0.06
_STAGES: tuple[tuple[Any, str, str], ...] = (
    (engine, "sharpened", "edges"),
    (engine, "with_details", "details"),
    (engine, "guard", "guard"),
    (examination, "line_scores", "of which lines"),
)
"""(module, function, stage)."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a slice."""

    name: str
    cpu_ms: float
    """CPU time a slice, one thread; the least of several rounds: other work on the machine only adds to it."""
    gflop: float = 0.0
    """Multiplications and additions a slice, 10⁹; networks only, without gradients."""
    megabytes: float = 0.0
    """Read and written a slice if no cache helped, 10⁶ bytes; networks only."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What was measured."""

    mode: str
    engine: str
    rows: int
    columns: int
    peak: Peak
    stages: tuple[Stage, ...]
    slice_ms: dict[int, float]
    """Time a slice in a stack, by number of threads; the median."""

    def table(self) -> str:
        """Return what people read."""
        peak = self.peak
        lines = [
            f"mode {self.mode}, engine {self.engine}, {self.rows} × {self.columns}",
            f"one thread reaches {peak.product_gflops:.0f} GFLOP/s in matrix products, {peak.convolution_gflops:.0f} in a convolution, "
            f"{peak.bandwidth_gbs:.0f} GB/s in a copy",
            f"{'stage':<16}{'CPU ms':>8}{'GFLOP':>8}{'of peak':>9}{'MB':>8}{'copied in, ms':>15}",
        ]
        for stage in self.stages:
            line = f"{stage.name:<16}{stage.cpu_ms:>8.1f}"
            if stage.gflop:
                line += f"{stage.gflop:>8.2f}{stage.gflop / stage.cpu_ms * 1e5 / peak.gflops:>7.0f} %"
                line += f"{stage.megabytes:>8.0f}{stage.megabytes / peak.bandwidth_gbs:>15.1f}"
            lines.append(line)
        gflop = sum(stage.gflop for stage in self.stages)
        for n, milliseconds in self.slice_ms.items():
            least = 1000 * gflop / (n * peak.gflops)
            lines.append(f"{n} thread{'s' * (n > 1)}: {milliseconds:.0f} ms a slice; the networks alone need {least:.0f} ms at the peak of {n}")
        return "\n".join(lines)


def run(model: Model, output: Path | None = None, *, mode: str = "fast", rounds: int = 5, slices: int = 4) -> Profile:
    """Profile one mode on a scanned phantom, print a table, and write it as JSON to `output` if given.

    Raises
    ------
    DataError
        Fewer than one round or slice.
    OutOfDomain
        The weights don't know the mode.
    """
    if rounds < 1 or slices < 1:
        raise DataError(f"{rounds} rounds of {slices} slices: give 1 or more")
    found = measure(model, _scan(slices), mode, rounds)
    print(found.table())
    if output is not None:
        output.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")
    return found


def measure(model: Model, images: FloatImages, mode: str, rounds: int) -> Profile:
    """Measure stages on one thread, then whole stacks on one thread and on all."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        work = work_of_networks(model, images[:1], mode)
        best: dict[str, float] = {}
        for _ in range(rounds):
            with _watched(model) as spent:
                began = time.thread_time()
                model.denoise(images, mode=mode)
                spent["all"] = time.thread_time() - began
            best = {name: min(seconds, best.get(name, seconds)) for name, seconds in spent.items()}
        stages = []
        for name, seconds in best.items():
            done = work.get(name, Work())
            stages.append(Stage(name=name, cpu_ms=1000 * seconds / len(images), gflop=done.flop / 1e9, megabytes=done.n_bytes / 1e6))
        peak, whole = measured_peak(), {}
        for n in sorted({1, before}):
            torch.set_num_threads(n)
            whole[n] = 1000 * float(np.median([_seconds(lambda: model.denoise(images, mode=mode)) for _ in range(rounds)])) / len(images)
    finally:
        torch.set_num_threads(before)
    rows, columns = images.shape[1:]
    return Profile(mode=mode, engine=model.engine, rows=rows, columns=columns, peak=peak, stages=tuple(stages), slice_ms=whole)


def _scan(n_slices: int) -> FloatImages:
    clean = np.asarray(head_phantom((n_slices, _SIDE, _SIDE)), np.float32)
    return noise.rician(clean, _SIGMA * float(np.percentile(clean, 99)), np.random.default_rng(0))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def _watched(model: Model) -> Iterator[dict[str, float]]:
    """Add up the CPU seconds of each network and stage, of work that this thread does, while the context lasts."""
    spent: dict[str, float] = {}
    networks = vars(model._networks)
    places = [(network, "forward", name) for name, network in networks.items() if isinstance(network, torch.nn.Module)]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in (*places, *_STAGES)]
    try:
        for owner, name, stage in (*places, *_STAGES):
            setattr(owner, name, _timed(getattr(owner, name), stage, spent))
        yield spent
    finally:
        for owner, name, function in before:
            if isinstance(owner, torch.nn.Module):
                delattr(owner, name)  # the instance's own, over its class's
            else:
                setattr(owner, name, function)


def _timed(function: Callable[..., Any], stage: str, spent: dict[str, float]) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> Any:
        began = time.thread_time()
        try:
            return function(*given, **named)
        finally:
            spent[stage] = spent.get(stage, 0.0) + time.thread_time() - began

    return call
