"""The training loop, the same for every network: draw, loss, step, average; checkpoint, validate, log."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from onenex.train import checkpoint
from onenex.train.config import PhaseConfig
from onenex.train.dataset import Batch, Scan, draw_batch
from onenex.train.journal import Journal

log = logging.getLogger(__name__)

LossFunction = Callable[[nn.Module, Batch, torch.Generator, float], Tensor]
Validation = Callable[[nn.Module], dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """The training of one network."""

    network: nn.Module
    config: PhaseConfig
    loss: LossFunction
    """(network, batch, generator, share of the training done) → scalar; draws only from the generator."""
    validation: Validation
    seed: int


def train_phase(phase: Phase, scans: list[Scan], folder: Path, *, resume: bool = True) -> nn.Module:
    """Train `phase.network` on `scans`; checkpoints, `log.jsonl` and tensorboard events go to `folder`.

    A finished phase in `folder` is not trained again when `resume`.

    Returns
    -------
    nn.Module
        The network with exponentially averaged weights, in evaluation mode.

    Raises
    ------
    DataError
        Unreadable checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, network = phase.config, phase.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average: nn.Module = deepcopy(network).eval()
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=config.learning_rate, weight_decay=0.0, fused=True)
    step, state = 0, checkpoint.load(folder) if resume else None
    if state is not None:
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    journal, started, total = Journal(folder), time.monotonic(), 0.0
    for batch in _batches(scans, phase, step):
        total += _step(phase, average, optimizer, batch, step)
        step += 1
        if step % 100 == 0:
            journal.write(step, {"seconds": time.monotonic() - started, "loss": total / 100})
            total = 0.0
        if step % config.validate_every == 0 or step == config.steps:
            journal.write(step, phase.validation(average))
        if step % config.checkpoint_every == 0 or step == config.steps:
            checkpoint.save(
                folder, {"network": network.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            )
    return average


def learning_rate(config: PhaseConfig, step: int) -> float:
    """Return the rate of `step`: linear warm-up, then a cosine down to the final rate."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = min(1.0, (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps))
    return config.final_learning_rate + 0.5 * (config.learning_rate - config.final_learning_rate) * (1 + math.cos(math.pi * progress))


def _step(phase: Phase, average: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, step: int) -> float:
    """Do one optimiser step, follow it with the averaged weights, return the loss."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(phase.config, step)
    generator = torch.Generator().manual_seed(phase.seed * 1_000_003 + step)
    loss = phase.loss(phase.network, batch, generator, step / phase.config.steps)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(phase.network.parameters(), phase.config.gradient_clip)
    optimizer.step()
    decay = min(phase.config.ema_decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for averaged, current in zip(average.parameters(), phase.network.parameters(), strict=True):
            if current.requires_grad:
                averaged.lerp_(current, 1 - decay)
    return loss.item()


def _batches(scans: list[Scan], phase: Phase, first: int) -> Iterator[Batch]:
    """Yield the batches of steps `first`… drawn one thread ahead."""
    ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=4)

    def draw() -> None:
        try:
            for step in range(first, phase.config.steps):
                ready.put(draw_batch(scans, phase.config, np.random.default_rng([phase.seed, step])))
        except BaseException as error:  # handed to the training thread, which raises it
            ready.put(error)

    threading.Thread(target=draw, daemon=True).start()
    for _ in range(first, phase.config.steps):
        item = ready.get()
        if isinstance(item, BaseException):
            raise item
        yield item
