"""g_θ: the text-guided diffusion prior, x_t and y → clean (DESIGN §2.4)."""

# shapes: B batch, C channel, H row, W column, T token, D token width

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from onenex.model.diffusion import N_STEPS, sigma_of
from onenex.model.noise_level import blur
from onenex.model.restoration import BOUND
from onenex.nets.attention import TOKEN_WIDTH, Condition, sinusoids
from onenex.nets.unet import UNet


class Prior(nn.Module):
    """g_θ(x_t, y, t, c) = y + σ B tanh(r_θ / B): predicts x₀, never more than B noise standard deviations away from what was measured.

    x_t enters divided by √ᾱ_t, as an image with noise `sigma_of(t)`: as it is, its fine detail in units of that noise, and its
    distance from y in units of y's own noise σ. Time is one more token of the condition, and a constant channel.

    Source
    ------
    Ho et al. 2020 for the process; x₀-prediction and `[x_t, y]` input after Shao et al. 2026. The bound is ours.
    """

    def __init__(self, widths: Sequence[int] = (48, 96, 128), depth: int = 2) -> None:
        super().__init__()
        self.widths, self.depth = tuple(widths), depth
        self.net = UNet(channels_in=8, channels_out=1, widths=widths, depth=depth, attention=True)
        self.time = nn.Sequential(nn.Linear(64, TOKEN_WIDTH), nn.SiLU(), nn.Linear(TOKEN_WIDTH, TOKEN_WIDTH))

    @property
    def multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return self.net.multiple

    def forward(self, diffused_B1HW: Tensor, measured_B1HW: Tensor, sigma_B1HW: Tensor, t_B: Tensor, condition: Condition) -> Tensor:
        """Return the expected clean image (B, 1, H, W), units of the series scale.

        Parameters
        ----------
        diffused_B1HW
            x_t / √ᾱ_t, see `diffusion.diffuse`.
        measured_B1HW, sigma_B1HW
            y and the standard deviation of its noise, units of the series scale.
        t_B
            Diffusion time of each image, 0…T.
        condition
            Text tokens.
        """
        sigma = sigma_B1HW.clamp_min(1e-4)
        smooth = blur(measured_B1HW)
        own = sigma_of(t_B).clamp_min(1e-4)[:, None, None, None].expand_as(sigma)
        inputs = [
            measured_B1HW,
            torch.asinh((measured_B1HW - smooth) / sigma),
            torch.asinh(smooth / sigma / 3),
            torch.log(sigma / 0.03) / 2,
            diffused_B1HW * (0.1 / (0.1 + own)),
            torch.asinh((diffused_B1HW - blur(diffused_B1HW)) / own),
            torch.asinh((diffused_B1HW - measured_B1HW) / sigma),
            torch.log(own / 0.03) / 4,
        ]
        time = self.time(sinusoids(t_B / N_STEPS * 1000, 64))[:, None]
        told = Condition(
            torch.cat([condition.tokens_BTD, time], dim=1), torch.cat([condition.mask_BT, condition.mask_BT.new_ones(len(t_B), 1)], dim=1)
        )
        residual = self.net(torch.cat(inputs, dim=1), told)
        return measured_B1HW + sigma_B1HW * BOUND * torch.tanh(residual / BOUND)

    def begin_at(self, restoration_net: UNet) -> None:
        """Start from a trained restoration: same weights where the networks agree, zero for the inputs that it lacks.

        Raises
        ------
        RuntimeError
            Networks of other widths or depth.
        """
        state = self.net.state_dict()
        for name, value in restoration_net.state_dict().items():
            state[name] = value
        stem = torch.zeros_like(self.net.state_dict()["stem.1.weight"])
        stem[:, : restoration_net.state_dict()["stem.1.weight"].shape[1]] = restoration_net.state_dict()["stem.1.weight"]
        state["stem.1.weight"] = stem
        self.net.load_state_dict(state)
