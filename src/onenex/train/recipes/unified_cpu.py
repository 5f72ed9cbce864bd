"""The unified model: mode `fast`, then text, degradation and prior, on two CPU cores overnight."""

from __future__ import annotations

from dataclasses import replace

from onenex.train.config import PhaseConfig, TrainConfig, UnifiedConfig
from onenex.train.recipes.restoration_cpu import restoration_cpu


def unified_cpu() -> TrainConfig:
    """Return the whole run; with `--start` it goes on from weights for mode `fast`."""
    return replace(
        restoration_cpu(),
        name="unified_cpu",
        unified=UnifiedConfig(
            cascade=PhaseConfig(
                steps=3_000, patch=128, simulated_per_batch=3, real_per_batch=2, learning_rate=2e-4, warmup_steps=200, second_scan=True
            ),
            settling=PhaseConfig(
                steps=500, patch=192, simulated_per_batch=4, real_per_batch=4, learning_rate=2e-4, warmup_steps=50, ema_decay=0.99, second_scan=True
            ),
            fidelity=PhaseConfig(
                steps=2_000, patch=128, simulated_per_batch=3, real_per_batch=1, learning_rate=2e-4, warmup_steps=50, second_scan=True,
                lesions=0.6, artefacts=0.2, bias_weight=2.0,
            ),
            prior=PhaseConfig(
                steps=7_500, patch=128, simulated_per_batch=3, real_per_batch=1, learning_rate=3e-4, warmup_steps=200, second_scan=True,
                lesions=0.5, artefacts=0.1, bias_weight=1.0,
            ),
        ),
    )  # fmt: skip
