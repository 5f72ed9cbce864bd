"""f_ψ: the one-pass restoration, fast → clean, bounded in units of the local noise (DESIGN §2.2)."""

# shapes: B batch, C channel, H row, W column

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from onenex.model.noise_level import blur
from onenex.nets.attention import Condition
from onenex.nets.unet import UNet

BOUND = 4.0
"""B: no pixel moves by more than this many noise standard deviations."""


def within_bound(image_B1HW: Tensor, measured_B1HW: Tensor, sigma_B1HW: Tensor) -> Tensor:
    """Return the image with no pixel further than `BOUND` σ from the measured one, or below 0; (B, 1, H, W), one unit."""
    reach = BOUND * sigma_B1HW
    return torch.minimum(torch.maximum(image_B1HW, measured_B1HW - reach), measured_B1HW + reach).clamp_min(0)


class Restoration(nn.Module):
    """f_ψ(y, σ, c) = y + σ B tanh(r_ψ(y, σ, c) / B).

    With σ = 0 the image comes back as it is, by construction. The network sees the image, log σ, and the image's fine
    detail counted in noise standard deviations: in that unit noise looks alike at every level.
    """

    def __init__(self, widths: Sequence[int] = (48, 96, 128), depth: int = 2) -> None:
        super().__init__()
        self.widths, self.depth = tuple(widths), depth
        self.net = UNet(channels_in=4, channels_out=1, widths=widths, depth=depth, attention=True)

    @property
    def multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return self.net.multiple

    def forward(self, image_B1HW: Tensor, sigma_B1HW: Tensor, condition: Condition | None = None) -> Tensor:
        """Return the restored image (B, 1, H, W) in the unit of the input.

        Parameters
        ----------
        image_B1HW
            Magnitudes divided by the series scale.
        sigma_B1HW
            Noise standard deviation per pixel, same unit, ≥ 0.
        condition
            Text tokens; nothing is said of the scan when None.
        """
        safe_sigma = sigma_B1HW.clamp_min(1e-4)
        smooth = blur(image_B1HW)
        detail = torch.asinh((image_B1HW - smooth) / safe_sigma)
        level = torch.asinh(smooth / safe_sigma / 3)
        inputs = torch.cat([image_B1HW, detail, level, torch.log(safe_sigma / 0.03) / 2], dim=1)
        residual = self.net(inputs, condition)
        return image_B1HW + sigma_B1HW * BOUND * torch.tanh(residual / BOUND)
