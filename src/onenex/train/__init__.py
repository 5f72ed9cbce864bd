"""Training: dataset, loop, checkpoints, recipes."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from onenex.errors import DataError

if TYPE_CHECKING:
    from onenex.train.config import RivalsConfig, TrainConfig, UnifiedConfig

Config = TypeVar("Config", "TrainConfig", "RivalsConfig", "UnifiedConfig")


def run(
    recipe: str,
    data: Path,
    folder: Path,
    *,
    resume: bool = True,
    steps: int | None = None,
    threads: int | None = None,
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
        Where checkpoints, logs and weights go; an interrupted run there is continued when `resume`.
    steps
        Instead of the optimiser steps of each phase of the recipe.
    threads
        CPU threads for torch; its own choice when None.
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
    if isinstance(config, RivalsConfig):
        if start is not None:
            raise DataError(f"recipe {recipe} begins at random: leave --start out")
        return train_rivals(_shortened(config, steps) if steps is not None else config, data, folder, resume=resume)
    if steps is not None:
        config = _shortened(config, steps)
    if config.tune:
        return tune(config, data, folder, start=load_weights(start), resume=resume)
    return train(config, data, folder, resume=resume, start=load_weights(start) if start is not None else None)


def _shortened(config: Config, steps: int) -> Config:
    """Return the recipe with `steps` optimiser steps in each phase."""
    from onenex.train.config import PhaseConfig, UnifiedConfig

    values = {field.name: getattr(config, field.name) for field in fields(config)}
    shorter: dict[str, Any] = {name: replace(value, steps=steps) for name, value in values.items() if isinstance(value, PhaseConfig)}
    shorter |= {name: _shortened(value, steps) for name, value in values.items() if isinstance(value, UnifiedConfig)}
    return replace(config, **shorter)
