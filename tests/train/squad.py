"""Phases as recipes make them, small: the program that torchrun starts for `test_elastic`, once more after each kill.

`python -m tests.train.squad DATA FOLDER PHASE …`
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from onenex.model.degradation import Degradation
from onenex.model.noise_level import NoiseLevel
from onenex.model.restoration import Restoration
from onenex.model.weights import Networks
from onenex.text.phrases import TABLE
from onenex.text.tokens import WIDTH, PhraseTable
from onenex.train import started_again, unified
from onenex.train.chance import Chance
from onenex.train.config import PhaseConfig, RivalsConfig, TrainConfig, UnifiedConfig
from onenex.train.dataset import Batch, load_scans
from onenex.train.distributed import crew
from onenex.train.loop import Phase, train_phase
from onenex.train.phases import noise_phase, restoration_phase
from onenex.train.rivals import gan_phase, unet_phase
from onenex.train.tune import FixedText

STEPS, KILL_AT = 20, 13
SMALL = PhaseConfig(
    steps=STEPS, patch=32, margin=8, simulated_per_batch=2, real_per_batch=1, warmup_steps=4, validate_every=100, checkpoint_every=5,
    sub_batches=2, second_scan=True, bias_weight=1.0, learning_rate=8e-4,
)  # fmt: skip
RUN = TrainConfig(name="small", noise=SMALL, restoration=SMALL, adaptation=SMALL, widths=(8, 16), depth=1)
UNIFIED = UnifiedConfig(cascade=SMALL, prior=SMALL, degradation_widths=(8, 16))
RIVALS = RivalsConfig(name="rivals", unet=SMALL, ddpm=SMALL, prior=SMALL, gan=SMALL, widths=(8, 16))
NAMES = ("restoration", "noise", "cascade", "settling", "prior", "gan")


def phase(name: str) -> Phase:
    """Return a phase as the recipes' functions make it, without validation."""
    return replace(_phases()[name](), validation=lambda _: {})


def _phases() -> dict[str, Callable[[], Phase]]:
    torch.manual_seed(1)
    restoration = Restoration((8, 16), 1)
    networks = Networks(noise_level=NoiseLevel(), restoration=restoration, degradation=Degradation((8, 16), 1))
    torch.manual_seed(2)
    table = PhraseTable(tokens={phrase: torch.rand(3, WIDTH) for phrase in TABLE})
    return {
        "restoration": lambda: restoration_phase(RUN, [], restoration),
        "noise": lambda: noise_phase(RUN, [], networks.noise_level),
        "cascade": lambda: unified.cascade_phase(UNIFIED, [], networks, FixedText(table), 4),  # type: ignore[arg-type]
        "settling": lambda: unified.settling_phase(SMALL, [], networks, table, 5),
        "prior": lambda: unified.prior_phase(UNIFIED, [], networks, table, 6),
        "gan": lambda: gan_phase(RIVALS, [], unet_phase(RIVALS, []).network),  # type: ignore[arg-type]
    }


def trained(name: str, data: Path, folder: Path, *, change: Callable[[Phase], Phase] = lambda phase: phase) -> dict[str, Any]:
    """Train a phase; return its weights and their average."""
    chosen = change(phase(name))
    average = train_phase(chosen, load_scans(data, RUN, holdout=False), folder)
    return {"network": chosen.network.state_dict(), "average": average.state_dict()}


def killing(phase: Phase, rank: int, at: int) -> Phase:
    """Let a process kill itself in the loss of a step, the first time that torchrun has started it."""

    def loss(network: nn.Module, batch: Batch, chance: Chance, progress: float) -> Tensor:
        if crew().rank == rank and progress * STEPS >= at and not started_again():
            os.kill(os.getpid(), signal.SIGKILL)
        return phase.loss(network, batch, chance, progress)

    return replace(phase, loss=loss)


def main(data: Path, folder: Path, names: list[str]) -> None:
    """Train phases whole, then the restoration with a kill of the second process, and leave the weights in `folder`."""
    torch.set_num_threads(1)
    team = crew()
    found = {name: trained(name, data, folder / name) for name in names}
    found["broken"] = trained("restoration", data, folder / "broken", change=lambda phase: killing(phase, 1, KILL_AT))
    torch.save(found, folder / f"found-by-{team.rank}-of-{team.size}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
