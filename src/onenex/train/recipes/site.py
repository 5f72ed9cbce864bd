"""Fine-tuning on a hospital's own scans, from the bundled weights: a short run on two CPU cores."""

from __future__ import annotations

from dataclasses import replace

from onenex.train.config import PhaseConfig, TrainConfig, UnifiedConfig


def site() -> TrainConfig:
    """Return a short run at low rates. It reproduces no shipped file: its weights depend on the scans, and are kept only where they do better.

    Half of each batch is real, where there are pairs or repeats; the other half has simulated noise of every level, lest the
    networks forget what the site doesn't have. Noise map and text stay as they are.
    """
    phase = PhaseConfig(
        steps=1_500, patch=128, simulated_per_batch=2, real_per_batch=2, learning_rate=1e-4, final_learning_rate=1e-6, warmup_steps=50,
        ema_decay=0.995, validate_every=500, checkpoint_every=125,
    )  # fmt: skip
    still = replace(phase, steps=0)
    return TrainConfig(
        name="site",
        tune=True,
        holdout_every=5,
        noise=still,
        restoration=still,
        adaptation=phase,
        unified=UnifiedConfig(
            cascade=replace(  # patches as large as the windows of the noise map, or the degradation learns to allow for one that sees less
                phase, steps=600, patch=192, simulated_per_batch=1, real_per_batch=1, learning_rate=5e-5, second_scan=True
            ),
            prior=replace(phase, steps=600, learning_rate=5e-5),
        ),
    )
