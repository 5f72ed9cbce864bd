"""Training of the learnt rivals on the pairs that OneNEX learns from: U-Net, conditional DDPM, unconditional prior, GAN; then their weights file."""

# shapes: B batch, H row, W column

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from onenex.model.diffusion import N_STEPS, diffuse
from onenex.rivals import weights
from onenex.rivals.networks import Conditional, Critic, Direct, Unconditional
from onenex.train.card import metrics_of, model_card
from onenex.train.chance import Chance, integers, normal, uniform
from onenex.train.claim import claim
from onenex.train.config import RivalsConfig
from onenex.train.dataset import Batch, Scan, load_scans
from onenex.train.distributed import crew, training_device
from onenex.train.loop import Phase, train_phase
from onenex.train.losses import restoration_loss
from onenex.train.validate import validate_restoration

INTENDED_USE = "Yardsticks for OneNEX in `onenex evaluate` and `onenex benchmark`: the usual methods, small, taught by the same scans."
LOW_TIMES = 200
"""Half of the diffusion times are drawn up to this one, where images take shape."""
_VALIDATED = (20, 100, 300)


class Adversaries(nn.Module):
    """Generator and critic, trained as one."""

    def __init__(self, generator: Direct) -> None:
        super().__init__()
        self.generator, self.critic = generator, Critic()


def train_rivals(config: RivalsConfig, data: Path, folder: Path, *, resume: bool = True) -> Path:
    """Run all phases on `data` and return the weights file, `folder/rivals.safetensors`.

    Raises
    ------
    DataError
        No training data, an unreadable checkpoint, or a folder that holds another run.
    """
    scans, held_out = (load_scans(data, config, holdout=holdout) for holdout in (False, True))
    claim(folder, config, scans, start=None, resume=resume)

    def trained(phase: Phase, name: str) -> Any:
        return train_phase(phase, scans, folder / name, resume=resume)

    unet: Direct = trained(unet_phase(config, held_out), "unet")
    ddpm: Conditional = trained(ddpm_phase(config, held_out, unet), "ddpm")
    prior: Unconditional = trained(prior_phase(config, held_out), "prior")
    adversaries: Adversaries = trained(gan_phase(config, held_out, unet), "gan")
    path = folder / weights.FILE
    if crew().leads:
        rivals = weights.Rivals(unet=unet, gan=adversaries.generator, ddpm=ddpm, prior=prior)
        card = model_card(config, scans, metrics=metrics_of(folder)) | {"intended_use": INTENDED_USE}
        weights.save(path, rivals, card)
    return path


def unet_phase(config: RivalsConfig, held_out: list[Scan]) -> Phase:
    """Return the training of the supervised U-Net."""
    torch.manual_seed(config.seed)
    network = Direct(config.widths, config.depth)

    def loss(network: nn.Module, batch: Batch, generator: Chance, progress: float) -> Tensor:
        del progress  # every step is alike
        return restoration_loss(network(_measured(batch), _told(batch, config, generator)), batch, batch.sigma_B1HW)

    def validation(network: nn.Module) -> dict[str, float]:
        return validate_restoration(lambda batch: network(_measured(batch), batch.sigma_B1HW), held_out, config.unet)

    return Phase(network=network.train(), config=config.unet, loss=loss, validation=validation, seed=config.seed)


def gan_phase(config: RivalsConfig, held_out: list[Scan], unet: Direct) -> Phase:
    """Return the training of the GAN, whose generator begins as the U-Net (after Ledig et al. 2017)."""
    torch.manual_seed(config.seed + 1)
    generator = Direct(config.widths, config.depth)
    generator.load_state_dict(unet.state_dict())

    def loss(network: nn.Module, batch: Batch, generator: Chance, progress: float) -> Tensor:
        del progress  # every step is alike
        return gan_loss(network, batch, _told(batch, config, generator), config.adversarial_weight)  # type: ignore[arg-type]

    def validation(network: nn.Module) -> dict[str, float]:
        restore: Direct = network.generator  # type: ignore[assignment]
        return validate_restoration(lambda batch: restore(_measured(batch), batch.sigma_B1HW), held_out, config.gan)

    return Phase(network=Adversaries(generator).train(), config=config.gan, loss=loss, validation=validation, seed=config.seed + 1)


def ddpm_phase(config: RivalsConfig, held_out: list[Scan], unet: Direct) -> Phase:
    """Return the training of the conditional diffusion model; `unet` is trained, and stays as it is."""
    torch.manual_seed(config.seed + 2)
    restore = partial(_restored, unet=unet.to(training_device()).eval().requires_grad_(False))

    def loss(network: nn.Module, batch: Batch, generator: Chance, progress: float) -> Tensor:
        del progress  # every step is alike
        return conditional_loss(network, batch, _told(batch, config, generator), restore(batch), generator=generator)  # type: ignore[arg-type]

    def validation(network: nn.Module) -> dict[str, float]:
        def mean(batch: Batch) -> Tensor:
            generator = torch.Generator().manual_seed(0)
            white = torch.randn(batch.measured_B1HW.shape, generator=generator).to(batch.measured_B1HW.device)
            t_B = torch.full((len(white),), N_STEPS, device=white.device)
            clean: Tensor = network(diffuse(batch.measured_B1HW, t_B, white), t_B, batch.measured_B1HW, batch.sigma_B1HW)
            return clean

        return validate_restoration(mean, held_out, config.ddpm)

    network = Conditional(config.widths, config.depth)
    return Phase(network=network.train(), config=config.ddpm, loss=loss, validation=validation, seed=config.seed + 2)


def prior_phase(config: RivalsConfig, held_out: list[Scan]) -> Phase:
    """Return the training of the unconditional diffusion model, on clean patches alone."""
    torch.manual_seed(config.seed + 3)
    network = Unconditional(config.widths, config.depth)

    def loss(network: nn.Module, batch: Batch, generator: Chance, progress: float) -> Tensor:
        del progress  # every step is alike
        return unconditional_loss(network, batch, generator=generator)  # type: ignore[arg-type]

    def validation(network: nn.Module) -> dict[str, float]:
        return _validate_prior(network, held_out, config)  # type: ignore[arg-type]

    return Phase(network=network.train(), config=config.prior, loss=loss, validation=validation, seed=config.seed + 3)


def gan_loss(network: Adversaries, batch: Batch, told_B1HW: Tensor, weight: float) -> Tensor:
    """Return the generator's loss plus the critic's; each moves its own weights only, so one optimiser does for both.

    Only simulated patches are shown to the critic: the reference of a real one is noisy, and a generator that is to look like
    it would learn to make noise.

    Source
    ------
    Isola et al. 2017, eq. 4, with least squares (Mao et al. 2017, eq. 2, labels 0 and 1) in place of logarithms and the loss that
    OneNEX's restoration has in place of L1.
    """
    measured = _measured(batch)
    restored = network.generator(measured, told_B1HW)
    loss = restoration_loss(restored, batch, batch.sigma_B1HW)
    simulated = ~batch.is_real_B
    if not bool(simulated.any()):
        return loss
    beside = (measured[simulated], batch.sigma_B1HW[simulated])
    fixed = {name: value.detach() for name, value in network.critic.named_parameters()}
    opinion = functional_call(network.critic, fixed, (restored[simulated], *beside))
    on_restored = network.critic(restored[simulated].detach(), *beside)
    on_reference = network.critic(batch.target_B1HW[simulated], *beside)
    critic_loss = ((on_reference - 1).square().mean() + on_restored.square().mean()) / 2
    total: Tensor = loss + weight * (opinion - 1).square().mean() + critic_loss
    return total


def conditional_loss(network: Conditional, batch: Batch, told_B1HW: Tensor, restored_B1HW: Tensor, *, generator: Chance) -> Tensor:
    """Return the squared error of x₀ in units of what is unexplained (simulated), or by `restoration_loss` (real).

    Parameters
    ----------
    told_B1HW
        σ as the network is told it.
    restored_B1HW
        What is diffused of real patches, whose target is noisy: only the error against it counts, which is right on average.
    """
    t_B, white = _drawn(batch, generator)
    origin = torch.where(batch.is_real_B[:, None, None, None], restored_B1HW, batch.target_B1HW)
    predicted: Tensor = network(diffuse(origin, t_B, white), t_B, _measured(batch), told_B1HW)
    real = batch.is_real_B
    loss = predicted.new_zeros(())
    if bool((~real).any()):
        scale = network.unexplained(t_B, batch.sigma_B1HW)[~real]
        loss = loss + ((predicted - batch.target_B1HW)[~real].square() / scale).mean() * (~real).float().mean()
    if bool(real.any()):
        loss = loss + restoration_loss(predicted[real], _part(batch, real), batch.sigma_B1HW[real]) * real.float().mean()
    return loss


def unconditional_loss(network: Unconditional, batch: Batch, *, generator: Chance) -> Tensor:
    """Return the squared error of x₀ of clean patches in units of what is unexplained."""
    t_B, white = _drawn(batch, generator)
    clean = batch.target_B1HW.contiguous(memory_format=torch.channels_last)
    predicted: Tensor = network(diffuse(clean, t_B, white), t_B)
    loss: Tensor = ((predicted - clean).square() / network.unexplained(t_B)).mean()
    return loss


@torch.inference_mode()
def _validate_prior(network: Unconditional, held_out: list[Scan], config: RivalsConfig) -> dict[str, float]:
    """Return the PSNR of x₀, from references diffused to a few times, over that of the simulated scans (which it doesn't see), dB."""
    figures: dict[str, float] = {}
    simulated = [scan for scan in held_out if scan.info.kind == "clean"]
    for t in _VALIDATED:
        generator = torch.Generator().manual_seed(t)

        def diffused(batch: Batch, t: int = t, generator: torch.Generator = generator) -> Tensor:
            t_B = torch.full((len(batch.target_B1HW),), t, device=batch.target_B1HW.device)
            white = torch.randn(batch.target_B1HW.shape, generator=generator).to(t_B.device)
            clean: Tensor = network(diffuse(batch.target_B1HW, t_B, white), t_B)
            return clean

        figures |= {f"t{t}_{name}": value for name, value in validate_restoration(diffused, simulated, config.prior).items()}
    return figures


def _drawn(batch: Batch, generator: Chance) -> tuple[Tensor, Tensor]:
    """Draw a time for each patch, half of them up to `LOW_TIMES`, and the noise."""
    n = len(batch.target_B1HW)
    low = uniform(n, generator) < 0.5
    t_B = torch.where(low, integers(1, LOW_TIMES + 1, n, generator), integers(1, N_STEPS + 1, n, generator))
    white = normal(batch.target_B1HW.shape, generator)
    return t_B.to(batch.target_B1HW.device), white.to(batch.target_B1HW.device)


def _told(batch: Batch, config: RivalsConfig, generator: Chance) -> Tensor:
    """Return σ as networks are told it: a little off, as an estimate is."""
    factor = torch.exp(config.sigma_jitter * normal((len(batch.sigma_B1HW),), generator)).to(batch.sigma_B1HW.device)
    return batch.sigma_B1HW * factor[:, None, None, None]


def _measured(batch: Batch) -> Tensor:
    return batch.measured_B1HW.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _restored(batch: Batch, *, unet: Direct) -> Tensor:
    """Return the U-Net's restoration of the real patches, and the others as they are."""
    restored = batch.measured_B1HW.clone()
    if bool(batch.is_real_B.any()):
        restored[batch.is_real_B] = unet(batch.measured_B1HW[batch.is_real_B], batch.sigma_B1HW[batch.is_real_B])
    return restored


def _part(batch: Batch, chosen_B: Tensor) -> Batch:
    """Return some patches of a batch."""
    told = {field.name: getattr(batch, field.name) for field in fields(batch)}
    parts: dict[str, Any] = {name: value[chosen_B] for name, value in told.items() if isinstance(value, Tensor)}
    return replace(batch, **parts, prompts=tuple(prompt for prompt, wanted in zip(batch.prompts, chosen_B.tolist(), strict=True) if wanted))
