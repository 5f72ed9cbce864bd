"""Blocks that every network shares: residual convolutions, down and up."""

# shapes: B batch, C channel, H row, W column

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around a ReLU, added to the input; no normalisation (it would hide the noise level)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.kaiming_normal_(self.second.weight, nonlinearity="linear")
        with torch.no_grad():
            self.second.weight.mul_(0.3)
        for convolution in (self.first, self.second):
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return x + second(relu(first(x))), same shape."""
        output: Tensor = self.second(torch.relu_(self.first(x_BCHW))).add_(x_BCHW)  # in place: new memory costs as much as the sum itself
        return output


def down(channels_in: int, channels_out: int) -> nn.Module:
    """Halve height and width by a 2×2 convolution of stride 2."""
    return nn.Conv2d(channels_in, channels_out, 2, stride=2)


def up(channels_in: int, channels_out: int) -> nn.Module:
    """Double height and width: a 1×1 convolution, then pixels from channels."""
    return nn.Sequential(nn.Conv2d(channels_in, 4 * channels_out, 1), nn.PixelShuffle(2))
