"""The `onenex benchmark` verbs that measure what the work costs: time, memory, machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onenex import console
from onenex.cli_benchmark import Data, JudgedWeights, Quick, Threads, benchmark

__all__ = ["benchmark"]


@benchmark.command("archive")
def archive_benchmark(
    *,
    files: Annotated[int, typer.Option(min=1, help="How many DICOM files to generate.")] = 100_000,
    folder: Annotated[Path, typer.Option("--folder", help="Where they are made; 4 kB each, removed in the end.")] = Path("archive-speed"),
    workers: Annotated[int, typer.Option(min=0, help="Processes beside this one.")] = 2,
) -> None:
    """Generate a DICOM tree and index it twice, as `onenex pairs build` does: files a second, memory, and what the second time costs."""
    with console.guard():
        from onenex.evaluate.costs.archive import measure

        typer.echo(str(measure(files, folder, workers=workers)))


@benchmark.command("batch")
def batch_benchmark(
    *,
    series: Annotated[int, typer.Option(min=1, help="How many series to generate.")] = 12,
    slices: Annotated[int, typer.Option(min=1, help="Slices of each, 256 × 256.")] = 10,
    workers: Annotated[int, typer.Option(min=2, help="How many workers are compared with one.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="How often, by turns.")] = 3,
    folder: Annotated[Path, typer.Option("--folder", help="Where they are made; removed in the end.")] = Path("batch-speed"),
) -> None:
    """Generate an archive and denoise it with one worker and with several: how many times as fast is that?"""
    with console.guard():
        from onenex.evaluate.costs.batch import measure

        typer.echo(str(measure(folder, n_series=series, n_slices=slices, workers=workers, rounds=rounds)))


@benchmark.command()
def cohort(
    *,
    images: Annotated[list[int] | None, typer.Option(min=1, help="How many images; may be given again; 2,000 and 50,000 by default.")] = None,
) -> None:
    """Print the peak memory of `onenex evaluate` on generated cohorts of different sizes: it must not grow with them."""
    with console.guard():
        from onenex.evaluate.costs.cohort import SIZES, measure

        for one in measure(images or SIZES):
            typer.echo(str(one))


@benchmark.command()
def profile(
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file.")] = None,
    mode: Annotated[str, typer.Option(help="fast or full.")] = "fast",
    slices: Annotated[int, typer.Option(min=1, help="Slices of 256 × 256 a round.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the least CPU time and the median time count.")] = 5,
    engine: Annotated[str, typer.Option(help="What runs the networks, as in onenex denoise.")] = "torch",
    weights: JudgedWeights = None,
    threads: Threads = None,
) -> None:
    """Print where the time of a slice goes, and how far the networks are from this machine's peak."""
    with console.guard():
        from onenex.evaluate.costs.profile import run
        from onenex.model import load

        _use(threads)
        run(load("cpu", weights, engine=engine), output, mode=mode, rounds=rounds, slices=slices)


@benchmark.command()
def series(
    *,
    slices: Annotated[int, typer.Option(min=1, help="Slices of 256 × 256, a file each.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="How often, by turns.")] = 3,
    folder: Annotated[Path, typer.Option("--folder", help="Where they are made; removed in the end.")] = Path("series-speed"),
    weights: JudgedWeights = None,
    threads: Threads = None,
) -> None:
    """Time a DICOM series from files to files in mode fast, against the model and the networks alone."""
    with console.guard():
        from onenex.evaluate.costs.series import measure
        from onenex.model import load

        _use(threads)
        typer.echo(str(measure(load("cpu", weights), folder, n_slices=slices, rounds=rounds)))


@benchmark.command()
def capacity(
    *,
    fast_ms: Annotated[float, typer.Option(min=0.1, help="CPU time of a slice in mode fast, read and written, ms; `benchmark profile` measures.")],
    full_ms: Annotated[float, typer.Option(min=0.1, help="The same in mode full.")],
) -> None:
    """Print what a hospital, a country and an archive take: machines, money, disk, network, failures; from what a slice costs."""
    with console.guard():
        from onenex.evaluate.costs.capacity import DEMANDS, Cost, plan, table

        cost = Cost(fast_s=fast_ms / 1000, full_s=full_ms / 1000)
        typer.echo(table([plan(demand, cost, mode) for demand in DEMANDS for mode in ("fast", "full")]))


@benchmark.command()
def engines(
    data: Data,
    *,
    names: Annotated[str, typer.Option("--engines", help="With commas: onnx, bfloat16, int8, int8-restoration, int8-noise.")] = "onnx,bfloat16,int8",
    quick: Quick = False,
    weights: JudgedWeights = None,
) -> None:
    """Compare other engines with torch on every file of DATA/test, mode fast: their time, and what they cost the images."""
    with console.guard():
        from onenex.evaluate.costs.engines import run

        run(data, names.split(","), quick=quick, weights=weights)


def _use(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
