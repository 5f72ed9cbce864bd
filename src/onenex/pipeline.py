"""The product on one page: read → pixels → denoise → pixels → derive → write, with a QA page beside the result."""

from __future__ import annotations

import logging
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from onenex import __version__
from onenex.checks import check_size, read_stack, scale_of
from onenex.errors import DataError, ModelError, OneNexError, UnsupportedSeries
from onenex.inputs import read_series
from onenex.output import atomic_folder
from onenex.report.collect import Collector, Findings, representative
from onenex.report.page import Entry, pictures_per_series, render
from onenex.results import RunReport, SeriesResult
from onenex.series import Acquisition, Denoised, FloatImages, Provenance, Series, SliceStack

logger = logging.getLogger(__name__)

PAGE_NAME = "qa.html"
Progress = Callable[[str, int, int], None]
"""Called with (series description, images done, images to do in the whole run)."""


class Denoiser(Protocol):
    """What the pipeline needs of a model."""

    @property
    def weights_hash(self) -> str:
        """First 12 hex digits of the weights file's SHA-256."""

    def denoise(
        self,
        images: FloatImages,
        acquisition: Acquisition,
        *,
        mode: str,
        strength: float,
        seed: int,
        scale: float | None,
        progress: Callable[[int, int], None] | None,
    ) -> Denoised:
        """Denoise one stack (slice, row, column)."""


def denoise_path(  # noqa: PLR0913 - keyword-only settings
    source: Path | str,
    output: Path | str,
    *,
    mode: str = "fast",
    strength: float = 1.0,
    seed: int = 0,
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
    mode
        `fast`: one pass.
    strength
        0 (the stored pixels, bit for bit) … 1.
    seed
        Same seed, same images.
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
        The input holds no image, an argument is out of range, or the output cannot be written.
    ModelError
        The weights cannot be loaded.
    """
    started = time.monotonic()
    source, output = Path(source), Path(output)
    if not 0.0 <= strength <= 1.0:
        raise DataError(f"strength {strength} is outside 0 … 1")
    with atomic_folder(output, overwrite=overwrite, protect=(source,)) as folder:
        series = read_series(source)
        run = _Run(folder=folder, mode=mode, strength=strength, seed=seed, device=device, progress=progress, model=model)
        run.plan(series)
        done = [run.series(one) for one in series]
        entries = [Entry.of(one, result, findings, source) for one, (result, findings) in zip(series, done, strict=True)]
        (folder / PAGE_NAME).write_text(render(entries, run.settings(time.monotonic() - started)), encoding="utf-8")
    target = output.resolve()
    return RunReport(
        series=tuple(replace(result, outputs=tuple(target / path for path in result.outputs)) for result, _ in done),
        output=target,
        page=target / PAGE_NAME,
        seconds=time.monotonic() - started,
        version=__version__,
        weights_hash=run.model.weights_hash if run.model is not None else None,
        mode=mode,
        strength=strength,
        seed=seed,
    )


@dataclass(kw_only=True)
class _Run:
    """One run's settings, and how far it is."""

    folder: Path
    mode: str
    strength: float
    seed: int
    device: str
    progress: Progress | None
    model: Denoiser | None
    n_planned: int = 0
    n_done: int = 0
    n_pictures: int = 3
    n_published: int = 0

    def plan(self, series: list[Series]) -> None:
        """Count what is to do, and load the model if anything is."""
        todo = [one for one in series if one.skip_reason is None]
        self.n_planned = sum(one.n_images for one in todo)
        self.n_pictures = pictures_per_series([max((stack.rows * stack.columns for stack in one.stacks), default=0) for one in todo])
        if todo and self.model is None:
            from onenex.model import load

            self.model = load(device=self.device)

    @property
    def loaded(self) -> Denoiser:
        """The model, once `plan` has found work for it."""
        if self.model is None:
            raise ModelError("no model is loaded: call plan() first")
        return self.model

    def series(self, series: Series) -> tuple[SeriesResult, Findings | None]:
        """Denoise one series, or say why not. Its outputs are relative to the run's folder until that gets its final name."""
        started, staging = time.monotonic(), self.folder / ".onenex-part"
        status, reason, findings = "failed" if series.damaged else "skipped", series.skip_reason, None
        outputs: tuple[Path, ...] = ()
        end = self.n_done + (series.n_images if reason is None else 0)
        if reason is None:
            staging.mkdir()
            try:
                files, findings = self._denoise(series, staging)
                outputs, status = self._publish(staging, files), "denoised"
            except UnsupportedSeries as error:
                reason = str(error)
            except (OneNexError, MemoryError) as error:
                status, reason = "failed", str(error) or "not enough memory: give it to a machine with more"
            except OSError:
                raise  # the output cannot be written: that ends the run
            except Exception as error:  # a fault of ours in one series must not take the others with it
                status, reason = "failed", f"unexpected {type(error).__name__} at {_where(error)}: please report it"
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        self.n_done = end
        seconds = time.monotonic() - started
        logger.info("series status=%s images=%d seconds=%.2f", status, series.n_images, seconds)
        result = SeriesResult(
            path=series.path,
            series_uid=series.uid,
            description=series.description,
            status=status,
            reason=reason,
            n_images=series.n_images,
            outputs=outputs,
            seconds=round(seconds, 3),
        )
        return result, findings

    def settings(self, seconds: float) -> dict[str, str]:
        """Return what the page says of the run as a whole."""
        settings = {"mode": self.mode, "strength": f"{self.strength:g}", "seed": str(self.seed), "OneNEX": __version__}
        if self.model is not None:
            settings["weights"] = self.model.weights_hash
        return settings | {"time": f"{seconds:.1f} s", "made": time.strftime("%Y-%m-%d %H:%M")}

    def _denoise(self, series: Series, staging: Path) -> tuple[list[Path], Findings]:
        """Take the series through the model stack by stack, so that memory holds one stack at a time."""
        model = self.loaded
        for stack in series.stacks:
            check_size(stack)
        kept = read_stack(series, series.stacks[0]) if len(series.stacks) == 1 else None
        scale = scale_of(series, kept)
        provenance = Provenance(version=__version__, weights_hash=model.weights_hash, mode=self.mode, strength=self.strength, seed=self.seed)
        writer = series.source.writer(series, staging, provenance)
        collector = Collector(representative(series.n_images, self.n_pictures), scale)
        first = 0
        for stack in series.stacks:
            images = read_stack(series, stack) if kept is None else kept
            denoised = self._apply(images, series, scale)
            writer.write(stack, denoised.images)
            shown = collector.wants(first, len(images))
            labels = {index: _label(series, stack, index) for index in shown}
            collector.add(images, denoised, labels, {index: (_window(stack, index), _aspect(stack)) for index in shown})
            first += len(images)
            self.n_done += len(images)
        return writer.close(), collector.findings()

    def _apply(self, images: FloatImages, series: Series, scale: float) -> Denoised:
        """Denoise one stack, telling how far the run is."""

        def tell(done: int, total: int) -> None:
            if self.progress is not None:
                self.progress(series.description, self.n_done + done, self.n_planned)

        tell(0, len(images))
        return self.loaded.denoise(images, series.acquisition, mode=self.mode, strength=self.strength, seed=self.seed, scale=scale, progress=tell)

    def _publish(self, staging: Path, files: list[Path]) -> tuple[Path, ...]:
        """Move a finished series into the run's folder and return its files relative to that."""
        names: dict[str, str] = {}
        for entry in sorted(staging.iterdir()):
            self.n_published += 1
            name = entry.name if not (self.folder / entry.name).exists() and entry.name != PAGE_NAME else f"{self.n_published}-{entry.name}"
            entry.rename(self.folder / name)
            names[entry.name] = name
        parts = [file.relative_to(staging).parts for file in files]
        return tuple(Path(names[first], *rest) for first, *rest in parts)


def _where(error: Exception) -> str:
    """Return file and line that raised, without the message: that may quote the header."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def _label(series: Series, stack: SliceStack, index: int) -> str:
    return f"slice {index + 1} of {len(stack.frames)}" + (f", {stack.label}" if stack.label else "")


def _window(stack: SliceStack, index: int) -> tuple[float, float] | None:
    """Return the window that a DICOM image asks for."""
    from onenex.dicom.display import display_window

    frame = stack.frames[index]
    return display_window(frame) if frame.sop_instance_uid else None


def _aspect(stack: SliceStack) -> float:
    return stack.spacing_mm[1] / stack.spacing_mm[2] if stack.spacing_mm is not None and min(stack.spacing_mm[1:]) > 0 else 1.0
