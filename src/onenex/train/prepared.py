"""What training needs of scans in shards beyond their pixels: worked out once, one scan in memory at a time, and kept beside the shards.

`prepared/<key>.json` has a scan's scale and factors, `prepared/<key>.npy` of pairs the raised references and σ: float32, so that
training sees exactly what it would have worked out in memory.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from onenex.built import Stored
from onenex.errors import DataError
from onenex.output import atomic_file
from onenex.physics.scale import series_scale
from onenex.scans import ScanInfo, load_images
from onenex.train import pairs
from onenex.train.slices import Array, Lazy

log = logging.getLogger(__name__)

VERSION = 1
"""To be raised with every change of `train.pairs.prepare` or `physics.scale` that changes results: what was kept is then worked out anew."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredPairs:
    """A `train.pairs.Pairs` on the disk: fast scans, references, raised references and σ, (row, column) a slice."""

    fast: Lazy
    reference: Lazy
    raised: Lazy
    sigma: Lazy
    reference_sigma: float
    """`pairs.noise_of_reference`."""


def images(info: ScanInfo, folder: Path) -> Lazy:
    """Return the images of a clean scan or of repeats, divided by the series scale; (image, row, column) a slice.

    Parameters
    ----------
    folder
        The built folder, where the scale is kept; the user's cache where it cannot be written to.

    Raises
    ------
    DataError
        The shard cannot be read.
    """
    key, told = _kept(info, folder)
    return Lazy(n=info.n_slices, read=partial(_scaled, _stored(info), np.float32(told["scale"])), content=key)


def stored_pairs(info: ScanInfo, folder: Path) -> StoredPairs | None:
    """Return a file of pairs ready to learn from; None, and a line in the log, for one that nothing can be learnt from.

    Raises
    ------
    DataError
        The shard cannot be read.
    """
    key, told = _kept(info, folder)
    if told["refused"]:
        log.warning("event=scan_left_out id=%s reason='%s'", info.id, told["refused"])
        return None
    kept, stored = cache_of(folder) / f"{key}.npy", _stored(info)
    scale, gains = np.float32(told["scale"]), tuple(np.float32(gain) for gain in told["gains"])

    def lazy(read: Any, what: str) -> Lazy:
        return Lazy(n=info.n_slices, read=read, content=f"{key} {what}")

    return StoredPairs(
        fast=lazy(partial(_fast, stored, scale), "fast"),
        reference=lazy(partial(_reference, stored, gains), "reference"),
        raised=lazy(partial(_map, kept, 0), "raised"),
        sigma=lazy(partial(_map, kept, 1), "sigma"),
        reference_sigma=told["reference_sigma"],
    )


def prepare_all(infos: Sequence[ScanInfo], folder: Path, *, processes: int = 1) -> None:
    """Work out what is missing for scans of a built folder; training does so itself, but with one process and one scan after the other."""
    missing = [info for info in infos if info.stored is not None and _read(cache_of(folder), _key(info), info) is None]
    if not missing:
        return
    log.info("event=preparing scans=%d processes=%d", len(missing), processes)
    work = partial(_prepared, folder=folder)
    if processes < 2:
        _exhaust(map(work, missing))
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        _exhaust(pool.map(work, missing))


def _exhaust(done: Iterable[object]) -> None:
    for _ in done:
        pass


def _prepared(info: ScanInfo, folder: Path) -> None:
    _kept(info, folder)


def _kept(info: ScanInfo, folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the key of a scan and what is known of it; worked out, and kept, where it isn't yet."""
    cache, key = cache_of(folder), _key(info)
    told = _read(cache, key, info)
    if told is None:
        told = _work_out(cache, key, info)
        with atomic_file(cache / f"{key}.json") as partial_file:
            partial_file.write_text(json.dumps(told), encoding="utf-8")
    return key, told


def _key(info: ScanInfo) -> str:
    """Return what stands for a scan's pixels and all else that the work depends on."""
    one = _stored(info)
    facts = (VERSION, info.kind, one.sha256, one.index.tolist(), one.which, one.scales.tobytes().hex(), info.nex, info.reference_nex)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:24]


def _stored(info: ScanInfo) -> Stored:
    if info.stored is None:
        raise DataError(f"{info.path}: not in a built folder, so nothing of it is kept: load it whole")
    return info.stored


def cache_of(folder: Path) -> Path:
    """Return where things are kept: in the built folder, or in the user's cache where that is for reading only."""
    kept = folder / "prepared"
    if os.access(kept if kept.is_dir() else folder, os.W_OK):
        return kept
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(home) if home else Path.home() / ".cache") / "onenex" / "prepared"


def _read(cache: Path, key: str, info: ScanInfo) -> dict[str, Any] | None:
    """Return what was kept of a scan; None when nothing was, or not all of it."""
    try:
        told: dict[str, Any] = json.loads((cache / f"{key}.json").read_text(encoding="utf-8"))
        if info.kind == "pairs" and not told["refused"]:
            shape = np.load(cache / f"{key}.npy", mmap_mode="r", allow_pickle=False).shape
            return told if shape == (info.n_slices, 2, info.rows, info.columns) else None
    except (OSError, EOFError, ValueError, KeyError):
        return None
    return told


def _work_out(cache: Path, key: str, info: ScanInfo) -> dict[str, Any]:
    """Load one scan, return its scale and factors; of pairs, write the maps."""
    whole = load_images(info)
    if info.kind != "pairs":
        return {"scale": series_scale([whole]), "refused": ""}
    try:
        found = pairs.prepare(whole, info)
    except DataError as error:
        return {"refused": str(error).removeprefix(f"{info.path}: ")}
    with atomic_file(cache / f"{key}.npy") as partial_file, partial_file.open("wb") as stream:
        np.save(stream, np.stack([found.raised, found.sigma], axis=1), allow_pickle=False)
    return {"scale": found.scale, "gains": found.gains, "reference_sigma": pairs.noise_of_reference(found, info), "refused": ""}


def _scaled(stored: Stored, scale: np.float32, number: int) -> Array:
    return stored.read(number) / scale


def _fast(stored: Stored, scale: np.float32, number: int) -> Array:
    return np.asarray(stored.read(number)[0] / scale)


def _reference(stored: Stored, gains: tuple[np.float32, ...], number: int) -> Array:
    image = stored.read(number)[1]
    for gain in gains:  # one after the other, as `pairs.prepare` does, for the same last bit
        image = image * gain
    return np.asarray(image)


def _map(path: Path, which: int, number: int) -> Array:
    """Read a kept map of one slice; the file is opened each time, see `built.Stored`."""
    try:
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[number, which])
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise DataError(f"{path} cannot be read ({error}): delete it, it is made again") from error
