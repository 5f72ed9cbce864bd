"""`onenex benchmark ablation`: what each part of the unified model is worth, variant by variant, on the same slices."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from onenex import model as models
from onenex.errors import DataError
from onenex.evaluate import ablation_table, perceptual
from onenex.evaluate.ablation_table import DEFAULT_NAME, FAST, INPUT, NO_TEXT, WRONG_TEXT, Measured
from onenex.evaluate.cases import Case, clean_case, repeats_cases
from onenex.model import Settings
from onenex.model.reddiff import DEFAULT
from onenex.scans import read_manifest
from onenex.series import UNKNOWN, Acquisition, FloatImages

Text = Literal["right", "none", "wrong"]
CONDITIONS = ((0.03, True), (0.06, False), (0.10, True))
"""(σ, varying) of the simulated rows."""
PIXELS = 256 * 256


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One line of the table."""

    name: str
    settings: Settings | None
    """None: the input as it is."""
    text: Text = "right"


_FULL = Settings(mode="full", guard=False)
VARIANTS = (
    Variant(name=INPUT, settings=None),
    Variant(name=FAST, settings=Settings(mode="fast", guard=False)),
    Variant(name="prior only", settings=replace(_FULL, preset=replace(DEFAULT, fidelity_weight=0.0))),
    Variant(name="degradation only", settings=replace(_FULL, preset=replace(DEFAULT, prior_weight=0.0))),
    Variant(name=NO_TEXT, settings=_FULL, text="none"),
    Variant(name=WRONG_TEXT, settings=_FULL, text="wrong"),
    Variant(name="paper preset", settings=replace(_FULL, preset="paper")),
    Variant(name=DEFAULT_NAME, settings=_FULL),
    Variant(name="default + guard", settings=replace(_FULL, guard=True)),
)


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


def rows(data: Path, split: str, quick: bool) -> Iterator[Case]:
    """Yield the rows: repeats leave-one-out, clean files under `CONDITIONS` (quick: the first file of each kind, one σ)."""
    infos = read_manifest(data)
    trained = {info.id for info in infos if info.split == "train"}
    chosen = [info for info in infos if info.split == split]
    if not chosen:
        raise DataError(f"{data}: the manifest lists no file of split '{split}'")
    repeats = [info for info in chosen if info.kind == "repeats"]
    clean = [info for info in chosen if info.kind == "clean"]
    for info in repeats[:1] if quick else repeats:
        yield from repeats_cases(info, info.id not in trained, quick)
    for info in clean[:1] if quick else clean:
        for sigma, varying in CONDITIONS[1:2] if quick else CONDITIONS:
            yield clean_case(info, info.id not in trained, sigma, varying)


def measure(case: Case, model: models.Model, variant: Variant, lpips: perceptual.Lpips | None) -> Measured:
    """Denoise and score one row."""
    acquisition = told(case.info.acquisition, variant.text)
    start = time.perf_counter()
    restored = [stack if variant.settings is None else model.denoise(stack, acquisition, mode=variant.settings).images for stack in case.stacks]
    seconds = (time.perf_counter() - start) * PIXELS / sum(stack.size for stack in case.stacks)
    score = case.score(restored)
    return Measured(
        file=case.info.id,
        condition=case.condition,
        organ=case.info.organ or UNKNOWN,
        vendor=case.info.vendor or UNKNOWN,
        simulated=case.simulated,
        variant=variant.name,
        psnr=score.psnr,
        ssim=score.ssim,
        lpips=_lpips(case, restored, lpips),
        seconds=seconds,
    )


def _lpips(case: Case, restored: Sequence[FloatImages], lpips: perceptual.Lpips | None) -> float | None:
    if lpips is None or case.reference is None or min(case.reference.shape[1:]) < perceptual.SMALLEST_SIDE:
        return None
    (images,) = restored
    inside = np.where(case.mask, images, case.reference)
    return float(np.mean(lpips.distance(inside, case.reference, data_range=1.0)))


def run(  # noqa: PLR0913 - keyword-only settings of a verb
    data: Path,
    output: Path | None = None,
    *,
    quick: bool = False,
    split: str = "test",
    device: str = "auto",
    weights: Path | None = None,
    threads: int | None = None,
    variants: Sequence[Variant] = VARIANTS,
) -> list[Measured]:
    """Measure every variant on every row, print the tables, and write them to `output`.

    Parameters
    ----------
    data, output
        Folder with the manifest; folder for `ablation.csv` and `ablation.json`, made when missing.
    quick
        A try-out: two files, one noise level.
    split
        `test`; `train` for choosing presets, never the other way round.
    device, weights, threads
        As `onenex benchmark denoisers`.
    variants
        Lines of the table; `INPUT` and `FAST` must be among them, for the others are compared with those.

    Raises
    ------
    DataError
        No usable data.
    OutOfDomain
        The weights know mode `fast` only.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    model = models.load(device, weights)
    lpips = perceptual.load() if perceptual.available() else None
    found: list[Measured] = []
    screen = ablation_table.begin(f"weights {model.weights_hash}, device {model.device}", lpips is not None)
    for case in rows(data, split, quick):
        found += [measure(case, model, variant, lpips) for variant in variants]
        ablation_table.show_row(screen, found[-len(variants) :])
    ablation_table.show_summary(screen, found)
    if output is not None:
        ablation_table.write(found, model.weights_hash, output)
    return found
