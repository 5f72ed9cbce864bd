"""How a slice is restored: one strategy per mode, made of the networks of a weights file."""

# shapes: B batch, C channel, H row, W column

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor

from onenex.errors import OutOfDomain
from onenex.model.degradation import Measurement
from onenex.model.noise_level import NoiseMap
from onenex.model.reddiff import PRESETS, Preset, infer, slice_generator
from onenex.model.tiling import apply_padded
from onenex.model.weights import Networks
from onenex.nets.attention import Condition


class Shot(NamedTuple):
    """One slice as a mode gets it; images (1, 1, H, W), units of the series scale."""

    measured: Tensor
    """Magnitudes, ≥ 0."""
    noise: NoiseMap
    condition: Condition | None
    """None when the weights know no text."""
    seed: int
    place: int
    """Number of the slice in its stack: part of what its draws depend on."""


class Restored(NamedTuple):
    """What a mode makes of a slice; images (1, 1, H, W), units of the series scale."""

    image: Tensor
    uncertainty: Tensor | None = None
    """Standard deviation over the samples; None with a single one."""


Mode = Callable[[Shot], Restored]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Which mode, and how; preset, steps and samples mean something to mode `full` only."""

    mode: str = "fast"
    preset: str | Preset = "default"
    """One of `reddiff.PRESETS` by name, or one of your own."""
    n_steps: int | None = None
    """Instead of the preset's."""
    n_samples: int = 1
    """Runs whose mean is the result."""
    give_back: bool = True
    """Whether what the residual holds along edges, and of structures of a few pixels, comes back (`edges.sharpened`, `details.with_details`)."""
    guard: bool = True
    """Whether results are examined and, where they aren't faithful, blended back towards what was measured."""


def build(networks: Networks, settings: Settings) -> Mode:
    """Return the strategy of a mode.

    Raises
    ------
    OutOfDomain
        No such mode or preset, a number out of range, or weights that don't know the mode.
    """
    if settings.mode not in MODES:
        raise OutOfDomain(f"mode '{settings.mode}' does not exist: use one of {', '.join(MODES)}")
    if isinstance(settings.preset, str) and settings.preset not in PRESETS:
        raise OutOfDomain(f"preset '{settings.preset}' does not exist: use one of {', '.join(PRESETS)}")
    if not 1 <= settings.n_samples <= MAX_SAMPLES:
        raise OutOfDomain(f"{settings.n_samples} samples: give 1 to {MAX_SAMPLES}")
    preset = PRESETS[settings.preset] if isinstance(settings.preset, str) else settings.preset
    if settings.n_steps is not None:
        if not 1 <= settings.n_steps <= preset.t_start:
            raise OutOfDomain(f"{settings.n_steps} steps: the preset takes 1 to {preset.t_start}")
        preset = replace(preset, n_steps=settings.n_steps)
    return MODES[settings.mode](networks, preset, settings.n_samples)


def fast(networks: Networks, preset: Preset, n_samples: int) -> Mode:
    """Return mode `fast`: the restoration, one pass. There is nothing to draw and no step to choose."""
    del preset, n_samples

    def restore(shot: Shot) -> Restored:
        def tile(stacked_B2HW: Tensor) -> Tensor:
            stacked = stacked_B2HW.contiguous(memory_format=torch.channels_last)
            restored: Tensor = networks.restoration(stacked[:, :1], stacked[:, 1:], shot.condition)
            return restored

        maps = torch.cat([shot.measured, shot.noise.cautious], dim=1)
        return Restored(apply_padded(tile, maps, networks.restoration.multiple))

    return restore


def full(networks: Networks, preset: Preset, n_samples: int) -> Mode:
    """Return mode `full`: from the restoration on, the prior guided by the degradation model (`reddiff.infer`).

    Every step looks at the slice turned and mirrored another way, eight ways in turn: what the networks say of an image
    should not depend on how it lies, and the mean of several looks is better than one (equivariant plug-and-play, Terris
    et al. 2024). The result is the mean of `n_samples` runs with noise of their own; their spread is the uncertainty.

    Raises
    ------
    OutOfDomain
        The weights have no degradation, prior or phrase table.
    """
    degradation, prior = networks.degradation, networks.prior
    if degradation is None or prior is None or networks.phrases is None:
        raise OutOfDomain("these weights know mode 'fast' only (no prior and no degradation in the file): use --mode fast, or other weights")

    def restore(shot: Shot) -> Restored:
        tile_numbers = count()
        condition = _needed(shot.condition)

        def tile(stacked_B3HW: Tensor) -> Tensor:
            measured, cautious, sigma = (stacked_B3HW[:, i : i + 1].contiguous() for i in range(3))
            number = next(tile_numbers)

            def degrade(mu: Tensor) -> Measurement:
                measurement: Measurement = degradation(mu, sigma, condition)
                return measurement

            def denoise(diffused: Tensor, t_B: Tensor, step: int) -> Tensor:
                turned = [turn(image, step) for image in (diffused, measured, cautious)]
                found: Tensor = prior(*turned, t_B, condition)
                return turn_back(found, step)

            start = networks.restoration(measured, cautious, condition)
            runs = []
            for sample in range(n_samples):
                generator = slice_generator(shot.seed, shot.place * 4096 + number, sample)
                found = infer(measured, start, cautious, (degrade, denoise), preset=preset, generators=[generator])
                runs.append(found.images_B1HW)
            stack = torch.cat(runs, dim=1)
            spread = stack.std(dim=1, keepdim=True) if n_samples > 1 else torch.zeros_like(start)
            return torch.cat([stack.mean(dim=1, keepdim=True), spread], dim=1)

        maps = torch.cat([shot.measured, shot.noise.cautious, shot.noise.sigma], dim=1)
        found = apply_padded(tile, maps, max(prior.multiple, degradation.multiple))
        return Restored(found[:, :1], found[:, 1:] if n_samples > 1 else None)

    return restore


def _needed(condition: Condition | None) -> Condition:
    if condition is None:
        raise OutOfDomain("mode 'full' needs a condition, if only of unknown phrases")
    return condition


MODES: dict[str, Callable[[Networks, Preset, int], Mode]] = {"fast": fast, "full": full}
MAX_SAMPLES = 64


def turn(image_BCHW: Tensor, way: int) -> Tensor:
    """Return the image turned and mirrored in one of the eight ways of a square; way 0 leaves it as it is."""
    turned = torch.rot90(image_BCHW, way % 4, (-2, -1))
    return turned.flip(-1) if way // 4 % 2 else turned


def turn_back(image_BCHW: Tensor, way: int) -> Tensor:
    """Undo `turn`."""
    straight = image_BCHW.flip(-1) if way // 4 % 2 else image_BCHW
    return torch.rot90(straight, -(way % 4), (-2, -1))
