"""The bundled weights: noise map and restoration, trained together on two CPU cores in an afternoon."""

from __future__ import annotations

from onenex.train.config import TrainConfig


def restoration_cpu() -> TrainConfig:
    """Return the run that made the weights in the package."""
    return TrainConfig(name="restoration_cpu", steps=16_000)
