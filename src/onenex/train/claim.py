"""Whose run a folder holds, so that no run goes on from another one's checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from onenex.errors import DataError
from onenex.model.weights import Weights
from onenex.train.checkpoint import NAME
from onenex.train.config import RunConfig
from onenex.train.dataset import Scan
from onenex.train.distributed import crew, wait
from onenex.train.slices import content


def claim(folder: Path, config: RunConfig, scans: Sequence[Scan], *, start: Weights | None, resume: bool) -> None:
    """Note in `folder/run.json` whose folder this is; without `resume` every phase there begins anew.

    Under torchrun the leader does so while the others wait.

    Raises
    ------
    DataError
        The folder holds another run, and `resume` asks to go on with it.
    """
    if crew().leads:
        folder.mkdir(parents=True, exist_ok=True)
        _note(folder, {"recipe": config.name, "start": start.hash if start else "random", "data": fingerprint(scans)}, resume=resume)
    wait(crew())


def _note(folder: Path, run: dict[str, str], *, resume: bool) -> None:
    note, checkpoints = folder / "run.json", list(folder.glob(f"*/{NAME}"))
    there = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else None
    if resume and there != run and checkpoints:
        raise DataError(f"{folder} holds another run (other recipe, weights to begin at, or scans): give another --run folder, or --fresh")
    if not resume:  # a later phase, too, begins anew, even when this run is stopped before it and then resumed
        for stale in checkpoints:
            stale.unlink()
    note.write_text(json.dumps(run), encoding="utf-8")


def fingerprint(scans: Sequence[Scan]) -> str:
    """Return a checksum of what is learnt from."""
    digest = hashlib.sha256()
    for scan in scans:
        digest.update(f"{replace(scan.info, path=Path())} {scan.slices.tolist()} {content(scan.images)}".encode())
    return digest.hexdigest()[:12]
