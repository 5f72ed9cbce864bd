"""Slices of any size through networks that want multiples of 8, in tiles when large, with the untiled result."""

# shapes: B batch, C channel, H row, W column

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TILE_CORE = 768
"""Largest side, in pixels, that is processed in one piece (plus halo)."""
TILE_HALO = 128
"""Reach of the networks, rounded up."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One window: what is read, and which part of it is kept. Slices of rows, then of columns."""

    read: tuple[slice, slice]
    keep: tuple[slice, slice]
    """Relative to `read`."""
    write: tuple[slice, slice]


def pad_to_multiple(image_BCHW: Tensor, multiple: int) -> Tensor:
    """Extend bottom and right to a multiple (at least two of them) by mirroring, however small the image."""
    for axis in (-2, -1):
        n = image_BCHW.shape[axis]
        target = max(2 * multiple, -(-n // multiple) * multiple)
        ramp = torch.arange(target, device=image_BCHW.device) % (2 * n)
        image_BCHW = image_BCHW.index_select(axis, torch.where(ramp < n, ramp, 2 * n - 1 - ramp))
    return image_BCHW


def tiles(height: int, width: int, core: int, halo: int) -> Iterator[Tile]:
    """Cut (height, width) into squares of `core` pixels, each read with `halo` more on every side that exists."""
    for top in range(0, height, core):
        for left in range(0, width, core):
            spans = []
            for start, n in ((top, height), (left, width)):
                stop = min(start + core, n)
                first, last = max(0, start - halo), min(n, stop + halo)
                spans.append((slice(first, last), slice(start - first, stop - first), slice(start, stop)))
            (rows, columns) = spans
            yield Tile(read=(rows[0], columns[0]), keep=(rows[1], columns[1]), write=(rows[2], columns[2]))


def apply_tiled(function: Callable[[Tensor], Tensor], image_BCHW: Tensor, *, core: int, halo: int) -> Tensor:
    """Apply a convolutional `function` tile by tile.

    Parameters
    ----------
    function
        (B, C, H, W) → (B, D, H, W); its receptive field must reach no further than `halo`.
    image_BCHW
        H, W multiples of 8; larger than `core` squared is cut, else one call does.
    core, halo
        Pixels; multiples of 8.
    """
    height, width = image_BCHW.shape[-2:]
    if height <= core + 2 * halo and width <= core + 2 * halo:
        return function(image_BCHW)
    output: Tensor | None = None
    for tile in tiles(height, width, core, halo):
        result = function(image_BCHW[..., tile.read[0], tile.read[1]])
        if output is None:
            output = result.new_empty((*result.shape[:2], height, width))
        output[..., tile.write[0], tile.write[1]] = result[..., tile.keep[0], tile.keep[1]]
    if output is None:
        raise ValueError("an image without pixels cannot be tiled")
    return output


def apply_padded(function: Callable[[Tensor], Tensor], image_BCHW: Tensor, multiple: int) -> Tensor:
    """Apply a convolutional `function` to an image of any size, and return its result at that size: padded, and tiled when large."""
    n_rows, n_columns = image_BCHW.shape[-2:]
    return apply_tiled(function, pad_to_multiple(image_BCHW, multiple), core=TILE_CORE, halo=TILE_HALO)[..., :n_rows, :n_columns]


def blanked(image_B1HW: Tensor, window: int = 5) -> Tensor:
    """Return True where a whole window is exactly zero: background that the scanner itself has blanked."""
    half = window // 2
    if image_B1HW.all():
        return torch.zeros_like(image_B1HW, dtype=torch.bool)
    rows = F.max_pool2d(image_B1HW.abs(), (window, 1), stride=1, padding=(half, 0))
    return F.max_pool2d(rows, (1, window), stride=1, padding=(0, half)) == 0
