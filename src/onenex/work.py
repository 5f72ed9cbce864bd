"""The work of one run: series by series, stack by stack, each with its own answer."""

from __future__ import annotations

import logging
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from onenex import __version__
from onenex.ahead import Ahead, Behind
from onenex.checks import check_size, scale_of
from onenex.errors import ModelError, OneNexError, UnsupportedSeries
from onenex.options import Options
from onenex.report.collect import Collector, Findings, Look, representative
from onenex.report.page import pictures_per_series
from onenex.results import SeriesResult
from onenex.series import DEFAULT_SUFFIX, Acquisition, Denoised, FloatImages, Provenance, Series, SliceStack
from onenex.writers import Writers

if TYPE_CHECKING:
    from onenex.model.modes import Settings

logger = logging.getLogger(__name__)

PAGE_NAME = "qa.html"
Progress = Callable[[str, int, int], None]
"""Called with (series description, images done, images to do in the whole run)."""


class Denoiser(Protocol):
    """What the pipeline needs of a model."""

    @property
    def weights_hash(self) -> str:
        """First 12 hex digits of the weights file's SHA-256."""

    @property
    def engine(self) -> str:
        """What runs its networks."""

    def denoise(
        self,
        images: FloatImages,
        acquisition: Acquisition,
        *,
        mode: Settings,
        strength: float,
        seed: int,
        scale: float | None,
        progress: Callable[[int, int], None] | None,
    ) -> Denoised:
        """Denoise one stack (slice, row, column)."""


@dataclass(frozen=True, kw_only=True)
class _Done:
    """A series that was denoised."""

    outputs: tuple[Path, ...]
    """Relative to the run's folder, which gets its final name at the end; so are those of `maps`."""
    maps: dict[str, tuple[Path, ...]]
    provenance: Provenance
    findings: Findings


@dataclass(kw_only=True)
class Run:
    """One run's settings, and how far it is."""

    folder: Path
    options: Options
    device: str
    progress: Progress | None
    model: Denoiser | None
    ahead: Ahead
    n_planned: int = 0
    n_done: int = 0
    n_pictures: int = 3
    n_published: int = 0
    _following: dict[str, Series] = field(default_factory=dict)
    """UID of a series to denoise → the one to denoise after it."""

    def plan(self, series: list[Series]) -> None:
        """Count what is to do, load the model if anything is, and let it refuse a mode that its weights don't know.

        Raises
        ------
        ModelError
            The weights cannot be loaded or don't know the mode.
        """
        todo = [one for one in series if one.skip_reason is None]
        self._following = {one.uid: other for one, other in pairwise(todo)}
        self.n_planned = sum(one.n_images for one in todo)
        pixels = [max((stack.rows * stack.columns for stack in one.stacks), default=0) for one in todo]
        self.n_pictures = pictures_per_series(pixels, n_maps=int(self.options.uncertainty) + int(self.options.guard))
        if todo and self.model is None:
            from onenex.model import load

            self.model = load(device=self.device, engine=self.options.engine)
        if todo and self.options.mode != "fast":  # once for all, not series by series; a slice without contrast costs nothing
            self._ask(np.zeros((1, 16, 16), np.float32), Acquisition(), 1.0, None)

    @property
    def loaded(self) -> Denoiser:
        """The model, once `plan` has found work for it."""
        if self.model is None:
            raise ModelError("no model is loaded: call plan() first")
        return self.model

    def series(self, series: Series) -> tuple[SeriesResult, Findings | None]:
        """Denoise one series, or say why not. Its outputs are relative to the run's folder until that gets its final name."""
        started, end = time.monotonic(), self.n_done + (series.n_images if series.skip_reason is None else 0)
        status, reason, done, transient = "failed" if series.damaged else "skipped", series.skip_reason, None, False
        if reason is None:
            try:
                done, status = self._denoise(series), "denoised"
            except UnsupportedSeries as error:
                reason = str(error)
            except OneNexError as error:
                status, reason = "failed", str(error)
            except MemoryError as error:
                status, reason, transient = "failed", str(error) or "not enough memory: give it to a machine with more", True
            except OSError:
                raise  # the output cannot be written: that ends the run
            except Exception as error:  # a fault of ours in one series must not take the others with it
                status, reason, transient = "failed", f"unexpected {type(error).__name__} at {_where(error)}: please report it", True
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
            outputs=(),
            seconds=round(seconds, 3),
            transient=transient,
        )
        return (result, None) if done is None else (_completed(result, done, self.options), done.findings)

    def settings(self, seconds: float) -> dict[str, str]:
        """Return what the page says of the run as a whole."""
        settings = {"OneNEX": __version__}
        if self.model is not None:
            said = self._provenance().settings()
            told = said.pop("told", {})
            settings = {name: _words(value) for name, value in said.items()} | settings
            settings |= {f"{name} (told)": value for name, value in told.items()} if isinstance(told, dict) else {}
            settings["weights"] = self.model.weights_hash
        return settings | {"time": f"{seconds:.1f} s", "made": time.strftime("%Y-%m-%d %H:%M")}

    def _settings(self) -> Settings:
        from onenex.model.modes import Settings

        options = self.options
        return Settings(
            mode=options.mode, preset=options.preset or "default", n_steps=options.n_steps, n_samples=options.samples, guard=options.guard
        )

    def _provenance(self) -> Provenance:
        from onenex.model.reddiff import PRESETS

        options, preset = self.options, self.options.preset or "default"
        guided = options.mode != "fast"
        return Provenance(
            version=__version__,
            weights_hash=self.loaded.weights_hash,
            mode=options.mode,
            strength=options.strength,
            seed=options.seed,
            preset=preset if guided else None,
            n_steps=(options.n_steps or PRESETS[preset].n_steps) if guided else None,
            n_samples=options.samples,
            guard=options.guard,
            engine=self.loaded.engine,
            told=options.told,
            description_suffix=f"{DEFAULT_SUFFIX} {options.suffix}".strip(),
        )

    def _denoise(self, series: Series) -> _Done:
        """Take the series through the model stack by stack: while it works on one, the next is read and the last one written."""
        for stack in series.stacks:
            check_size(stack)
        staging = self.folder / ".onenex-part"
        staging.mkdir()
        try:
            kept = self.ahead.take(series, series.stacks[0]) if len(series.stacks) == 1 else None
            scale, provenance = scale_of(series, kept), self._provenance()
            writers = Writers(series=series, folder=staging, provenance=provenance, maps=self.options.maps, scale=scale)
            collector = Collector(representative(series.n_images, self.n_pictures), scale)
            with Behind() as behind:
                for place, stack in enumerate(series.stacks):
                    images = self.ahead.take(series, stack) if kept is None else kept
                    self._read_on(series, place + 1)
                    denoised = self._ask(images, series.acquisition, scale, series.description)
                    behind.do(writers.write, stack, denoised)
                    collector.add(images, denoised, [_label(stack, index) for index in range(len(images))], partial(_look, stack))
                    self.n_done += len(images)
            files, maps = writers.close()
            names = self._publish(staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return _Done(
            outputs=_renamed(files, staging, names),
            maps={str(kind): _renamed(paths, staging, names) for kind, paths in maps.items()},
            provenance=provenance,
            findings=collector.findings(),
        )

    def _read_on(self, series: Series, place: int) -> None:
        """Begin to read the stack that comes next, of this series or the following; one of several stacks is measured first."""
        following = self._following.get(series.uid)
        if place < len(series.stacks):
            self.ahead.begin(series, series.stacks[place])
        elif following is not None and len(following.stacks) == 1:
            self.ahead.begin(following, following.stacks[0])

    def _ask(self, images: FloatImages, acquisition: Acquisition, scale: float, description: str | None) -> Denoised:
        """Denoise one stack, telling how far the run is when there is a description to tell it of."""

        def tell(done: int, total: int) -> None:
            if self.progress is not None and description is not None:
                self.progress(description, self.n_done + done, self.n_planned)

        tell(0, len(images))
        options = self.options
        return self.loaded.denoise(
            images, acquisition, mode=self._settings(), strength=options.strength, seed=options.seed, scale=scale, progress=tell
        )

    def _publish(self, staging: Path) -> dict[str, str]:
        """Move a finished series into the run's folder; return the names of its entries and those they got there."""
        self.n_published += 1
        names = [entry.name for entry in sorted(staging.iterdir())]
        taken = any((self.folder / name).exists() or name == PAGE_NAME for name in names)
        new = {name: f"{self.n_published}-{name}" if taken else name for name in names}
        for name in names:
            (staging / name).rename(self.folder / new[name])
        return new


def _words(value: object) -> str:
    """Return a setting as people read it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _completed(result: SeriesResult, done: _Done, options: Options) -> SeriesResult:
    """Return the result of a denoised series."""
    notes = done.findings.notes
    missing = [kind for kind in options.maps if kind not in done.maps]
    if missing:
        notes = (*notes, f"no {' and no '.join(missing)} map: the guard had nothing to judge")
    return replace(
        result,
        outputs=done.outputs,
        maps=done.maps,
        settings=done.provenance.settings(),
        notes=notes,
        guard=done.findings.guard,
    )


def _renamed(files: list[Path], staging: Path, names: dict[str, str]) -> tuple[Path, ...]:
    """Return files written in `staging` by their new names, relative to the run's folder."""
    parts = [file.relative_to(staging).parts for file in files]
    return tuple(Path(names[first], *rest) for first, *rest in parts)


def _where(error: Exception) -> str:
    """Return file and line that raised, without the message: that may quote the header."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def _look(stack: SliceStack, index: int) -> Look:
    """Return how the page calls and shows a slice; asked only of the few that it shows, since it reads the header."""
    from onenex.dicom.display import display_window

    frame = stack.frames[index]
    return Look(
        window=display_window(frame) if frame.sop_instance_uid else None,
        aspect=stack.spacing_mm[1] / stack.spacing_mm[2] if stack.spacing_mm is not None and min(stack.spacing_mm[1:]) > 0 else 1.0,
    )


def _label(stack: SliceStack, index: int) -> str:
    return f"slice {index + 1} of {len(stack.frames)}" + (f", {stack.label}" if stack.label else "")
