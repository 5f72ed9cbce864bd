"""What the paper's own configuration costs on this machine: its networks at full size with random weights, a few steps timed and counted up.

Nothing is trained and nothing useful comes out: the number is the yardstick for the speed of mode `full`.
"""

# shapes: B batch, H row, W column, N text token, D token width

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onenex.errors import OutOfDomain
from onenex.nets.paper_unets import TEXT_WIDTH, DiffusionUNet, WideSkipUNet

N_STEPS = 41
"""RED-diff steps of the paper."""
T_START = 200
LAMBDA = 0.25
N_TOKENS = 32
"""Text tokens; the paper's prompt length is not known, and the cost does not show it."""
SIDE = 256
MULTIPLE = 16
"""Height and width must be multiples of this."""
TRAINING_STEPS = 1000
BUSY = 0.7
"""CPU share below which the report doubts its figure."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What was measured, and what follows from it for all `N_STEPS`."""

    threads: int
    side: int
    """Rows and columns of the slice."""
    restoration_seconds: float
    """The one restoration pass before the steps."""
    step_seconds: tuple[float, ...]
    """Every step that was really run."""
    cpu_share: float
    """CPU time over `threads` times the wall time. Well below 1 the machine was busy elsewhere and the figure is too long."""
    n_weights: tuple[int, int, int]
    """Of the diffusion, restoration and degradation networks."""

    @property
    def seconds_per_slice(self) -> float:
        """Restoration plus `N_STEPS` times the *fastest* timed step: an extrapolation, and one in the paper's favour."""
        return self.restoration_seconds + N_STEPS * min(self.step_seconds)

    def __str__(self) -> str:
        diffusion, restoration, degradation = (count / 1e6 for count in self.n_weights)
        warning = f"; the machine was busy, only {self.cpu_share:.0%} of it worked on this" if self.cpu_share < BUSY else ""
        return (
            f"the paper's configuration ({diffusion:.1f} + {restoration:.1f} + {degradation:.1f} M random weights, {self.side} × {self.side}, "
            f"{self.threads} threads): {self.seconds_per_slice:.0f} s a slice, from {len(self.step_seconds)} timed steps "
            f"({min(self.step_seconds):.2f} s the fastest) times {N_STEPS}{warning}"
        )


@dataclass(frozen=True, kw_only=True)
class PaperSystem:
    """The three networks, frozen, with random weights."""

    diffusion: DiffusionUNet
    restoration: WideSkipUNet
    degradation: WideSkipUNet


def build(generator: torch.Generator) -> PaperSystem:
    """Make the three networks on the CPU in channels-last layout, with normal weights of variance 1 / fan-in."""
    with torch.device("meta"):
        system = PaperSystem(diffusion=DiffusionUNet(), restoration=WideSkipUNet(), degradation=WideSkipUNet())
    for network in (system.diffusion, system.restoration, system.degradation):
        network.to_empty(device="cpu").requires_grad_(False)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, float(parameter[0].numel()) ** -0.5, generator=generator)
            else:
                parameter.zero_()
        for module in network.modules():
            if isinstance(module, nn.GroupNorm):
                module.weight.fill_(1)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return system


def step(system: PaperSystem, y_B1HW: Tensor, mu_B1HW: Tensor, optimiser: torch.optim.Optimizer, noise_B1HW: Tensor) -> None:
    """Move μ by one RED-diff step at time `T_START`: one diffusion pass without gradient, one degradation pass there and back, Adam.

    Source
    ------
    DESIGN §2.5 with the paper's settings: unit σ, λ 0.25, w = √((1 − ᾱ) / ᾱ); every step costs the same, whatever its time.
    """
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, TRAINING_STEPS), dim=0)[T_START]
    text_BND = torch.ones(1, N_TOKENS, TEXT_WIDTH)
    with torch.no_grad():
        x_t = kept.sqrt() * mu_B1HW + (1 - kept).sqrt() * noise_B1HW
        inputs = torch.cat([x_t, y_B1HW], dim=1).contiguous(memory_format=torch.channels_last)
        x0 = system.diffusion(inputs, torch.tensor([T_START]), text_BND)
    optimiser.zero_grad()
    fidelity = (y_B1HW - system.degradation(mu_B1HW)).square().sum() / 2
    regulariser = LAMBDA * ((1 - kept) / kept).sqrt() * ((mu_B1HW.detach() - x0) * mu_B1HW).sum()
    (fidelity + regulariser).backward()
    optimiser.step()


def seconds_per_slice(threads: int, n_steps_timed: int = 2, *, side: int = SIDE, seed: int = 0) -> Timing:
    """Time a few steps of the paper's configuration for one slice, in this process.

    Parameters
    ----------
    threads
        CPU threads, ≥ 1; the number set before is restored.
    n_steps_timed
        Steps that are run, ≥ 1.
    side, seed
        Rows and columns, a multiple of `MULTIPLE` (smaller only for tests); seed of weights, image and noise.

    Raises
    ------
    OutOfDomain
        No threads or steps, or a side that the networks cannot halve four times.
    """
    if threads < 1 or n_steps_timed < 1 or side < MULTIPLE or side % MULTIPLE:
        raise OutOfDomain(f"threads {threads}, steps {n_steps_timed}, side {side}: need ≥ 1, ≥ 1 and a multiple of {MULTIPLE}")
    generator = torch.Generator().manual_seed(seed)
    system = build(generator)
    y_B1HW, *noise = torch.randn(1 + n_steps_timed, 1, 1, side, side, generator=generator)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        cpu_start = time.process_time()
        marks = _run(system, y_B1HW, noise)
        cpu_seconds = time.process_time() - cpu_start
    finally:
        torch.set_num_threads(threads_before)
    restoration_seconds, *step_seconds = (end - begin for begin, end in itertools.pairwise(marks))
    return Timing(
        threads=threads,
        side=side,
        restoration_seconds=restoration_seconds,
        step_seconds=tuple(step_seconds),
        cpu_share=cpu_seconds / (threads * (marks[-1] - marks[0])),
        n_weights=(count_weights(system.diffusion), count_weights(system.restoration), count_weights(system.degradation)),
    )


def _run(system: PaperSystem, y_B1HW: Tensor, noise: Sequence[Tensor]) -> list[float]:
    """Restore, then take a step for each draw of noise; return the clock before, between and after, seconds."""
    marks = [time.perf_counter()]
    with torch.no_grad():
        mu = nn.Parameter(system.restoration(y_B1HW))
    marks.append(time.perf_counter())
    optimiser = torch.optim.Adam([mu], lr=0.1 * T_START / TRAINING_STEPS)
    for noise_B1HW in noise:
        step(system, y_B1HW, mu, optimiser, noise_B1HW)
        marks.append(time.perf_counter())
    return marks


def count_weights(network: nn.Module) -> int:
    """Return the number of weights of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
