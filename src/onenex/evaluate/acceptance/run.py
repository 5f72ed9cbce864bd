"""`onenex acceptance`: scan the acceptance phantom, denoise it by each mode, judge the results."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from onenex import model as models
from onenex.evaluate.acceptance import judge, layouts, picture
from onenex.evaluate.acceptance.records import Acceptance, Check, ModeResult, Stack
from onenex.evaluate.denoisers.table import console

_LOG = logging.getLogger(__name__)

MODES = ("fast", "full")
Progress = Callable[[str, int, int], None]
"""(what, slices done, slices in all)."""


def run(  # noqa: PLR0913 - the options of a command
    modes: Sequence[str] = MODES,
    output: Path | None = None,
    *,
    strength: float = 1.0,
    quick: bool = False,
    device: str = "auto",
    weights: Path | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Acceptance:
    """Run every test of every mode and print a table.

    Parameters
    ----------
    modes
        "fast", "full" or both; the guard is on, as in the product.
    output
        Folder for `acceptance.json` and `acceptance.png`; made when missing. None writes nothing.
    strength
        As in `Model.denoise`, 0…1: between the scan as it is and the whole restoration. What passes at 1 needs no other.
    quick
        One σ and few slices, to see that everything works: no result.
    device, weights
        As in `onenex.load`.
    threads
        CPU threads, all cores when None.
    seed
        Of the phantom's noise; the same seed, the same scans.
    progress
        Told of every slice.

    Returns
    -------
    Acceptance
        Its `exit_code` is 1 when a test failed.

    Raises
    ------
    OutOfDomain
        A mode that doesn't exist or that the weights don't know.
    WeightsMismatch
        The weights file cannot be used.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    model = models.load(device, weights)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    scans = layouts.all_scans(seed, sigmas=(0.06,), seeds=2, contrast_slices=2) if quick else layouts.all_scans(seed)
    screen = console()
    screen.print(
        f"OneNEX weights {model.weights_hash}, device {model.device}, strength {strength:g}, guard on, {len(scans)} slices of the phantom a mode"
    )
    stacks: dict[str, list[Stack]] = {}
    results = []
    for mode in modes:
        start = time.perf_counter()
        stacks[mode] = judge.denoised(scans, _denoiser(model, models.Settings(mode=mode), strength, _telling(mode, len(scans), progress)))
        seconds = time.perf_counter() - start
        results.append(ModeResult(mode=mode, checks=judge.checks(stacks[mode], np.random.default_rng(seed)), seconds=seconds))
        show(results[-1], screen)
    found = Acceptance(
        weights_hash=model.weights_hash, device=str(model.device), strength=strength, seed=seed, n_scans=len(scans), modes=tuple(results)
    )
    for mode_result in results:
        _LOG.info("event=acceptance mode=%s passed=%s seconds=%.1f", mode_result.mode, mode_result.passed, mode_result.seconds)
    if output is not None:
        (output / "acceptance.json").write_text(json.dumps(found.as_json(), indent=1, ensure_ascii=False), encoding="utf-8")
        picture.draw(stacks, output / "acceptance.png")
    return found


def show(result: ModeResult, screen: Console) -> None:
    """Print one mode's tests: of each its limit, the value that is furthest from passing, and the verdict; then all values that failed."""
    verdict = "PASS" if result.passed else "FAIL"
    table = Table(title=f"mode {result.mode}: {verdict} ({result.seconds:.0f} s)", title_justify="left", box=None, padding=(0, 1), pad_edge=False)
    for title in ("", "test", "limit", "worst value", "where"):
        table.add_column(title, overflow="fold")
    for check in result.checks:
        table.add_row(_verdict(passed=check.passed), check.name, check.limit, check.worst.text, f"{check.worst.label} ({_count(check)})")
    screen.print()
    screen.print(table)
    for check in result.checks:
        for one in check.measured:
            if not one.passed:
                screen.print(Text("  outside ", style="red").append(f"{check.name}: {one.label}: {one.text}", style="default"))


def _verdict(*, passed: bool) -> Text:
    return Text("PASS", style="green") if passed else Text("FAIL", style="red")


def _count(check: Check) -> str:
    return f"{sum(one.passed for one in check.measured)} of {len(check.measured)} within"


def _denoiser(model: models.Model, settings: models.Settings, strength: float, tell: Callable[[int, int], None]) -> judge.Denoise:
    """Return the denoiser of a mode, as the product runs it."""
    return lambda images: model.denoise(images, mode=settings, strength=strength, progress=tell).images


def _telling(mode: str, n_scans: int, progress: Progress | None) -> Callable[[int, int], None]:
    """Return what is told of each slice of a stack, and tells `progress` how many of all stacks' slices are done."""
    done = 0

    def tell(_n_done: int, _total: int) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(f"mode {mode}", done, n_scans)

    return tell
