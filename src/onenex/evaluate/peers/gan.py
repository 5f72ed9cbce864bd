"""A conditional GAN in the manner of pix2pix: the U-Net, taught by a critic as well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onenex.evaluate.peers.learnt import networks
from onenex.evaluate.peers.unet import one_pass
from onenex.series import FloatImages


@dataclass(frozen=True, kw_only=True)
class ConditionalGan:
    """The GAN's generator in one pass; how it was trained: `train.rivals.gan_loss`.

    Source
    ------
    Isola et al., CVPR 2017.
    """

    name: str = "cGAN"
    package: str = "torch"
    weights: Path | None = None
    """None: the bundled ones."""

    def __call__(self, images: FloatImages, sigma: FloatImages) -> FloatImages:
        """Denoise as `Peer` says."""
        return one_pass(networks(self.weights).gan, images, sigma)
