"""The U-shaped network of the restoration: works at half resolution on pixel-unshuffled input, so a laptop is enough."""

# shapes: B batch, C channel, H row, W column; H and W multiples of `UNet.multiple`

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from onenex.nets.attention import Condition, CrossAttention
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
    attention
        Whether the levels below the finest attend to a condition, on the way up.
    """

    def __init__(self, channels_in: int, channels_out: int, widths: Sequence[int], depth: int = 1, *, attention: bool = False) -> None:
        super().__init__()
        self.multiple: int = 2 ** len(widths)
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * channels_in, widths[0], 3, padding=1))
        steps = list(itertools.pairwise(widths))
        self.encoders = nn.ModuleList(_stage(width, depth) for width in widths[:-1])
        self.downs = nn.ModuleList(down(fine, coarse) for fine, coarse in steps)
        self.bottom = _stage(widths[-1], 2 * depth)
        self.ups = nn.ModuleList(up(coarse, fine) for fine, coarse in reversed(steps))
        self.decoders = nn.ModuleList(_stage(width, depth) for width in reversed(widths[:-1]))
        self.attend = nn.ModuleList(CrossAttention(width) for width in reversed(widths[1:])) if attention else None
        self.head = nn.Sequential(nn.Conv2d(widths[0], 4 * channels_out, 3, padding=1), nn.PixelShuffle(2))
        last = self.head[0]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, x_BCHW: Tensor, condition: Condition | None = None) -> Tensor:
        """Return (B, channels_out, H, W); zero everywhere before training. Without a condition attention adds nothing."""
        x = self.stem(x_BCHW)
        skips = []
        for encoder, to_coarse in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = to_coarse(x)
        x = self.bottom(x)
        attend = list(self.attend) if self.attend is not None and condition is not None else []
        for level, (to_fine, decoder) in enumerate(zip(self.ups, self.decoders, strict=True)):
            if attend:
                x = attend[level](x, condition)
            x = decoder(to_fine(x) + skips.pop())
        output: Tensor = self.head(x)
        return output


def _stage(width: int, depth: int) -> nn.Module:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))
