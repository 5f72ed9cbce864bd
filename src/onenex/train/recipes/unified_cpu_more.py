"""A second round for the unified model: from weights made before there was a price on bias, only what `unified_cpu` has learnt since."""

from __future__ import annotations

from dataclasses import replace

from onenex.train.config import TrainConfig
from onenex.train.recipes.unified_cpu import unified_cpu


def unified_cpu_more() -> TrainConfig:
    """Return the round that ends in the bundled weights; to be started with `--start` at weights 864cbbfee5bf.

    Phases of no steps hand on what they get.
    """
    whole = unified_cpu()
    return replace(
        whole,
        name="unified_cpu_more",
        seed=200,
        noise=replace(whole.noise, steps=0),
        restoration=replace(whole.restoration, steps=0),
        adaptation=replace(whole.adaptation, steps=0),
        unified=whole.unified
        and replace(
            whole.unified,
            cascade=replace(whole.unified.cascade, steps=0),
            settling=None,
            prior_share=0.5,
            prior=replace(whole.unified.prior, steps=1_800, learning_rate=2e-4, warmup_steps=50),
        ),
    )
