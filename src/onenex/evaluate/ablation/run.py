"""`onenex benchmark ablation`: what each part of the unified model is worth, variant by variant, on the same slices; and its speed.

What a whole run costs: on `../shared/data` 56 rows, about 150 slices of 256 × 256, each in six variants of mode `full`. So few slices are taken
of each file (`Plan.slices`), evenly spread, the same for every variant; and the paper's preset with its 41 steps runs on one row of each
file, single repeats or one noise level by turns, and is compared on exactly those rows. With the default of two slices that makes some 13,500
network passes, about half an hour on one core at 0.1 s a pass, metrics included. Results of networks are not shared between variants, for
their time is part of what is measured.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.console import Console

from onenex import model as models
from onenex.evaluate import perceptual
from onenex.evaluate.ablation import files as ablation_files
from onenex.evaluate.ablation import speed as ablation_speed
from onenex.evaluate.ablation import table as ablation_table
from onenex.evaluate.ablation.table import DEFAULT_NAME, FAST, GUARDED, INPUT, NO_TEXT, WRONG_TEXT, Measured
from onenex.evaluate.fingerprint import fingerprint
from onenex.evaluate.material import PIXELS
from onenex.evaluate.trials import Plan, Trial, files, slices_worth, trials
from onenex.model import Settings
from onenex.model.reddiff import DEFAULT, PRESETS
from onenex.scans import ScanInfo
from onenex.series import UNKNOWN, Acquisition, FloatImages

Text = Literal["right", "none", "wrong"]
PASS_SECONDS = 0.1
"""What one network pass over 256 × 256 pixels is taken to cost when the length of a run is foretold."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One line of the table."""

    name: str
    settings: Settings | None
    """None: the input as it is."""
    text: Text = "right"
    every_row: bool = True
    """False: one row of each file (`Trial.turn`)."""

    @property
    def passes(self) -> int:
        """Network passes a slice takes at most: noise map and restoration; each step the prior, and the degradation there and back."""
        if self.settings is None or self.settings.mode == "fast":
            return 0 if self.settings is None else 2
        preset = PRESETS[self.settings.preset] if isinstance(self.settings.preset, str) else self.settings.preset
        return 2 + (2 if preset.fidelity_weight > 0 else 1) * (self.settings.n_steps or preset.n_steps)


_FULL = Settings(mode="full", guard=False)
VARIANTS = (
    Variant(name=INPUT, settings=None),
    Variant(name=FAST, settings=Settings(mode="fast", guard=False)),
    Variant(name="prior only", settings=replace(_FULL, preset=replace(DEFAULT, fidelity_weight=0.0))),
    Variant(name="degradation only", settings=replace(_FULL, preset=replace(DEFAULT, prior_weight=0.0))),
    Variant(name=NO_TEXT, settings=_FULL, text="none"),
    Variant(name=WRONG_TEXT, settings=_FULL, text="wrong"),
    Variant(name="paper preset", settings=replace(_FULL, preset="paper"), every_row=False),
    Variant(name=DEFAULT_NAME, settings=_FULL),
    Variant(name=GUARDED, settings=replace(_FULL, guard=True)),
)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What the rows of a run are measured with."""

    model: models.Model
    lpips: perceptual.Lpips | None
    plan: Plan
    screen: Console
    journal: Path | None = None
    """CSV to which every measurement is added as it is done, and from which it is taken when it is there already."""


def open_bench(weights: Path | None, plan: Plan, *, device: str = "auto", threads: int | None = None, journal: Path | None = None) -> Bench:
    """Load the model and LPIPS. Arguments as in `run`."""
    if threads is not None:
        torch.set_num_threads(threads)
    lpips = perceptual.load() if perceptual.available() else None
    return Bench(model=models.load(device, weights), lpips=lpips, plan=plan, screen=ablation_table.open_console(), journal=journal)


def told(acquisition: Acquisition, text: Text) -> Acquisition:
    """Return what a variant is told of a scan: the truth, nothing, or another scan's truth."""
    if text == "right":
        return acquisition
    if text == "none":
        return Acquisition()
    return replace(
        acquisition,
        vendor="GE" if acquisition.vendor != "GE" else "Siemens",
        organ="knee" if acquisition.organ != "knee" else "head",
        sequence="T1w" if acquisition.sequence != "T1w" else "DWI",
        plane="coronal" if acquisition.plane != "coronal" else "axial",
        field_strength_T=0.3 if acquisition.field_strength_T != 0.3 else 3.0,
    )


def measure(trial: Trial, variant: Variant, model: models.Model, lpips: perceptual.Lpips | None) -> Measured:
    """Denoise and score one row."""
    acquisition = told(trial.info.acquisition, variant.text)
    restored: list[FloatImages] = list(trial.stacks)
    start = time.perf_counter()
    if variant.settings is not None:
        for place, (stack, scale) in enumerate(zip(trial.stacks, trial.scales, strict=True)):
            restored[place] = model.denoise(stack, acquisition, mode=variant.settings, scale=scale).images
    seconds = (time.perf_counter() - start) * PIXELS / sum(stack.size for stack in trial.stacks)
    score = trial.score(restored)
    return Measured(
        file=trial.info.id,
        condition=trial.condition,
        organ=trial.info.organ or UNKNOWN,
        vendor=trial.info.vendor or UNKNOWN,
        simulated=trial.simulated,
        unseen=trial.unseen,
        n_slices=len(trial.mask),
        variant=variant.name,
        psnr=score.psnr,
        ssim=score.ssim,
        lpips=_lpips(trial, restored, lpips),
        seconds=seconds,
    )


def _lpips(trial: Trial, restored: Sequence[FloatImages], lpips: perceptual.Lpips | None) -> float | None:
    if lpips is None or trial.reference is None or min(trial.reference.shape[1:]) < perceptual.SMALLEST_SIDE:
        return None
    (images,) = restored
    inside = np.where(trial.mask, images, trial.reference)
    return float(np.mean(lpips.distance(inside, trial.reference, data_range=1.0)))


def collect(bench: Bench, rows: Iterable[Trial], variants: Sequence[Variant]) -> list[Measured]:
    """Measure variants on rows, printing each row; what the journal holds from the same weights, settings and code is taken over."""
    keys = {one.name: _key(bench, one) for one in variants}
    done = {} if bench.journal is None else ablation_files.resume(bench.journal, set(keys.values()))
    if done:
        bench.screen.print(f"{len(done)} measurements taken over from {bench.journal}")
    found: list[Measured] = []
    for trial in rows:
        row = []
        for variant in variants:
            if not (variant.every_row or trial.turn):
                continue
            key = keys[variant.name]
            one = done.get((key, trial.info.id, trial.condition))
            if one is None:
                one = measure(trial, variant, bench.model, bench.lpips)
                if bench.journal is not None:
                    ablation_files.append(bench.journal, key, bench.model.weights_hash, one)
            row.append(one)
        ablation_table.show_row(bench.screen, row)
        found += row
    return found


def _key(bench: Bench, variant: Variant) -> str:
    """Return what a measurement depends on besides its row, as a hash."""
    preset = variant.settings and PRESETS.get(str(variant.settings.preset))
    plan = (bench.plan.split, bench.plan.slices, bench.plan.quick)
    parts = (bench.model.weights_hash, variant, preset, plan, str(bench.model.device), torch.get_num_threads(), bench.lpips is not None)
    return fingerprint(repr(parts), ablation_files.CODE)


def foretell(infos: Sequence[ScanInfo], plan: Plan, variants: Sequence[Variant]) -> str:
    """Return how much a run will measure, and for how long."""
    every, one = (sum(slices_worth(info, plan)[index] for info in infos) for index in (0, 1))
    passes = sum(variant.passes * (every if variant.every_row else one) for variant in variants)
    slow = ", ".join(variant.name for variant in variants if not variant.every_row)
    minutes = passes * PASS_SECONDS / 60
    return (
        f"split {plan.split}: {len(infos)} files, slices evenly spread, of each input as many as {plan.slices} of 256 × 256 have pixels; in all "
        f"{every:.0f} such slices{f' ({slow}: one row of each file, {one:.0f} slices)' if slow else ''}. At most {passes:.0f} network passes: "
        f"about {minutes:.0f} min at {PASS_SECONDS} s each, and a quarter more for the metrics"
    )


def run(  # noqa: PLR0913 - keyword-only settings of a verb
    data: Path,
    output: Path | None = None,
    *,
    quick: bool = False,
    split: str = "test",
    slices: int = Plan.slices,
    device: str = "auto",
    weights: Path | None = None,
    threads: int | None = None,
    variants: Sequence[Variant] = VARIANTS,
) -> list[Measured]:
    """Measure every variant on every row, then the speed; print the tables and write them to `output`.

    A run that was stopped goes on where it was: `ablation.csv` gets every measurement as it is done, and measurements of the same weights,
    settings, threads and code are taken over from it.

    Parameters
    ----------
    data, output
        Folder with the manifest; folder for `ablation.csv`, `ablation.json`, `ablation-groups.csv` and `ablation.md`, made when missing.
    quick
        A try-out: two files, one noise level, the paper's networks timed at a small size.
    split
        `test`; `train` takes the slices held out there, for choosing presets, never the other way round.
    slices
        Of each input, ≥ 1: see `Plan.slices`.
    device, weights, threads
        As `onenex benchmark denoisers`.
    variants
        Lines of the table; `INPUT` and `FAST` must be among them, for the others are compared with those.

    Raises
    ------
    DataError
        No usable data, or an `ablation.csv` of another kind in `output`.
    OutOfDomain
        The weights know mode `fast` only.
    """
    plan = Plan(split=split, slices=slices, quick=quick)
    infos = files(data, plan)
    bench = open_bench(weights, plan, device=device, threads=threads, journal=None if output is None else output / "ablation.csv")
    header = f"weights {bench.model.weights_hash}, device {bench.model.device}, {torch.get_num_threads()} threads"
    lines = [header, foretell(infos, plan, variants)]
    ablation_table.begin(bench.screen, "OneNEX ablation", lines, bench.lpips is not None)
    found = collect(bench, trials(data, infos, plan), variants)
    findings = ablation_table.bars(found)
    ablation_table.show_summary(bench.screen, found)
    ablation_table.show_findings(bench.screen, findings)
    speed = ablation_speed.measure(bench.model, quick=quick)
    ablation_speed.show(bench.screen, speed)
    if output is not None:
        document = {"weights": bench.model.weights_hash, "plan": lines, "speed": ablation_speed.as_dict(speed)}
        ablation_files.write(found, [*findings, *ablation_speed.findings(speed)], document, output, extra=[ablation_speed.grid(speed)])
    return found
