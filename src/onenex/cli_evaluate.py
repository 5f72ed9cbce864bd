"""`onenex evaluate` and `onenex acceptance`: what OneNEX is worth on a site's own scans, and whether it may be used at all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onenex import console
from onenex.cli_benchmark import Device, JudgedWeights, Quick, Threads


def evaluate(  # noqa: PLR0913 - the options of a command
    data: Annotated[Path, typer.Argument(help="Folder that `onenex pairs build` made, or one with manifest.csv, train/ and test/.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report; a stopped run goes on from there.")],
    methods: Annotated[str | None, typer.Option(help="Methods, with commas: onenex-fast,onenex-full,nlm-blockwise,tv …; all by default.")] = None,
    split: Annotated[str, typer.Option(help="test; or train, to look at what was learnt from (needs --allow-seen).")] = "test",
    slices: Annotated[int, typer.Option(min=0, help="Slices of each input, in units of 256 × 256 pixels; 0 = all.")] = 1,
    segmenter: Annotated[str | None, typer.Option(help="External tool for Dice, e.g. 'totalspineseg {in} {out}'.")] = None,
    no_segmentation: Annotated[bool, typer.Option("--no-segmentation", help="Leave Dice out.")] = False,
    patients: Annotated[
        str | None, typer.Option(help="Regular expression that finds the patient in a scan's id, if the manifest names none.")
    ] = None,
    ledger: Annotated[Path | None, typer.Option(help="Folder of DICOM files whose protocols' scan times are told as well.")] = None,
    allow_seen: Annotated[bool, typer.Option("--allow-seen", help="Go on although training saw some of the images.")] = False,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes beside this one; by default one a core.")] = None,
    device: Device = "cpu",
    weights: JudgedWeights = None,
) -> None:
    """Restore every image of a cohort by every method, measure and test, and write one page with all of it."""
    with console.guard():
        from onenex.evaluate.verbs import evaluate as run

        with console.progress_bar() as tell:
            run(
                data, output, methods=methods, split=split, slices=slices or None, segmenter=None if no_segmentation else segmenter,
                segment=not no_segmentation, patients=patients, ledger=ledger, allow_seen=allow_seen, workers=workers, device=device,
                weights=weights, progress=tell,
            )  # fmt: skip


def acceptance(  # noqa: PLR0913 - the options of a command
    *,
    mode: Annotated[list[str] | None, typer.Option(help="fast or full; may be given again; both by default.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for acceptance.json and acceptance.png.")] = None,
    strength: Annotated[float, typer.Option(min=0.0, max=1.0, help="0 to 1, as in `onenex denoise`: is less of it enough to pass?")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the phantom's noise: another seed, other scans.")] = 0,
    quick: Quick = False,
    device: Device = "auto",
    weights: JudgedWeights = None,
    threads: Threads = None,
) -> None:
    """Scan a phantom, denoise it, and ask what regulators ask: less noise, and everything else still there. Ends with 1 when a test fails."""
    with console.guard():
        from onenex.evaluate.acceptance.run import MODES, run

        with console.progress_bar() as tell:
            found = run(
                mode or MODES, output, strength=strength, seed=seed, quick=quick, device=device, weights=weights, threads=threads, progress=tell
            )
    raise typer.Exit(found.exit_code)
