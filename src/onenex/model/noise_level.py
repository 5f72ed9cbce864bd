"""The learnt noise map: one magnitude image in, the standard deviation of its noise at every pixel out."""

# shapes: B batch, C channel, H row, W column

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onenex.model.windows import blend_windows
from onenex.nets.noise_net import NoiseNet

SIGMA_RANGE = (0.0005, 0.5)
"""Smallest and largest noise the map can say, in units of the series scale."""
CAUTION = 0.25
"""Quantile of σ that the restoration is told."""
WINDOW, WINDOW_STEP = 192, 160
"""Pixels. The extremes of a window depend on its size, so slices are judged in windows of the size that training uses."""
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

    def forward(self, image_B1HW: Tensor) -> NoiseMap:
        """Return the noise map, smooth on the scale of 8 pixels.

        Parameters
        ----------
        image_B1HW
            Magnitudes divided by the series scale, any size.
        """
        log_maps = blend_windows(self._log_maps, image_B1HW, side=WINDOW, step=WINDOW_STEP)
        return NoiseMap(torch.exp(log_maps[:, :1]), torch.exp(log_maps[:, 1:]))

    def _log_maps(self, image_B1HW: Tensor) -> Tensor:
        """Return log σ and its cautious quantile (B, 2, H, W) for windows of the size that training uses."""
        detail = image_B1HW - blur(image_B1HW)
        channels = [image_B1HW, torch.asinh(30 * image_B1HW) / 3, *(torch.asinh(gain * detail) for gain in _DETAIL_GAINS)]
        inputs = torch.cat(channels, dim=1).contiguous(memory_format=torch.channels_last)
        coarse = F.interpolate(self.net(inputs).contiguous(), scale_factor=8, mode="bilinear", align_corners=False)
        log_sigma = math.log(0.03) + coarse[:, :1]
        log_cautious = log_sigma - F.softplus(coarse[:, 1:] - 2)
        low, high = (math.log(limit) for limit in SIGMA_RANGE)
        return torch.cat([log_sigma, log_cautious], dim=1).clamp(low, high)
