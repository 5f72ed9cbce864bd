"""A small training for one process or two: the program that the processes of `test_distributed` run."""

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from onenex.errors import OneNexError
from onenex.model.restoration import Restoration
from onenex.train.config import PhaseConfig, TrainConfig
from onenex.train.dataset import Batch, Scan, load_scans
from onenex.train.distributed import crew
from onenex.train.loop import Phase, train_phase
from onenex.train.losses import restoration_loss

STEPS = 20
CONFIG = PhaseConfig(
    steps=STEPS, patch=32, margin=8, simulated_per_batch=2, real_per_batch=1, warmup_steps=2, validate_every=10, checkpoint_every=10, sub_batches=2,
    learning_rate=2e-3,
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def on_the_cpu() -> Iterator[None]:
    """Train on the CPU, also where there is a GPU. For test modules to import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONENEX_DEVICE", "cpu")
        yield


class Odd(nn.Module):
    """A network whose loss calls a part of it twice, one parameter in some sub-batches only, and one never."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.restoration = Restoration((8, 16), 1)
        self.sometimes, self.never = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))


def odd_loss(network: nn.Module, batch: Batch, generator: torch.Generator, progress: float) -> Tensor:
    odd: Odd = network  # type: ignore[assignment]
    sigma = batch.sigma_B1HW * torch.exp(0.1 * torch.randn(len(batch.prompts), generator=generator))[:, None, None, None].to(batch.sigma_B1HW.device)
    once = odd.restoration(batch.measured_B1HW, sigma)
    loss = restoration_loss(once, batch, batch.sigma_B1HW) + (1 + progress) * restoration_loss(odd.restoration(once, sigma), batch, sigma)
    return loss + odd.sometimes.square().sum() if float(torch.rand((), generator=generator)) < 0.5 else loss


def scans(data: Path) -> list[Scan]:
    return load_scans(data, TrainConfig(name="tiny", noise=CONFIG, restoration=CONFIG, adaptation=CONFIG), holdout=False)


def phase(config: PhaseConfig = CONFIG, validation: Callable[[nn.Module], dict[str, float]] = lambda _: {"gain": 1.0}) -> Phase:
    return Phase(network=Odd().train(), config=config, loss=odd_loss, validation=validation, seed=3)


def member(rank: int, size: int, port: int, data: Path, folder: Path) -> None:
    """Train from the start, train on from `folder/begun`, try to train on from folders that differ; leave results in `folder`."""
    warnings.simplefilter("error")
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "localhost", "ONENEX_DEVICE": "cpu"}
    torch.set_num_threads(1)

    def validation(_: nn.Module) -> dict[str, float]:
        (folder / f"validated-by-{rank}").touch()
        return {"gain": 1.0}

    found: dict[str, Any] = {"crew": (crew().rank, crew().size)}
    for name in ("whole", "begun"):
        trained = phase(validation=validation)
        average = train_phase(trained, scans(data), folder / name)
        found[name] = {"network": trained.network.state_dict(), "average": average.state_dict()}
    for name, own in (("differing", folder / ("begun" if rank == 0 else "none")), ("uneven", folder / "none")):
        try:
            train_phase(phase(CONFIG if name == "differing" else PhaseConfig(**(CONFIG.__dict__ | {"sub_batches": 3}))), scans(data), own)
        except OneNexError as error:
            found[name] = str(error)
    torch.save(found, folder / f"found-by-{rank}.pt")
