"""The `onenex benchmark` verbs, and the options that other verbs share with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onenex import console

benchmark = typer.Typer(help="Measure OneNEX against other tools on real scans.", no_args_is_help=True)

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Data = Annotated[Path, typer.Option(help="Folder with manifest.csv, train/ and test/.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores by default.")]
Quick = Annotated[bool, typer.Option("--quick", help="A few rows only, to see that everything works: no result.")]
JudgedWeights = Annotated[Path | None, typer.Option("--weights", help="Weights file to judge instead of the bundled one.")]


@benchmark.command()
def denoisers(
    data: Data,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for CSV, JSON and the growth plot.")] = None,
    methods: Annotated[str | None, typer.Option(help="Peers, with commas: nlm-classic,tv,u-net …; the six classical ones by default.")] = None,
    quick: Quick = False,
    device: Device = "auto",
    weights: JudgedWeights = None,
    threads: Threads = None,
) -> None:
    """Print one table: OneNEX and its peers on every file of DATA/test, then speed and memory."""
    with console.guard():
        from onenex.evaluate.denoisers.run import run

        chosen = None if methods is None else methods.split(",")
        run(data, output, chosen, quick, device=device, weights=weights, threads=threads)


@benchmark.command()
def noise(
    data: Data,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the table as CSV.")] = None,
    quick: Quick = False,
    device: Device = "auto",
    weights: JudgedWeights = None,
    threads: Threads = None,
) -> None:
    """Print how right the estimated noise is, on every clean file of DATA/test."""
    with console.guard():
        from onenex.evaluate.noise.table import run

        run(data, output, quick, device=device, weights=weights, threads=threads)


@benchmark.command()
def ablation(
    data: Data,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for CSV, JSON and Markdown; a stopped run goes on from there.")
    ] = None,
    quick: Quick = False,
    slices: Annotated[int, typer.Option(min=1, help="Slices of each input, in units of 256 × 256 pixels.")] = 2,
    device: Device = "auto",
    weights: JudgedWeights = None,
    threads: Threads = None,
) -> None:
    """Print what each part of the unified model is worth, on every file of DATA/test."""
    with console.guard():
        from onenex.evaluate.ablation.run import run

        run(data, output, quick=quick, slices=slices, device=device, weights=weights, threads=threads)


@benchmark.command()
def steps(
    data: Data,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for CSV, JSON and the plot.")],
    search: Annotated[bool, typer.Option("--search", help="Measure a grid of presets instead of numbers of steps.")] = False,
    slices: Annotated[int, typer.Option(min=1, help="How many slices of clean training files.")] = 24,
    device: Device = "auto",
    weights: JudgedWeights = None,
    threads: Threads = None,
) -> None:
    """Measure mode full by its number of steps, or by its preset, on the slices of DATA/train that training holds out."""
    with console.guard():
        from onenex.evaluate.ablation.steps import GRID, run
        from onenex.evaluate.ablation.steps import search as search_presets

        if search:
            search_presets(GRID, data, output, n_slices=slices, device=device, weights=weights, threads=threads)
        else:
            run(data, output, n_slices=slices, device=device, weights=weights, threads=threads)


@benchmark.command()
def scanner(
    data: Data,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the table as CSV.")] = None,
    split: Annotated[str, typer.Option(help="test, or train: the slices that training holds out.")] = "test",
    weights: JudgedWeights = None,
    threads: Threads = None,
) -> None:
    """Print how well the learnt scanner foresees fast scans: mean and standard deviation, by file and by intensity."""
    with console.guard():
        from onenex.evaluate.noise.calibration import run

        run(data, output, split=split, weights=weights, threads=threads)


@benchmark.command()
def limits(
    data: Data,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the table as CSV.")] = None,
    weights: JudgedWeights = None,
    threads: Threads = None,
) -> None:
    """Print what holds mode fast back: the noise map, a single look, or the references' own noise; on DATA/train."""
    with console.guard():
        from onenex.evaluate.denoisers.limits import run

        run(data, output, weights=weights, threads=threads)


@benchmark.command("guard")
def guard_benchmark(  # noqa: PLR0913 - the options of a command
    data: Data,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for CSV, JSON and the curves.")] = None,
    quick: Quick = False,
    mode: Annotated[str, typer.Option(help="Whose results are judged: fast or full.")] = "fast",
    split: Annotated[str, typer.Option(help="test, or train: slices that limits may be chosen on.")] = "test",
    device: Device = "auto",
    weights: JudgedWeights = None,
    threads: Threads = None,
) -> None:
    """Print how many honest slices the guard touches and how much planted damage it catches, on DATA/test."""
    with console.guard():
        from onenex.evaluate.guard.table import run

        run(data, output, quick, mode=mode, split=split, device=device, weights=weights, threads=threads)


@benchmark.command()
def pictures(
    data: Data,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures, PNG.")],
    quick: Annotated[bool, typer.Option("--quick", help="The first organ only, to see that everything works.")] = False,
    weights: Annotated[Path | None, typer.Option("--weights", help="Weights file to look at instead of the bundled one.")] = None,
    threads: Threads = None,
) -> None:
    """Draw what the model does to scans of DATA/test, organ by organ, and what scanner model and prior know."""
    with console.guard():
        from onenex.evaluate.pictures.run import run

        run(data, output, quick, weights=weights, threads=threads)


@benchmark.command()
def peers(
    data: Data,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the table as CSV.")] = None,
    methods: Annotated[str | None, typer.Option(help="Classical peers, with commas; all by default.")] = None,
    threads: Threads = None,
) -> None:
    """Search for the classical peers' best settings on held-out slices of DATA/train: every setting tried, and which wins."""
    with console.guard():
        from onenex.evaluate.peers.search import run

        run(data, output, None if methods is None else methods.split(","), threads=threads)


@benchmark.command("learnt-peers")
def learnt_peers(
    data: Data,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for what was measured; a stopped search goes on from there.")],
    methods: Annotated[str | None, typer.Option(help="Samplers, with commas: DDPM,DPS,RED-diff; all by default.")] = None,
    threads: Threads = None,
) -> None:
    """Search for the learnt peers' best sampler settings, likewise."""
    with console.guard():
        from onenex.evaluate.peers.search_learnt import run

        run(data, output, None if methods is None else methods.split(","), threads=threads)
