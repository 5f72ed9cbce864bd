"""RED-diff with an unconditional prior and a Gaussian likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from onenex.evaluate.peers.learnt import networks, slice_by_slice, tiled
from onenex.rivals.sampling import RedDiff, reddiff
from onenex.series import FloatImages

SETTINGS = RedDiff(n_steps=10, start=1.0, prior_weight=12000.0, rate=0.3)
"""Chosen on held-out training slices by `evaluate.peers.search_learnt`."""


@dataclass(frozen=True, kw_only=True)
class RedDiffPeer:
    """`rivals.sampling.reddiff`.

    Source
    ------
    Mardani et al. 2023 (arXiv 2305.04391).
    """

    name: str = "RED-diff"
    package: str = "torch"
    weights: Path | None = None
    """None: the bundled ones."""
    settings: RedDiff = SETTINGS

    def __call__(self, images: FloatImages, sigma: FloatImages) -> FloatImages:
        """Denoise as `Peer` says."""
        prior = networks(self.weights).prior

        def restore(measured_B1HW: Tensor, sigma_B1HW: Tensor, generator: torch.Generator) -> Tensor:
            return reddiff(lambda x, t_B: tiled(lambda one: prior(one, t_B), x), measured_B1HW, sigma_B1HW, self.settings, generator)

        return slice_by_slice(images, sigma, restore)
