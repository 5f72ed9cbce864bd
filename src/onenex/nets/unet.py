"""The U-shaped network of the restoration: works at half resolution on pixel-unshuffled input, so a laptop is enough."""

# shapes: B batch, C channel, H row, W column; H and W multiples of `UNet.multiple`

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from onenex.nets.blocks import ResidualBlock, down, up


class UNet(nn.Module):
    """Encoder and decoder of residual blocks; level 0 runs at half the image's resolution.

    Parameters
    ----------
    channels_in, channels_out
        Of the full-resolution images.
    widths
        Channels per level, finest first.
    depth
        Residual blocks per level and side; the lowest level has twice as many.
    """

    def __init__(self, channels_in: int, channels_out: int, widths: Sequence[int], depth: int = 1) -> None:
        super().__init__()
        self.multiple: int = 2 ** len(widths)
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * channels_in, widths[0], 3, padding=1))
        steps = list(itertools.pairwise(widths))
        self.encoders = nn.ModuleList(_stage(width, depth) for width in widths[:-1])
        self.downs = nn.ModuleList(down(fine, coarse) for fine, coarse in steps)
        self.bottom = _stage(widths[-1], 2 * depth)
        self.ups = nn.ModuleList(up(coarse, fine) for fine, coarse in reversed(steps))
        self.decoders = nn.ModuleList(_stage(width, depth) for width in reversed(widths[:-1]))
        self.head = nn.Sequential(nn.Conv2d(widths[0], 4 * channels_out, 3, padding=1), nn.PixelShuffle(2))
        last = self.head[0]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return (B, channels_out, H, W); zero everywhere before training."""
        x = self.stem(x_BCHW)
        skips = []
        for encoder, to_coarse in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = to_coarse(x)
        x = self.bottom(x)
        for to_fine, decoder in zip(self.ups, self.decoders, strict=True):
            x = decoder(to_fine(x) + skips.pop())
        output: Tensor = self.head(x)
        return output


def _stage(width: int, depth: int) -> nn.Module:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))
