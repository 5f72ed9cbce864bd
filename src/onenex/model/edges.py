"""What the residual holds along an edge of the result isn't noise: it comes back, averaged along that edge.

A network that is scored by squared error makes an edge of uncertain place a soft one. What it took away is then the same all along the
edge, and noise is not: the mean of the residual over a dozen pixels along the edge has the whole of the former and a quarter of the latter.
"""

# shapes: B batch, H row, W column, N point, (row, column) as the last axis of directions and places

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from onenex.model.restoration import within_bound
from onenex.model.rician import rice_mean
from onenex.model.smoothing import smoothed

REACH = 8
"""Pixels along the edge, to either side."""
PASSES = 4
"""Each gives back what those before have left."""
SCALE, INTEGRATION = 1.0, 1.0
"""Standard deviations, pixels, of the derivatives of the result, and of the mean that makes one direction of them."""
FAINT, PLAIN = 0.75, 5.0
"""Slopes, noise standard deviations a pixel: well below the first there is no edge, well above the second the networks need no help."""
_STEEPNESS = 12
_COHERENCE_POWER = 4
_LEAST_WEIGHT = 0.02
"""Pixels that count for less are left as they are."""
_LEAST_SLOPE, _LEAST_COHERENCE = 0.7, 0.36
"""Slopes, of `FAINT`, and coherences below which the weight is less than that whatever else there is."""


def sharpened(measured_B1HW: Tensor, restored_B1HW: Tensor, sigma_B1HW: Tensor, bound_B1HW: Tensor) -> Tensor:
    """Return a result that has back what its residual holds along its edges.

    Parameters
    ----------
    measured_B1HW, restored_B1HW
        A slice ≥ 0 and what a mode made of it, one unit.
    sigma_B1HW
        σ of the noise, same unit; where it is 0 nothing comes back.
    bound_B1HW
        σ that the promise counts in: no pixel ends further than `BOUND` of these from what was measured.

    Returns
    -------
    Tensor
        (B, 1, H, W), ≥ 0.

    Source
    ------
    Directions: the structure tensor, Bigün & Granlund 1987. The mean along them: line integral convolution, Cabral & Leedom, SIGGRAPH 1993. To
    give a smoothed residual back is Tukey's twicing (Exploratory Data Analysis, 1977).
    """
    ones = [slice(number, number + 1) for number in range(len(measured_B1HW))]
    image = torch.cat([_with_edges(measured_B1HW[one], restored_B1HW[one], sigma_B1HW[one]) for one in ones])
    return torch.where(image == restored_B1HW, restored_B1HW, within_bound(image, measured_B1HW, bound_B1HW))


def _with_edges(measured_11HW: Tensor, restored_11HW: Tensor, sigma_11HW: Tensor) -> Tensor:
    """Return an image with its residual's means along its edges added, pass by pass; only where something was added does the residual change."""
    measured_HW, sigma_HW = measured_11HW[0, 0], sigma_11HW[0, 0]
    image, residual = restored_11HW.clone(), measured_11HW - rice_mean(restored_11HW.clamp_min(0), sigma_11HW)
    for _ in range(PASSES):
        weight_N, at, lies = edge_weights(image, sigma_11HW)
        if not len(weight_N):
            break
        image[0, 0][at] += weight_N * _mean_along(residual, lies, at)
        residual[0, 0][at] = measured_HW[at] - rice_mean(image[0, 0][at].clamp_min(0), sigma_HW[at])
    return image


def edge_weights(image_11HW: Tensor, sigma_11HW: Tensor) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
    """Return how much of an edge there is (N,), 0…1, with the pixels (rows (N,), columns (N,)) where it is more than
    `_LEAST_WEIGHT`; and how it lies (1, 2, H, W).

    How it lies: cosine and sine of twice the angle from the rows' axis to the steepest slope, times the coherence. Unlike a direction
    this has no sign, so that it may be interpolated.
    """
    rows, columns = (smoothed(image_11HW, SCALE, derived=axis) for axis in (0, 1))
    tensor = smoothed(torch.cat([rows * rows, rows * columns, columns * columns]), INTEGRATION)
    total, difference = tensor[0] + tensor[2], tensor[0] - tensor[2]
    one_way = difference.square() + 4 * tensor[1].square()
    may_count = (total > (_LEAST_SLOPE * FAINT * sigma_11HW[0]).square()) & (one_way > (_LEAST_COHERENCE * total).square())
    at = may_count[0].nonzero(as_tuple=True)
    total_N, sigma = total[0][at], sigma_11HW[0, 0][at]
    coherence = one_way[0][at].sqrt() / total_N.clamp_min(1e-20)
    slope = total_N.clamp_min(0).sqrt()
    steep = slope**_STEEPNESS
    is_edge = steep / (steep + (FAINT * sigma) ** _STEEPNESS).clamp_min(1e-30)
    needs_help = 1 / (1 + (slope / (PLAIN * sigma).clamp_min(1e-12)) ** _STEEPNESS)
    weight_N = coherence**_COHERENCE_POWER * is_edge * needs_help * (sigma > 0)
    counts = weight_N > _LEAST_WEIGHT
    lies = torch.cat([difference, 2 * tensor[1]])[None] / total.clamp_min(1e-20)
    return weight_N[counts], tuple(place[counts] for place in at), lies


def _mean_along(residual_11HW: Tensor, lies_12HW: Tensor, at: tuple[Tensor, ...]) -> Tensor:
    """Return the mean of a residual over `REACH` pixels both ways along the edges through some places, rows and columns (N,): (N,)."""
    start = _along(*(part[at].repeat(2) for part in lies_12HW[0]))
    rows, columns = (place.to(start[0].dtype).repeat(2) for place in at)
    n, heading = len(at[0]), start
    for part in heading:
        part[n:].neg_()
    seen = []
    for step in range(REACH):
        rows, columns = rows + heading[0], columns + heading[1]
        grid = _grid(rows, columns, residual_11HW.shape)
        seen.append(F.grid_sample(residual_11HW, grid, mode="bicubic", padding_mode="border", align_corners=True)[0, 0, 0])
        if step < REACH - 1:
            turned = _along(*F.grid_sample(lies_12HW, grid, mode="bilinear", padding_mode="border", align_corners=True)[0, :, 0])
            back = turned[0] * heading[0] + turned[1] * heading[1] < 0
            heading = (torch.where(back, -turned[0], turned[0]), torch.where(back, -turned[1], turned[1]))
    total = residual_11HW[0, 0][at]
    for one in (*(values[:n] for values in seen), *(values[n:] for values in seen)):
        total = total + one
    return total / (2 * REACH + 1)


def _along(cosine_N: Tensor, sine_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return the direction of the edge along rows and along columns, from how it lies."""
    angle = torch.atan2(sine_N, cosine_N) / 2
    return -angle.sin(), angle.cos()


def _grid(rows_N: Tensor, columns_N: Tensor, shape: torch.Size) -> Tensor:
    """Return places between the pixels of an image as `grid_sample` counts them: (1, 1, N, (column, row))."""
    n_rows, n_columns = (max(1, n - 1) for n in shape[-2:])
    return torch.stack([2 * columns_N / n_columns - 1, 2 * rows_N / n_rows - 1], dim=1)[None, None]
