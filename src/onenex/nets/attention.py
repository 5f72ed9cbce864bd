"""How text and time reach a network: cross-attention from image features to the tokens of a condition."""

# shapes: B batch, C channel, H row, W column, P = H·W pixels, T token, D token width

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

TOKEN_WIDTH = 384
"""Width of a token: that of the text encoder's states (MiniLM-L6)."""


class Condition(NamedTuple):
    """What a network is told beside images."""

    tokens_BTD: Tensor
    """Token states, D = `TOKEN_WIDTH`; padded to the longest of the batch."""
    mask_BT: Tensor
    """True where a token is real."""

    def repeated(self, n: int) -> Condition:
        """Return the condition of one image for a batch of `n`."""
        return Condition(self.tokens_BTD.expand(n, -1, -1), self.mask_BT.expand(n, -1))


class CrossAttention(nn.Module):
    """x + W softmax(Q Kᵀ / √d) V with queries from pixels, keys and values from tokens; W is zero before training.

    Source
    ------
    Vaswani et al. 2017, eq. 1; as a conditioner of image networks Rombach et al. 2022, eq. 3.
    """

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels, bias=False)
        self.key_value = nn.Linear(TOKEN_WIDTH, 2 * channels, bias=False)
        self.pixel_norm = nn.LayerNorm(channels)
        self.token_norm = nn.LayerNorm(TOKEN_WIDTH)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x_BCHW: Tensor, condition: Condition) -> Tensor:
        """Return the features with what the tokens say added, same shape."""
        height = x_BCHW.shape[2]
        pixels_BPC = rearrange(x_BCHW, "b c h w -> b (h w) c")
        query = rearrange(self.query(self.pixel_norm(pixels_BPC)), "b p (n c) -> b n p c", n=self.heads)
        key, value = rearrange(self.key_value(self.token_norm(condition.tokens_BTD)), "b t (two n c) -> two b n t c", two=2, n=self.heads)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=condition.mask_BT[:, None, None, :])
        change = self.out(rearrange(found, "b n p c -> b p (n c)"))
        output: Tensor = x_BCHW + rearrange(change, "b (h w) c -> b c h w", h=height)
        return output


def sinusoids(values_B: Tensor, width: int, longest: float = 10_000.0) -> Tensor:
    """Return sines and cosines of `values` (B,) at `width` / 2 geometric wavelengths: (B, width)."""
    frequencies = torch.exp(-torch.linspace(0, 1, width // 2, device=values_B.device) * torch.log(torch.tensor(longest)))
    angles = values_B[:, None].float() * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
