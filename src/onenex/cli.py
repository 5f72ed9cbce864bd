"""The `onenex` command: verbs only. Heavy packages are imported by the verb that needs them, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onenex import __version__, console
from onenex import cli_options as ask
from onenex.cli_batch import batch, batch_status
from onenex.cli_benchmark import Data, Device, Threads
from onenex.cli_costs import benchmark
from onenex.cli_evaluate import acceptance, evaluate
from onenex.cli_node import node
from onenex.cli_pairs import pairs
from onenex.cli_study import study

app = typer.Typer(
    name="onenex",
    help="Fast, noisy MRI scans in; reference-quality images out. For research use: not a medical device.",
    epilog=console.EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(benchmark, name="benchmark")
app.add_typer(pairs, name="pairs")
app.add_typer(node, name="node")
app.add_typer(study, name="study")
app.command()(batch)
app.command("batch-status")(batch_status)
app.command()(evaluate)
app.command()(acceptance)


Input = Annotated[Path, typer.Argument(metavar="IN", help="DICOM file, folder, DICOMDIR or zip, or NIfTI file or folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")] = False,
) -> None:
    pass


@app.command()
def denoise(  # noqa: PLR0913 - one parameter an option
    source: Input,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Folder to make; it appears when all is done.")],
    mode: ask.ModeOption = ask.Mode.FAST,
    preset: ask.PresetOption = None,
    steps: ask.Steps = None,
    samples: ask.Samples = None,
    uncertainty: ask.Uncertainty = False,
    no_guard: ask.NoGuard = False,
    guard_maps: ask.GuardMaps = False,
    organ: ask.Organ = None,
    vendor: ask.Vendor = None,
    sequence: ask.Sequence = None,
    acceleration: ask.Acceleration = None,
    strength: ask.Strength = 1.0,
    suffix: ask.Suffix = "",
    device: Device = "auto",
    engine: ask.EngineOption = ask.Engine.TORCH,
    weights: Annotated[Path | None, typer.Option(help="Weights file instead of the bundled one.")] = None,
    seed: ask.Seed = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Denoise every series of IN into the new folder OUT, with a QA page."""
    with console.guard(as_json):
        from onenex.pipeline import Options, denoise_path

        with console.usage():
            options = Options(
                mode=mode.value, preset=preset.value if preset else None, n_steps=steps, n_samples=samples,
                guard=not no_guard, strength=strength, seed=seed,
                uncertainty=uncertainty, guard_maps=guard_maps, organ=organ, vendor=vendor, sequence=sequence, acceleration=acceleration,
                engine=engine.value, suffix=suffix,
            )  # fmt: skip
        model = None
        if weights is not None:
            from onenex.model import load

            model = load(device, weights, engine=options.engine)
        with console.progress_bar() as progress:
            report = denoise_path(source, output, options, device=device, model=model, overwrite=overwrite, progress=progress)
        if as_json:
            console.print_json(report.as_json())
        else:
            console.print_report(report)
    raise typer.Exit(console.report_code(report))


@app.command()
def inspect(source: Input, as_json: Json = False) -> None:
    """List the series of IN, what `denoise` would do with each and why, and what is known of its acquisition."""
    with console.guard(as_json):
        from onenex.checks import refusal
        from onenex.inputs import read_series

        found = read_series(source)
        series = [console.series_as_json(one, refusal(one)) for one in found]
        if as_json:
            console.print_json({"series": series, "examinations": console.examinations_as_json(found)})
        else:
            for one in series:
                console.print_series(one)
            console.print_scan_times(found)
    raise typer.Exit(console.ExitCode.DONE if any(one["would"] == "denoise" for one in series) else console.ExitCode.NOTHING_TO_DENOISE)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make; one of an earlier demo is replaced.")] = Path("demo-output"),
    device: Device = "auto",
) -> None:
    """Scan a head phantom at NEX 1, denoise it and a real MR image, check the results and say what was gained."""
    with console.guard():
        from onenex.demo import run

        with console.progress_bar() as progress:
            result = run(output, device=device, progress=progress)
        typer.echo(result.text())
    raise typer.Exit(console.ExitCode.DONE if result.passed else console.ExitCode.UNHEALTHY)


@app.command()
def doctor(device: Device = "auto", as_json: Json = False) -> None:
    """Check this installation: versions, codecs, weights, device, and a timed slice. Ends with 1 if anything is amiss."""
    with console.guard(as_json):
        from onenex.doctor import examine

        diagnosis = examine(device)
        if as_json:
            console.print_json(diagnosis.as_json())
        else:
            typer.echo(diagnosis.text())
    raise typer.Exit(console.ExitCode.DONE if diagnosis.healthy else console.ExitCode.UNHEALTHY)


@app.command("weights")
def show_weights(
    file: Annotated[Path | None, typer.Argument(help="A weights file; the bundled one by default.", show_default=False)] = None, as_json: Json = False
) -> None:
    """Print a weights file's model card: what made it, from which scans, how well it did, what it is for and where it ends."""
    with console.guard(as_json):
        from onenex.model.weights import bundled_path, load_weights

        weights = load_weights(file)
        card = {"file": str(file or bundled_path()), "hash": weights.hash, **weights.card}
        if as_json:
            console.print_json(card)
        else:
            for name, value in card.items():
                typer.echo(f"{name}: {value}")


@app.command()
def train(  # noqa: PLR0913, PLR0917 - one parameter an option
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, e.g. restoration_cpu.")],
    data: Data,
    run_folder: Annotated[Path, typer.Option("--run", help="Folder for checkpoints, logs and the weights.")] = Path("runs/latest"),
    resume: Annotated[bool, typer.Option("--resume/--fresh", help="Go on from the last checkpoint in the run's folder, or begin anew.")] = True,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps; the recipe's own number by default.")] = None,
    threads: Threads = None,
    accumulate: Annotated[int, typer.Option(min=1, help="So many times the recipe's patches behind each step; processes share them.")] = 1,
    start: Annotated[Path | None, typer.Option(help="Weights file to begin at; random weights by default (site: the bundled ones).")] = None,
) -> None:
    """Train a network by a recipe. Ctrl-C keeps the last checkpoint."""
    with console.guard():
        from onenex.train import run

        weights = run(recipe, data, run_folder, resume=resume, steps=steps, threads=threads, accumulate=accumulate, start=start)
        typer.echo(f"weights   {weights}")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line."""
    console.end_on_sigterm()
    app()


if __name__ == "__main__":
    main()
