"""What the verbs of `onenex pairs` do and print."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from onenex.errors import DataError
from onenex.pairs import check as checks
from onenex.pairs import summary as summaries
from onenex.pairs.build import Built, Progress, Settings
from onenex.pairs.build import build as build_folder
from onenex.pairs.finding.rules import Rules
from onenex.pairs.make import Making
from onenex.pairs.packing.deidentify import default_salt
from onenex.pairs.showing.contact import write_contact_sheet

SHEET = "sheet"
MOST_REASONS = 8


def build(  # noqa: PLR0913 - the options of a command
    source: Path,
    output: Path,
    *,
    index: Path | None = None,
    salt: Path | None = None,
    names: tuple[Sequence[str] | None, Sequence[str] | None] = (None, None),
    accelerations: Sequence[float] | None = None,
    owner: tuple[str, str] = ("", ""),
    test_share: float = 0.15,
    workers: int = 0,
    synthetic: bool = False,
    progress: Progress | None = None,
) -> Built:
    """Build a folder of pairs, write its contact sheet, and say what came of it.

    Parameters
    ----------
    index
        None = a file beside the default salt, one for each source.
    names
        Patterns of the descriptions of fast scans and of references; None = those of `Rules`.
    accelerations
        Settings made from repeats; None = 3, 2 and 1.5.
    owner
        Source and licence, as the card of weights trained on the folder will name them.

    Raises
    ------
    DataError
        As `pairs.build.build`; or an acceleration that is not above 1.
    """
    if any(one <= 1 for one in accelerations or ()):
        raise DataError(f"acceleration {min(accelerations or ()):g}: give numbers above 1")
    fast, reference = (tuple(patterns or ()) for patterns in names)
    rules = replace(Rules(), fast_names=fast or Rules().fast_names, reference_names=reference)
    making = Making(accelerations=tuple(accelerations or Making().accelerations), source=owner[0], licence=owner[1])
    settings = Settings(rules=rules, making=making, test_share=test_share, workers=workers, synthetic=synthetic)
    found = build_folder(source, output, index=index or default_index(source), salt=salt, settings=settings, progress=progress)
    sheet = write_contact_sheet(output, output / SHEET)
    _report(found, sheet)
    return found


def default_index(source: Path) -> Path:
    """Return where the index of a source lies unless the user says otherwise: beside the salt, never with what is built."""
    name = hashlib.sha256(str(source.absolute()).encode()).hexdigest()[:16]
    return default_salt().with_name("pairs-index") / f"{name}.sqlite"


def _report(found: Built, sheet: Path) -> None:
    """Print what a build found, a line for each thing that a user would ask."""
    screen, scanned = Console(soft_wrap=True, highlight=False), found.scanned
    unread = {"damaged": scanned.n_unreadable, "in archives, not opened": scanned.n_archives, "no DICOM": scanned.n_other, "copies": scanned.n_copies}
    counts = [f"{scanned.n_files} files ({scanned.n_new} new or changed)", f"{scanned.n_series} series"]
    screen.print(", ".join(counts + [f"{n} {what}" for what, n in unread.items() if n]))
    screen.print(
        f"{found.n_pairs} pairs, {found.n_repeats} sets of repeats, {found.n_synthetic} to simulate; {found.n_rejected} neither (rejected.jsonl)"
    )
    screen.print(f"{found.n_accepted} slice pairs accepted in all, {found.n_new} rows new")
    for reason, n in found.reasons.most_common(MOST_REASONS):
        screen.print(f"  not accepted: {n} × {reason}", markup=False)
    screen.print(f"manifest {found.folder / 'pairs.parquet'}\nsheet    {sheet}", markup=False)


def summary(folder: Path, output: Path | None = None) -> None:
    """Print the counts of a folder, and draw them to `output`."""
    found = summaries.summarise(folder)
    screen = Console()
    screen.print(summaries.headline(found))
    for table in summaries.tables(found):
        screen.print(table)
    if output is not None:
        summaries.plot(folder, output)
        screen.print(str(output), markup=False)


def check(folder: Path) -> None:
    """Print what is wrong with a folder.

    Raises
    ------
    DataError
        Something is.
    """
    problems = checks.check(folder)
    screen = Console(soft_wrap=True, highlight=False)
    for problem in problems:
        screen.print(str(problem), markup=False)
    if problems:
        raise DataError(f"{folder}: {len(problems)} problems, see above: build it again, or fetch the files named from where it was built")
    screen.print(f"{folder}: nothing is wrong with it", markup=False)
