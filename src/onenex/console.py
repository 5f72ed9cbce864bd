"""What the command line says and how it ends: exit codes, one-line errors, progress on stderr, tables."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from onenex.errors import DataError, OneNexError
from onenex.scan_time import Examination, ScanTime, examinations, summary

if TYPE_CHECKING:
    from onenex.results import RunReport, SeriesResult
    from onenex.series import Series


class ExitCode(IntEnum):
    """How a verb ends. 1 is left to what nobody foresaw, 2 is typer's own for a wrong command line."""

    DONE = 0
    UNHEALTHY = 1
    USAGE = 2
    CANNOT_START = 3
    NOTHING_TO_DENOISE = 4
    SOME_FAILED = 5
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


EXIT_CODES = (
    "Exit codes: 0 something was denoised and nothing failed; 2 wrong command line; 3 the input cannot be read, the output cannot be written or "
    "the weights cannot be used; 4 nothing to denoise (every series was skipped, see the reasons); 5 some series failed; 130 interrupted."
)


class Terminated(BaseException):
    """SIGTERM came; a BaseException, so that only the cleaning up on the way out sees it."""


def end_on_sigterm() -> None:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that no half output stays."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, handler)


@contextmanager
def guard(as_json: bool = False, kept: str = "nothing was written") -> Iterator[None]:
    """Turn errors into one line on stderr (and, with `as_json`, an object on stdout) and an exit code; `kept` says what an interruption leaves."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(ExitCode.BROKEN_PIPE) from None
    except (OneNexError, OSError) as error:
        fail(str(error), type(error).__name__, as_json=as_json)
        raise typer.Exit(ExitCode.CANNOT_START) from None
    except KeyboardInterrupt:
        fail(f"interrupted; {kept}", "Interrupted", as_json=as_json)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except Terminated:
        fail(f"terminated; {kept}", "Terminated", as_json=as_json)
        raise typer.Exit(ExitCode.TERMINATED) from None


@contextmanager
def usage() -> Iterator[None]:
    """Turn settings that make no sense together into what typer says of a wrong command line."""
    try:
        yield
    except DataError as error:
        raise typer.BadParameter(str(error)) from None


def fail(message: str, kind: str, *, as_json: bool) -> None:
    """Say what went wrong."""
    typer.echo(f"onenex: {' '.join(message.split())}", err=True)
    if as_json:
        print_json({"error": {"type": kind, "message": message}, "series": []})


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


@contextmanager
def progress_bar(what: str = "images") -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Yield a callback that draws a bar with the time left on stderr; None when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn(what), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def tell(description: str, done: int, total: int | None) -> None:
            bar.update(task, description=description[:40], completed=done, total=total)

        yield tell


def print_report(report: RunReport) -> None:
    """Print what became of each series, and where the page is."""
    for result in report.series:
        name = result.description or "no description"
        if result.status == "denoised":
            typer.echo(f"denoised  {name}: {_images(result.n_images)} in {result.seconds:.1f} s")
            for line in _details(result):
                typer.echo(f"          {line}")
        else:
            typer.echo(f"{result.status:9} {name}: {result.reason}")
    typer.echo(f"output    {report.output}")
    typer.echo(f"page      {report.page}")


def _details(result: SeriesResult) -> Iterator[str]:
    """Yield what there is to say of a denoised series: settings beyond the mode, guard, maps, notes."""
    settings = dict(result.settings)
    told = settings.pop("told", {})
    if "preset" in settings:
        yield f"mode {settings['mode']}, preset {settings['preset']}: {settings['steps']} steps, {_many(settings['samples'], 'sample')}"
    if told:
        yield "told: " + ", ".join(f"{name} {value}" for name, value in told.items())
    if not settings.get("guard", True):
        yield "guard off: nothing checked that the images stay faithful to the scan"
    elif result.guard is not None:
        yield f"guard: {result.guard.text()}"
    for name, files in result.maps.items():
        yield f"{name} map: {_many(len(files), 'file')}"
    for note in result.notes:
        yield f"note: {note}"


def report_code(report: RunReport) -> ExitCode:
    """Return how a run ends."""
    if report.count("failed"):
        return ExitCode.SOME_FAILED
    return ExitCode.DONE if report.count("denoised") else ExitCode.NOTHING_TO_DENOISE


def series_as_json(series: Series, reason: str | None) -> dict[str, Any]:
    """Describe a series for `inspect --json`."""
    acquisition = {name: getattr(series.acquisition, name) for name in series.acquisition.__dataclass_fields__ if name != "evidence"}
    return {
        "path": str(series.path),
        "series_uid": series.uid,
        "description": series.description,
        "number": series.number,
        "would": "skip" if reason else "denoise",
        "reason": reason,
        "n_images": series.n_images,
        "stacks": [
            {"label": stack.label, "slices": len(stack.frames), "rows": stack.rows, "columns": stack.columns, "spacing_mm": stack.spacing_mm}
            for stack in series.stacks
        ],
        "acquisition": acquisition,
        "evidence": dict(series.acquisition.evidence),
        "scan_time": None if series.scan_time is None else {"seconds": series.scan_time.seconds, "source": series.scan_time.source},
    }


def print_series(described: dict[str, Any]) -> None:
    """Print what `series_as_json` says, for people."""
    number = f"{described['number']} · " if described["number"] is not None else ""
    typer.echo(f"{number}{described['description'] or 'no description'} ({_images(described['n_images'])})")
    typer.echo(f"  {described['path']}")
    typer.echo(f"  would {described['would']}" + (f": {described['reason']}" if described["reason"] else ""))
    for stack in described["stacks"]:
        typer.echo(f"  {stack['label'] or 'stack'}: {stack['slices']} × {stack['rows']} × {stack['columns']}")
    for name, value in described["acquisition"].items():
        source = described["evidence"].get(name)
        typer.echo(f"  {name}: {'unknown' if value is None else value}" + (f"  ({source})" if source else ""))
    if described["scan_time"] is not None:
        typer.echo(f"  scan_time: {ScanTime(**described['scan_time']).text()}")


def print_scan_times(series: Sequence[Series]) -> None:
    """Print how many examinations there are and how long their scans took, skipped series aside; nothing where no header tells of time."""
    found = _examinations(series)
    if found:
        typer.echo(summary(found))


def examinations_as_json(series: Sequence[Series]) -> list[dict[str, Any]]:
    """Return the examinations that series add up to, skipped series aside."""
    return [
        {"study_uid": one.study, "scans": one.n_scans, "scans_timed": one.n_known, "seconds": one.seconds, "under_a_minute": one.under_a_minute}
        for one in _examinations(series)
    ]


def _examinations(series: Sequence[Series]) -> tuple[Examination, ...]:
    return examinations((one.study_uid, one.scan_time) for one in series if one.scan_time is not None and one.skip_reason is None)


def _images(n: int) -> str:
    return _many(n, "image")


def _many(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
