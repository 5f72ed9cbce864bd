"""A LoRA branch as training might leave it: both of its halves far from zero."""

from collections.abc import Mapping

import torch
from torch import Tensor


def random_branch(like: Mapping[str, Tensor], seed: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.1 * torch.randn(value.shape, generator=generator) for name, value in like.items()}
