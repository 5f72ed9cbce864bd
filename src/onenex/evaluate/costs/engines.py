"""Another engine against torch on the benchmark's test rows: what it saves, and what it costs the images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import numpy as np
import torch

from onenex.errors import DataError
from onenex.evaluate.cases import Case, cases
from onenex.evaluate.costs.int8 import NETWORKS, Int8
from onenex.model.engine import Model
from onenex.model.engines import Engine, HalfPrecision, Torch, engine_of, on_device
from onenex.model.modes import Settings
from onenex.model.weights import Networks, Weights, load_weights
from onenex.scans import read_manifest

QUALITY_DB, QUALITY_SSIM = 0.02, 0.0005
"""An engine's images are as good when no row loses more than this."""
NAMES = ("onnx", "bfloat16", "int8", "int8-restoration", "int8-noise")
SAME = 1e-4
"""Units of the scale: what is nearer is equal."""
_UNGUARDED = Settings(guard=False)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One row: the other engine's result against torch's."""

    row: str
    psnr_dB: float
    """Gained; negative: lost. So is `ssim`."""
    ssim: float
    largest: float
    """Difference of a pixel, in units of the scale."""
    apart: float
    """Share of pixels that differ by more than `SAME`."""
    time: float
    """The other's over torch's, CPU seconds."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All rows of one engine."""

    engine: str
    rows: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        """Whether no row loses more than allowed."""
        return all(row.psnr_dB >= -QUALITY_DB and row.ssim >= -QUALITY_SSIM for row in self.rows)

    def __str__(self) -> str:
        """Return it in lines."""
        worst = min(self.rows, key=lambda row: row.psnr_dB)
        return "\n".join(
            (
                f"{self.engine}: {median(row.time for row in self.rows):.2f} of torch's CPU time, networks, edges and details together",
                f"  PSNR {mean(row.psnr_dB for row in self.rows):+.4f} dB, worst {worst.psnr_dB:+.3f} ({worst.row}); "
                f"SSIM {mean(row.ssim for row in self.rows):+.5f}, worst {min(row.ssim for row in self.rows):+.5f}",
                f"  largest difference of a pixel: {max(row.largest for row in self.rows):.2g} of the scale, over {len(self.rows)} rows; "
                f"{1e6 * mean(row.apart for row in self.rows):.1f} of a million differ by more than {SAME:g}",
                f"  quality {'holds' if self.holds else 'does not hold'} (no row may lose {QUALITY_DB} dB or SSIM {QUALITY_SSIM})",
            )
        )


def run(data: Path, names: Sequence[str], *, quick: bool = False, weights: Path | None = None) -> list[Comparison]:
    """Compare engines with torch in mode `fast` on every row of DATA/test, one thread each, and print what comes out.

    Raises
    ------
    DataError
        No test file, no such engine, or what it needs isn't installed.
    """
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise DataError(f"no engine named {', '.join(unknown)}: choose from {', '.join(NAMES)}")
    if not any(info.split == "test" for info in read_manifest(data)):
        raise DataError(f"{data}: the manifest lists no test file")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours = Model(load_weights(weights), torch.device("cpu"), Torch())
        others = [Model(load_weights(weights), torch.device("cpu"), _engine(name, data)) for name in names]
        found: list[list[Difference]] = [[] for _ in others]
        for case in cases(data, quick):
            for rows, row in zip(found, _differences(case, ours, others), strict=True):
                rows.append(row)
    finally:
        torch.set_num_threads(before)
    comparisons = [Comparison(engine=other.engine, rows=tuple(rows)) for other, rows in zip(others, found, strict=True)]
    for one in comparisons:
        print(one)
    return comparisons


class BFloat16:
    """Torch with bfloat16 products on the CPU."""

    name = "bfloat16"

    def prepared(self, weights: Weights, device: torch.device) -> Networks:
        """Return the networks, those of mode `fast` in half precision."""
        networks = on_device(weights, device)
        for name in NETWORKS:
            network = getattr(networks, name)
            network.net = HalfPrecision(network.net)
        return networks


def _engine(name: str, data: Path) -> Engine:
    networks = {"int8": NETWORKS, "int8-restoration": ("restoration",), "int8-noise": ("noise_level",)}
    if name == BFloat16.name:
        return BFloat16()
    return Int8(data, networks[name]) if name in networks else engine_of(name)


def _differences(case: Case, ours: Model, others: Sequence[Model]) -> list[Difference]:
    exact, exact_s = _denoised(case, ours)
    before, found = case.score(exact), []
    for other in others:
        images, seconds = _denoised(case, other)
        after, apart = case.score(images), [np.abs(one - two) for one, two in zip(images, exact, strict=True)]
        found.append(
            Difference(
                row=f"{case.info.id}, {case.condition}",
                psnr_dB=after.psnr - before.psnr,
                ssim=after.ssim - before.ssim,
                largest=max(float(one.max()) for one in apart),
                apart=float(np.mean([float((one > SAME).mean()) for one in apart])),
                time=seconds / exact_s,
            )
        )
    return found


def _denoised(case: Case, model: Model) -> tuple[list[np.ndarray], float]:
    began = time.process_time()
    images = [model.denoise(stack, case.info.acquisition, mode=_UNGUARDED, scale=1.0).images for stack in case.stacks]
    return images, time.process_time() - began
