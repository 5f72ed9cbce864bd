"""What a run says of itself: held-out slices of the *training* files, never the test split."""

# shapes: B batch, H row, W column

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from onenex.model.degradation import Measurement
from onenex.train.config import PhaseConfig
from onenex.train.dataset import FOREGROUND, Batch, Scan, draw_batch
from onenex.train.distributed import move, training_device
from onenex.train.slices import leading, side_by_side

_N_BATCHES = 6
_PER_BATCH = 8
_LEVELS = (0.005, 0.02, 0.08)
_MOST_FILES = 64
"""Real files that are judged, spread evenly over all of them."""


@torch.inference_mode()
def validate_noise(network: nn.Module, scans: list[Scan], config: PhaseConfig) -> dict[str, float]:
    """Return median of σ̂/σ in the foreground, spread of its logarithm, share of cautious σ̂ above σ: per level, and per file of repeats."""
    figures: dict[str, float] = {}
    for name, batches in _panels(scans, config):
        logs = []
        for batch in batches:
            inside = batch.target_B1HW > FOREGROUND
            estimate = network(batch.measured_B1HW)
            logs.append(torch.log(torch.stack([estimate.sigma, estimate.cautious]) / batch.sigma_B1HW.clamp_min(1e-4))[:, inside])
        log_ratio, cautious = torch.cat(logs, dim=1)
        figures[f"ratio_{name}"] = float(torch.exp(log_ratio.median()))
        figures[f"too_high_{name}"] = float((cautious > 0).float().mean())
        figures[f"spread_{name}"] = float((log_ratio - log_ratio.median()).abs().median() * 1.4826)
    return figures


@torch.inference_mode()
def validate_restoration(restore: Callable[[Batch], Tensor], scans: list[Scan], config: PhaseConfig) -> dict[str, float]:
    """Return PSNR gains over the input in the foreground, dB, per simulated level and file of repeats or pairs.

    On repeats by the unbiased score: E(f(y1) − y2)² and E(y1 − y2)² share the noise of y2, half of the latter; on pairs likewise,
    by the share that the averages of the reference give.
    """
    figures: dict[str, float] = {}
    for name, batches in _panels(scans, config):
        before = after = 0.0
        for batch in batches:
            restored = restore(batch)
            seen = (batch.measured_B1HW + batch.target_B1HW) / 2 if bool(batch.is_real_B.all()) else batch.target_B1HW
            inside = seen > FOREGROUND
            error, change = ((image - batch.target_B1HW)[inside].square().sum().item() for image in (batch.measured_B1HW, restored))
            shared = error * _share_of_target(batch)
            before, after = before + error - shared, after + change - shared
        figures[f"gain_db_{name}"] = float(10 * np.log10(before / max(after, 1e-12)))
    return figures


@torch.inference_mode()
def validate_degradation(foresee: Callable[[Batch, Tensor], Measurement], scans: list[Scan], config: PhaseConfig) -> dict[str, float]:
    """Return the variance of (second scan − mean) / σ_φ in the foreground, 1 when calibrated, and its negative log-likelihood.

    Per simulated level, and per file of repeats or pairs.

    `foresee` takes a batch and a clean image. Simulated patches give it their reference. Real ones give it `target`, whose own
    noise is known and taken off: its variance is nex / target_nex of that of `measured`, which is the scan to be foreseen.
    """
    figures: dict[str, float] = {}
    for name, batches in _panels(scans, replace(config, second_scan=True)):
        squares: list[Tensor] = []
        logs: list[Tensor] = []
        for batch in batches:
            real = bool(batch.is_real_B.all())
            inside = batch.target_B1HW > FOREGROUND
            mean, deviation = foresee(batch, batch.target_B1HW)
            misfit = ((batch.measured_B1HW if real else batch.second_B1HW) - mean) / deviation
            shared = (batch.nex_B / batch.target_nex_B if real else torch.zeros_like(batch.nex_B))[:, None, None, None]
            squares.append((misfit.square() / (1 + shared))[inside])
            logs.append(torch.log(deviation)[inside])
        figures[f"variance_{name}"] = float(torch.cat(squares).mean())
        figures[f"nll_{name}"] = float((torch.cat(squares) / 2 + torch.cat(logs)).mean())
    return figures


def _share_of_target(batch: Batch) -> float:
    """Return the share of E(measured − target)² that is the target's own noise; 0 for simulated patches, ½ for two repeats."""
    if not bool(batch.is_real_B.all()):
        return 0.0
    ratio = float(batch.nex_B[0] / batch.target_nex_B[0])
    return ratio / (1 + ratio)


def _panels(scans: list[Scan], config: PhaseConfig) -> Iterator[tuple[str, list[Batch]]]:
    """Draw fixed batches: simulated ones by noise level, real ones by file (one repeat against one; a fast scan against its reference as it is).

    One panel after the other, so that memory doesn't grow with the files.
    """
    clean = [scan for scan in scans if scan.info.kind == "clean"]
    for level in _LEVELS:
        quiet = [scan for scan in clean if scan.least_sigma <= level]
        ranges = replace(config.ranges, sigma=(level, level * 1.001))
        fixed = replace(config, ranges=ranges, simulated_per_batch=_PER_BATCH, real_per_batch=0, lesions=0.0, artefacts=0.0)
        if quiet:
            yield f"sigma_{level}", _draw(quiet, fixed)
    real = replace(config, simulated_per_batch=0, real_per_batch=_PER_BATCH)
    judged = [scan for scan in scans if scan.info.kind != "clean"]
    if len(judged) > _MOST_FILES:
        judged = [judged[place * len(judged) // _MOST_FILES] for place in range(_MOST_FILES)]
    for scan in judged:
        shown = leading(scan.images, 2) if scan.pairs is None else side_by_side(scan.pairs.fast, scan.pairs.reference)
        yield scan.info.id, _draw([replace(scan, images=shown)], real)


def _draw(scans: list[Scan], config: PhaseConfig) -> list[Batch]:
    return [move(draw_batch(scans, config, np.random.default_rng([7, index])), training_device()) for index in range(_N_BATCHES)]
