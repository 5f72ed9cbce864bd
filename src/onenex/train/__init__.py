"""Training: dataset, loop, checkpoints, recipes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from onenex.errors import DataError

if TYPE_CHECKING:
    from onenex.train.config import PhaseConfig, RivalsConfig, TrainConfig, UnifiedConfig

Config = TypeVar("Config", "TrainConfig", "RivalsConfig", "UnifiedConfig")


def run(  # noqa: PLR0913 - keyword-only settings of a verb
    recipe: str,
    data: Path,
    folder: Path,
    *,
    resume: bool = True,
    steps: int | None = None,
    threads: int | None = None,
    accumulate: int = 1,
    start: Path | None = None,
) -> Path:
    """Run a recipe by name and return the weights file it wrote.

    Parameters
    ----------
    recipe
        A name in `onenex.train.recipes.RECIPES`.
    data
        Folder with `manifest.csv` and the training files.
    folder
        Where checkpoints, logs and weights go; an interrupted run there is continued when `resume`, and always when torchrun
        starts this process again after a failure.
    steps
        Instead of the optimiser steps of each phase of the recipe.
    threads
        CPU threads for torch; its own choice when None.
    accumulate
        So many times the recipe's patches behind each step, in as many more sub-batches; processes share them.
    start
        A weights file to begin at. None: at random, or at the bundled weights for a recipe that tunes.

    Raises
    ------
    DataError
        Unknown recipe, no training data, an unreadable checkpoint, or a start for the rivals, which have none.
    WeightsMismatch
        `start` cannot be used, or has networks of another size than the recipe.
    """
    import torch

    from onenex.model.weights import load_weights
    from onenex.train.config import RivalsConfig
    from onenex.train.phases import train
    from onenex.train.recipes import RECIPES
    from onenex.train.rivals import train_rivals
    from onenex.train.tune import tune

    if recipe not in RECIPES:
        raise DataError(f"no recipe '{recipe}': choose one of {', '.join(sorted(RECIPES))}")
    config = RECIPES[recipe]()
    if threads is not None:
        torch.set_num_threads(threads)
    resume = resume or started_again()
    if isinstance(config, RivalsConfig):
        if start is not None:
            raise DataError(f"recipe {recipe} begins at random: leave --start out")
        return train_rivals(_adapted(config, steps, accumulate), data, folder, resume=resume)
    config = _adapted(config, steps, accumulate)
    if config.tune:
        return tune(config, data, folder, start=load_weights(start), resume=resume)
    return train(config, data, folder, resume=resume, start=load_weights(start) if start is not None else None)


def started_again() -> bool:
    """Return whether torchrun starts the processes of this run for a second time; then `--fresh` has had its effect."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def _adapted(config: Config, steps: int | None, accumulate: int) -> Config:
    """Return the recipe with `steps` optimiser steps in each phase and `accumulate` times its sub-batches; then with another name."""
    config = config if steps is None else _shortened(config, steps)
    return config if accumulate == 1 else _accumulated(config, accumulate)


def _shortened(config: Config, steps: int) -> Config:
    """Return the recipe with `steps` optimiser steps in each phase."""
    return _with_phases(config, lambda phase: replace(phase, steps=steps))


def _accumulated(config: Config, factor: int) -> Config:
    """Return the recipe with `factor` times its sub-batches in each phase, under another name: its runs are others."""
    from onenex.train.config import UnifiedConfig

    more = _with_phases(config, lambda phase: replace(phase, sub_batches=factor * phase.sub_batches))
    name: dict[str, Any] = {} if isinstance(more, UnifiedConfig) else {"name": f"{more.name} x{factor}"}
    return replace(more, **name)


def _with_phases(config: Config, change: Callable[[PhaseConfig], PhaseConfig]) -> Config:
    """Return the recipe with every phase changed."""
    from onenex.train.config import PhaseConfig, UnifiedConfig

    values = {field.name: getattr(config, field.name) for field in fields(config)}
    changed: dict[str, Any] = {name: change(value) for name, value in values.items() if isinstance(value, PhaseConfig)}
    changed |= {name: _with_phases(value, change) for name, value in values.items() if isinstance(value, UnifiedConfig)}
    return replace(config, **changed)
