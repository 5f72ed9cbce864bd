"""What `onenex denoise` and `onenex batch` are asked for in the same words."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Mode(StrEnum):
    """Ways to denoise."""

    FAST = "fast"
    FULL = "full"


class Engine(StrEnum):
    """What runs the networks."""

    TORCH = "torch"
    ONNX = "onnx"
    COMPILED = "compiled"


class Preset(StrEnum):
    """Ways to run mode full."""

    DEFAULT = "default"
    PAPER = "paper"


ModeOption = Annotated[Mode, typer.Option("--mode", help="fast: one pass. full: a prior guided by the degradation model, slower.")]
PresetOption = Annotated[Preset | None, typer.Option("--preset", help="How mode full runs; default by default.", show_default=False)]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps of mode full instead of the preset's.")]
Samples = Annotated[int | None, typer.Option(min=1, max=64, help="Runs of mode full whose mean is the result.")]
Uncertainty = Annotated[bool, typer.Option("--uncertainty", help="Also write the standard deviation of the samples (8 by default).")]
NoGuard = Annotated[bool, typer.Option("--no-guard", help="Do not check that results stay faithful; every image will say so.")]
GuardMaps = Annotated[bool, typer.Option("--guard-maps", help="Also write the guard's suspicion.")]
Organ = Annotated[str | None, typer.Option(help="What was scanned, instead of what the headers say; any text.")]
Vendor = Annotated[str | None, typer.Option(help="Who made the scanner, likewise.")]
Sequence = Annotated[str | None, typer.Option(help="Pulse sequence, likewise.")]
Acceleration = Annotated[float | None, typer.Option(min=1, help="In-plane acceleration, likewise; 1 is none.")]
Strength = Annotated[float, typer.Option(min=0.0, max=1.0, help="0 returns the stored pixels bit for bit.")]
Suffix = Annotated[str, typer.Option(help="Ends the description of the derived series, after OneNEX.", show_default=False)]
EngineOption = Annotated[Engine, typer.Option("--engine", help="torch; onnx: ONNX Runtime on the CPU; compiled: CUDA only, bfloat16.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same images.")]
