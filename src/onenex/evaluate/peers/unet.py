"""A plain U-Net, trained with the references of the pairs that OneNEX learnt from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from onenex.evaluate.peers.learnt import networks, slice_by_slice, tiled
from onenex.rivals.networks import Direct
from onenex.series import FloatImages


@dataclass(frozen=True, kw_only=True)
class SupervisedUNet:
    """`rivals.networks.Direct` in one pass.

    Source
    ------
    Ronneberger et al., MICCAI 2015.
    """

    name: str = "U-Net"
    package: str = "torch"
    weights: Path | None = None
    """None: the bundled ones."""

    def __call__(self, images: FloatImages, sigma: FloatImages) -> FloatImages:
        """Denoise as `Peer` says."""
        return one_pass(networks(self.weights).unet, images, sigma)


@torch.inference_mode()
def one_pass(network: Direct, images: FloatImages, sigma: FloatImages) -> FloatImages:
    """Denoise a stack (slice, row, column) by one pass of a network that is told the image and σ."""

    def restore(measured_B1HW: Tensor, sigma_B1HW: Tensor, _: torch.Generator) -> Tensor:
        return tiled(lambda both: network(both[:, :1], both[:, 1:]), torch.cat([measured_B1HW, sigma_B1HW], dim=1))

    return slice_by_slice(images, sigma, restore)
