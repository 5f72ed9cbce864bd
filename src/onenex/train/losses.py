"""Losses: restoration in units of the noise, and quantiles of the noise map.

Simulated patches know their noise-free reference. Real patches don't: their target is another repeat, which has its own
noise and the same Rician floor, so the restored image is sent through the Rician mean before it is compared with it.
"""

# shapes: B batch, H row, W column

from __future__ import annotations

import torch
from torch import Tensor

from onenex.model.noise_level import CAUTION, NoiseMap, blur
from onenex.model.rician import rice_mean
from onenex.train.dataset import FOREGROUND, Batch
from onenex.train.joined import mean_of_parts

_SIGMA_FLOOR = 0.002
_RATIO_FLOOR = 0.01
_BACKGROUND_WEIGHT = 0.25


def restoration_loss(
    restored_B1HW: Tensor, batch: Batch, sigma_B1HW: Tensor, *, again_B1HW: Tensor | None = None, bias_weight: float = 0.0
) -> Tensor:
    """Return the mean over patches of log(error / noise) (simulated) and of error / noise (real).

    Parameters
    ----------
    restored_B1HW
        f_ψ(measured), units of the scale.
    batch
        The patches.
    sigma_B1HW
        The map that the restoration was given; treated as a constant.
    again_B1HW
        f_ψ(second), the other scan restored; of real patches it isn't looked at. None = simulated patches have one scan.
    bias_weight
        Of the squared bias, simulated patches only; needs `again_B1HW`.

    Notes
    -----
    Errors and noise are squared means, weighted towards the foreground. The logarithm gives every noise level the same
    say: half of a low noise remains, a twentieth of a high one. Real targets hold noise, which forbids a logarithm
    (only the squared error is right on average); about half of the noise remains there too, so both terms pull alike.

    Squared error is variance + bias². The noise of two scans is independent, so the product of their errors is bias² on
    average. A price on it keeps faint edges, small lesions and artefacts from being traded for less variance.
    """
    sigma = sigma_B1HW.detach()
    real = batch.is_real_B[:, None, None, None]
    single_shot = sigma * batch.nex_B.sqrt()[:, None, None, None]
    prediction = torch.where(real, rice_mean(restored_B1HW, single_shot), restored_B1HW)
    seen = torch.where(real, blur(batch.measured_B1HW), batch.target_B1HW)
    weight = torch.where(seen > FOREGROUND, 1.0, _BACKGROUND_WEIGHT)
    weight = weight / weight.mean(dim=(1, 2, 3), keepdim=True)
    misfit = prediction - batch.target_B1HW
    error = (weight * misfit.square()).mean(dim=(1, 2, 3))
    if again_B1HW is not None:
        other = torch.where(real, misfit, again_B1HW - batch.target_B1HW)
        both = (weight * (misfit.square() + other.square())).mean(dim=(1, 2, 3)) / 2
        bias = (weight * misfit * other).mean(dim=(1, 2, 3)).clamp_min(0)
        error = torch.where(batch.is_real_B, error, both + bias_weight * bias)
    noise = (weight * sigma.square()).mean(dim=(1, 2, 3)) + _SIGMA_FLOOR**2
    ratio = error / noise
    return torch.where(batch.is_real_B, ratio, torch.log(ratio + _RATIO_FLOOR)).mean()


@mean_of_parts
def noise_loss(estimate: NoiseMap, batch: Batch) -> Tensor:
    """Return the pinball losses of log σ̂ at the median and at the cautious quantile.

    Simulated patches count everywhere, background less. Real ones count in foreground three σ above zero: there the
    spread of repeats is σ.

    Source
    ------
    Koenker & Bassett, Econometrica 46:33 (1978): the quantile τ minimises E[max(τ e, (τ − 1) e)], e = truth − estimate.
    """
    truth = torch.log(batch.sigma_B1HW.clamp_min(1e-4))
    seen = blur(torch.where(batch.is_real_B[:, None, None, None], (batch.measured_B1HW + batch.target_B1HW) / 2, batch.target_B1HW))
    plain = (seen > FOREGROUND) & (seen > 3 * batch.sigma_B1HW)
    elsewhere = torch.where(batch.is_real_B, 0.0, 0.3)[:, None, None, None]
    weight = torch.where(plain, 1.0, elsewhere)
    loss = truth.new_zeros(())
    for sigma, quantile in ((estimate.sigma, 0.5), (estimate.cautious, CAUTION)):
        error = truth - torch.log(sigma)
        loss = loss + (weight * torch.maximum(quantile * error, (quantile - 1) * error)).sum() / weight.sum().clamp_min(1.0)
    return loss
