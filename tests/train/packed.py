"""A tiny folder of packed scans made of the phantom, in the layout of the real ones."""

import csv
from pathlib import Path

import numpy as np

from onenex.physics.noise import rician

COLUMNS = [
    *("split", "id", "kind", "organ", "vendor", "model", "field_strength_T", "sequence", "plane", "n_slices", "n_repeats", "rows", "columns"),
    *("echo_time_ms", "repetition_time_ms", "inversion_time_ms", "flip_angle_deg", "nex", "pixel_spacing_mm", "slice_thickness_mm"),
    *("source", "licence", "note"),
]


def smooth_slices(n: int, size: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    rows, columns = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size), indexing="ij")
    waves = generator.uniform(2, 9, (n, 2))
    inside = np.hypot(rows, columns) < 0.85
    return np.stack([inside * (0.6 + 0.3 * np.sin(a * rows) * np.cos(b * columns)) for a, b in waves]).astype(np.float32)


def write_packed(folder: Path, *, size: int = 64, splits: tuple[str, ...] = ("train", "test")) -> Path:
    """Write one clean file and one of three repeats a split; return `folder`."""
    rows = []
    for seed, split in enumerate(splits):
        (folder / split).mkdir(parents=True, exist_ok=True)
        clean = smooth_slices(8, size, seed)
        repeats = np.stack([rician(clean, 0.08, np.random.default_rng([seed, i])) for i in range(3)], axis=1)
        for name, images in (("clean", clean), ("repeats", repeats)):
            np.savez_compressed(folder / split / f"{name}_{split}.npz", images=(images * 4000).astype(np.uint16))
            n_repeats = images.shape[1] if images.ndim == 4 else 1
            known = {"split": split, "id": f"{name}_{split}", "kind": name, "organ": "head", "vendor": "unknown", "sequence": "T2w", "plane": "axial"}
            sizes = {"n_slices": 8, "n_repeats": n_repeats, "rows": size, "columns": size, "source": "phantom", "licence": "none"}
            rows.append(dict.fromkeys(COLUMNS, "") | known | sizes)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return folder
