"""Images convolved with a Gaussian or with its slope."""

# shapes: B batch, H row, W column

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F


def smoothed(image_B1HW: Tensor, scale: float, derived: int | None = None) -> Tensor:
    """Return an image under a Gaussian of `scale` pixels, or under its derivative along an axis (0 rows, 1 columns); the border replicated."""
    smooth, slope = _kernels(scale)
    reach = len(smooth) // 2
    down, across = (slope if derived == axis else smooth for axis in (0, 1))
    padded_BHW = F.pad(image_B1HW[:, 0], (reach,) * 4, mode="replicate")
    return _correlated(_correlated(padded_BHW, down, -2), across, -1)[:, None]


def _correlated(image_BHW: Tensor, kernel: Tensor, axis: int) -> Tensor:
    """Return an image correlated with a kernel along one axis, without what would reach over its ends.

    A sum of shifted images: a convolution of one channel leaves most of its vector lanes empty, and takes four times as long.
    """
    n = image_BHW.shape[axis] - len(kernel) + 1
    first, *others = kernel.tolist()
    total: Tensor = image_BHW.narrow(axis, 0, n) * first
    for place, weight in enumerate(others, start=1):
        total.add_(image_BHW.narrow(axis, place, n), alpha=weight)
    return total


def white_spread(scale: float) -> float:
    """Return the standard deviation of unit white noise under a Gaussian of `scale` pixels."""
    smooth, _ = _kernels(scale)
    return float(smooth.square().sum())


@cache
def _kernels(scale: float) -> tuple[Tensor, Tensor]:
    """Return a Gaussian of sum 1, and its derivative: the slope of a straight line comes out as it is."""
    place = torch.arange(-int(4 * scale + 0.5), int(4 * scale + 0.5) + 1, dtype=torch.float64)
    smooth = torch.exp(-place.square() / (2 * scale**2))
    smooth = smooth / smooth.sum()
    slope = place * smooth
    return smooth.float(), (slope / (slope * place).sum()).float()
