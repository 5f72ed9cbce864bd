"""`onenex benchmark steps`: quality and time of mode `full` against the number of its steps, on training data, to choose the preset by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from onenex import model as models
from onenex.evaluate import perceptual
from onenex.evaluate.ablation import VARIANTS, Variant, measure, rows
from onenex.evaluate.ablation_table import FAST, Measured, begin, overall, write
from onenex.model import Settings

STEPS = (1, 2, 3, 4, 6, 8, 12)


def variants(numbers: Sequence[int]) -> list[Variant]:
    """Return mode `fast`, and the default preset with each number of steps."""
    fast = next(one for one in VARIANTS if one.name == FAST)
    full = Settings(mode="full", guard=False)
    return [fast, *(Variant(name=_name(n), settings=replace(full, n_steps=n)) for n in numbers)]


def _name(n: int) -> str:
    return f"{n} steps"


def run(data: Path, output: Path, *, split: str = "train", every: int = 4, weights: Path | None = None, threads: int | None = None) -> list[Measured]:
    """Measure every number of steps on every `every`-th row of a split; print the table, write it and `steps.png` to `output`.

    Raises
    ------
    DataError
        No usable data.
    OutOfDomain
        The weights know mode `fast` only.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    model = models.load("auto", weights)
    lpips = perceptual.load() if perceptual.available() else None
    screen = begin(f"number of steps, split {split}, weights {model.weights_hash}", lpips is not None)
    chosen = variants(STEPS)
    found = [measure(case, model, one, lpips) for number, case in enumerate(rows(data, split, quick=False)) if number % every == 0 for one in chosen]
    screen.print(overall(found, [one.name for one in chosen]))
    write(found, model.weights_hash, output)
    plot(found, output / "steps.png")
    return found


def plot(found: Sequence[Measured], path: Path) -> None:
    """Draw the means over rows against the number of steps, mode `fast` at 0."""
    from matplotlib.figure import Figure

    names = {FAST: 0, **{_name(n): n for n in STEPS}}
    figure = Figure(figsize=(12, 3), layout="constrained")
    labels = {"psnr": "PSNR, dB", "ssim": "SSIM", "lpips": "LPIPS (less is better)", "seconds": "s per 256 × 256"}
    for axes, (metric, label) in zip(figure.subplots(1, len(labels)), labels.items(), strict=True):
        values = {
            n: [value for one in found if one.variant == name and one.simulated and (value := getattr(one, metric)) is not None]
            for name, n in names.items()
        }
        present = [n for n, those in values.items() if those]
        axes.plot(present, [np.mean(values[n]) for n in present], "o-")
        axes.set(xlabel="steps (0 = fast)", ylabel=label)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
