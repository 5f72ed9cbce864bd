"""A site's folder: pairs of a fast scan and its reference, made of the phantom."""

from pathlib import Path

import numpy as np

from onenex.physics import noise
from onenex.physics.phantom import head_phantom
from onenex.physics.scale import series_scale
from onenex.scans import write_scan

SIGMA = 0.05
ABOUT = {"vendor": "Siemens", "organ": "head", "sequence": "T2w", "plane": "axial", "nex": 1, "source": "our clinic", "licence": "ours"}


def phantom(n_slices: int = 6, size: int = 96) -> np.ndarray:
    """Noise-free slices (slice, row, column) in units of the series scale."""
    clean = head_phantom((n_slices, size, size), supersampling=1)
    return (clean / series_scale([clean])).astype(np.float32)


def magnitude(clean: np.ndarray, sigma: float | np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return np.abs(clean + sigma * noise.gaussian(clean.shape, generator)).astype(np.float32)


def pair_of(clean: np.ndarray, *, sigma: float | np.ndarray = SIGMA, reference_nex: float | None = 4, gain: float = 1.3, seed: int = 0) -> np.ndarray:
    """Return (slice, 2, row, column): the reference averages complex signals and has another brightness."""
    generator = np.random.default_rng(seed)
    fast = magnitude(clean, sigma, generator)
    reference = magnitude(clean, sigma / np.sqrt(reference_nex), generator) if reference_nex else clean
    return np.stack([fast, gain * reference], axis=1) * np.float32(1000)


def write_site(folder: Path, *, kinds: tuple[str, ...] = ("pairs",), n_slices: int = 6, size: int = 96) -> Path:
    clean = phantom(n_slices, size)
    images = {
        "pairs": pair_of(clean),
        "clean": clean * 1000,
        "repeats": np.stack([magnitude(clean, SIGMA, np.random.default_rng(seed)) for seed in range(3)], axis=1) * 1000,
    }
    for kind in kinds:
        write_scan(folder, f"own_{kind}", images[kind], kind, ABOUT | ({"reference_nex": 4} if kind == "pairs" else {}))
    return folder
