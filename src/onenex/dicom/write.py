"""Writes a derived DICOM series: floats back to integers, derived headers, one file as soon as its frames are there."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID

from onenex.dicom.derive import derive
from onenex.dicom.files import quiet
from onenex.dicom.folder import SeriesFolder
from onenex.dicom.pixels import PixelCoding, embed, extract, to_stored
from onenex.errors import OutOfDomain
from onenex.series import FloatImages, FrameRef, Provenance, Series, SliceStack

logger = logging.getLogger(__name__)


class PixelSource(Protocol):
    """What the writer asks of a DICOM source (`onenex.dicom.source.DicomSource`)."""

    def dataset(self, path: Path) -> Dataset:
        """Return the header of a file."""

    def frames(self, stack: SliceStack) -> Iterator[tuple[int, PixelCoding, NDArray[Any]]]:
        """Yield (index in the stack, coding, container words (row, column)) of every frame."""


@dataclass(kw_only=True)
class _Instance:
    """One file in the making: its frames as they come."""

    header: Dataset
    coding: PixelCoding
    """Of any frame: bits and sign are those of all."""
    frames: NDArray[Any]
    """(frame, row, column) container words; those not in `done` are not set."""
    done: set[int] = field(default_factory=set)
    notes: dict[int, str] = field(default_factory=dict)
    changed: bool = False
    """Whether any stored value differs from the source's."""


class DerivedSeriesWriter:
    """Takes the stacks of one series and writes one derived file for every source file (implements `SeriesWriter`).

    A classic image is written at once; a multi-frame file when all its frames have come, or at `close`, with the frames
    that never came copied from the source. The files lie in a folder of their own, named after series number and description.

    Parameters
    ----------
    series
        The source series.
    source
        Where its pixels and headers are.
    folder
        Existing folder that is ours alone.
    provenance
        What the headers say.
    when
        Time of creation, with a time zone; None means now.
    """

    def __init__(self, *, series: Series, source: PixelSource, folder: Path, provenance: Provenance, when: datetime | None = None) -> None:
        self._source = source
        self._provenance = provenance
        self._when = when or datetime.now(UTC).astimezone()
        self._folder = SeriesFolder(folder, series, provenance)
        self._open: dict[Path, _Instance] = {}

    def write(self, stack: SliceStack, images: FloatImages, notes: Sequence[str] = ()) -> None:
        """Write one stack.

        Parameters
        ----------
        stack
            A stack of the source series, once.
        images
            (slice, row, column) in the unit of `Source.images`. A pixel that equals the source's keeps its stored bits.
        notes
            A sentence a slice for its DerivationDescription, "" for none.

        Raises
        ------
        OutOfDomain
            NaN or infinite pixels, or another shape than the stack's.
        DecodeError, MissingTag, InconsistentSeries
            A source file that can't be read again, can't be referred to, or holds values that can't be written.
        """
        if len(images) != len(stack.frames):
            raise OutOfDomain(f"{len(images)} images cannot replace the {len(stack.frames)} of the stack")
        for index, coding, words in self._source.frames(stack):
            ref = stack.frames[index]
            original = extract(words, coding)
            stored = to_stored(images[index], original, coding)
            instance = self._instance(ref, coding, words)
            instance.changed |= not np.array_equal(stored, original)
            instance.frames[ref.frame] = embed(stored, words, coding)
            instance.done.add(ref.frame)
            if notes:
                instance.notes[ref.frame] = notes[index]
            if len(instance.done) == len(instance.frames):
                self._finish(ref.path)

    def close(self) -> list[Path]:
        """Write what is still incomplete and return all files, in the order in which they were written."""
        for path in list(self._open):
            self._fill(path)
            self._finish(path)
        logger.info("derived series written files=%d", len(self._folder.files))
        return list(self._folder.files)

    def _instance(self, ref: FrameRef, coding: PixelCoding, words: NDArray[Any]) -> _Instance:
        """Return the file that a frame belongs to, opening it at its first frame."""
        if ref.path not in self._open:
            header = self._source.dataset(ref.path)
            frames = np.empty((int(header.get("NumberOfFrames") or 1), *words.shape), words.dtype)
            self._open[ref.path] = _Instance(header=header, coding=coding, frames=frames)
        return self._open[ref.path]

    def _fill(self, path: Path) -> None:
        """Copy the frames that were never written, of stacks that were not to be denoised, from the source."""
        instance = self._open[path]
        missing = [frame for frame in range(len(instance.frames)) if frame not in instance.done]
        rows, columns = instance.frames.shape[1:]
        stack = SliceStack(label="", frames=tuple(FrameRef(path=path, frame=frame) for frame in missing), rows=rows, columns=columns)
        for index, _, words in self._source.frames(stack):
            instance.frames[missing[index]] = words

    def _finish(self, path: Path) -> None:
        """Write one file and forget its pixels."""
        instance = self._open.pop(path)
        with quiet():
            derived = derive(instance.header, self._provenance, when=self._when, frames=instance.done, notes=instance.notes)
            if instance.changed:
                _update_extremes(derived, instance.frames, instance.coding)
            self._folder.save(derived, instance.frames, path, UID(instance.header.file_meta.TransferSyntaxUID))


def _update_extremes(derived: Dataset, frames: NDArray[Any], coding: PixelCoding) -> None:
    """Bring the lowest and highest pixel value of the image up to date where they are named; drop those of the series.

    Their VR, US or SS, holds 16 bits (PS3.6); values beyond are dropped, too.
    """
    for keyword in ("SmallestPixelValueInSeries", "LargestPixelValueInSeries"):
        if keyword in derived:
            delattr(derived, keyword)
    vr, low, high = ("SS", -(2**15), 2**15 - 1) if coding.signed else ("US", 0, 2**16 - 1)
    lowest = min(int(extract(frame, coding).min()) for frame in frames)
    highest = max(int(extract(frame, coding).max()) for frame in frames)
    for keyword, value in (("SmallestImagePixelValue", lowest), ("LargestImagePixelValue", highest)):
        if keyword in derived:
            delattr(derived, keyword)
            if low <= value <= high:
                derived.add(DataElement(keyword, vr, value))
