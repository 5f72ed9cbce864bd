"""Multi-scale structural similarity as a loss: differentiable, batched, with an explicit data range."""

# shapes: B batch, H row, W column

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from onenex.errors import OutOfDomain

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, finest first (Wang et al. 2003, §3.2)."""
WINDOW, DEVIATION = 11, 1.5
_K1, _K2 = 0.01, 0.03


def ms_ssim(first_B1HW: Tensor, second_B1HW: Tensor, *, data_range: float, n_scales: int | None = None) -> Tensor:
    """Return the MS-SSIM of every pair of images: (B,), 1 for equal ones.

    Parameters
    ----------
    first_B1HW, second_B1HW
        Images in one unit.
    data_range
        The range L of that unit: 1 for images in units of the series scale, never the largest value of a patch, which
        would make dark patches count more than bright ones.
    n_scales
        As many as the images allow (each side ≥ 11 at the coarsest), at most 5, when None; the exponents of fewer scales
        are divided by their sum.

    Raises
    ------
    OutOfDomain
        Images smaller than one window, a range that isn't positive, or more scales than fit.

    Source
    ------
    Wang, Simoncelli & Bovik, Asilomar 2003, eq. 7. Means of negative contrast-structure are cut at a small positive number, so that
    the powers stay real.
    """
    short = min(first_B1HW.shape[-2:])
    fitting = sum(1 for scale in range(len(WEIGHTS)) if short // 2**scale >= WINDOW)
    wanted = fitting if n_scales is None else n_scales
    if data_range <= 0 or not 1 <= wanted <= fitting:
        raise OutOfDomain(f"MS-SSIM of images with sides from {short} pixels: at most {fitting} scales (not {wanted}), range > 0 (not {data_range})")
    exponents = first_B1HW.new_tensor(WEIGHTS[:wanted])
    exponents = exponents / exponents.sum()
    parts = []
    for scale in range(wanted):
        luminance, structure = _terms(first_B1HW, second_B1HW, data_range)
        whole = luminance * structure if scale == wanted - 1 else structure
        parts.append(whole.mean(dim=(1, 2, 3)).clamp_min(1e-4))
        if scale < wanted - 1:
            first_B1HW, second_B1HW = F.avg_pool2d(first_B1HW, 2), F.avg_pool2d(second_B1HW, 2)
    return (torch.stack(parts, dim=1) ** exponents).prod(dim=1)


def _terms(first: Tensor, second: Tensor, data_range: float) -> tuple[Tensor, Tensor]:
    """Return the luminance and the contrast-structure maps (Wang et al. 2004, eq. 6 and 13), windows wholly inside."""
    distance = torch.arange(WINDOW, device=first.device, dtype=first.dtype) - WINDOW // 2
    line = torch.exp(-distance.square() / (2 * DEVIATION**2))
    line = line / line.sum()

    def mean(image: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(image, line[None, None, :, None]), line[None, None, None, :])

    mean_1, mean_2 = mean(first), mean(second)
    variance_1, variance_2 = mean(first * first) - mean_1.square(), mean(second * second) - mean_2.square()
    covariance = mean(first * second) - mean_1 * mean_2
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    luminance = (2 * mean_1 * mean_2 + c1) / (mean_1.square() + mean_2.square() + c1)
    structure = (2 * covariance + c2) / (variance_1 + variance_2 + c2)
    return luminance, structure
