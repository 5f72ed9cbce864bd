"""`onenex benchmark limits`: what holds mode `fast` back on simulated noise: the noise map, a single look, or the references' own noise."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onenex.errors import DataError
from onenex.evaluate.cases import SIGMAS, load_clean
from onenex.evaluate.denoisers.table import console
from onenex.evaluate.metrics import mean_squared_error, psnr
from onenex.model.modes import turn, turn_back
from onenex.model.tiling import pad_to_multiple
from onenex.model.weights import Networks, load_weights
from onenex.physics import noise
from onenex.scans import ScanInfo, read_manifest
from onenex.series import FloatImages

WAYS = ("input", "as it is", "told the true σ", "mean of 8 ways round", "reference denoised first")
"""Columns: what is scored. The last takes the denoised clean image for the truth, which then has hardly any noise of its own."""


@torch.inference_mode()
def run(data: Path, output: Path | None = None, *, split: str = "train", weights: Path | None = None, threads: int | None = None) -> None:
    """Print foreground PSNR of the middle slice of every clean file, at every σ, under each of `WAYS`; then the means.

    Raises
    ------
    DataError
        No clean file in the split.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    networks, screen = load_weights(weights), console()
    rows: list[tuple[str, float, list[float]]] = []
    infos = [info for info in read_manifest(data) if info.split == split and info.kind == "clean"]
    if not infos:
        raise DataError(f"{data}: the manifest lists no clean file of split '{split}'")
    for info in infos:
        for sigma in SIGMAS:
            scores = _scores(networks, info, sigma)
            rows.append((info.id, sigma, scores))
            screen.print(f"{info.id:32s} σ {sigma:.2f}  " + "  ".join(f"{one:.2f}" for one in scores))
    screen.print(f"PSNR, dB: {', '.join(WAYS)}")
    for sigma in SIGMAS:
        means = np.mean([scores for _, level, scores in rows if level == sigma], axis=0)
        screen.print(
            f"mean of {len(infos)} files, σ {sigma:.2f}: " + ", ".join(f"{name} {value:.2f}" for name, value in zip(WAYS, means, strict=True))
        )
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        with (output / "limits.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["file", "sigma", *WAYS])
            writer.writerows([name, sigma, *(f"{one:.4f}" for one in scores)] for name, sigma, scores in rows)


def _scores(networks: Networks, info: ScanInfo, sigma: float) -> list[float]:
    clean = load_clean(info)
    middle = len(clean.images) // 2
    reference, mask = clean.images[middle], clean.mask[middle]
    seed = [7, round(sigma * 10_000)]
    level = torch.full((1, 1, *reference.shape), sigma)
    measured = _image(noise.rician(reference, sigma, np.random.default_rng(seed)))
    cautious = networks.noise_level(measured).cautious
    itself = _image(reference)
    truth = restored(networks, itself, networks.noise_level(itself).cautious)
    again = _image(noise.rician(np.maximum(_array(truth), 0), sigma, np.random.default_rng(seed)))

    def score(image: Tensor, against: FloatImages) -> float:
        return psnr(mean_squared_error(_array(image), against, mask), 1.0)

    ensemble = torch.stack([_another_way(networks, measured, cautious, way) for way in range(8)]).mean(dim=0)
    return [
        score(measured, reference),
        score(restored(networks, measured, cautious), reference),
        score(restored(networks, measured, level), reference),
        score(ensemble, reference),
        score(restored(networks, again, networks.noise_level(again).cautious), _array(truth)),
    ]


def restored(networks: Networks, image_11HW: Tensor, sigma_11HW: Tensor) -> Tensor:
    """Return f_ψ of one slice of any size, told this σ and no text."""
    padded = pad_to_multiple(torch.cat([image_11HW, sigma_11HW], dim=1), networks.restoration.multiple)
    found: Tensor = networks.restoration(padded[:, :1], padded[:, 1:])
    return found[..., : image_11HW.shape[2], : image_11HW.shape[3]]


def _another_way(networks: Networks, image: Tensor, sigma: Tensor, way: int) -> Tensor:
    return turn_back(restored(networks, turn(image, way), turn(sigma, way)), way)


def _image(array: FloatImages) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))[None, None]


def _array(image_11HW: Tensor) -> FloatImages:
    return image_11HW[0, 0].numpy()
