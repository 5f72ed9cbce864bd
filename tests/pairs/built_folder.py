"""Built folders made of arrays, for tests."""

import hashlib
from dataclasses import fields
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from onenex.pairs import manifest
from onenex.pairs.manifest import Row
from onenex.pairs.packing import shards

SALT_CHECK = "0123456789abcdef01234567"


def name_of(*parts: object) -> str:
    """A name like a keyed hash."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def rows_of(folder: Path, scan: str, images: np.ndarray, kind: str = "pairs", **about: Any) -> list[Row]:
    """Pack (slice, image, row, column) and return its rows; of repeats one a slice and number of averages."""
    packed = shards.write(folder, scan, iter(images))
    n_repeats = images.shape[1]
    known = {one.name for one in fields(Row)}
    told = {"split": "train", "patient": name_of("patient", scan), "accepted": True, "id": scan, "kind": kind}
    told |= {"rows": images.shape[2], "columns": images.shape[3], "n_repeats": n_repeats, "shard": packed.shard, "shard_sha256": packed.sha256}
    told |= {name: value for name, value in about.items() if name in known and value is not None}
    settings: list[dict[str, Any]] = [{}]
    if kind == "repeats":
        averages = [next(combinations(range(n_repeats), nex)) for nex in range(1, n_repeats)]
        settings = [
            {"fast_repeats": fast, "reference_repeats": tuple(set(range(n_repeats)) - set(fast)), "acceleration": n_repeats / len(fast)}
            for fast in averages
        ]
    return [
        Row(**(told | {"slice": number, "index": number, "scales": packed.scales[number]} | setting))
        for number in range(len(images))
        for setting in settings
    ]


def write_built(folder: Path, scans: dict[str, tuple[np.ndarray, dict[str, Any]]]) -> Path:
    """Write a built folder of scans: id → images (slice, image, row, column) and what is known of them."""
    rows = [row for scan, (images, about) in scans.items() for row in rows_of(folder, scan, images, **about)]
    manifest.add(folder, rows, salt_check=SALT_CHECK)
    return folder


def noise_images(n_slices: int = 3, n_images: int = 2, size: tuple[int, int] = (8, 6), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4000, (n_slices, n_images, *size)).astype(np.float32)
