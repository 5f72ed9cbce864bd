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
from torch.utils.flop_counter import FlopCounterMode

from onenex.errors import DataError
from onenex.model import Model, engine, examination
from onenex.physics import noise
from onenex.physics.phantom import head_phantom
from onenex.series import FloatImages

_SIDE, _GEMM_SIDE, _SIGMA = 256, 2048, 0.06
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


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What was measured."""

    mode: str
    engine: str
    rows: int
    columns: int
    peak_gflops: float
    """Of a 2048³ product of matrices on one thread, 10⁹ operations a second of CPU time."""
    stages: tuple[Stage, ...]
    slice_ms: dict[int, float]
    """Time a slice in a stack, by number of threads; the median."""

    def table(self) -> str:
        """Return what people read."""
        peak = self.peak_gflops
        lines = [f"mode {self.mode}, engine {self.engine}, {self.rows} × {self.columns}; matrix products reach {peak:.0f} GFLOP/s a core"]
        lines.append(f"{'stage':<16}{'CPU ms':>8}{'GFLOP':>8}{'of peak':>9}")
        for stage in self.stages:
            share = f"{stage.gflop / stage.cpu_ms * 1e5 / peak:.0f} %" if stage.gflop else ""
            lines.append(f"{stage.name:<16}{stage.cpu_ms:>8.1f}{stage.gflop or '':>8.4}{share:>9}")
        gflop = sum(stage.gflop for stage in self.stages)
        for n, milliseconds in self.slice_ms.items():
            least = 1000 * gflop / (n * peak)
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
        flops = _operations(model, images[:1], mode)
        best: dict[str, float] = {}
        for _ in range(rounds):
            with _watched(model) as spent:
                began = time.thread_time()
                model.denoise(images, mode=mode)
                spent["all"] = time.thread_time() - began
            best = {name: min(seconds, best.get(name, seconds)) for name, seconds in spent.items()}
        stages = [Stage(name=name, cpu_ms=1000 * seconds / len(images), gflop=flops.get(name, 0) / 1e9) for name, seconds in best.items()]
        peak, whole = gemm_gflops(), {}
        for n in sorted({1, before}):
            torch.set_num_threads(n)
            whole[n] = 1000 * float(np.median([_seconds(lambda: model.denoise(images, mode=mode)) for _ in range(rounds)])) / len(images)
    finally:
        torch.set_num_threads(before)
    rows, columns = images.shape[1:]
    return Profile(mode=mode, engine=model.engine, rows=rows, columns=columns, peak_gflops=peak, stages=tuple(stages), slice_ms=whole)


def gemm_gflops(rounds: int = 8) -> float:
    """Return the best speed of a product of 2048 × 2048 matrices, 10⁹ operations a second of this thread; give torch one thread before."""
    one, best = torch.rand(_GEMM_SIDE, _GEMM_SIDE), float("inf")
    for _ in range(rounds):
        began = time.thread_time()
        one @ one
        best = min(best, time.thread_time() - began)
    return 2 * _GEMM_SIDE**3 / best / 1e9


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


def _operations(model: Model, images: FloatImages, mode: str) -> dict[str, int]:
    """Return the operations of each network for one slice: its calls are noted, then made again one by one; forward only."""
    calls: list[tuple[str, torch.nn.Module, Any]] = []
    networks = {name: network for name, network in vars(model._networks).items() if isinstance(network, torch.nn.Module)}
    hooks = [
        network.register_forward_pre_hook(lambda network, given, name=name: calls.append((name, network, given)))
        for name, network in networks.items()
    ]
    try:
        model.denoise(images, mode=mode)
    finally:
        for hook in hooks:
            hook.remove()
    found = dict.fromkeys(networks, 0)
    for name, network, given in calls:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(*given)
        found[name] += counter.get_total_flops()
    return found
