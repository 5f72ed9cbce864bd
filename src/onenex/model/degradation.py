"""f_φ: the learnt scanner, clean → what a fast scan of it would measure, as a likelihood (DESIGN §2.3)."""

# shapes: B batch, H row, W column, K side of a noise kernel, T token, D token width

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onenex.model.noise_level import blur
from onenex.model.rician import rice_deviation, rice_mean
from onenex.nets.attention import TOKEN_WIDTH, Condition
from onenex.nets.blocks import ResidualBlock, down
from onenex.nets.unet import UNet

SHIFT_BOUND = 2.0
"""The learnt mean departs from that of Rician noise by at most this many noise standard deviations."""
SCALE_BOUND = 1.0
"""Largest learnt |log| factor on the standard deviation."""
KERNEL_SIDE = 7
_SIGMA_FLOOR = 1e-4


class Measurement(NamedTuple):
    """What a fast scan is expected to show."""

    mean_B1HW: Tensor
    """Expected magnitude, units of the series scale."""
    sigma_B1HW: Tensor
    """Standard deviation of the magnitude, same unit, > 0."""


class Degradation(nn.Module):
    """(m_φ, σ_φ)(x, σ, c): a Rician scan at noise level σ, plus what the scanner makes of it beyond that.

    Before training it *is* the Rician scan: m = E|x + σ(ε₁ + iε₂)|, σ_φ its standard deviation. A U-Net with text adds a
    bounded shift (blur, filters, contrast, another floor) and a bounded factor on the standard deviation. The level σ is
    an input since text cannot know it (docs/decisions/0005).

    Source
    ------
    Shao et al. 2026 for the learnt, text-conditioned degradation; the likelihood around Rician moments (Gudbjartsson &
    Patz 1995) is ours.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 96), depth: int = 1) -> None:
        super().__init__()
        self.widths, self.depth = tuple(widths), depth
        self.net = UNet(channels_in=4, channels_out=2, widths=widths, depth=depth, attention=True)
        self.colour = NoiseColour()

    @property
    def multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return self.net.multiple

    def forward(self, clean_B1HW: Tensor, sigma_B1HW: Tensor, condition: Condition) -> Measurement:
        """Return mean and standard deviation of a scan of `clean` at channel noise `sigma`, both in units of the series scale."""
        sigma = sigma_B1HW.clamp_min(_SIGMA_FLOOR)
        smooth = blur(clean_B1HW)
        level = torch.log(sigma / 0.03) / 2
        inputs = torch.cat([clean_B1HW, torch.asinh((clean_B1HW - smooth) / sigma), torch.asinh(smooth / sigma / 3), level], dim=1)
        learnt = self.net(inputs, condition)
        shift, stretch = learnt[:, :1], learnt[:, 1:]
        amplitude = clean_B1HW.clamp_min(0) + sigma * SHIFT_BOUND * torch.tanh(shift / SHIFT_BOUND)
        amplitude = amplitude.abs()
        return Measurement(rice_mean(amplitude, sigma), rice_deviation(amplitude, sigma) * torch.exp(SCALE_BOUND * torch.tanh(stretch / SCALE_BOUND)))

    def sample(self, clean_B1HW: Tensor, sigma_B1HW: Tensor, condition: Condition, white_B1HW: Tensor) -> Tensor:
        """Return a fast scan of `clean`; `white` is unit Gaussian noise that becomes the scanner's (colour, level). Never negative."""
        mean, deviation = self(clean_B1HW, sigma_B1HW, condition)
        coloured = filtered(white_B1HW, self.colour(clean_B1HW, condition))
        drawn: Tensor = (mean + deviation * coloured).clamp_min(0)
        return drawn


class NoiseColour(nn.Module):
    """The filter that turns white noise into the scanner's: its power spectrum, from text and from the image's own bandwidth."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(8, width, 3, padding=1), ResidualBlock(width), down(width, width), ResidualBlock(width)
        )
        self.text = nn.Sequential(nn.LayerNorm(TOKEN_WIDTH), nn.Linear(TOKEN_WIDTH, width))
        self.readout = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, KERNEL_SIDE**2))
        nn.init.zeros_(self.readout[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.readout[-1].bias)  # type: ignore[arg-type]

    def forward(self, clean_B1HW: Tensor, condition: Condition) -> Tensor:
        """Return kernels (B, K, K) of unit sum of squares; H and W multiples of 4."""
        detail = clean_B1HW - blur(clean_B1HW)
        spread = detail.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() + 1e-6
        features = self.encoder(torch.cat([torch.asinh(detail / spread), torch.asinh(300 * detail)], dim=1)).mean(dim=(2, 3))
        weight = condition.mask_BT[..., None].float()
        words = (self.text(condition.tokens_BTD) * weight).sum(1) / weight.sum(1).clamp_min(1)
        raw = self.readout(torch.cat([features, words], dim=1)).unflatten(1, (KERNEL_SIDE, KERNEL_SIDE))
        middle = KERNEL_SIDE // 2
        impulse = F.pad(torch.ones_like(raw[:, :1, :1]), (middle,) * 4)
        kernel = raw + impulse
        unit: Tensor = kernel / kernel.square().sum(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-6)
        return unit


def filtered(white_B1HW: Tensor, kernels_BKK: Tensor) -> Tensor:
    """Return each image convolved with its own kernel, edges wrapped: (B, 1, H, W)."""
    half = kernels_BKK.shape[-1] // 2
    padded = F.pad(white_B1HW, (half,) * 4, mode="circular")
    return F.conv2d(padded.transpose(0, 1), kernels_BKK[:, None], groups=len(kernels_BKK)).transpose(0, 1)


def power_spectrum(kernels_BKK: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return |FFT|² of the kernels on a grid of `shape` (row, column): (B, row, column), mean 1 for unit-norm kernels."""
    power: Tensor = torch.fft.fft2(kernels_BKK, s=shape).abs().square()
    return power
