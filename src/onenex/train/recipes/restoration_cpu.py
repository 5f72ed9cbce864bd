"""Mode `fast`: noise map, restoration, and both together, on two CPU cores in an afternoon."""

from __future__ import annotations

from onenex.train.config import PhaseConfig, TrainConfig


def restoration_cpu() -> TrainConfig:
    """Return the first of the two rounds behind the bundled weights; `restoration_cpu_more` is the second."""
    return TrainConfig(
        name="restoration_cpu",
        noise=PhaseConfig(steps=10_000, patch=192, simulated_per_batch=2, real_per_batch=1, learning_rate=1e-3, size_exponent=0.25),
        restoration=PhaseConfig(steps=7_000, patch=96, simulated_per_batch=5, real_per_batch=3),
        adaptation=PhaseConfig(steps=3_000, patch=128, simulated_per_batch=2, real_per_batch=2, learning_rate=2e-4, warmup_steps=100),
    )
