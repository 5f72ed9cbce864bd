"""A second round for mode `fast`: from the weights of `restoration_cpu` on, with more real noise for the noise map."""

from __future__ import annotations

from dataclasses import replace

from onenex.train.config import TrainConfig
from onenex.train.recipes.restoration_cpu import restoration_cpu


def restoration_cpu_more() -> TrainConfig:
    """Return the round that ends in the bundled weights; to be started with `--start` at what `restoration_cpu` wrote."""
    first = restoration_cpu()
    return replace(
        first,
        name="restoration_cpu_more",
        seed=100,
        noise=replace(first.noise, steps=18_000, learning_rate=7e-4, real_per_batch=2),
        restoration=replace(first.restoration, steps=10_000, learning_rate=6e-4),
    )
