"""The networks of the paper's own system at their published size: a yardstick to be timed, never trained and no part of the product.

Of Shao et al., npj Digit. Med. 9:366 (2026), the widths, levels, blocks and weight counts are known; no code is. What had to be
guessed was guessed so that the counts agree (38.6 M and 13.6 M, tested to 2 %) and, where a guess costs time, for the cheaper
choice:

- diffusion: the blocks of DDPM (Ho et al., arXiv 2006.11239, appendix B), whose CIFAR network has these very widths and 35.7 M
  weights; self-attention only at the coarsest level and in the middle; at the same six places cross-attention to 384-d text
  tokens, which two linear layers first bring to the width of the time embedding; one head. Self-attention at every level of 256
  channels and text in the time embedding would have as many weights and three times the cost, but no cross-attention to text;
- restoration and degradation: 32 … 512 channels, pooling, a residual block of two convolutions a level, two blocks at the bottom; a
  "wide" skip carries the outputs of both convolutions; no text.
"""

# shapes: B batch, C channel, H row, W column, N token (a pixel or a piece of text), D token width, E embedding

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEXT_WIDTH = 384


class DiffusionUNet(nn.Module):
    """g_θ: [x_t, y], time and text → x0.

    Parameters
    ----------
    width
        Channels of the finest level.
    multipliers
        Channels of each level in units of `width`, finest first.
    n_blocks
        Residual blocks a level on the way down; one more on the way up.
    """

    def __init__(self, width: int = 128, multipliers: Sequence[int] = (1, 2, 2, 2), n_blocks: int = 2) -> None:
        super().__init__()
        embedding = 4 * width
        widths = [width * multiplier for multiplier in multipliers]
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.text = nn.Sequential(nn.Linear(TEXT_WIDTH, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.stem = nn.Conv2d(2, width, 3, padding=1)
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        channels, skips = width, [width]
        for level, wide in enumerate(widths):
            last = level == len(widths) - 1
            for _ in range(n_blocks):
                self.downs.append(Stage(channels, wide, embedding, attends=last))
                channels = wide
                skips.append(channels)
            if not last:
                self.downs.append(Down(channels))
                skips.append(channels)
        self.middle = nn.ModuleList([Stage(channels, channels, embedding, attends=True), Stage(channels, channels, embedding, attends=False)])
        for level, wide in reversed(list(enumerate(widths))):
            for block in range(n_blocks + 1):
                self.ups.append(Stage(channels + skips.pop(), wide, embedding, attends=level == len(widths) - 1))
                channels = wide
                if level > 0 and block == n_blocks:
                    self.ups.append(Up(channels))
        self.head = nn.Sequential(nn.GroupNorm(32, channels), nn.SiLU(), nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, x_t_and_y_B2HW: Tensor, time_B: Tensor, text_BND: Tensor) -> Tensor:
        """Return x0 (B, 1, H, W); H and W multiples of 8, time in steps, text tokens `TEXT_WIDTH` wide."""
        embedding_BE = self.time(sinusoids(time_B, self.width))
        text_BNE = self.text(text_BND)
        x = self.stem(x_t_and_y_B2HW)
        skips = [x]
        for stage in self.downs:
            x = stage(x, embedding_BE, text_BNE)
            skips.append(x)
        for stage in self.middle:
            x = stage(x, embedding_BE, text_BNE)
        for stage in self.ups:
            x = stage(torch.cat([x, skips.pop()], dim=1) if isinstance(stage, Stage) else x, embedding_BE, text_BNE)
        output: Tensor = self.head(x)
        return output


class Stage(nn.Module):
    """A residual block told the time, then, if it `attends`, attention to all pixels and to the text."""

    def __init__(self, channels_in: int, channels_out: int, embedding: int, attends: bool) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.GroupNorm(32, channels_in), nn.SiLU(), nn.Conv2d(channels_in, channels_out, 3, padding=1))
        self.shift = nn.Sequential(nn.SiLU(), nn.Linear(embedding, channels_out))
        self.after = nn.Sequential(nn.GroupNorm(32, channels_out), nn.SiLU(), nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()
        self.to_pixels = Attention(channels_out, channels_out) if attends else None
        self.to_text = Attention(channels_out, embedding) if attends else None

    def forward(self, x_BCHW: Tensor, embedding_BE: Tensor, text_BNE: Tensor) -> Tensor:
        """Return (B, channels_out, H, W)."""
        inner = self.before(x_BCHW) + self.shift(embedding_BE)[:, :, None, None]
        x: Tensor = self.shortcut(x_BCHW) + self.after(inner)
        if self.to_pixels is not None and self.to_text is not None:
            x = x + self.to_pixels(x, None)
            x = x + self.to_text(x, text_BNE)
        return x


class Attention(nn.Module):
    """One-headed attention of every pixel to all pixels (`context` None) or to given tokens."""

    def __init__(self, channels: int, context_width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(context_width, 2 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x_BCHW: Tensor, context_BND: Tensor | None) -> Tensor:
        """Return what is to be added to x, same shape."""
        pixels_BNC = self.norm(x_BCHW).flatten(2).transpose(1, 2)
        key, value = self.key_value(pixels_BNC if context_BND is None else context_BND).chunk(2, dim=-1)
        attended = F.scaled_dot_product_attention(self.query(pixels_BNC), key, value)
        output: Tensor = self.out(attended).transpose(1, 2).reshape(x_BCHW.shape)
        return output


class Down(nn.Module):
    """Halve height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x_BCHW: Tensor, _embedding_BE: Tensor, _text_BNE: Tensor) -> Tensor:
        """Return (B, C, H/2, W/2)."""
        output: Tensor = self.convolution(x_BCHW)
        return output


class Up(nn.Module):
    """Double height and width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor, _embedding_BE: Tensor, _text_BNE: Tensor) -> Tensor:
        """Return (B, C, 2H, 2W)."""
        output: Tensor = self.convolution(F.interpolate(x_BCHW, scale_factor=2, mode="nearest"))
        return output


class WideSkipUNet(nn.Module):
    """f_ψ and f_φ: image → image."""

    def __init__(self, width: int = 32, n_levels: int = 5) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(n_levels)]
        self.encoders = nn.ModuleList(WideBlock(before, after) for before, after in itertools.pairwise([1, *widths]))
        self.bottom = WideBlock(widths[-1], widths[-1])
        steps = list(reversed(list(itertools.pairwise(widths))))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps)
        self.decoders = nn.ModuleList(WideBlock(3 * fine, fine) for fine, _ in steps)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, image_B1HW: Tensor) -> Tensor:
        """Return an image (B, 1, H, W); H and W multiples of 16."""
        x = image_B1HW
        skips: list[Tensor] = []
        for encoder in self.encoders:
            first, x = encoder(F.max_pool2d(x, 2) if skips else x)
            skips.append(torch.cat([first, x], dim=1))
        skips.pop()
        _, x = self.bottom(x)
        for to_fine, decoder in zip(self.ups, self.decoders, strict=True):
            _, x = decoder(torch.cat([to_fine(x), skips.pop()], dim=1))
        output: Tensor = self.head(x)
        return output


class WideBlock(nn.Module):
    """Two normalised 3×3 convolutions, added to the input."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels_in, channels_out, 3, padding=1), nn.GroupNorm(8, channels_out), nn.SiLU())
        self.second = nn.Sequential(nn.Conv2d(channels_out, channels_out, 3, padding=1), nn.GroupNorm(8, channels_out), nn.SiLU())
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the first convolution says and the block's output, both (B, channels_out, H, W)."""
        first = self.first(x_BCHW)
        return first, self.shortcut(x_BCHW) + self.second(first)


def sinusoids(time_B: Tensor, width: int) -> Tensor:
    """Return (B, width): cosines and sines of the time, wavelengths from 2π to 20 000π steps (Vaswani et al., arXiv 1706.03762)."""
    frequencies = torch.exp(torch.linspace(0, -math.log(10_000), width // 2, device=time_B.device))
    angles = time_B.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)
