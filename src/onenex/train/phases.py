"""The phases of a run: the noise map, the restoration, the restoration with the noise map; and the weights they end in."""

# shapes: B batch, H row, W column

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onenex import seen
from onenex.errors import WeightsMismatch
from onenex.model.condition import tell
from onenex.model.noise_level import NoiseLevel
from onenex.model.restoration import Restoration
from onenex.model.weights import Networks, Weights, save
from onenex.nets.attention import Condition
from onenex.text.tokens import PhraseTable
from onenex.train.card import metrics_of, model_card
from onenex.train.chance import Chance, normal
from onenex.train.claim import claim
from onenex.train.config import TrainConfig
from onenex.train.dataset import Batch, Scan, load_scans
from onenex.train.distributed import crew, training_device
from onenex.train.loop import Phase, train_phase
from onenex.train.losses import noise_loss, restoration_loss
from onenex.train.unified import train_unified
from onenex.train.validate import validate_noise, validate_restoration


def train(config: TrainConfig, data: Path, folder: Path, *, resume: bool = True, start: Weights | None = None) -> Path:
    """Run all phases of a recipe on `data` and return the weights file, `folder/weights.safetensors`.

    The networks begin at `start` instead of at random when it is given; it must have the recipe's size.

    Raises
    ------
    DataError
        No training data, an unreadable checkpoint, or a folder that holds another run.
    WeightsMismatch
        `start` has networks of another size.
    """
    noise_level, restoration = networks(config, start)
    scans, held_out = (load_scans(data, config, holdout=holdout) for holdout in (False, True))
    claim(folder, config, scans, start=start, resume=resume)
    phrases = None if start is None else start.phrases

    def trained(phase: Phase, name: str) -> Any:
        return train_phase(phase, scans, folder / name, resume=resume)

    noise_level = trained(noise_phase(config, held_out, noise_level), "noise")
    restoration = trained(restoration_phase(config, held_out, restoration, phrases), "restoration")
    restoration = trained(adaptation_phase(config, held_out, noise_level, restoration, phrases), "adaptation")
    result = Networks(noise_level=noise_level, restoration=restoration)
    if config.unified is not None:
        begun = result if start is None else replace(result, degradation=start.degradation, prior=start.prior, phrases=phrases)
        result = train_unified(config.unified, held_out, begun, trained, seed=config.seed + 3)
    path = folder / "weights.safetensors"
    if crew().leads:
        save(path, result, card=model_card(config, scans, metrics=metrics_of(folder), start=start))
        seen.note(path, data, None if start is None else start.path)
    return path


def networks(config: TrainConfig, start: Weights | None) -> tuple[NoiseLevel, Restoration]:
    """Return both networks as they begin: at `start`, else at random by the run's seed.

    Raises
    ------
    WeightsMismatch
        `start` has networks of another size than the recipe.
    """
    if start is None:
        torch.manual_seed(config.seed)
        noise_level = NoiseLevel()
        torch.manual_seed(config.seed)
        return noise_level, Restoration(config.widths, config.depth)
    if (start.restoration.widths, start.restoration.depth) != (config.widths, config.depth):
        raise WeightsMismatch(f"weights {start.hash} have networks of another size than recipe {config.name}: start without them")
    return start.noise_level, start.restoration


def noise_phase(config: TrainConfig, held_out: list[Scan], network: NoiseLevel) -> Phase:
    """Return the training of the noise map."""
    validation = partial(validate_noise, scans=held_out, config=config.noise)
    return Phase(network=network.train(), config=config.noise, loss=_noise_loss, validation=validation, seed=config.seed)


def restoration_phase(config: TrainConfig, held_out: list[Scan], network: Restoration, phrases: PhraseTable | None = None) -> Phase:
    """Return the training of the restoration, which is told σ, a little off.

    With `phrases` it is also told what is known of each scan, as weights that know text must be.
    """
    condition = _conditions(phrases)

    def validation(network: nn.Module) -> dict[str, float]:
        return validate_restoration(lambda batch: network(batch.measured_B1HW, batch.sigma_B1HW, condition(batch)), held_out, config.restoration)

    def told(batch: Batch, generator: Chance) -> Tensor:
        factor = torch.exp(config.sigma_jitter * normal((len(batch.sigma_B1HW),), generator)).to(batch.sigma_B1HW.device)
        return batch.sigma_B1HW * factor[:, None, None, None]

    loss = partial(_restoration_loss, told=told, condition=condition)
    return Phase(network=network.train(), config=config.restoration, loss=loss, validation=validation, seed=config.seed + 1)


def adaptation_phase(
    config: TrainConfig, held_out: list[Scan], noise_level: nn.Module, restoration: nn.Module, phrases: PhraseTable | None = None
) -> Phase:
    """Return the training of a trained restoration with the cautious map of a trained, now fixed, noise map; `phrases` as above."""
    cautious = partial(_cautious_sigma, noise_level=noise_level.to(training_device()).eval().requires_grad_(False))
    condition = _conditions(phrases)

    def validation(network: nn.Module) -> dict[str, float]:
        return validate_restoration(lambda batch: network(batch.measured_B1HW, cautious(batch), condition(batch)), held_out, config.adaptation)

    loss = partial(_restoration_loss, told=lambda batch, generator: cautious(batch), condition=condition)
    return Phase(network=restoration.requires_grad_(), config=config.adaptation, loss=loss, validation=validation, seed=config.seed + 2)


def _conditions(phrases: PhraseTable | None) -> Callable[[Batch], Condition | None]:
    """Return what tells the text of a batch; nothing without phrases."""
    table = phrases and phrases.to(training_device())
    return lambda batch: None if table is None else tell(table, batch.prompts)[0]


def _noise_loss(network: nn.Module, batch: Batch, generator: Chance, progress: float) -> Tensor:
    del generator, progress  # nothing is drawn, every step is alike
    return noise_loss(network(batch.measured_B1HW.contiguous(memory_format=torch.channels_last)), batch)


def _restoration_loss(
    network: nn.Module,
    batch: Batch,
    generator: Chance,
    progress: float,
    *,
    told: Callable[[Batch, Chance], Tensor],
    condition: Callable[[Batch], Condition | None],
) -> Tensor:
    del progress  # every step is alike
    sigma = told(batch, generator)
    restored = network(batch.measured_B1HW.contiguous(memory_format=torch.channels_last), sigma, condition(batch))
    return restoration_loss(restored, batch, batch.sigma_B1HW)


@torch.no_grad()
def _cautious_sigma(batch: Batch, *, noise_level: nn.Module) -> Tensor:
    cautious: Tensor = noise_level(batch.measured_B1HW.contiguous(memory_format=torch.channels_last)).cautious
    return cautious
