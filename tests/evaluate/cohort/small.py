"""A small cohort of phantoms: clean, repeats, pairs, in a folder with a manifest."""

from pathlib import Path

import numpy as np

from onenex.evaluate.cohort.methods import Choice
from onenex.evaluate.cohort.samples import Plan
from onenex.evaluate.cohort.work import Order
from onenex.scans import write_scan
from tests.train.packed_pairs import ABOUT, SIGMA, magnitude, pair_of, phantom

PLAN = Plan(slices=1, conditions=((0.06, False),))


def write_cohort(folder: Path, *, size: int = 64, split: str = "test", seed: int = 0) -> Path:
    clean = phantom(4, size)
    repeats = [magnitude(clean, SIGMA, np.random.default_rng([seed, k])) for k in range(4)]
    about = ABOUT | {"split": split, "pixel_spacing_mm": 2.0, "slice_thickness_mm": 4.0}
    write_scan(folder, "anna_clean", clean * 1000, "clean", about)
    write_scan(folder, "anna_repeats", np.stack(repeats, axis=1) * 1000, "repeats", about)
    write_scan(
        folder,
        "bert_pairs",
        pair_of(clean, seed=seed + 50),
        "pairs",
        about | {"reference_nex": 4, "vendor": "GE", "organ": "knee", "acceleration": 2},
    )
    return folder


def order(cache: Path, *names: str, plan: Plan = PLAN, segment: bool = False) -> Order:
    return Order(plan=plan, choice=Choice(names=names or ("onenex-fast",)), cache=cache, segment=segment)
