"""What the learnt peers share: their networks, and a way to send slices of any size through them, one by one."""

# shapes: B batch (1), C channel, H row, W column

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from onenex.evaluate.peers.whiten import floored
from onenex.model.reddiff import slice_generator
from onenex.model.tiling import TILE_CORE, TILE_HALO, apply_tiled, pad_to_multiple
from onenex.rivals import weights
from onenex.series import FloatImages

if TYPE_CHECKING:
    from onenex.evaluate.peers import Peer

Restore = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""(y_B1HW, σ_B1HW, generator) → clean_B1HW; H and W multiples of 8, σ > 0."""
MULTIPLE = 8
"""Of the sides that the rivals' networks take."""


def learnt_peers(file: Path | None = None) -> list[Peer]:
    """Return the learnt rivals, with the settings that `search_learnt` chose.

    Parameters
    ----------
    file
        A weights file of `onenex train rivals_cpu` instead of the bundled one. It's read at the first call of a peer.
    """
    from onenex.evaluate.peers.ddpm import ConditionalDdpm
    from onenex.evaluate.peers.dps import DpsPeer
    from onenex.evaluate.peers.gan import ConditionalGan
    from onenex.evaluate.peers.reddiff import RedDiffPeer
    from onenex.evaluate.peers.unet import SupervisedUNet

    return [
        SupervisedUNet(weights=file),
        ConditionalGan(weights=file),
        ConditionalDdpm(weights=file),
        DpsPeer(weights=file),
        RedDiffPeer(weights=file),
    ]


@lru_cache(maxsize=2)
def networks(file: Path | None) -> weights.Rivals:
    """Return the rivals of a weights file, None being the bundled one; read once.

    Raises
    ------
    WeightsMismatch
        As `weights.load`.
    """
    return weights.load(file)


def slice_by_slice(images: FloatImages, sigma: FloatImages, restore: Restore) -> FloatImages:
    """Denoise a stack (slice, row, column) as `Peer` says.

    What is drawn for a slice depends on its pixels alone, not on its place or company. Slices without noise or contrast come
    back as they are; results below 0 become 0, as magnitudes.
    """
    restored = images.copy()
    for index, (image, level) in enumerate(zip(images, sigma, strict=True)):
        safe = floored(level)
        if safe is None or image.min() == image.max():
            continue
        n_rows, n_columns = image.shape
        both = pad_to_multiple(torch.from_numpy(np.stack([image, safe]).astype(np.float32))[None], MULTIPLE)
        generator = slice_generator(0, zlib.crc32(np.ascontiguousarray(image, dtype=np.float32).tobytes()))
        clean = restore(both[:, :1], both[:, 1:], generator)
        restored[index] = clean[0, 0, :n_rows, :n_columns].clamp_min(0).numpy()
    return restored


def tiled(function: Callable[[Tensor], Tensor], image_BCHW: Tensor) -> Tensor:
    """Apply a network to an image whose sides are multiples of 8, in tiles when it is large."""
    return apply_tiled(function, image_BCHW.contiguous(memory_format=torch.channels_last), core=TILE_CORE, halo=TILE_HALO)
