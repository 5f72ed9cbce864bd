"""What a report was made of: checksums of the data and the weights, the code, the machine, the command."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from onenex import __version__
from onenex.evaluate import perceptual
from onenex.evaluate.cohort.kept import content
from onenex.evaluate.cohort.samples import Unit
from onenex.evaluate.cohort.work import CODE, Bench, Order
from onenex.evaluate.fingerprint import fingerprint


def checksum(units: Sequence[Unit]) -> str:
    """Return a SHA-256 of all scans of a cohort: of their ids, descriptions and pixels, in the order of the ids."""
    infos = {unit.info.id: unit.info for unit in units}
    told = [(name, content(info), info.kind, info.acquisition) for name, info in sorted(infos.items())]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def facts(data: Path, units: Sequence[Unit], order: Order, tools: Bench, seen: str) -> dict[str, str]:
    """Return what the head of a report says, name → text."""
    plan = order.plan
    slices = "all slices" if plan.slices is None else f"{plan.slices} slice(s) of 256 × 256 of each input, or as many pixels, spread evenly"
    n_scans = len({unit.info.id for unit in units})
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"
    return {
        "data": f"{data.resolve().name}, split {plan.split}: {n_scans} scans, {len(units)} scans and conditions; {slices}",
        "data SHA-256": checksum(units),
        "seen in training": seen,
        "weights": tools.model.weights_hash,
        "OneNEX": f"{__version__}, code {fingerprint('', CODE)}",
        "LPIPS": "v0.1, AlexNet" if tools.lpips is not None else perceptual.NOT_INSTALLED,
        "machine": f"{machine}; one thread a process",
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
