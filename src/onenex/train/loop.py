"""The training loop of noise map and restoration: draw, estimate σ, restore, step; checkpoint, validate, log."""

from __future__ import annotations

import json
import logging
import math
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from onenex.model.noise_level import NoiseLevel
from onenex.model.restoration import Restoration
from onenex.train import checkpoint
from onenex.train.config import TrainConfig
from onenex.train.dataset import Batch, Scan, draw_batch, load_scans
from onenex.train.losses import noise_loss, restoration_loss
from onenex.train.validate import validate

log = logging.getLogger(__name__)


class Networks(nn.Module):
    """What one run trains: `noise_level` and `restoration`."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.noise_level = NoiseLevel()
        self.restoration = Restoration(config.widths, config.depth)


def train(config: TrainConfig, data: Path, folder: Path, *, resume: bool = True) -> Path:
    """Train on `data`, with checkpoints, `log.jsonl` and tensorboard events in `folder`.

    Returns
    -------
    Path
        The EMA weights as safetensors, `folder/weights.safetensors`.

    Raises
    ------
    DataError
        No training data, or an unreadable checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    networks = Networks(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = Networks(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema.load_state_dict(networks.state_dict())
    optimizer = torch.optim.AdamW(networks.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
    step = 0
    state = checkpoint.load(folder) if resume else None
    if state is not None:
        networks.load_state_dict(state["networks"])
        ema.load_state_dict(state["ema"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    scans, held_out = (load_scans(data, config, holdout=holdout) for holdout in (False, True))
    journal = _Journal(folder)
    started, sums = time.monotonic(), {"restoration": 0.0, "noise": 0.0}
    for batch in _batches(scans, config, step):
        losses = _step(networks, ema, optimizer, batch, config, step)
        step += 1
        for name, value in losses.items():
            sums[name] += value / 100
        if step % 100 == 0:
            journal.write(step, {"seconds": time.monotonic() - started, **sums})
            sums = dict.fromkeys(sums, 0.0)
        if step % config.validate_every == 0 or step == config.steps:
            journal.write(step, validate(ema.noise_level, ema.restoration, held_out, config))
        if step % config.checkpoint_every == 0 or step == config.steps:
            checkpoint.save(folder, {"networks": networks.state_dict(), "ema": ema.state_dict(), "optimizer": optimizer.state_dict(), "step": step})
            _export(ema, config, folder, step, scans)
    return _export(ema, config, folder, step, scans)


def _step(networks: Networks, ema: Networks, optimizer: torch.optim.Optimizer, batch: Batch, config: TrainConfig, step: int) -> dict[str, float]:
    """Do one optimiser step and return the losses."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(config, step)
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    estimate = networks.noise_level(batch.measured_B1HW.contiguous(memory_format=torch.channels_last))
    sigma = _given_sigma(estimate.detach(), batch, config, step, generator)
    restored = networks.restoration(batch.measured_B1HW.contiguous(memory_format=torch.channels_last), sigma)
    restoring, estimating = restoration_loss(restored, batch, sigma), noise_loss(estimate, batch)
    optimizer.zero_grad(set_to_none=True)
    (restoring + 0.1 * estimating).backward()  # type: ignore[no-untyped-call]
    for network in (networks.noise_level, networks.restoration):
        nn.utils.clip_grad_norm_(network.parameters(), config.gradient_clip)
    optimizer.step()
    decay = min(config.ema_decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for average, current in zip(ema.parameters(), networks.parameters(), strict=True):
            average.lerp_(current, 1 - decay)
    return {"restoration": restoring.item(), "noise": estimating.item()}


def _given_sigma(estimate: torch.Tensor, batch: Batch, config: TrainConfig, step: int, generator: torch.Generator) -> torch.Tensor:
    """Choose the σ map that the restoration sees: the estimated or the true one, a little off."""
    n = len(estimate)
    own = (torch.rand(n, generator=generator) < 0.5) & (step >= config.own_sigma_after) | batch.is_real_B
    jitter = torch.exp(config.sigma_jitter * torch.randn(n, generator=generator))
    chosen = torch.where(own[:, None, None, None], estimate, batch.sigma_B1HW)
    return chosen * jitter[:, None, None, None]


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the rate of `step`: linear warm-up, then a cosine down to the final rate."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = min(1.0, (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps))
    return config.final_learning_rate + 0.5 * (config.learning_rate - config.final_learning_rate) * (1 + math.cos(math.pi * progress))


def _batches(scans: list[Scan], config: TrainConfig, first: int) -> Iterator[Batch]:
    """Yield the batches of steps `first`… drawn one thread ahead."""
    ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=4)

    def draw() -> None:
        try:
            for step in range(first, config.steps):
                ready.put(draw_batch(scans, config, np.random.default_rng([config.seed, step])))
        except BaseException as error:  # handed to the training thread, which raises it
            ready.put(error)

    threading.Thread(target=draw, daemon=True).start()
    for _ in range(first, config.steps):
        item = ready.get()
        if isinstance(item, BaseException):
            raise item
        yield item


def _export(ema: Networks, config: TrainConfig, folder: Path, step: int, scans: list[Scan]) -> Path:
    """Write the averaged weights with their configuration and the sources and licences of what they learnt from."""
    from onenex.model.weights import save

    path = folder / "weights.safetensors"
    sources = sorted({f"{scan.info.source} (licence: {scan.info.licence})" for scan in scans})
    card = {"recipe": config.name, "steps": str(step), "config": json.dumps(asdict(config)), "training_data": "; ".join(sources)}
    save(path, ema.noise_level, ema.restoration, card=card)
    return path


class _Journal:
    """`log.jsonl` and, when tensorboard is installed, its event file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log.jsonl"
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder))
        except ImportError:
            log.warning("tensorboard=missing log=%s", self._path)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append one line."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, **{name: round(value, 6) for name, value in values.items()}}) + "\n")
        log.info("step=%d %s", step, " ".join(f"{name}={value:.5g}" for name, value in values.items()))
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
