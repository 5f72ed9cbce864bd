"""The product on one page: read → pixels → denoise → pixels → derive → write, with a QA page beside the result."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from onenex import __version__
from onenex.ahead import Ahead
from onenex.inputs import read_series
from onenex.options import Options
from onenex.output import atomic_folder
from onenex.report.page import Entry, render
from onenex.results import RunReport, SeriesResult
from onenex.work import PAGE_NAME, Denoiser, Progress, Run

__all__ = ["Denoiser", "Options", "Progress", "denoise_path"]


def denoise_path(  # noqa: PLR0913 - keyword-only settings
    source: Path | str,
    output: Path | str,
    options: Options | None = None,
    *,
    mode: str | None = None,
    strength: float | None = None,
    seed: int | None = None,
    device: str = "auto",
    model: Denoiser | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RunReport:
    """Denoise every series of a file or folder into a new folder, and write the QA page there.

    A series that must not or cannot be denoised is reported and leaves nothing behind; the others go on. The input is
    never written to, and `output` appears only when all is done.

    Parameters
    ----------
    source
        DICOM file, folder, DICOMDIR or zip, or NIfTI file or folder of them; told apart by content.
    output
        Folder to make.
    options
        Mode, strength, guard, maps, and what to believe instead of the headers; None means mode `fast` with the guard on.
    mode, strength, seed
        For short: these fields of `options`, which they replace.
    device
        `auto`, `cpu` or `cuda`; used when `model` is None.
    model
        A loaded model; None loads the bundled weights, once a series calls for it.
    overwrite
        Replace an `output` that exists.
    progress
        Told after every few images.

    Raises
    ------
    DataError
        The input holds no image, the options contradict each other, or the output cannot be written.
    ModelError
        The weights cannot be loaded, or don't know the mode.
    """
    started = time.monotonic()
    source, output = Path(source), Path(output)
    given = {name: value for name, value in (("mode", mode), ("strength", strength), ("seed", seed)) if value is not None}
    options = replace(options or Options(), **given)  # type: ignore[arg-type]
    with atomic_folder(output, overwrite=overwrite, protect=(source,)) as folder, Ahead() as ahead:
        series = [replace(one, acquisition=options.corrected(one.acquisition)) for one in read_series(source)]
        run = Run(folder=folder, options=options, device=device, progress=progress, model=model, ahead=ahead)
        run.plan(series)
        done = [run.series(one) for one in series]
        entries = [Entry.of(one, result, findings, source) for one, (result, findings) in zip(series, done, strict=True)]
        (folder / PAGE_NAME).write_text(render(entries, run.settings(time.monotonic() - started)), encoding="utf-8")
    target = output.resolve()
    return RunReport(
        series=tuple(_moved(result, target) for result, _ in done),
        output=target,
        page=target / PAGE_NAME,
        seconds=time.monotonic() - started,
        version=__version__,
        weights_hash=run.model.weights_hash if run.model is not None else None,
        mode=options.mode,
        strength=options.strength,
        seed=options.seed,
    )


def _moved(result: SeriesResult, target: Path) -> SeriesResult:
    """Return the result with its files where they ended up."""
    maps = {name: tuple(target / path for path in paths) for name, paths in result.maps.items()}
    return replace(result, outputs=tuple(target / path for path in result.outputs), maps=maps)
