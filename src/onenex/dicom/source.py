"""`DicomSource`: reads headers and pixels of DICOM series when they are needed, and opens the writer of derived ones."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, RLELossless

from onenex.dicom.files import HEADER_ERRORS, quiet, read_full, read_header
from onenex.dicom.pixels import PixelCoding, StoredPixels, coding_of, extract, to_images
from onenex.errors import DecodeError, InconsistentSeries
from onenex.series import FloatImages, FrameRef, Provenance, Series, SeriesWriter, SliceStack

_HEADERS_KEPT = 256
_CODECS = dict.fromkeys(JPEG2000TransferSyntaxes, "pylibjpeg") | dict.fromkeys(JPEGLSTransferSyntaxes, "pyjpegls") | {RLELossless: "pylibjpeg"}
"""Codec by transfer syntax where there is a choice: not GDCM, whose C++ may abort the whole process on a damaged stream."""


class DicomSource:
    """Reads the files of one `read_series` call; it implements `onenex.series.Source`.

    Headers are read again when asked for (a few are kept), so that an archive of any length needs little memory. The
    folder of an unpacked zip archive lives as long as the source.
    """

    def __init__(self, unpacked: Path | None = None) -> None:
        self._header = lru_cache(maxsize=_HEADERS_KEPT)(_header)
        if unpacked is not None:
            weakref.finalize(self, shutil.rmtree, unpacked, ignore_errors=True)

    def dataset(self, path: Path) -> Dataset:
        """Return the header of one file, without its pixels; treat it as read-only.

        Raises
        ------
        DecodeError
            The file has gone or changed since the series was read.
        """
        return self._header(path)

    def full_dataset(self, path: Path) -> FileDataset:
        """Read one file anew with its pixels; the caller owns it.

        Raises
        ------
        DecodeError
            The file has gone or cannot be parsed.
        """
        return read_full(path)

    def images(self, stack: SliceStack) -> FloatImages:
        """Return (slice, row, column) float32 after rescale, in the unit that the files state.

        Padding pixels become the lowest value of their slice. Philips' private scale slopes are not applied.

        Raises
        ------
        DecodeError
            Pixel data that is missing, truncated, damaged, or has no codec.
        InconsistentSeries
            Pixel attributes that contradict each other.
        """
        images = np.empty((len(stack.frames), stack.rows, stack.columns), np.float32)
        for index, coding, words in self.frames(stack):
            images[index] = to_images(extract(words, coding), coding)
        return images

    def stored(self, stack: SliceStack) -> StoredPixels:
        """Return (slice, row, column) stored integers, before rescale, as `images` read them.

        Raises
        ------
        DecodeError, InconsistentSeries
            As `images`.
        """
        found: list[StoredPixels] = [np.empty(0)] * len(stack.frames)
        for index, coding, words in self.frames(stack):
            found[index] = extract(words, coding)
        return np.stack(found)

    def codings(self, stack: SliceStack) -> tuple[PixelCoding, ...]:
        """Return how each frame of `stack` is stored and rescaled, in its order."""
        with quiet():
            return tuple(_coding(self.dataset(ref.path), ref) for ref in stack.frames)

    def frames(self, stack: SliceStack) -> Iterator[tuple[int, PixelCoding, StoredPixels]]:
        """Yield (index in the stack, coding, container words (row, column)), file by file; every file is read once.

        Raises
        ------
        DecodeError, InconsistentSeries
            As `images`.
        """
        wanted: dict[Path, list[int]] = {}
        for index, ref in enumerate(stack.frames):
            wanted.setdefault(ref.path, []).append(index)
        for path, indices in wanted.items():
            dataset = read_full(path)
            refs = [stack.frames[index] for index in indices]
            for index, ref, words in zip(indices, refs, _decode(dataset, refs), strict=True):
                if words.shape != (stack.rows, stack.columns):
                    raise InconsistentSeries(
                        f"{path} holds {words.shape[0]} × {words.shape[1]} pixels where its series has {stack.rows} × {stack.columns}: "
                        "read the series again"
                    )
                with quiet():
                    coding = _coding(dataset, ref)
                yield index, coding, words

    def writer(self, series: Series, folder: Path, provenance: Provenance) -> SeriesWriter:
        """Open a derived series of `series` inside `folder` (see `onenex.series.Source`)."""
        from onenex.dicom.write import DerivedSeriesWriter

        return DerivedSeriesWriter(series=series, source=self, folder=folder, provenance=provenance)

    def map_writer(self, series: Series, folder: Path, provenance: Provenance, top: float) -> SeriesWriter:
        """Open the series of a map inside `folder` (see `onenex.series.Source`)."""
        from onenex.dicom.maps import MapSeriesWriter

        return MapSeriesWriter(series=series, source=self, folder=folder, provenance=provenance, top=top)


def _header(path: Path) -> Dataset:
    header = read_header(path) if path.is_file() else None
    if header is None or header.dataset is None:
        raise DecodeError(f"{path} cannot be read any more: it has gone or changed since the series was read; read the series again")
    return header.dataset


def _coding(dataset: Dataset, ref: FrameRef) -> PixelCoding:
    try:
        coding = coding_of(dataset, ref.frame)
    except InconsistentSeries as error:
        raise InconsistentSeries(f"{ref.path}: {error}") from error
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated and syntax != RLELossless:  # codecs return values, not words: nothing is shifted
        return replace(coding, high_bit=coding.bits_stored - 1)
    return coding


def _decode(dataset: FileDataset, refs: list[FrameRef]) -> Iterator[StoredPixels]:
    """Yield container words (row, column) of the frames wanted from one file."""
    path = refs[0].path
    if "PixelData" not in dataset:
        raise DecodeError(f"{path} has no PixelData (7FE0,0010): send the series again from the scanner or PACS")
    codec = _CODECS.get(dataset.file_meta.TransferSyntaxUID, "")
    pixels = iter_pixels(dataset, indices=[ref.frame for ref in refs], raw=True, decoding_plugin=codec, correct_unused_bits=False)
    for ref in refs:
        try:
            with quiet():
                words = next(pixels)
        except (*HEADER_ERRORS, StopIteration) as error:
            syntax = dataset.file_meta.TransferSyntaxUID
            raise DecodeError(
                f"{path}, frame {ref.frame + 1}: the pixels ({syntax.name}) cannot be decoded ({error}): "
                "the file is truncated or damaged, or its compression unknown; send the series again, uncompressed if it can be"
            ) from error
        yield words.astype(words.dtype.newbyteorder("="), copy=False)
