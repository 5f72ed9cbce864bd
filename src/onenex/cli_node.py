"""`onenex node`: the DICOM node between scanner and PACS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onenex import console

node = typer.Typer(help="A DICOM node between scanner and PACS: originals go on untouched, denoised series beside them.", no_args_is_help=True)

Config = Annotated[Path, typer.Argument(help="The node's configuration, node.toml.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@node.command()
def serve(config: Config) -> None:
    """Run the node until it is stopped (Ctrl-C, SIGTERM). Kill it when you must: what a scanner was told is kept, is kept."""
    with console.guard():
        from onenex.node.verbs import serve as run

        run(config)


@node.command()
def check(
    config: Config,
    folder: Annotated[Path | None, typer.Argument(help="Folder of DICOM files: print what would happen to each of its series.")] = None,
) -> None:
    """Check a configuration, and what its rules would do."""
    with console.guard():
        from onenex.node.check import check as run

        run(config, folder)


@node.command()
def status(
    config: Config,
    *,
    as_json: Json = False,
    limit: Annotated[int, typer.Option(min=1, help="Series to list, the latest first.")] = 20,
) -> None:
    """Print what the node has, and what waits."""
    with console.guard(as_json):
        from onenex.node.verbs import status as run

        run(config, limit=limit, as_json=as_json)


@node.command()
def retry(
    config: Config,
    series: Annotated[list[int] | None, typer.Argument(help="Numbers of series as `onenex node status` prints them.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every failed series.")] = False,
) -> None:
    """Start failed series again."""
    with console.guard():
        from onenex.node.verbs import retry as run

        run(config, series or [], every=every)


@node.command()
def pause(config: Config) -> None:
    """Stop denoising and sending; images are still received."""
    with console.guard():
        from onenex.node.verbs import pause as run

        run(config, on=True)


@node.command()
def resume(config: Config) -> None:
    """Go on after a pause."""
    with console.guard():
        from onenex.node.verbs import pause as run

        run(config, on=False)


@node.command()
def password(user: Annotated[str, typer.Argument(help="Name of the user.")]) -> None:
    """Ask for a password and print the line for the status page's password file."""
    with console.guard():
        from onenex.node.verbs import password as run

        run(user)


@node.command()
def audit(config: Config) -> None:
    """Check that nobody changed the audit trail, and print how many events it holds."""
    with console.guard():
        from onenex.node.verbs import audit as run

        run(config)
