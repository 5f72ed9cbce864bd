"""A slice of any size, judged in overlapping windows of one size: what a network learnt on, it is shown."""

# shapes: B batch, C channel, H row, W column

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def mirror_to(image_BCHW: Tensor, side: int) -> tuple[Tensor, tuple[slice, slice]]:
    """Extend H and W to at least `side` by mirroring on both ends, however small the image; also says where the image now lies."""
    places = []
    for axis in (-2, -1):
        n = image_BCHW.shape[axis]
        before = max(0, side - n) // 2
        ramp = torch.arange(-before, max(n, side) - before, device=image_BCHW.device) % (2 * n)
        image_BCHW = image_BCHW.index_select(axis, torch.where(ramp < n, ramp, 2 * n - 1 - ramp))
        places.append(slice(before, before + n))
    return image_BCHW, (places[0], places[1])


def starts(n: int, side: int, step: int) -> list[int]:
    """Return where windows of `side` begin so that they cover 0…n, evenly, at most `step` apart."""
    n_windows = 1 + -(-(n - side) // step)
    return [round(index * (n - side) / max(1, n_windows - 1)) for index in range(n_windows)]


def blend_windows(function: Callable[[Tensor], Tensor], image_BCHW: Tensor, *, side: int, step: int) -> Tensor:
    """Apply `function` to windows and blend its results, weighted towards the middle of each window.

    Parameters
    ----------
    function
        (B, C, side, side) → (B, D, side, side).
    image_BCHW
        Any size; smaller ones are mirrored to `side`.
    side, step
        Size of the windows and largest distance between their starts, pixels; step < side.

    Returns
    -------
    Tensor
        (B, D, H, W).
    """
    padded, place = mirror_to(image_BCHW, side)
    ramp = torch.arange(side, device=padded.device, dtype=padded.dtype)
    slope = torch.minimum(ramp + 1, side - ramp) / side
    weight = slope[:, None] * slope[None, :]
    total: Tensor | None = None
    weights = padded.new_zeros(padded.shape[-2:])
    for rows, columns in _windows(padded, side, step):
        result = function(padded[..., rows, columns])
        if total is None:
            total = result.new_zeros((*result.shape[:2], *padded.shape[-2:]))
        total[..., rows, columns] += weight * result
        weights[rows, columns] += weight
    if total is None:
        raise ValueError("an image without pixels has no windows")
    return (total / weights)[..., place[0], place[1]]


def _windows(image_BCHW: Tensor, side: int, step: int) -> Iterator[tuple[slice, slice]]:
    for top in starts(image_BCHW.shape[-2], side, step):
        for left in starts(image_BCHW.shape[-1], side, step):
            yield slice(top, top + side), slice(left, left + side)
