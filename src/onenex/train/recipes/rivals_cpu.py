"""The learnt rivals: four small networks, some twenty minutes each on one CPU core."""

from __future__ import annotations

from dataclasses import replace

from onenex.train.config import PhaseConfig, RivalsConfig


def rivals_cpu() -> RivalsConfig:
    """Return the run behind the rivals' weights in the package."""
    phase = PhaseConfig(
        steps=7_000, patch=80, simulated_per_batch=5, real_per_batch=3, warmup_steps=200, validate_every=2_000, checkpoint_every=250,
    )  # fmt: skip
    return RivalsConfig(
        name="rivals_cpu",
        unet=replace(phase, steps=7_500),
        ddpm=phase,
        prior=replace(phase, real_per_batch=0, simulated_per_batch=8),
        gan=replace(phase, steps=4_000, learning_rate=3e-4, warmup_steps=50),
    )
