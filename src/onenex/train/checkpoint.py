"""Checkpoints of a training run: written beside, then renamed, so a killed run always leaves a whole one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from onenex.errors import DataError
from onenex.output import atomic_file

NAME = "checkpoint.pt"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings, containers of them) as the run's checkpoint.

    Raises
    ------
    DataError
        The folder cannot be written to, or its disk is full.
    """
    with atomic_file(folder / NAME) as partial:
        torch.save(state, partial)


def load(folder: Path) -> dict[str, Any] | None:
    """Return the run's checkpoint, or None when there is none. Never unpickles code (`weights_only`).

    Raises
    ------
    DataError
        The checkpoint cannot be read.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise DataError(f"{path}: unreadable checkpoint ({error}): remove it to start the run again") from error
    return state
