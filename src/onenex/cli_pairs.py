"""`onenex pairs`: from a hospital's folders to training pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onenex import console

pairs = typer.Typer(help="Training pairs from a hospital's own scans.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder that `onenex pairs build` made.")]


@pairs.command()
def build(  # noqa: PLR0913 - the options of a command
    source: Annotated[Path, typer.Argument(help="Folder of DICOM files, any structure.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pairs; what is there is added to.")],
    index: Annotated[
        Path | None, typer.Option(help="File that remembers what the headers say. It names patients: keep it where they may be named.")
    ] = None,
    salt: Annotated[Path | None, typer.Option(help="File with the key of the hashes, made when missing. Keep it, and keep it apart.")] = None,
    fast: Annotated[list[str] | None, typer.Option(help="Pattern of a fast scan's description, e.g. '*FAST*'; may be given again.")] = None,
    reference: Annotated[list[str] | None, typer.Option(help="Pattern of a reference's description; may be given again.")] = None,
    acceleration: Annotated[list[float] | None, typer.Option(help="Setting to make from repeats: 3, 2, 1.5.")] = None,
    owner: Annotated[str, typer.Option(help="Whose scans these are: the card of weights trained on them says so.")] = "",
    licence: Annotated[str, typer.Option(help="What may be done with them, likewise.")] = "",
    test_share: Annotated[float, typer.Option(min=0, max=1, help="Share of the patients kept for testing.")] = 0.15,
    workers: Annotated[int, typer.Option(min=0, help="Processes beside this one.")] = 0,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Also simulate fast scans of references that have none.")] = False,
) -> None:
    """Find fast scans with their references, and repeats; bring them to one grid, judge them, and pack what is good enough to learn from."""
    with console.guard():
        from onenex.pairs.verbs import build as run

        with console.progress_bar() as tell:
            run(
                source, output, index=index, salt=salt, names=(fast, reference), accelerations=acceleration, owner=(owner, licence),
                test_share=test_share, workers=workers, synthetic=synthetic, progress=tell,
            )  # fmt: skip


@pairs.command()
def summary(
    folder: Folder,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="PNG to draw the counts to.")] = None,
) -> None:
    """Print what a folder holds, by organ, vendor, sequence and acceleration."""
    with console.guard():
        from onenex.pairs.verbs import summary as run

        run(folder, output)


@pairs.command()
def check(folder: Folder) -> None:
    """Verify a folder: every shard, every row, and that train and test share no patient and no image."""
    with console.guard():
        from onenex.pairs.verbs import check as run

        run(folder)
