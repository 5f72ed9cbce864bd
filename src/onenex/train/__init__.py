"""Training: dataset, loop, checkpoints, recipes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from onenex.errors import DataError


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
        A weights file to begin at, for example the bundled one when tuning on a site's own scans; at random when None.

    Raises
    ------
    DataError
        Unknown recipe, no training data, or an unreadable checkpoint.
    WeightsMismatch
        `start` cannot be used, or has networks of another size than the recipe.
    """
    import torch

    from onenex.model.weights import load_weights
    from onenex.train.phases import train
    from onenex.train.recipes import RECIPES

    if recipe not in RECIPES:
        raise DataError(f"no recipe '{recipe}': choose one of {', '.join(sorted(RECIPES))}")
    config = RECIPES[recipe]()
    if steps is not None:  # of each phase
        config = replace(
            config,
            noise=replace(config.noise, steps=steps),
            restoration=replace(config.restoration, steps=steps),
            adaptation=replace(config.adaptation, steps=steps),
            unified=config.unified
            and replace(config.unified, cascade=replace(config.unified.cascade, steps=steps), prior=replace(config.unified.prior, steps=steps)),
        )
    if threads is not None:
        torch.set_num_threads(threads)
    return train(config, data, folder, resume=resume, start=load_weights(start) if start is not None else None)
