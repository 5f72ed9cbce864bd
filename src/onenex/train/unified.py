"""The phases of the unified model: the cascade (restoration, degradation, text branch), the degradation alone, the diffusion prior."""

# shapes: B batch, H row, W column

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from onenex.errors import ModelError
from onenex.model.condition import tell
from onenex.model.degradation import Degradation, Measurement
from onenex.model.diffusion import diffuse
from onenex.model.prior import Prior
from onenex.model.weights import Networks
from onenex.nets.attention import Condition
from onenex.text.tokens import PhraseTable
from onenex.train.cascade import Cascade, cascade_loss, settling_loss
from onenex.train.chance import Chance
from onenex.train.config import PhaseConfig, UnifiedConfig
from onenex.train.dataset import Batch, Scan
from onenex.train.distributed import training_device
from onenex.train.fidelity import between, fidelity_phase
from onenex.train.loop import Phase
from onenex.train.prior_loss import prior_loss
from onenex.train.told import Told
from onenex.train.validate import validate_degradation, validate_restoration

if TYPE_CHECKING:
    from onenex.text.encoder import PhraseEncoder

_TIMES = (50, 200, 500, 900)
"""Diffusion times at which the prior is validated."""


def train_unified(config: UnifiedConfig, held_out: list[Scan], networks: Networks, trained: Callable[[Phase, str], Any], *, seed: int) -> Networks:
    """Train the cascade, then the degradation alone, then the prior, from `networks` on; what they lack begins at random.

    Parameters
    ----------
    networks
        Noise map and restoration, trained; degradation, prior and phrase table if they are to be trained further.
    trained
        Trains a phase under a name and returns its network.

    Raises
    ------
    ModelError
        The text encoder isn't installed.
    """
    from onenex.text.encoder import PhraseEncoder, with_lora

    encoder = PhraseEncoder(config.lora_rank, seed=seed) if networks.phrases is None else with_lora(networks.phrases.lora)
    cascade: Cascade = trained(cascade_phase(config, held_out, networks, encoder, seed), "cascade")
    table = cast("PhraseEncoder", cascade.encoder).table()
    networks = replace(networks, restoration=cascade.restoration, degradation=cascade.degradation, phrases=table)
    if config.fidelity is not None:
        began = deepcopy(networks.restoration)
        finished = trained(fidelity_phase(config.fidelity, held_out, networks, table, seed + 3), "fidelity")
        networks = replace(networks, restoration=between(began, finished, config.fidelity_share))
    if config.settling is not None:
        networks = replace(networks, degradation=trained(settling_phase(config.settling, held_out, networks, table, seed + 2), "settling"))
    before = deepcopy(networks.prior)
    prior = trained(prior_phase(config, held_out, networks, table, seed + 1), "prior")
    return replace(networks, prior=prior if before is None else between(before, prior, config.prior_share))


def cascade_phase(config: UnifiedConfig, held_out: list[Scan], networks: Networks, encoder: PhraseEncoder, seed: int) -> Phase:
    """Return the training of restoration, degradation (new unless `networks` has one) and text branch; the noise map stays as it is."""
    torch.manual_seed(seed)
    degradation = networks.degradation or Degradation(config.degradation_widths, config.degradation_depth)
    network = Cascade(networks.restoration.requires_grad_(), degradation.requires_grad_(), encoder)
    told = Told(networks.noise_level)

    def loss(network: nn.Module, batch: Batch, generator: Chance, progress: float) -> Tensor:
        condition = _tell_with(network.encoder, batch.prompts)  # type: ignore[arg-type]
        return cascade_loss(network, batch, told(batch), condition, progress=progress, generator=generator)  # type: ignore[arg-type]

    def validation(network: nn.Module) -> dict[str, float]:
        cascade: Cascade = network  # type: ignore[assignment]

        def restore(batch: Batch) -> Tensor:
            restored: Tensor = cascade.restoration(batch.measured_B1HW, told(batch).cautious, _tell_with(cascade.encoder, batch.prompts))  # type: ignore[arg-type]
            return restored

        def foresee(batch: Batch, clean: Tensor) -> Measurement:
            measurement: Measurement = cascade.degradation(clean, told(batch).sigma, _tell_with(cascade.encoder, batch.prompts))  # type: ignore[arg-type]
            return measurement

        return validate_restoration(restore, held_out, config.cascade) | validate_degradation(foresee, held_out, config.cascade)

    return Phase(network=network.train(), config=config.cascade, loss=loss, validation=validation, seed=seed)


def settling_phase(config: PhaseConfig, held_out: list[Scan], networks: Networks, table: PhraseTable, seed: int) -> Phase:
    """Return the training of the degradation alone; what else `networks` holds stays as it is.

    Raises
    ------
    ModelError
        There is no degradation.
    """
    if networks.degradation is None:
        raise ModelError("there is no degradation to train: run the cascade first")
    restoration, table = networks.restoration.to(training_device()).eval().requires_grad_(False), table.to(training_device())
    told = Told(networks.noise_level)

    def loss(network: nn.Module, batch: Batch, generator: Chance, progress: float) -> Tensor:
        del generator, progress  # nothing is drawn, every step is alike
        condition, noise = tell(table, batch.prompts)[0], told(batch)
        with torch.no_grad():
            restored = restoration(batch.measured_B1HW, noise.cautious, condition)
        return settling_loss(network, batch, restored, noise, condition)  # type: ignore[arg-type]

    def validation(network: nn.Module) -> dict[str, float]:
        def foresee(batch: Batch, clean: Tensor) -> Measurement:
            measurement: Measurement = network(clean, told(batch).sigma, tell(table, batch.prompts)[0])
            return measurement

        return validate_degradation(foresee, held_out, config)

    return Phase(network=networks.degradation.requires_grad_().train(), config=config, loss=loss, validation=validation, seed=seed)


def prior_phase(config: UnifiedConfig, held_out: list[Scan], networks: Networks, table: PhraseTable, seed: int) -> Phase:
    """Return the training of the diffusion prior, which begins as the trained restoration unless `networks` has one."""
    torch.manual_seed(seed)
    restoration, prior = networks.restoration.eval().requires_grad_(False), networks.prior
    if prior is None:
        prior = Prior(restoration.widths, restoration.depth)
        prior.begin_at(restoration.net)
    restoration, table = restoration.to(training_device()), table.to(training_device())
    told = Told(networks.noise_level)

    def loss(network: nn.Module, batch: Batch, generator: Chance, progress: float) -> Tensor:
        del progress  # every step is alike

        def predict(batch: Batch, diffused: Callable[[Tensor], Tensor], t_B: Tensor) -> Tensor:
            (condition, _), noise = tell(table, batch.prompts), told(batch)
            measured = batch.measured_B1HW.contiguous(memory_format=torch.channels_last)
            with torch.no_grad():
                restored = restoration(measured, noise.cautious, condition)
            predicted: Tensor = network(diffused(restored), measured, noise.cautious, t_B, condition)
            return predicted

        return prior_loss(predict, batch, generator=generator, bias_weight=config.prior.bias_weight)

    def validation(network: nn.Module) -> dict[str, float]:
        return _validate_prior(network, held_out, config.prior, told, table)

    return Phase(network=prior.requires_grad_().train(), config=config.prior, loss=loss, validation=validation, seed=seed)


def _validate_prior(network: nn.Module, held_out: list[Scan], config: PhaseConfig, told: Told, table: PhraseTable) -> dict[str, float]:
    """Return the gains of x₀ over y at a few times, diffused from the reference (real: from the other repeats)."""
    figures: dict[str, float] = {}
    for t in _TIMES:
        generator = torch.Generator().manual_seed(t)

        def predict(batch: Batch, t: int = t, generator: torch.Generator = generator) -> Tensor:
            device = batch.target_B1HW.device
            t_B = torch.full((len(batch.prompts),), t, device=device)
            white = torch.randn(batch.target_B1HW.shape, generator=generator).to(device)
            predicted: Tensor = network(
                diffuse(batch.target_B1HW, t_B, white), batch.measured_B1HW, told(batch).cautious, t_B, tell(table, batch.prompts)[0]
            )
            return predicted

        simulated = [scan for scan in held_out if scan.info.kind == "clean"]
        figures |= {f"t{t}_{name}": value for name, value in validate_restoration(predict, simulated, config).items()}
    return figures


def _tell_with(encoder: PhraseEncoder, prompts: Sequence[Sequence[str]]) -> Condition:
    """Encode a batch's phrases afresh, each once, with gradients to the text branch."""
    phrases = sorted({phrase for prompt in prompts for phrase in prompt})
    return tell(encoder.table(phrases, gradients=True), prompts)[0]
