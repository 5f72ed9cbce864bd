"""Cascade training of restoration and degradation together: y → f_ψ → f_φ → f_ψ → f_φ, every stage scored (DESIGN §2.3)."""

# shapes: B batch, H row, W column

from __future__ import annotations

import torch
from torch import Tensor, nn

from onenex.model.degradation import Degradation, Measurement, filtered, power_spectrum
from onenex.model.noise_level import NoiseMap, blur
from onenex.model.restoration import Restoration
from onenex.nets.attention import Condition
from onenex.train.chance import Chance, normal
from onenex.train.dataset import FOREGROUND, Batch
from onenex.train.joined import mean_of_parts
from onenex.train.losses import restoration_loss
from onenex.train.msssim import ms_ssim

STAGE_WEIGHTS = (0.3, 0.3, 0.2, 0.2)
"""Of the four stages (DESIGN §2.3)."""
STRUCTURE_SHARE = (0.1, 0.3)
"""Share of MS-SSIM in the score of a restoration, at the first and at the last step; the rest is squared error."""
_SIGMA_FLOOR, _SPECTRUM_FLOOR = 0.002, 0.02
_SQUARES_AT_MOST = 400.0


class Cascade(nn.Module):
    """f_ψ, f_φ and the text branch, trained as one."""

    def __init__(self, restoration: Restoration, degradation: Degradation, encoder: nn.Module) -> None:
        super().__init__()
        self.restoration, self.degradation, self.encoder = restoration, degradation, encoder


def cascade_loss(cascade: Cascade, batch: Batch, noise: NoiseMap, condition: Condition, *, progress: float, generator: Chance) -> Tensor:
    """Return the weighted sum of the four stages.

    Parameters
    ----------
    batch
        Patches with `second_B1HW`, scans that f_φ must foresee: it is never scored on the scan that its input came from, or it
        could hide that scan's noise in the restored image and read it out again.
    noise
        What the networks are told of σ: the restoration the cautious map, the degradation the median.
    condition
        Text of the batch.
    progress
        0…1 of the training: moves the scores from squared error towards structure.
    generator
        Noise of the scans that f_φ makes.

    Notes
    -----
    Two places where no gradient passes: from the second restoration into the scan that f_φ made for it, or f_φ would make scans
    with too little noise because those are easily restored; and, for simulated patches, f_φ learns σ_φ from the reference,
    not from restored images, or it would take their errors for noise.
    """
    share = STRUCTURE_SHARE[0] + (STRUCTURE_SHARE[1] - STRUCTURE_SHARE[0]) * progress
    measured = batch.measured_B1HW.contiguous(memory_format=torch.channels_last)
    restored = cascade.restoration(measured, noise.cautious, condition)
    real = batch.is_real_B[:, None, None, None]
    clean = torch.where(real, restored.detach(), batch.target_B1HW)
    foreseen = cascade.degradation(clean, noise.sigma, condition)
    kernels = cascade.degradation.colour(clean, condition)
    white = normal(measured.shape, generator).to(measured.device)
    again = (foreseen.mean_B1HW + foreseen.sigma_B1HW * filtered(white, kernels)).clamp_min(0).detach()
    restored_again = cascade.restoration(again, noise.cautious, condition)
    foreseen_again = cascade.degradation(restored_again, noise.sigma, condition)
    stages = (
        _restoration_score(restored, batch, share),
        _foreseen_score(foreseen, kernels, batch),
        _restoration_score(restored_again, batch, share),
        consistency_loss(foreseen_again, batch),
    )
    return sum((weight * stage for weight, stage in zip(STAGE_WEIGHTS, stages, strict=True)), start=measured.new_zeros(()))


def settling_loss(degradation: Degradation, batch: Batch, restored_B1HW: Tensor, noise: NoiseMap, condition: Condition) -> Tensor:
    """Return the cascade's second stage alone: f_φ of the reference (simulated), or of the restored image (real), which no gradient enters."""
    clean = torch.where(batch.is_real_B[:, None, None, None], restored_B1HW.detach(), batch.target_B1HW)
    return _foreseen_score(degradation(clean, noise.sigma, condition), degradation.colour(clean, condition), batch)


def _foreseen_score(foreseen: Measurement, kernels_BKK: Tensor, batch: Batch) -> Tensor:
    return measurement_loss(foreseen, batch) + 0.1 * colour_loss(kernels_BKK, batch)


def _restoration_score(restored_B1HW: Tensor, batch: Batch, share: float) -> Tensor:
    """Return the restoration loss mixed with log((1 − MS-SSIM of the restored) / (1 − MS-SSIM of the measured))."""
    return (1 - share) * restoration_loss(restored_B1HW, batch, batch.sigma_B1HW) + share * structure_loss(restored_B1HW, batch)


def structure_loss(restored_B1HW: Tensor, batch: Batch) -> Tensor:
    """Return the mean log ratio of structural dissimilarity after to before, over simulated patches (real targets are noisy).

    The data range is 1, the series scale. 0 where a batch has no simulated patch.
    """
    chosen = ~batch.is_real_B
    if not bool(chosen.any()):
        return restored_B1HW.new_zeros(())
    target = batch.target_B1HW[chosen]
    before, after = (1 - ms_ssim(image[chosen], target, data_range=1.0) for image in (batch.measured_B1HW, restored_B1HW))
    return torch.log((after + 1e-3) / (before + 1e-3)).mean()


@mean_of_parts
def measurement_loss(foreseen: Measurement, batch: Batch) -> Tensor:
    """Return how badly f_φ foresaw the second scan: Gaussian negative log-likelihood in units of the noise.

    Simulated: of the second scan under f_φ's mean and σ_φ. Real: the mean has the second scan's squared error; σ_φ has the
    likelihood of the difference of the two scans, in which no restored image takes part, because the residual of a real patch
    also holds the error of the restored image, which must not pass for noise.
    """
    truth = batch.sigma_B1HW.clamp_min(_SIGMA_FLOOR)
    deviation = foreseen.sigma_B1HW.clamp_min(_SIGMA_FLOOR / 4)
    real = batch.is_real_B[:, None, None, None]
    ratio = torch.where(batch.is_real_B, batch.nex_B / batch.target_nex_B, 0.0)[:, None, None, None]
    misfit = batch.second_B1HW - foreseen.mean_B1HW
    difference = batch.measured_B1HW - batch.second_B1HW
    drawn = torch.where(real, difference.square() / (1 + ratio), misfit.square())
    likelihood = (drawn / deviation.square()).clamp_max(_SQUARES_AT_MOST) / 2 + torch.log(deviation / truth)
    of_mean = (misfit.square() / (truth.square() * (1 + ratio))).clamp_max(_SQUARES_AT_MOST) / 2
    present = _present(batch)
    return ((likelihood + real * of_mean) * present).sum() / present.sum().clamp_min(1)


@mean_of_parts
def consistency_loss(foreseen: Measurement, batch: Batch) -> Tensor:
    """Return the squared error of f_φ's mean against the second scan in units of the noise, less its expectation; ½ (error / σ)²."""
    noise_of_second = batch.sigma_B1HW.square() * torch.where(batch.is_real_B, batch.nex_B / batch.target_nex_B, 1.0)[:, None, None, None]
    truth = noise_of_second.clamp_min(_SIGMA_FLOOR**2)
    present = _present(batch)
    misfit = ((batch.second_B1HW - foreseen.mean_B1HW).square() / truth - 1) / 2
    return (misfit.clamp_max(50.0) * present).sum() / present.sum().clamp_min(1)


def _present(batch: Batch) -> Tensor:
    """Return where there is something to foresee: not in a background that the scanner has masked."""
    return (batch.second_B1HW > 0) | (blur(batch.target_B1HW) > FOREGROUND)


def colour_loss(kernels_BKK: Tensor, batch: Batch) -> Tensor:
    """Return Whittle's likelihood of the noise under the kernels' spectra, mean over frequencies.

    The noise itself is the difference of two scans of the same patch, in units of its standard deviation: no restored
    image takes part.

    Source
    ------
    Whittle, Ark. Mat. 2:423 (1953): Σ log S(k) + P(k) / S(k) over frequencies, for a periodogram P and a spectrum S.
    """
    difference = batch.measured_B1HW - batch.second_B1HW
    ratio = torch.where(batch.is_real_B, batch.nex_B / batch.target_nex_B, 1.0)[:, None, None, None]
    noise = difference / (batch.sigma_B1HW.clamp_min(_SIGMA_FLOOR) * (1 + ratio).sqrt())
    noise = noise * (blur(batch.target_B1HW) > FOREGROUND)
    noise = (noise / noise.square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp_min(1e-3))[:, 0]
    n_rows, n_columns = noise.shape[-2:]
    periodogram = torch.fft.fft2(noise).abs().square() / (n_rows * n_columns)
    spectrum = power_spectrum(kernels_BKK, (n_rows, n_columns)) + _SPECTRUM_FLOOR
    whittle: Tensor = (torch.log(spectrum) + periodogram / spectrum).mean()
    return whittle
