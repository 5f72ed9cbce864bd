"""The learnt noise map: one magnitude image in, the standard deviation of its noise at every pixel out."""

# shapes: B batch, C channel, H row, W column

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onenex.nets.noise_net import NoiseNet

SIGMA_RANGE = (0.0005, 0.5)
"""Smallest and largest noise the map can say, in units of the series scale."""
CAUTION = 0.25
"""Quantile of σ that the restoration is told."""
_DETAIL_GAINS = (300.0, 60.0, 12.0)


def blur(image_BCHW: Tensor) -> Tensor:
    """Return the 3×3 binomial mean of an image, edges replicated."""
    padded = F.pad(image_BCHW, (1, 1, 1, 1), mode="replicate")
    rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 16


class NoiseMap(NamedTuple):
    """What the network says of the noise, both (B, 1, H, W) in units of the series scale."""

    sigma: Tensor
    """Median: σ is as likely above as below."""
    cautious: Tensor
    """Quantile `CAUTION` of σ, never above the median: far below it where the network is unsure, close to it where the noise is plain."""


class NoiseLevel(nn.Module):
    """σ_ω: image → noise map.

    The image and its fine detail enter compressed at three gains, so that noise of 0.002 and of 0.15 of the scale are
    both well inside the network's range. The restoration is given the cautious map: when unsure it does less.
    """

    def __init__(self) -> None:
        super().__init__()
        self.net = NoiseNet(channels_in=2 + len(_DETAIL_GAINS), channels_out=2)

    @property
    def multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return self.net.multiple

    def forward(self, image_B1HW: Tensor) -> NoiseMap:
        """Return the noise map, smooth on the scale of 8 pixels.

        Parameters
        ----------
        image_B1HW
            Magnitudes divided by the series scale; H and W multiples of 8.
        """
        return self.read_out(self.encode(image_B1HW))

    def encode(self, image_B1HW: Tensor) -> Tensor:
        """Return the local features (B, C, H/8, W/8); reaches no further than 40 pixels, so it may be tiled."""
        detail = image_B1HW - blur(image_B1HW)
        channels = [image_B1HW, torch.asinh(30 * image_B1HW) / 3, *(torch.asinh(gain * detail) for gain in _DETAIL_GAINS)]
        features: Tensor = self.net.encoder(torch.cat(channels, dim=1))
        return features

    def read_out(self, features: Tensor) -> NoiseMap:
        """Return the noise map of the local features of a whole image."""
        coarse = F.interpolate(self.net.read_out(features), scale_factor=8, mode="bilinear", align_corners=False)
        log_sigma = math.log(0.03) + coarse[:, :1]
        log_cautious = log_sigma - F.softplus(coarse[:, 1:] - 2)
        low, high = (math.log(limit) for limit in SIGMA_RANGE)
        return NoiseMap(torch.exp(log_sigma.clamp(low, high)), torch.exp(log_cautious.clamp(low, high)))
