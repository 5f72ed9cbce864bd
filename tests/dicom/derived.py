"""Helps the tests of the writing half: a series from files, its derived twin, and what differs between two headers."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless

from onenex.dicom.files import quiet
from onenex.dicom.frames import FrameHeader
from onenex.dicom.source import DicomSource
from onenex.dicom.write import DerivedSeriesWriter
from onenex.series import Acquisition, FloatImages, FrameRef, Provenance, Series, SliceStack

PROVENANCE = Provenance(version="0.1.0", weights_hash="0123456789ab", mode="fast", strength=0.75, seed=7)
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=timezone(timedelta(hours=1)))


def read(path: Path) -> Dataset:
    with quiet():
        dataset = dcmread(path)
        dataset.decode()
    return dataset


def series_of(paths: Sequence[Path], n_stacks: int = 1) -> Series:
    """A series of all frames of these files; stack k holds frames k, k + n_stacks … of every file."""
    source = DicomSource()
    with quiet():
        headers = [source.dataset(path) for path in paths]
        number = FrameHeader(headers[0]).integer("SeriesNumber")
    refs = [
        FrameRef(path=path, frame=frame, sop_instance_uid=header.SOPInstanceUID)
        for path, header in zip(paths, headers, strict=True)
        for frame in range(int(header.get("NumberOfFrames") or 1))
    ]
    first = headers[0]
    stacks = [SliceStack(label=f"{k}", frames=tuple(refs[k::n_stacks]), rows=first.Rows, columns=first.Columns) for k in range(n_stacks)]
    return Series(
        uid=first.SeriesInstanceUID,
        path=paths[0].parent,
        description=str(first.get("SeriesDescription") or ""),
        number=number,
        acquisition=Acquisition(),
        stacks=tuple(stacks),
        source=source,
    )


def coded(paths: list[Path], syntax: str) -> list[Path]:
    """Compress files in place, with the encoders that OneNEX uses (GDCM's RLE encoder aborts on odd 8-bit images)."""
    plugin = "pyjpegls" if syntax == JPEGLSLossless else "pylibjpeg"
    for path in paths:
        dataset = dcmread(path)
        dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
        dataset.save_as(path, enforce_file_format=True)
    return paths


def same(images: FloatImages) -> FloatImages:
    return images


def darker(images: FloatImages) -> FloatImages:
    """A change that every pixel above the lowest feels, inside the range of any coding."""
    low = images.min()
    return np.asarray(low + (images - low) * np.float32(0.5), np.float32)


def write_derived(paths: Sequence[Path], folder: Path, change: Callable[[FloatImages], FloatImages] = darker, n_stacks: int = 1) -> list[Path]:
    """Write the derived series of these files and return its files, in the order of `paths`."""
    series = series_of(paths, n_stacks)
    folder.mkdir(parents=True, exist_ok=True)
    writer = DerivedSeriesWriter(series=series, source=series.source, folder=folder, provenance=PROVENANCE, when=WHEN)
    for stack in series.stacks:
        writer.write(stack, change(series.source.images(stack)))
    return writer.close()


def differences(before: Dataset, after: Dataset, prefix: str = "") -> Iterator[str]:
    """Yield the path of every element that differs; items of sequences are compared one by one, added ones are named with a +."""
    for tag in sorted({*before.keys(), *after.keys()}):
        old, new = before.get(tag), after.get(tag)
        name = prefix + ((old if old is not None else new).keyword or f"{tag}")
        if old is None or new is None:
            yield name
        elif old.VR == "SQ" and new.VR == "SQ":
            for one, other in zip(old.value, new.value, strict=False):
                yield from differences(one, other, f"{name}.")
            if len(old.value) != len(new.value):
                yield f"{name}+" if len(new.value) > len(old.value) else f"{name}-"
        elif old.VR != new.VR or old.value != new.value:
            yield name


def stored(paths: list[Path]) -> list[NDArray[Any]]:
    """The stored integers of each file."""
    return [DicomSource().stored(series_of([path]).stacks[0]) for path in paths]
