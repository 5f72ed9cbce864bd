"""The training loop, the same for every network, on CPU and GPU, in one process or several: draw, loss, step, average; checkpoint, validate, log."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from onenex.errors import OutOfDomain
from onenex.train import checkpoint
from onenex.train.chance import Chance
from onenex.train.config import PhaseConfig
from onenex.train.dataset import Batch, Scan
from onenex.train.distributed import Crew, LossFunction, Objective, agree, crew, mean_over, move, shared, unsynchronised, wait
from onenex.train.drawing import Draws
from onenex.train.joined import join
from onenex.train.journal import Journal
from onenex.train.precision import bf16_bodies

Validation = Callable[[nn.Module], dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """The training of one network."""

    network: nn.Module
    config: PhaseConfig
    loss: LossFunction
    """(network, batch, generator, share of the training done) → scalar; draws only from the generator, which is one of the CPU."""
    validation: Validation
    """Asked in the leading process only; gets the averaged network on the run's device."""
    seed: int


def train_phase(phase: Phase, scans: list[Scan], folder: Path, *, resume: bool = True) -> nn.Module:
    """Train `phase.network` on `scans`; checkpoints, `log.jsonl` and tensorboard events go to `folder`.

    A finished phase in `folder` is not trained again when `resume`. Under torchrun the processes share each step's
    sub-batches; all begin at the checkpoint in `folder`, and the leader alone writes there and validates.

    Returns
    -------
    nn.Module
        The network with exponentially averaged weights, in evaluation mode, on the device of the run, the same in every process.

    Raises
    ------
    DataError
        Unreadable checkpoint, or processes that don't see the same one.
    OutOfDomain
        No such device, or sub-batches that the processes cannot share evenly.
    """
    folder.mkdir(parents=True, exist_ok=True)
    team, config = crew(), phase.config
    if config.sub_batches % team.size:
        raise OutOfDomain(f"{team.size} processes cannot share {config.sub_batches} sub-batches a step: start a number of them that divides it")
    network = phase.network.to(team.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = checkpoint.load(folder) if resume else None
    step = 0 if state is None else int(state["step"])
    agree(team, step, folder)
    if state is not None:
        network.load_state_dict(state["network"])
    run = _Run(phase, shared(Objective(network, phase.loss), team), deepcopy(network).eval(), team)
    if state is not None:
        run.average.load_state_dict(state["average"])
        run.optimizer.load_state_dict(state["optimizer"])
    writer = _Writer(run, folder) if team.leads else None
    draws = Draws(scans, config, phase.seed, first=step, rank=team.rank, size=team.size)
    with bf16_bodies(network, enabled=config.bf16):
        for batches in draws.steps():
            run.step(batches, step)
            step += 1
            loss = run.mean_loss() if step % 100 == 0 else None
            if writer is not None:
                writer.write(step, loss)
    wait(team)
    return run.average


def learning_rate(config: PhaseConfig, step: int) -> float:
    """Return the rate of `step`: linear warm-up, then a cosine down to the final rate."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = min(1.0, (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps))
    return config.final_learning_rate + 0.5 * (config.learning_rate - config.final_learning_rate) * (1 + math.cos(math.pi * progress))


def generator_of(seed: int, step: int, sub_batch: int) -> torch.Generator:
    """Return the generator of a sub-batch's loss; the factors keep seeds, steps and sub-batches apart in the 32 bits that torch uses."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step + sub_batch * 500_000_003)


class _Run:
    """What changes while a phase is trained: weights, their average, the optimiser."""

    def __init__(self, phase: Phase, objective: nn.Module, average: nn.Module, team: Crew) -> None:
        self.phase, self.objective, self.average, self.team = phase, objective, average, team
        trainable = [parameter for parameter in phase.network.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trainable, lr=phase.config.learning_rate, weight_decay=0.0, fused=True)
        self._losses: list[Tensor] = []

    def step(self, batches: list[Batch], step: int) -> None:
        """Do one optimiser step on this process's sub-batches, follow it with the averaged weights."""
        phase, n = self.phase, len(batches)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(phase.config, step)
        self.optimizer.zero_grad(set_to_none=True)
        for first in range(0, n, phase.config.together):
            one_pass = batches[first : first + phase.config.together]
            chance = self._chance(step, range(first, first + len(one_pass)))
            with contextlib.nullcontext() if first + len(one_pass) == n else unsynchronised(self.objective):
                loss: Tensor = self.objective(move(join(one_pass), self.team.device), chance, step / phase.config.steps)
                (loss * len(one_pass) / n).backward()  # type: ignore[no-untyped-call]
            self._losses += [loss.detach()] * len(one_pass)
        nn.utils.clip_grad_norm_(phase.network.parameters(), phase.config.gradient_clip)
        self.optimizer.step()
        decay = min(phase.config.ema_decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for averaged, current in zip(self.average.parameters(), phase.network.parameters(), strict=True):
                if current.requires_grad:
                    averaged.lerp_(current, 1 - decay)

    def _chance(self, step: int, turns: range) -> Chance:
        """Return the generators of some of this process's sub-batches."""
        generators = tuple(generator_of(self.phase.seed, step, self.team.rank + turn * self.team.size) for turn in turns)
        return generators[0] if len(generators) == 1 else generators

    def mean_loss(self) -> float:
        """Return the mean loss since it was last asked for, over all processes."""
        mean = torch.stack(self._losses).double().mean()
        self._losses.clear()
        return mean_over(self.team, mean)

    def state(self, step: int) -> dict[str, object]:
        """Return all that a resumed run needs."""
        network, average = self.phase.network.state_dict(), self.average.state_dict()
        return {"network": network, "average": average, "optimizer": self.optimizer.state_dict(), "step": step}


class _Writer:
    """The leader's duties after each step: journal, validation, checkpoint."""

    def __init__(self, run: _Run, folder: Path) -> None:
        self._run, self._folder, self._journal, self._started = run, folder, Journal(folder), time.monotonic()

    def write(self, step: int, loss: float | None) -> None:
        """Write what is due after `step`; `loss` when there is one to be noted."""
        phase, ended = self._run.phase, step == self._run.phase.config.steps
        if loss is not None:
            self._journal.write(step, {"seconds": time.monotonic() - self._started, "loss": loss})
        if step % phase.config.validate_every == 0 or ended:
            self._journal.write(step, phase.validation(self._run.average))
        if step % phase.config.checkpoint_every == 0 or ended:
            checkpoint.save(self._folder, self._run.state(step))
