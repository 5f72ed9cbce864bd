"""Several sub-batches in one pass through the networks, and losses that come out as the mean of theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from onenex.errors import OutOfDomain
from onenex.train.dataset import Batch

Judged = TypeVar("Judged", bound=Tensor | tuple[Tensor, ...])


def join(batches: Sequence[Batch]) -> Batch:
    """Return the patches of sub-batches one after the other, as one batch that remembers how many it was.

    Raises
    ------
    OutOfDomain
        There is none, or they differ in size.
    """
    if len({batch.measured_B1HW.shape for batch in batches}) != 1:
        raise OutOfDomain(f"cannot join {len(batches)} sub-batches: join one or more of one size")
    if len(batches) == 1:
        return batches[0]
    names = [field.name for field in fields(Batch) if isinstance(getattr(batches[0], field.name), Tensor)]
    tensors: dict[str, Any] = {name: torch.cat([getattr(batch, name) for batch in batches]) for name in names}
    return Batch(**tensors, prompts=tuple(prompt for batch in batches for prompt in batch.prompts), parts=len(batches))


def split(batch: Batch) -> list[Batch]:
    """Return the sub-batches that were joined."""
    return [
        replace(
            batch, parts=1, prompts=batch.prompts[place], **{name: value[place] for name, value in vars(batch).items() if isinstance(value, Tensor)}
        )
        for place in _places(batch)
    ]


def mean_of_parts(loss: Callable[[Judged, Batch], Tensor]) -> Callable[[Judged, Batch], Tensor]:
    """Let a loss of (what a network made, batch) be the mean of what it is for each of the joined sub-batches.

    For losses that divide by what their batch holds, such as pixels of foreground: one quotient of sums isn't a mean of quotients, and
    a step would depend on how many processes share it. Means over patches need none of this, since sub-batches are of one size and each
    has as many simulated patches as the next.
    """

    @wraps(loss)
    def mean(judged: Judged, batch: Batch) -> Tensor:
        if batch.parts == 1:
            return loss(judged, batch)
        pairs = zip(_places(batch), split(batch), strict=True)
        return torch.stack([loss(_cut(judged, place), part) for place, part in pairs]).mean()

    return mean


def _places(batch: Batch) -> list[slice]:
    size = len(batch.prompts) // batch.parts
    return [slice(number * size, (number + 1) * size) for number in range(batch.parts)]


def _cut(judged: Judged, place: slice) -> Judged:
    """Return a part of a tensor, or of each in a named tuple of them."""
    whole: Any = judged
    cut: Any = whole[place] if isinstance(whole, Tensor) else type(whole)(*(value[place] for value in whole))
    return cast("Judged", cut)
