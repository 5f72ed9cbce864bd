"""The phases of a run: the noise map, the restoration, the restoration with the noise map; and the weights they end in."""

# shapes: B batch, H row, W column

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from onenex.model.noise_level import NoiseLevel
from onenex.model.restoration import Restoration
from onenex.model.weights import save
from onenex.train.config import TrainConfig
from onenex.train.dataset import Batch, Scan, load_scans
from onenex.train.loop import Phase, train_phase
from onenex.train.losses import noise_loss, restoration_loss
from onenex.train.validate import validate_noise, validate_restoration


def train(config: TrainConfig, data: Path, folder: Path, *, resume: bool = True) -> Path:
    """Run the three phases on `data` and return the weights file, `folder/weights.safetensors`.

    Raises
    ------
    DataError
        No training data, or an unreadable checkpoint.
    """
    scans, held_out = (load_scans(data, config, holdout=holdout) for holdout in (False, True))
    noise_level = train_phase(noise_phase(config, held_out), scans, folder / "noise", resume=resume)
    restoration = train_phase(restoration_phase(config, held_out), scans, folder / "restoration", resume=resume)
    adaptation = adaptation_phase(config, held_out, noise_level, restoration)
    restoration = train_phase(adaptation, scans, folder / "adaptation", resume=resume)
    path = folder / "weights.safetensors"
    save(path, noise_level, restoration, card=model_card(config, scans))  # type: ignore[arg-type]
    return path


def noise_phase(config: TrainConfig, held_out: list[Scan]) -> Phase:
    """Return the training of the noise map."""
    torch.manual_seed(config.seed)
    validation = partial(validate_noise, scans=held_out, config=config.noise)
    return Phase(network=NoiseLevel(), config=config.noise, loss=_noise_loss, validation=validation, seed=config.seed)


def restoration_phase(config: TrainConfig, held_out: list[Scan]) -> Phase:
    """Return the training of the restoration, which is told σ, a little off."""
    torch.manual_seed(config.seed)
    network = Restoration(config.widths, config.depth)
    validation = partial(validate_restoration, scans=held_out, config=config.restoration)
    loss = partial(_restoration_loss, jitter=config.sigma_jitter)
    return Phase(network=network, config=config.restoration, loss=loss, validation=validation, seed=config.seed + 1)


def adaptation_phase(config: TrainConfig, held_out: list[Scan], noise_level: nn.Module, restoration: nn.Module) -> Phase:
    """Return the training of a trained restoration with the cautious map of a trained, now fixed, noise map."""
    told = partial(_cautious_sigma, noise_level=noise_level.eval().requires_grad_(False))
    validation = partial(validate_restoration, scans=held_out, config=config.adaptation, told=told)
    loss = partial(_adaptation_loss, told=told)
    return Phase(network=restoration.requires_grad_(), config=config.adaptation, loss=loss, validation=validation, seed=config.seed + 2)


def model_card(config: TrainConfig, scans: list[Scan]) -> dict[str, str]:
    """Return what the weights file says about its making, with the sources and licences of the training data."""
    sources = sorted({f"{scan.info.source} (licence: {scan.info.licence})" for scan in scans})
    return {"recipe": config.name, "config": json.dumps(asdict(config)), "training_data": "; ".join(sources)}


def _noise_loss(network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
    del generator  # nothing is drawn
    return noise_loss(network(batch.measured_B1HW.contiguous(memory_format=torch.channels_last)), batch)


def _restoration_loss(network: nn.Module, batch: Batch, generator: torch.Generator, *, jitter: float) -> Tensor:
    factor = torch.exp(jitter * torch.randn(len(batch.sigma_B1HW), generator=generator))
    sigma = batch.sigma_B1HW * factor[:, None, None, None]
    restored = network(batch.measured_B1HW.contiguous(memory_format=torch.channels_last), sigma)
    return restoration_loss(restored, batch, batch.sigma_B1HW)


def _adaptation_loss(network: nn.Module, batch: Batch, generator: torch.Generator, *, told: Callable[[Batch], Tensor]) -> Tensor:
    del generator  # nothing is drawn
    restored = network(batch.measured_B1HW.contiguous(memory_format=torch.channels_last), told(batch))
    return restoration_loss(restored, batch, batch.sigma_B1HW)


@torch.no_grad()
def _cautious_sigma(batch: Batch, *, noise_level: nn.Module) -> Tensor:
    cautious: Tensor = noise_level(batch.measured_B1HW.contiguous(memory_format=torch.channels_last)).cautious
    return cautious
