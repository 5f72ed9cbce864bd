"""The network behind the noise map: reads an image in several normalisations, writes what it concludes of the noise on a grid of 8×8 pixels."""

# shapes: B batch, C channel, H row, W column; H and W multiples of 8

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from onenex.nets.blocks import ResidualBlock, down


class NoiseNet(nn.Module):
    """Convolutional encoder to 1/8 resolution with the mean and extreme features of the whole input mixed in.

    The quietest places of an image (air, fluid) bound its noise elsewhere: hence the extremes.
    """

    def __init__(self, channels_in: int, channels_out: int, widths: Sequence[int] = (32, 48, 64)) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * channels_in, fine, 3, padding=1),
            ResidualBlock(fine),
            down(fine, middle),
            ResidualBlock(middle),
            down(middle, coarse),
            ResidualBlock(coarse),
        )
        self.context = nn.Linear(3 * coarse, coarse)
        self.readout = nn.Sequential(ResidualBlock(coarse), ResidualBlock(coarse), nn.ReLU(), nn.Conv2d(coarse, channels_out, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return (B, channels_out, H/8, W/8)."""
        features: Tensor = self.encoder(x_BCHW)
        summary = torch.cat([features.mean(dim=(2, 3)), features.amin(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        whole_image = torch.relu(self.context(summary))
        output: Tensor = self.readout(features + whole_image[:, :, None, None])
        return output
