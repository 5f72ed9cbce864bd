"""Sums of shifted images are the convolutions they stand for."""

import pytest
import torch
from torch.nn import functional as F

from onenex.model import smoothing


@pytest.mark.parametrize("scale", [1.0, 1.2, 3.5])
@pytest.mark.parametrize("derived", [None, 0, 1])
def test_smoothed_is_a_convolution(scale: float, derived: int | None) -> None:
    image = torch.rand(2, 1, 40, 33, generator=torch.Generator().manual_seed(0))
    smooth, slope = smoothing._kernels(scale)
    rows, columns = (slope if derived == axis else smooth for axis in (0, 1))
    reach = len(smooth) // 2
    padded = F.pad(image, (reach,) * 4, mode="replicate")
    expected = F.conv2d(F.conv2d(padded, rows[None, None, :, None]), columns[None, None, None, :])
    found = smoothing.smoothed(image, scale, derived)
    assert found.shape == image.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
