"""The networks of the learnt rivals: one-pass restorer (U-Net, GAN), its critic, and diffusion denoisers with and without a condition."""

# shapes: B batch, C channel, H row, W column; H and W multiples of `multiple`

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from onenex.model.diffusion import sigma_of
from onenex.nets.unet import UNet

WIDTHS, DEPTH = (32, 64, 96), 1
"""Of every rival: some half a million weights."""
LEAST_SIGMA = 0.001
"""Noise below this is told as this, in units of the series scale."""
DATA_DEVIATION = 0.35
"""Root mean square of images in units of the series scale, roughly; preconditioning only."""


class Direct(nn.Module):
    """y, σ → clean in one pass: y + net(y, σ). The plain supervised U-Net, and the generator of the GAN.

    Source
    ------
    Ronneberger et al., MICCAI 2015; residual learning after Zhang et al. 2017 (DnCNN), the noise map as an input after
    Zhang et al. 2018 (FFDNet). Deviation: the blocks of `onenex.nets`, sums instead of concatenated skips.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, depth: int = DEPTH) -> None:
        super().__init__()
        self.widths, self.depth = tuple(widths), depth
        self.net = UNet(channels_in=3, channels_out=1, widths=widths, depth=depth)

    @property
    def multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return self.net.multiple

    def forward(self, measured_B1HW: Tensor, sigma_B1HW: Tensor) -> Tensor:
        """Return the restored image (B, 1, H, W); image and noise map in units of the series scale."""
        output: Tensor = measured_B1HW + self.net(torch.cat([measured_B1HW, *_told(sigma_B1HW)], dim=1))
        return output


class Critic(nn.Module):
    """The GAN's discriminator: judges overlapping patches of an image beside the fast scan that it was made of. Training only.

    Source
    ------
    Isola et al., CVPR 2017 (pix2pix, PatchGAN). Deviation: no normalisation, which would hide the noise level; fewer channels.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        channels = 4
        for wide in (width, 2 * width, 4 * width):
            stages += [nn.Conv2d(channels, wide, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            channels = wide
        self.net = nn.Sequential(*stages, nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, candidate_B1HW: Tensor, measured_B1HW: Tensor, sigma_B1HW: Tensor) -> Tensor:
        """Return (B, 1, H/8, W/8), towards 1 where the candidate looks like a reference and 0 where it looks restored."""
        change = torch.asinh((candidate_B1HW - measured_B1HW) / sigma_B1HW.clamp_min(LEAST_SIGMA))
        output: Tensor = self.net(torch.cat([candidate_B1HW, measured_B1HW, change, _told(sigma_B1HW)[1]], dim=1))
        return output


class Conditional(nn.Module):
    """x_t, t, y, σ → x₀: the denoiser of the conditional DDPM. It diffuses what is to be added to y.

    Predicted is F in x₀ = y + σ² / (s² + σ²) (x_t − y) + s σ / √(s² + σ²) F, s the noise of time t, x_t divided by √ᾱ_t: what
    Gaussian noise would leave to be said has variance 1 at every t and σ.

    Source
    ------
    Ho et al. 2020 (DDPM); the image as a condition beside x_t after Saharia et al. 2022 (SR3), residuals after Whang et al. 2022;
    the scaling is that of Karras et al. 2022, table 1, around N(y, σ²).
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, depth: int = DEPTH) -> None:
        super().__init__()
        self.widths, self.depth = tuple(widths), depth
        self.net = UNet(channels_in=5, channels_out=1, widths=widths, depth=depth)

    @property
    def multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return self.net.multiple

    def forward(self, diffused_B1HW: Tensor, t_B: Tensor, measured_B1HW: Tensor, sigma_B1HW: Tensor) -> Tensor:
        """Return x₀ (B, 1, H, W).

        Parameters
        ----------
        diffused_B1HW
            x_t / √ᾱ_t, see `diffusion.diffuse`.
        t_B
            Diffusion times, 1…T.
        measured_B1HW, sigma_B1HW
            The fast scan and its noise, units of the series scale.
        """
        sigma, own = sigma_B1HW.clamp_min(LEAST_SIGMA), noise_of(t_B).expand_as(sigma_B1HW)
        total = (own.square() + sigma.square()).sqrt()
        away = diffused_B1HW - measured_B1HW
        said = self.net(torch.cat([away / total, measured_B1HW, *_told(sigma), torch.log(own / 0.1) / 4], dim=1))
        output: Tensor = measured_B1HW + (sigma / total).square() * away + own * sigma / total * said
        return output

    @staticmethod
    def unexplained(t_B: Tensor, sigma_B1HW: Tensor) -> Tensor:
        """Return s² σ² / (s² + σ²), the variance that F is scaled by."""
        sigma, own = sigma_B1HW.clamp_min(LEAST_SIGMA).square(), noise_of(t_B).square()
        return own * sigma / (own + sigma)


class Unconditional(nn.Module):
    """x_t, t → x₀: the prior of DPS and RED-diff, which knows clean images only.

    Source
    ------
    Ho et al. 2020 (DDPM); scaled after Karras et al. 2022, table 1.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, depth: int = DEPTH) -> None:
        super().__init__()
        self.widths, self.depth = tuple(widths), depth
        self.net = UNet(channels_in=2, channels_out=1, widths=widths, depth=depth)

    @property
    def multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return self.net.multiple

    def forward(self, diffused_B1HW: Tensor, t_B: Tensor) -> Tensor:
        """Return x₀ (B, 1, H, W) of x_t / √ᾱ_t at times 1…T, units of the series scale."""
        own = noise_of(t_B)
        total = (own.square() + DATA_DEVIATION**2).sqrt()
        said = self.net(torch.cat([diffused_B1HW / total, (torch.log(own / 0.1) / 4).expand_as(diffused_B1HW)], dim=1))
        output: Tensor = (DATA_DEVIATION / total).square() * diffused_B1HW + own * DATA_DEVIATION / total * said
        return output

    @staticmethod
    def unexplained(t_B: Tensor) -> Tensor:
        """Return s² d² / (s² + d²) with d = `DATA_DEVIATION`, (B, 1, 1, 1): the variance that F is scaled by."""
        own = noise_of(t_B).square()
        return own * DATA_DEVIATION**2 / (own + DATA_DEVIATION**2)


def noise_of(t_B: Tensor) -> Tensor:
    """Return the noise s of times `t` (B,) as (B, 1, 1, 1), units of the series scale."""
    return sigma_of(t_B)[:, None, None, None]


def _told(sigma_B1HW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the noise map as networks read it: linear and logarithmic."""
    safe = sigma_B1HW.clamp_min(LEAST_SIGMA)
    return 10 * safe, (torch.log(safe) - math.log(0.03)) / 2
