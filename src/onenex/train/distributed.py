"""Where a run computes and who shares its steps: the device, and the processes that torchrun started."""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from onenex.errors import DataError, OutOfDomain
from onenex.train.chance import Chance
from onenex.train.dataset import Batch
from onenex.train.meeting import meet

DEVICE = "ONENEX_DEVICE"
"""Environment variable: auto (the default), cpu, cuda or cuda:N."""
_PATIENCE = timedelta(hours=1)
"""For the others while the leader validates."""

LossFunction = Callable[[nn.Module, Batch, Chance, float], Tensor]


@dataclass(frozen=True, kw_only=True)
class Crew:
    """This process among those of the run; alone unless torchrun started it."""

    rank: int = 0
    size: int = 1
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process validates and writes the run's files."""
        return self.rank == 0


def training_device() -> torch.device:
    """Return where this process trains: as `ONENEX_DEVICE` says, else the GPU of its LOCAL_RANK where there is one, else the CPU.

    Raises
    ------
    OutOfDomain
        No such device.
    """
    wanted = os.environ.get(DEVICE, "auto")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda":
        wanted = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise OutOfDomain(f"device '{wanted}' cannot be used ({reason}): set {DEVICE}=cpu, or start no more processes than there are GPUs") from error
    return device


def crew() -> Crew:
    """Return this process's place from RANK and WORLD_SIZE, and meet the others when asked for the first time (gloo on CPUs, NCCL on GPUs).

    Raises
    ------
    OutOfDomain
        No such device.
    DataError
        The other processes cannot be met.
    """
    device, rank, size = training_device(), int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if size > 1 and not distributed.is_initialized():
        cuda = device.type == "cuda"
        if cuda:
            torch.cuda.set_device(device)
        try:
            distributed.init_process_group(
                "nccl" if cuda else "gloo",
                store=meet(rank, size, _PATIENCE),
                rank=rank,
                world_size=size,
                timeout=_PATIENCE,
                device_id=device if cuda else None,
            )
        except (ValueError, RuntimeError) as error:
            raise DataError(f"WORLD_SIZE={size} processes cannot meet ({error}): start them with torchrun, or unset WORLD_SIZE") from error
        atexit.register(_part)
    return Crew(rank=rank, size=size, device=device)


def _part() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def move(batch: Batch, device: torch.device) -> Batch:
    """Return the batch with its tensors on `device`."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    moved: dict[str, Any] = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
    return replace(batch, **moved)


class Objective(nn.Module):
    """A network and its loss as one module.

    DistributedDataParallel follows only calls of the module that it wraps. Losses here call parts of their network
    (`network.restoration`, then `network.degradation`), some of them several times; wrapped around both it follows all of that.
    """

    def __init__(self, network: nn.Module, loss: LossFunction) -> None:
        super().__init__()
        self.network = network
        self._loss = loss

    def forward(self, batch: Batch, generator: Chance, progress: float) -> Tensor:
        """Return the loss of a batch."""
        return self._loss(self.network, batch, generator, progress)


def shared(objective: Objective, team: Crew) -> nn.Module:
    """Return the objective with gradients averaged over the crew, parameters as the leader has them; as it is for a crew of one.

    Parameters that a loss leaves out, in one process or in all, are allowed: the noise map and the plain restoration know no text.
    """
    if team.size == 1:
        return objective
    return DistributedDataParallel(objective, find_unused_parameters=True)


def unsynchronised(objective: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Return a context in which gradients add up in this process only."""
    if isinstance(objective, DistributedDataParallel):
        waiting: contextlib.AbstractContextManager[None] = objective.no_sync()
        return waiting
    return contextlib.nullcontext()


def mean_over(team: Crew, value: Tensor) -> float:
    """Return the mean of a number over the crew; every process must ask."""
    value = value.clone()
    if team.size > 1:
        distributed.all_reduce(value)
    return value.item() / team.size


def agree(team: Crew, step: int, place: object) -> None:
    """Check that all processes begin at one step.

    Raises
    ------
    DataError
        They don't: not all of them see the same checkpoint in `place`.
    """
    if team.size == 1:
        return
    extremes = torch.tensor([step, -step], device=team.device)
    distributed.all_reduce(extremes, op=distributed.ReduceOp.MAX)
    last, first = int(extremes[0]), -int(extremes[1])
    if first != last:
        raise DataError(f"{place}: processes found checkpoints of steps {first} to {last}: put the run's folder on a disk that all of them share")


def wait(team: Crew) -> None:
    """Return when every process of the crew has come here."""
    if team.size > 1:
        distributed.barrier()
