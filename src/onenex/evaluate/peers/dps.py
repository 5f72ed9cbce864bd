"""Diffusion posterior sampling with an unconditional prior and a Gaussian likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from onenex.evaluate.peers.learnt import networks, slice_by_slice, tiled
from onenex.rivals.sampling import Dps, dps
from onenex.series import FloatImages

SETTINGS = Dps(n_steps=10, start=8.0, step_size=0.6)
"""Chosen on held-out training slices by `evaluate.peers.search_learnt`."""


@dataclass(frozen=True, kw_only=True)
class DpsPeer:
    """One sample by `rivals.sampling.dps`.

    Source
    ------
    Chung et al., ICLR 2023 (arXiv 2209.14687).
    """

    name: str = "DPS"
    package: str = "torch"
    weights: Path | None = None
    """None: the bundled ones."""
    settings: Dps = SETTINGS

    def __call__(self, images: FloatImages, sigma: FloatImages) -> FloatImages:
        """Denoise as `Peer` says."""
        prior = networks(self.weights).prior

        def restore(measured_B1HW: Tensor, sigma_B1HW: Tensor, generator: torch.Generator) -> Tensor:
            return dps(lambda x, t_B: tiled(lambda one: prior(one, t_B), x), measured_B1HW, sigma_B1HW, self.settings, generator)

        return slice_by_slice(images, sigma, restore)
