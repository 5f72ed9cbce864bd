"""The unified model on GPUs: the networks and phases of `unified_cpu`, larger batches and patches, ten times the steps, bfloat16."""

from __future__ import annotations

from dataclasses import replace

from onenex.train.config import PhaseConfig, TrainConfig
from onenex.train.recipes.unified_cpu import unified_cpu


def unified_gpu() -> TrainConfig:
    """Return the whole run; its weights file can stand in for that of `unified_cpu`.

    48 patches a step in four sub-batches: one, two or four GPUs give the same weights.
    """
    cpu = unified_cpu()
    return replace(
        cpu,
        name="unified_gpu",
        noise=_larger(cpu.noise, patch=192, simulated=8, real=4),
        restoration=_larger(cpu.restoration, patch=128, simulated=8, real=4),
        adaptation=_larger(cpu.adaptation, patch=192, simulated=6, real=6),
        unified=cpu.unified
        and replace(
            cpu.unified,
            cascade=_larger(cpu.unified.cascade, patch=192, simulated=8, real=4),
            settling=cpu.unified.settling and _larger(cpu.unified.settling, patch=192, simulated=4, real=4),
            fidelity=cpu.unified.fidelity and _larger(cpu.unified.fidelity, patch=192, simulated=9, real=3),
            prior=_larger(cpu.unified.prior, patch=192, simulated=9, real=3),
        ),
    )


def _larger(phase: PhaseConfig, *, patch: int, simulated: int, real: int) -> PhaseConfig:
    """Return a phase of the CPU's recipe for GPUs; learning rates stay, since batches are larger but steps are many."""
    return replace(
        phase,
        steps=10 * phase.steps,
        patch=patch,
        simulated_per_batch=simulated,
        real_per_batch=real,
        sub_batches=4,
        warmup_steps=2 * phase.warmup_steps,
        ema_decay=0.9995,
        bf16=True,
        workers=16,
        validate_every=5_000,
        checkpoint_every=1_000,
    )
