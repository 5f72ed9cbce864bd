"""The files of one series: its denoised images, and the maps that were asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from onenex.errors import ModelError
from onenex.results import guard_sentence
from onenex.series import Denoised, FloatImages, MapKind, Provenance, Series, SeriesWriter, SliceStack

PERCENT = 100.0
GUARD_TOP = 6553.5
"""Percent that a guard map can hold, in steps of 0.1 where it's stored as 16 bits."""


@dataclass(kw_only=True)
class Writers:
    """Opens a writer for the images at once, and for a map when its first stack comes."""

    series: Series
    folder: Path
    provenance: Provenance
    maps: tuple[MapKind, ...]
    scale: float
    """Of the series, in its unit: no uncertainty is larger."""
    _images: SeriesWriter = field(init=False)
    _maps: dict[MapKind, SeriesWriter] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Open the denoised series."""
        self._images = self.series.source.writer(self.series, self.folder, self.provenance)

    def write(self, stack: SliceStack, denoised: Denoised) -> None:
        """Write one stack and its maps.

        Raises
        ------
        ModelError
            The model did not return what was asked for.
        """
        notes = [guard_sentence(note) for note in denoised.guard] if denoised.guard is not None else []
        self._images.write(stack, denoised.images, notes)
        for kind in self.maps:
            values = map_of(kind, denoised)
            if values is not None:
                self._writer(kind).write(stack, values)

    def close(self) -> tuple[list[Path], dict[MapKind, list[Path]]]:
        """Finish all files; return those of the images, and those of each map."""
        return self._images.close(), {kind: writer.close() for kind, writer in self._maps.items()}

    def _writer(self, kind: MapKind) -> SeriesWriter:
        if kind not in self._maps:
            top = GUARD_TOP if kind is MapKind.GUARD else self.scale
            self._maps[kind] = self.series.source.map_writer(self.series, self.folder, replace(self.provenance, shows=kind), top)
        return self._maps[kind]


def map_of(kind: MapKind, denoised: Denoised) -> FloatImages | None:
    """Return a map (slice, row, column): the uncertainty in the unit of the source, the suspicion in percent of the limit.

    None for the guard's where it judged nothing (strength 0).

    Raises
    ------
    ModelError
        The uncertainty is missing.
    """
    if kind is MapKind.UNCERTAINTY:
        if denoised.uncertainty is None:
            raise ModelError("the model returned no uncertainty: its weights may be too old; use those that come with this version")
        return denoised.uncertainty
    if denoised.guard is None:
        return None
    return np.stack([np.asarray(note.suspicion * np.float32(PERCENT), np.float32) for note in denoised.guard])
