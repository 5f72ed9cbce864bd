"""`onenex batch`: whole archives, on one machine or many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onenex import cli_options as ask
from onenex import console
from onenex.cli_benchmark import Device

if TYPE_CHECKING:
    from onenex.batch.job import Job, Outcome, Tell
    from onenex.batch.unit import Access

_KEPT = "what is done is kept, and the same command goes on from there"


def batch(  # noqa: PLR0913 - one parameter an option
    source: Annotated[str, typer.Argument(metavar="SRC", help="Folder, zip, manifest (CSV or Parquet), URL, or dicomweb+https://HOST/PATH?QUERY.")],
    *,
    output: Annotated[str, typer.Option("--output", "-o", metavar="DST", help="Folder or URL; a run that was stopped goes on there.")],
    ray: Annotated[str | None, typer.Option(help="Use Ray: 'local', or the address of a cluster.", show_default=False)] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes (Ray: actors); one a core by default. 0: this process alone.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many series.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Also try again what failed in earlier runs.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Do everything again if options or weights are others than before.")] = False,
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
    seed: ask.Seed = 0,
    device: Device = "auto",
    engine: ask.EngineOption = ask.Engine.TORCH,
    weights: Annotated[Path | None, typer.Option(help="Weights file instead of the bundled one.")] = None,
    user: Annotated[str | None, typer.Option(help="Of the DICOMweb server.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="File with that user's password.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with a bearer token for the DICOMweb server.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Denoise an archive of any size, series by series, into DST with a ledger; the same command again does what is missing."""
    with console.guard(as_json, _KEPT):
        from onenex.batch.job import Job
        from onenex.options import Options

        with console.usage():
            options = Options(
                mode=mode.value, preset=preset.value if preset else None, n_steps=steps, n_samples=samples,
                guard=not no_guard, strength=strength, seed=seed,
                uncertainty=uncertainty, guard_maps=guard_maps, organ=organ, vendor=vendor, sequence=sequence, acceleration=acceleration,
                engine=engine.value, suffix=suffix,
            )  # fmt: skip
        access = _access(user, password_file, token_file)
        job = Job(
            source=source, destination=output, options=options, device=device, weights=weights, access=access, limit=limit, retry=retry,
            overwrite=overwrite,
        )  # fmt: skip
        with console.progress_bar("series") as tell:
            outcome = _run(job, ray, workers, tell)
        if as_json:
            console.print_json(outcome.as_json())
        else:
            _print(outcome)
    raise typer.Exit(_code(outcome))


def batch_status(
    destination: Annotated[str, typer.Argument(metavar="DST", help="Destination of `onenex batch`; a run may be under way there.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Count the ledger of a batch: series by status, slices, bytes, time, machines, and why series were skipped or failed."""
    with console.guard(as_json):
        from onenex.batch.summary import summarise

        summary = summarise(destination)
        if as_json:
            console.print_json(summary.as_json())
        else:
            for line in summary.lines():
                typer.echo(line)


def _run(job: Job, ray: str | None, workers: int | None, tell: Tell | None) -> Outcome:
    if ray is None:
        from onenex.batch.local import run

        return run(job, workers=workers, tell=tell)
    from onenex import cluster

    return cluster.run(job, address=ray, workers=None if workers is None else cluster.Workers(most=workers), tell=tell)


def _access(user: str | None, password_file: Path | None, token_file: Path | None) -> Access | None:
    from onenex.batch.unit import Access

    if (user is None) != (password_file is None):
        raise typer.BadParameter("--user and --password-file belong together")
    if user is not None and token_file is not None:
        raise typer.BadParameter("give a user with a password, or a token")
    if user is None and token_file is None:
        return None
    return Access(user=user, password=_secret(password_file), token=_secret(token_file))


def _secret(path: Path | None) -> str | None:
    from onenex.errors import DataError

    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}): it should hold the password or token, and nothing else") from error


def _print(outcome: Outcome) -> None:
    units, seconds = outcome.units, max(outcome.seconds, 1e-9)
    if not units:
        typer.echo("nothing was left to do")
    else:
        typer.echo(f"series    {units['denoised']} denoised, {units['skipped']} skipped, {units['failed']} failed in {outcome.seconds:.1f} s")
        typer.echo(f"slices    {outcome.slices}, {outcome.slices / seconds:.1f} a second")
    typer.echo(f"archive   {outcome.destination}")


def _code(outcome: Outcome) -> console.ExitCode:
    """Return how a run ends; one that found everything done ends well."""
    if outcome.units["failed"]:
        return console.ExitCode.SOME_FAILED
    return console.ExitCode.NOTHING_TO_DENOISE if outcome.units["skipped"] and not outcome.units["denoised"] else console.ExitCode.DONE
