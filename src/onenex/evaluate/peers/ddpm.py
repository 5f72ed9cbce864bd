"""A conditional diffusion model, sampled by DDIM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from onenex.evaluate.peers.learnt import networks, slice_by_slice, tiled
from onenex.rivals.sampling import Ddim, ddim
from onenex.series import FloatImages

SETTINGS = Ddim(n_steps=5)
"""Chosen on held-out training slices by `evaluate.peers.search_learnt`."""


@dataclass(frozen=True, kw_only=True)
class ConditionalDdpm:
    """One sample of p(x | y) by `rivals.networks.Conditional`.

    Source
    ------
    Ho et al. 2020 (DDPM); Song et al. 2021 (DDIM); Saharia et al. 2022 (SR3).
    """

    name: str = "DDPM"
    package: str = "torch"
    weights: Path | None = None
    """None: the bundled ones."""
    settings: Ddim = SETTINGS

    def __call__(self, images: FloatImages, sigma: FloatImages) -> FloatImages:
        """Denoise as `Peer` says."""
        network = networks(self.weights).ddpm

        def restore(measured_B1HW: Tensor, sigma_B1HW: Tensor, generator: torch.Generator) -> Tensor:
            def denoise(x_B1HW: Tensor, t_B: Tensor) -> Tensor:
                told = torch.cat([x_B1HW, measured_B1HW, sigma_B1HW], dim=1)
                return tiled(lambda three: network(three[:, :1], t_B, three[:, 1:2], three[:, 2:]), told)

            return ddim(denoise, measured_B1HW, self.settings, generator)

        return slice_by_slice(images, sigma, restore)
