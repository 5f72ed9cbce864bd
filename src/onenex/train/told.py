"""What the trained noise map tells the networks that are trained after it."""

# shapes: B batch, H row, W column

from __future__ import annotations

import torch

from onenex.model.noise_level import NoiseLevel, NoiseMap
from onenex.train.dataset import Batch
from onenex.train.distributed import training_device


class Told:
    """The noise map of a batch by a trained, fixed network."""

    def __init__(self, noise_level: NoiseLevel) -> None:
        self._noise_level = noise_level.to(training_device()).eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> NoiseMap:
        """Return σ of what was measured, (B, 1, H, W)."""
        found: NoiseMap = self._noise_level(batch.measured_B1HW)
        return found
