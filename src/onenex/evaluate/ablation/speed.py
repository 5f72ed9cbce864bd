"""How long the modes take for one slice, and how much longer the paper's own configuration takes, in the same process and with the same threads."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console

from onenex.evaluate.ablation import paper_size
from onenex.evaluate.ablation.table import Grid, drawn, show_findings
from onenex.evaluate.denoisers.rows import Finding
from onenex.model import Model, Settings
from onenex.physics.noise import rician
from onenex.physics.phantom import head_phantom
from onenex.physics.scale import series_scale
from onenex.series import FloatImages

SIDE = 256
SIGMA = 0.06
"""Rician channel σ of the timed slice, units of the series scale."""
FAST, FAST_GUARDED, FULL, FULL_GUARDED = "fast", "fast + guard", "full", "full + guard"
MODES: Mapping[str, Settings] = {
    FAST: Settings(mode="fast", guard=False),
    FAST_GUARDED: Settings(mode="fast"),
    FULL: Settings(mode="full", guard=False),
    FULL_GUARDED: Settings(mode="full"),
}
RUNS = 7
"""Of which the median counts, after one that doesn't."""
QUICK_RUNS = 1
PAPER_STEPS = 2
"""Steps of the paper's configuration that are run; the faster one is counted up."""
QUICK_SIDE = 32
"""Side at which `--quick` runs the paper's networks, to see that they run."""
SECONDS_BAR, RATIO_BAR = 2.5, 200.0
BAR_THREADS = 2
"""The bar on seconds is for two CPU cores; with fewer it is only harder to meet."""
BUSY = paper_size.BUSY


@dataclass(frozen=True, kw_only=True)
class ModeTime:
    """One mode."""

    seconds: float
    """Median over `runs`, one slice of 256 × 256, noise map and all included."""
    runs: tuple[float, ...]
    cpu_share: float
    """CPU time over threads times wall time. Well below 1 the machine was busy elsewhere, or the mode doesn't use all threads."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What was measured."""

    device: str
    threads: int
    modes: Mapping[str, ModeTime]
    paper: paper_size.Timing | None
    """None where the model doesn't run on the CPU: the paper's networks are timed there only."""

    @property
    def ratio(self) -> float | None:
        """The paper's configuration over mode `full` as shipped, guard included; None unless both were timed on 256 × 256."""
        if self.paper is None or self.paper.side != SIDE:
            return None
        return self.paper.seconds_per_slice / self.modes[FULL_GUARDED].seconds


def noisy_slice() -> FloatImages:
    """Return (1, 256, 256): a slice of the head phantom with Rician noise, units of the series scale. Anybody can make it."""
    clean = head_phantom((1, SIDE, SIDE))
    return rician(clean / np.float32(series_scale([clean])), SIGMA, np.random.default_rng(0))


def measure(model: Model, *, quick: bool = False) -> Speed:
    """Time all modes in turns, then a few steps of the paper's configuration, with the threads that are set.

    Parameters
    ----------
    model
        With all networks.
    quick
        One run of each mode; the paper's networks at `QUICK_SIDE`, from which nothing follows.
    """
    images, threads = noisy_slice(), torch.get_num_threads()
    runs: dict[str, list[float]] = {name: [] for name in MODES}
    cpu = dict.fromkeys(MODES, 0.0)
    for settings in MODES.values():
        model.denoise(images, mode=settings)
    for _ in range(QUICK_RUNS if quick else RUNS):
        for name, settings in MODES.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            model.denoise(images, mode=settings)
            runs[name].append(time.perf_counter() - start)
            cpu[name] += time.process_time() - cpu_start
    modes = {
        name: ModeTime(seconds=statistics.median(times), runs=tuple(times), cpu_share=cpu[name] / (threads * sum(times)))
        for name, times in runs.items()
    }
    paper = None
    if model.device.type == "cpu":
        paper = paper_size.seconds_per_slice(threads, 1 if quick else PAPER_STEPS, side=QUICK_SIDE if quick else SIDE)
    return Speed(device=str(model.device), threads=threads, modes=modes, paper=paper)


def findings(speed: Speed) -> list[Finding]:
    """Return the two bars, on mode `full` as shipped: guard on."""
    full = speed.modes[FULL_GUARDED]
    where = f"{speed.threads} threads on {speed.device}"
    busy = f"; only {full.cpu_share:.0%} of the threads' time went into it" if full.cpu_share < BUSY and speed.device == "cpu" else ""
    judged = speed.device == "cpu" and (speed.threads <= BAR_THREADS or full.seconds > SECONDS_BAR)
    text = f"full + guard: {full.seconds:.2f} s a slice of {SIDE} × {SIDE}, {where} (bar ≤ {SECONDS_BAR} s on {BAR_THREADS} CPU cores){busy}"
    lines = [Finding(text=text, passed=full.seconds <= SECONDS_BAR if judged else None)]
    if speed.paper is None:
        lines.append(Finding(text="the paper's configuration was not timed: that is done on the CPU only (--device cpu)"))
        return lines
    lines.append(Finding(text=str(speed.paper)))
    if speed.ratio is None:
        text = f"--quick: the paper's networks ran at {speed.paper.side} × {speed.paper.side} only, so nothing is said of how much faster full is"
        lines.append(Finding(text=text))
    else:
        text = f"full + guard is {speed.ratio:.0f} × faster than the paper's configuration (bar ≥ {RATIO_BAR:.0f} ×)"
        lines.append(Finding(text=text, passed=speed.ratio >= RATIO_BAR))
    return lines


def grid(speed: Speed) -> Grid:
    """Return the table of times."""
    paper = speed.paper if speed.ratio is not None else None

    def line(name: str, seconds: float, share: float, n_runs: str) -> tuple[str, ...]:
        times = "-" if paper is None else f"{paper.seconds_per_slice / seconds:.0f} ×"
        return name, f"{1000 * seconds:.0f}", times, f"{share:.0%}", n_runs

    rows = [line(name, mode.seconds, mode.cpu_share, f"median of {len(mode.runs)}") for name, mode in speed.modes.items()]
    if paper is not None:
        counted = f"{len(paper.step_seconds)} of {paper_size.N_STEPS} steps run"
        rows.append(line("the paper's configuration", paper.seconds_per_slice, paper.cpu_share, counted))
    title = f"speed: one slice of {SIDE} × {SIDE}, {speed.threads} threads on {speed.device}"
    return Grid(title, ("mode", "ms", "faster than the paper", "CPU share", "runs"), rows)


def show(screen: Console, speed: Speed) -> None:
    """Print the table and the bars."""
    screen.print(drawn(grid(speed)))
    show_findings(screen, findings(speed))


def as_dict(speed: Speed) -> dict[str, Any]:
    """Return everything for JSON."""
    paper = None if speed.paper is None else {**asdict(speed.paper), "seconds_per_slice": speed.paper.seconds_per_slice}
    modes = {name: asdict(mode) for name, mode in speed.modes.items()}
    return {"device": speed.device, "threads": speed.threads, "modes": modes, "paper": paper, "ratio": speed.ratio}
