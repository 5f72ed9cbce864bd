"""Which images weights were trained on: a short signature of every one, kept beside the weights, so that nobody evaluates on them unawares."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onenex.errors import DataError
from onenex.output import atomic_file
from onenex.scans import ScanInfo, load_images, read_manifest

Signatures = NDArray[np.uint64]
"""(image,), sorted, each once."""


def signature(image: NDArray[np.generic]) -> int:
    """Return 64 bits that stand for an image (row, column).

    They are a hash of the order of its values, so neither a rescale slope and intercept nor another type of number changes them. A crop, an
    interpolation, or a lossy compression does: such copies are not recognised.
    """
    ranks = np.unique(image, return_inverse=True)[1].astype(np.uint32)
    head = np.array(image.shape, np.uint32)
    return int.from_bytes(hashlib.blake2b(head.tobytes() + ranks.tobytes(), digest_size=8).digest(), "little")


def signatures(infos: Iterable[ScanInfo]) -> Signatures:
    """Return the signatures of all images of some scans, repeats and both images of pairs one by one; constant images have none."""
    return np.unique(np.fromiter((signature(image) for info in infos for image in _images(info) if image.min() < image.max()), np.uint64))


def _images(info: ScanInfo) -> Iterator[NDArray[np.float32]]:
    """Yield the images (row, column) of a scan; one in a shard is read slice by slice."""
    whole = [load_images(info)] if info.stored is None else (info.stored.read(number) for number in range(info.n_slices))
    for images in whole:
        yield from images.reshape(-1, *images.shape[-2:])


def beside(weights: Path) -> Path:
    """Return where the signatures of what `weights` were trained on lie."""
    return weights.with_suffix(".seen.npy")


def write(weights: Path, found: Signatures) -> Path:
    """Write signatures beside a weights file."""
    path = beside(weights)
    with atomic_file(path) as partial, partial.open("wb") as stream:
        np.save(stream, found, allow_pickle=False)
    return path


def note(weights: Path, data: Path, start: Path | None = None) -> Path:
    """Write beside a weights file which images it was trained on.

    Parameters
    ----------
    data
        The folder it was trained on: all of its split `train`, for what is held out there decides what is kept.
    start
        Weights that it began at: what those had seen is seen.
    """
    earlier = None if start is None else read(start)
    found = signatures(info for info in read_manifest(data) if info.split == "train")
    return write(weights, found if earlier is None else np.union1d(found, earlier))


def read(weights: Path) -> Signatures | None:
    """Return what a weights file was trained on; None when nobody wrote it down.

    Raises
    ------
    DataError
        The file is damaged.
    """
    path = beside(weights)
    if not path.is_file():
        return None
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): fetch it from where the weights came from, or delete it") from error
    if found.dtype != np.uint64 or found.ndim != 1:
        raise DataError(f"{path} holds no signatures: fetch it from where the weights came from, or delete it")
    return np.asarray(found)


def n_seen(info: ScanInfo, known: Signatures) -> int:
    """Return how many images of a scan are among `known`."""
    return int(np.isin(signatures([info]), known).sum())
