"""What denoising costs: milliseconds a slice beside the peers, growth with the number of pixels, peak memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onenex.evaluate.denoisers.rows import ONENEX, Finding
from onenex.series import FloatImages

Denoise = Callable[[FloatImages, FloatImages], FloatImages]
"""(images, sigma) → images, all (slice, row, column)."""

MEMORY_BAR_BYTES = 2.5e9


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How much is measured."""

    n_runs: int
    """Runs of which the median counts."""
    sides: tuple[int, ...]
    """Sides of the square slices in the growth measurement, pixels."""
    memory_job: tuple[int, int, int]
    """(slice, row, column) of the memory measurement."""


FULL = Reach(n_runs=5, sides=(128, 192, 256, 384, 512, 768, 1024, 1536), memory_job=(200, 512, 512))
QUICK = Reach(n_runs=1, sides=(64, 128, 256), memory_job=(4, 128, 128))


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Time against size."""

    pixels: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """Slope of log time against log pixels over slices of 256² and more: 1 is linear."""
        large = [(p, s) for p, s in zip(self.pixels, self.seconds, strict=True) if p >= 256**2]
        if len(large) < 2:
            large = list(zip(self.pixels, self.seconds, strict=True))
        pixels, seconds = np.log([p for p, _ in large]), np.log([s for _, s in large])
        return float(np.polyfit(pixels, seconds, 1)[0])


@dataclass(frozen=True, kw_only=True)
class Costs:
    """All that was measured."""

    seconds: Mapping[str, float]
    """Method → seconds per 256 × 256 slice."""
    growth: Growth
    """Of OneNEX."""
    peak_bytes: int
    memory_job: tuple[int, int, int]


def measure(
    methods: Mapping[str, Denoise], images: FloatImages, sigma: FloatImages, reach: Reach, peak_bytes: Callable[[tuple[int, int, int]], int]
) -> Costs:
    """Measure everything.

    Parameters
    ----------
    methods
        Name → denoiser, `ONENEX` among them.
    images, sigma
        (slice, 256, 256), a noisy stack and its σ.
    reach
        How much to measure.
    peak_bytes
        Takes (slice, row, column), returns the peak memory of denoising such a stack with OneNEX.
    """
    return Costs(
        seconds=time_slices(methods, images, sigma, reach.n_runs),
        growth=growth(methods[ONENEX], images[0], reach.sides, min(3, reach.n_runs)),
        peak_bytes=peak_bytes(reach.memory_job),
        memory_job=reach.memory_job,
    )


def time_slices(methods: Mapping[str, Denoise], images: FloatImages, sigma: FloatImages, n_runs: int) -> dict[str, float]:
    """Return the median time of each method, seconds per slice of `images`, after one run that is not counted."""
    times = {}
    for name, denoise in methods.items():
        denoise(images[:1], sigma[:1])
        runs = []
        for _ in range(n_runs):
            start = time.perf_counter()
            denoise(images, sigma)
            runs.append((time.perf_counter() - start) / len(images))
        times[name] = statistics.median(runs)
    return times


def growth(denoise: Denoise, image: FloatImages, sides: Sequence[int], n_runs: int) -> Growth:
    """Time `denoise` on squares of several sizes, made by repeating `image` (row, column); medians of `n_runs`."""
    seconds = []
    for side in sides:
        tiled = np.pad(image, [(0, max(0, side - n)) for n in image.shape], mode="wrap")[None, :side, :side]
        level = np.full_like(tiled, 0.05)
        seconds.append(time_slices({"": denoise}, tiled, level, n_runs)[""])
    return Growth(pixels=tuple(side * side for side in sides), seconds=tuple(seconds))


def plot_growth(measured: Growth, path: Path) -> None:
    """Draw time against pixels, both logarithmic, with the straight line through the 256² slice."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    pixels, seconds = np.array(measured.pixels), np.array(measured.seconds)
    anchor = int(np.argmin(np.abs(pixels - 256**2)))
    axes.loglog(pixels, seconds[anchor] * pixels / pixels[anchor], "--", color="0.6", label="proportional to pixels")
    axes.loglog(pixels, seconds, "o-", label=f"{ONENEX}: exponent {measured.exponent:.2f}")
    axes.set_xlabel("pixels of a slice")
    axes.set_ylabel("seconds a slice")
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def findings(costs: Costs) -> list[Finding]:
    """Return the speed, growth and memory lines with their bars."""
    ours = costs.seconds[ONENEX]
    lines = [Finding(text=f"{ONENEX}: {1e3 * ours:.0f} ms per 256 × 256 slice, noise estimate included (bar 120)", passed=ours <= 0.120)]
    for name, seconds in costs.seconds.items():
        if name != ONENEX:
            has_bar = name.startswith("NLM blockwise")
            text = f"  {name}: {1e3 * seconds:.0f} ms, {seconds / ours:.1f} × ours{' (bar 5 ×)' if has_bar else ''}"
            lines.append(Finding(text=text, passed=seconds >= 5 * ours if has_bar else None))
    exponent, side = costs.growth.exponent, round(costs.growth.pixels[-1] ** 0.5)
    text = f"cost grows as pixels^{exponent:.2f} up to {side} × {side} (bar 0.85…1.15)"
    lines.append(Finding(text=text, passed=0.85 <= exponent <= 1.15))
    n_slices, rows, columns = costs.memory_job
    text = f"peak memory for {n_slices} slices of {rows} × {columns}: {costs.peak_bytes / 1e9:.2f} GB (bar 2.5)"
    lines.append(Finding(text=text, passed=costs.peak_bytes < MEMORY_BAR_BYTES))
    return lines
