"""What a large cohort costs `onenex evaluate` in memory: small ones and large ones are generated and evaluated, each in a process of its own.

`python -m onenex.evaluate.costs.cohort COHORT REPORT` is one such evaluation; it prints the peak of its memory.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onenex.errors import ModelError
from onenex.evaluate.costs.memory import MIB, own_peak_bytes
from onenex.physics import noise
from onenex.physics.phantom import head_phantom
from onenex.scans import write_scan

SIZES = (2_000, 50_000)
"""Images."""
_SLICES, _SIDE = 100, 32


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One cohort."""

    n_images: int
    peak_bytes: int

    def __str__(self) -> str:
        return f"{self.n_images} images: {self.peak_bytes / MIB:.0f} MiB at most"


def measure(sizes: Sequence[int] = SIZES) -> list[Cost]:
    """Evaluate cohorts of so many images, the untouched input alone, and return the peak memory of each evaluation.

    Raises
    ------
    ModelError
        An evaluation failed; the message holds its last line.
    """
    found = []
    for n_images in sizes:
        with tempfile.TemporaryDirectory(prefix="cohort-") as work:
            generate(Path(work) / "cohort", n_images)
            command = [sys.executable, "-m", "onenex.evaluate.costs.cohort", str(Path(work) / "cohort"), str(Path(work) / "report")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise ModelError(f"the evaluation ended with {done.returncode}: {last}")
            found.append(Cost(n_images=n_images, peak_bytes=int(done.stdout.split()[-1])))
    return found


def generate(folder: Path, n_images: int) -> None:
    """Write pairs of a fast scan and its reference, `_SLICES` a scan."""
    clean = np.asarray(head_phantom((_SLICES, _SIDE, _SIDE), supersampling=1), np.float32)
    about = {"split": "test", "organ": "head", "vendor": "GE", "sequence": "T2w", "plane": "axial", "reference_nex": 4, "acceleration": 4}
    for number in range(-(-n_images // _SLICES)):
        generator = np.random.default_rng(number)
        pair = [noise.rician(clean, sigma, generator) for sigma in (0.06, 0.03)]
        write_scan(folder, f"scan_{number:05d}", np.stack(pair, axis=1)[: n_images - number * _SLICES] * 1000, "pairs", about)


def main(arguments: list[str]) -> None:
    """Evaluate once and print the peak."""
    from onenex.evaluate import report
    from onenex.evaluate.cohort.methods import Choice
    from onenex.evaluate.cohort.samples import Plan
    from onenex.evaluate.cohort.work import Order
    from onenex.evaluate.evaluation import CACHE

    cohort, output = (Path(one) for one in arguments)
    order = Order(plan=Plan(slices=None), choice=Choice(names=("input",)), cache=output / CACHE, segment=False)
    report.run(cohort, output, order)
    print(own_peak_bytes())


if __name__ == "__main__":
    main(sys.argv[1:])
