"""The model card: what a weights file says about its making, its use and its limits."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from onenex import __version__
from onenex.model.weights import Weights
from onenex.series import UNKNOWN
from onenex.train.config import RunConfig
from onenex.train.dataset import Scan

INTENDED_USE = "Research: less noise in magnitude MR slices of fast scans (few averages). Not a medical device; not for diagnosis."
LICENCE = "Apache-2.0, like OneNEX. The training data keep their owners' licences, named in training_data."
LICENCE_OF_TUNED = (
    "As that of the weights named in start, as far as they go; those who own the scans in training_data decide who else may have this file."
)
LIMITS = (
    "Other anatomy, vendors and sequences are extrapolation. Noise that looks like anatomy (streaks, ghosts, motion) is not removed, and detail "
    "below the noise can be lost. Magnitude images only: no phase, no maps. "
    "The figures in metrics are of held-out slices of the training files, not of other patients."
)


def model_card(config: RunConfig, scans: list[Scan], *, metrics: Mapping[str, Mapping[str, float]], start: Weights | None = None) -> dict[str, str]:
    """Return the card of a run.

    Parameters
    ----------
    scans
        What was learnt from: their sources and licences are named, and what they show.
    metrics
        Last figures of validation by phase or network.
    start
        The weights that the run began at: their data count too.
    """
    sources = sorted({f"{scan.info.source or UNKNOWN} (licence: {scan.info.licence or UNKNOWN})" for scan in scans})
    card = {
        "recipe": config.name,
        "config": json.dumps(asdict(config)),
        "training_data": "; ".join(sources),
        "commit": commit(),
        "metrics": json.dumps({name: {key: round(value, 4) for key, value in figures.items()} for name, figures in metrics.items()}),
        "licence": LICENCE_OF_TUNED if config.tune else LICENCE,
        "intended_use": INTENDED_USE,
        "limits": f"{seen(scans)} {LIMITS}",
    }
    if start is not None:
        told = {name: start.card.get(name) for name in ("recipe", "training_data", "licence", "commit")}
        card["start"] = json.dumps({"hash": start.hash, **{name: value for name, value in told.items() if value}})
    return card


def seen(scans: list[Scan]) -> str:
    """Return a sentence on what the scans show."""
    words = {
        "organs": {scan.info.organ for scan in scans},
        "vendors": {scan.info.vendor for scan in scans},
        "sequences": {scan.info.sequence for scan in scans},
    }
    known = {name: sorted(found - {"", UNKNOWN}) for name, found in words.items()}
    return "Trained on " + "; ".join(f"{name}: {', '.join(found) or UNKNOWN}" for name, found in known.items()) + "."


def metrics_of(folder: Path) -> dict[str, dict[str, float]]:
    """Return the last validation of every phase in a run's folder, as its journal has it."""
    found: dict[str, dict[str, float]] = {}
    for journal in sorted(folder.glob("*/log.jsonl")):
        lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
        validations = [line for line in lines if "loss" not in line]
        if validations:
            found[journal.parent.name] = {key: value for key, value in validations[-1].items() if key != "step"}
    return found


def commit() -> str:
    """Return the commit of the code where it is checked out with git ("+" where files were changed since), else the package's version."""
    here = Path(__file__).resolve()
    known = _git(here.parent, "ls-files", "--error-unmatch", here.name)  # a package may be installed inside somebody else's checkout
    head = _git(here.parent, "rev-parse", "HEAD")
    if not known or not head:
        return f"onenex {__version__}"
    return head + ("+" if _git(here.parents[1], "status", "--porcelain", "--untracked-files=no", "--", ".") else "")


def _git(folder: Path, *words: str) -> str:
    """Return what git says, or nothing where it cannot."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
