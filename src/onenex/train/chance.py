"""What losses draw: from one generator, or for a joined batch from one a sub-batch, so that a pass of several draws what several passes draw."""

# shapes: B batch

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Chance = torch.Generator | tuple[torch.Generator, ...]
"""The generator of a batch, or those of the sub-batches that were joined (`train.joined`); all of the CPU."""


def uniform(n: int, chance: Chance) -> Tensor:
    """Return numbers in 0…1, (B,)."""
    return _drawn(n, chance, lambda n, generator: torch.rand(n, generator=generator))


def normal(shape: Sequence[int], chance: Chance) -> Tensor:
    """Return standard normal numbers of a shape whose first axis is the batch."""
    return _drawn(shape[0], chance, lambda n, generator: torch.randn((n, *shape[1:]), generator=generator))


def integers(low: int, high: int, n: int, chance: Chance) -> Tensor:
    """Return whole numbers from `low` to `high` − 1, (B,)."""
    return _drawn(n, chance, lambda n, generator: torch.randint(low, high, (n,), generator=generator))


def _drawn(n: int, chance: Chance, draw: Callable[[int, torch.Generator], Tensor]) -> Tensor:
    if isinstance(chance, torch.Generator):
        return draw(n, chance)
    return torch.cat([draw(n // len(chance), generator) for generator in chance])
