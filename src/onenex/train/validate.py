"""What a run says of itself: held-out slices of the *training* files, never the test split."""

# shapes: B batch, H row, W column

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from onenex.model.noise_level import NoiseLevel
from onenex.model.restoration import Restoration
from onenex.train.config import TrainConfig
from onenex.train.dataset import FOREGROUND, Scan, draw_batch

_N_BATCHES = 12


@torch.inference_mode()
def validate(noise_level: NoiseLevel, restoration: Restoration, scans: list[Scan], config: TrainConfig) -> dict[str, float]:
    """Return figures on fixed held-out patches, σ estimated.

    Returns
    -------
    dict[str, float]
        `gain_simulated_db`, mean PSNR gain over the input in the foreground; `gain_<id>_db`, the same by the unbiased
        score for each file of repeats; `sigma_ratio_error`, mean |log σ̂/σ| of simulated patches in the foreground.
    """
    figures: dict[str, float] = {}
    simulated = [scan for scan in scans if scan.info.kind == "clean"]
    if simulated:
        figures |= _simulated(noise_level, restoration, simulated, replace(config, simulated_per_batch=8, real_per_batch=0))
    for scan in scans:
        if scan.info.kind == "repeats":
            figures[f"gain_{scan.info.id}_db"] = _real(noise_level, restoration, scan, replace(config, simulated_per_batch=0, real_per_batch=8))
    return figures


def _simulated(noise_level: NoiseLevel, restoration: Restoration, scans: list[Scan], config: TrainConfig) -> dict[str, float]:
    gains, ratios = [], []
    for index in range(_N_BATCHES):
        batch = draw_batch(scans, config, np.random.default_rng([7, index]))
        sigma = noise_level(batch.measured_B1HW)
        restored = restoration(batch.measured_B1HW, sigma)
        for i in range(len(sigma)):
            inside = batch.target_B1HW[i] > FOREGROUND
            if int(inside.sum()) < 100:
                continue
            before = (batch.measured_B1HW[i] - batch.target_B1HW[i])[inside].square().mean()
            after = (restored[i] - batch.target_B1HW[i])[inside].square().mean()
            gains.append(float(10 * torch.log10(before / after)))
            ratios.append(float(torch.log(sigma[i] / batch.sigma_B1HW[i])[inside].abs().mean()))
    return {"gain_simulated_db": float(np.mean(gains)), "sigma_ratio_error": float(np.mean(ratios))}


def _real(noise_level: NoiseLevel, restoration: Restoration, scan: Scan, config: TrainConfig) -> float:
    """Unbiased gain: E(f(y1) − y2)² and E(y1 − y2)² share the noise of y2, half of the latter (one against one repeat)."""
    before = after = 0.0
    pair = replace(scan, images=scan.images[:, :2])
    for index in range(_N_BATCHES):
        batch = draw_batch([pair], config, np.random.default_rng([8, index]))
        restored = restoration(batch.measured_B1HW, noise_level(batch.measured_B1HW))
        inside = (batch.measured_B1HW + batch.target_B1HW) / 2 > FOREGROUND
        half = (batch.measured_B1HW - batch.target_B1HW)[inside].square().sum().item() / 2
        before += half
        after += (restored - batch.target_B1HW)[inside].square().sum().item() - half
    return float(10 * np.log10(before / max(after, 1e-12)))
