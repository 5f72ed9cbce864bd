"""Training patches: clean slices degraded by `physics/`, real repeats as noise-to-noise pairs, and real pairs of a fast scan and its reference.

A batch is a pure function of (data, config, seed, step): a resumed run sees what an uninterrupted one would have seen.
"""

# shapes: B batch, H row, W column

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft
from torch import Tensor

from onenex.errors import DataError
from onenex.physics import artefacts, degrade, estimate, lesions
from onenex.physics.scale import series_scale
from onenex.scans import ScanInfo, load_images, read_manifest
from onenex.series import Acquisition
from onenex.text.prompt import drop, phrases_of
from onenex.train import pairs, prepared, unpacked
from onenex.train.config import PhaseConfig, RunConfig
from onenex.train.slices import Images, alone, side_by_side

Array = NDArray[np.float32]
FOREGROUND = 0.1
"""Pixels above this fraction of the scale count as foreground."""
_TIMES_OWN_NOISE = 4.0
"""Noise of a simulated scan of a pair's reference over the reference's own, at least: that is then a sixteenth of the variance."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One training file: in memory, or in a shard that is read slice by slice."""

    info: ScanInfo
    images: Images
    """(slice, repeat, row, column) divided by the series scale; one repeat for clean files; for pairs the fast scan and the raised reference."""
    slices: NDArray[np.int64]
    """Indices of the slices that this split may use."""
    pairs: pairs.Pairs | prepared.StoredPairs | None = None
    """What `images` of pairs were made of."""
    least_sigma: float = 0.0
    """Simulated scans of it have at least this much noise: it has noise of its own, which its copy would teach to keep."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Patches of one step; all images in units of the series scale."""

    measured_B1HW: Tensor
    target_B1HW: Tensor
    """Noise-free reference (simulated), the mean of other repeats, or the raised reference of a pair (real): see `pairs.raise_floor`."""
    sigma_B1HW: Tensor
    """σ of the noise in `measured`: the true one (simulated), or what the repeats or the pair themselves show (real)."""
    is_real_B: Tensor
    nex_B: Tensor
    """Averages in `measured`, real patches only (1 otherwise)."""
    target_nex_B: Tensor
    """Averages in `target`, real patches only. Pairs count them in fast scans, whose own number is 1; infinite for a noise-free reference."""
    second_B1HW: Tensor
    """Another scan of the same patch with noise of its own: drawn alike (simulated), or `target` (real)."""
    prompts: tuple[tuple[str, ...], ...]
    """Text of each patch after dropout, one phrase a slot (`onenex.text.phrases.SLOTS`)."""
    parts: int = 1
    """Sub-batches of one size that were joined in it, one after the other (`train.joined`)."""


def of_second_scans(batch: Batch, process: Callable[[Batch], Tensor]) -> Tensor:
    """Return what `process` makes of the second scans of the simulated patches, (B, 1, H, W); real patches as they were measured."""
    chosen = ~batch.is_real_B
    places = chosen.nonzero()[:, 0]
    part = Batch(
        measured_B1HW=batch.second_B1HW[chosen],
        target_B1HW=batch.target_B1HW[chosen],
        sigma_B1HW=batch.sigma_B1HW[chosen],
        is_real_B=batch.is_real_B[chosen],
        nex_B=batch.nex_B[chosen],
        target_nex_B=batch.target_nex_B[chosen],
        second_B1HW=batch.measured_B1HW[chosen],
        prompts=tuple(batch.prompts[place] for place in places.tolist()),
    )
    return batch.measured_B1HW.index_copy(0, places, process(part)) if len(places) else batch.measured_B1HW


def load_scans(folder: Path, config: RunConfig, *, holdout: bool) -> list[Scan]:
    """Load the train split of `folder`, either the slices to learn from or those held out for validation.

    Of a built folder only the manifest is loaded, and likewise of one with more than `RunConfig.most_in_memory` bytes of images.
    What its scans need besides is worked out when it is first used and kept in the folder; pairs from which nothing can be
    learnt are left out there, with a warning.

    The reference of a file of pairs comes a second time, as a clean scan: simulated patches of it keep the networks used to
    noise that the site's own scans don't have.

    Raises
    ------
    DataError
        The folder has no manifest, no training file or nothing to hold out, or pairs cannot be learnt from.
    """
    scans: list[Scan] = []
    infos = [info for info in read_manifest(folder) if info.split == "train"]
    if unpacked.n_bytes(infos) > config.most_in_memory:
        infos = [unpacked.on_disk(info, folder) for info in infos]
    for info in infos:
        index = np.arange(info.n_slices)
        held = index % config.holdout_every == config.holdout_every - 1
        if config.tune and len(index) > 1 and not held.any():
            held[-1] = True
        chosen = index[held] if holdout else index[~held]
        scans += (_scans_of_pairs if info.kind == "pairs" else _scans_of_others)(info, folder, chosen)
    if not infos:
        raise DataError(f"{folder}: no training file: the manifest needs rows with split 'train'")
    if not scans:
        raise DataError(f"{folder}: too few slices to hold any out: training files need at least {2 if config.tune else config.holdout_every}")
    return scans


def _scans_of_others(info: ScanInfo, folder: Path, chosen: NDArray[np.int64]) -> list[Scan]:
    """Return a file of clean slices or of repeats; nothing when no slice is chosen."""
    images: Images
    if info.stored is not None:
        images = prepared.images(info, folder)
    else:
        loaded = load_images(info)
        loaded = loaded if info.kind == "repeats" else loaded[:, None]
        images = loaded / series_scale([loaded])
    return [Scan(info=info, images=images, slices=chosen)] if chosen.size else []


def _scans_of_pairs(info: ScanInfo, folder: Path, chosen: NDArray[np.int64]) -> list[Scan]:
    """Return a file of pairs, and its references as a clean file; neither when no slice is chosen, or a stored scan cannot be learnt from."""
    found: pairs.Pairs | prepared.StoredPairs | None
    if info.stored is not None:
        found = prepared.stored_pairs(info, folder)
        own = 0.0 if found is None else found.reference_sigma
    else:
        found = pairs.prepare(load_images(info), info)
        own = pairs.noise_of_reference(found, info)
    if found is None or not chosen.size:
        return []
    both = Scan(info=info, images=side_by_side(found.fast, found.raised), slices=chosen, pairs=found)
    clean = replace(info, kind="clean")
    return [both, Scan(info=clean, images=alone(found.reference), slices=chosen, least_sigma=_TIMES_OWN_NOISE * own)]


def draw_batch(scans: list[Scan], config: PhaseConfig, generator: np.random.Generator) -> Batch:
    """Draw one batch; simulated patches first, then real ones (all simulated when there are none, and the other way round)."""
    clean = [scan for scan in scans if scan.info.kind == "clean"]
    real = [scan for scan in scans if scan.info.kind != "clean"]
    n_real = config.real_per_batch if real else 0
    n_simulated = config.simulated_per_batch + config.real_per_batch - n_real
    if not clean:
        n_real, n_simulated = n_real + n_simulated, 0
    patches = [_simulated(_pick(clean, config, generator), config, generator) for _ in range(n_simulated)]
    patches += [_real(_pick(real, config, generator), config, generator) for _ in range(n_real)]
    return Batch(
        measured_B1HW=_stack([patch.measured for patch in patches]),
        target_B1HW=_stack([patch.target for patch in patches]),
        sigma_B1HW=_stack([patch.sigma for patch in patches]),
        is_real_B=torch.tensor([False] * n_simulated + [True] * n_real),
        nex_B=torch.tensor([patch.nex for patch in patches], dtype=torch.float32),
        target_nex_B=torch.tensor([patch.target_nex for patch in patches], dtype=torch.float32),
        second_B1HW=_stack([patch.second for patch in patches]),
        prompts=tuple(drop(phrases_of(patch.acquisition), config.text_dropout, generator) for patch in patches),
    )


class _Patch(NamedTuple):
    """One member of a batch; images (row, column)."""

    measured: Array
    target: Array
    sigma: Array
    second: Array
    acquisition: Acquisition
    nex: float = 1
    target_nex: float = 1


def _pick(scans: list[Scan], config: PhaseConfig, generator: np.random.Generator) -> Scan:
    """Pick a scan; large files more often, by a power of their number of slices."""
    weights = np.power([len(scan.slices) for scan in scans], config.size_exponent)
    return scans[generator.choice(len(scans), p=weights / weights.sum())]


def _simulated(scan: Scan, config: PhaseConfig, generator: np.random.Generator) -> _Patch:
    """Draw a clean patch, and a fast scan of it.

    A clean image has noise of its own, which its copy cannot teach to remove: no scan is drawn with less noise than that,
    and it is counted into σ.
    """
    clean, floor, least = _clean_patch(scan, config, generator)
    if config.lesions and generator.random() < config.lesions:
        clean = lesions.with_lesions(clean, generator)
    if config.artefacts and generator.random() < config.artefacts:
        clean = artefacts.spoilt(clean, generator)
    low, high = config.ranges.sigma
    ranges = replace(config.ranges, sigma=(max(low, floor, min(least, high / 3)), high))
    drawn = degrade.draw_scan(clean.shape, ranges, generator)
    pair = degrade.acquire(clean, drawn, generator)
    again = degrade.acquire(clean, drawn, generator) if config.second_scan else pair
    inner = np.s_[config.margin : config.margin + config.patch, config.margin : config.margin + config.patch]
    sigma = np.sqrt(pair.sigma[inner] ** 2 + np.float32(floor**2))
    told = replace(scan.info.acquisition, nex=None, acceleration=None)
    return _Patch(pair.measured[inner], pair.reference[inner], sigma, again.measured[inner], told)


def _clean_patch(scan: Scan, config: PhaseConfig, generator: np.random.Generator) -> tuple[Array, float, float]:
    """Draw a clean patch with its margin; returns it, its own noise, and the least noise of a scan of it."""
    image = scan.images[generator.choice(scan.slices)][0]
    if generator.random() < 0.5:
        image = _crop_kspace(image, generator.uniform(0.4, 1.0))
    clean, gain = _place(image[None], config.patch + 2 * config.margin, generator)[0], _gain(image, generator)
    clean = np.maximum(clean * gain, 0)
    return clean, min(estimate.noise_floor(clean, FOREGROUND), config.ranges.sigma[1] / 3), scan.least_sigma * float(gain)


def _real(scan: Scan, config: PhaseConfig, generator: np.random.Generator) -> _Patch:
    """Draw two means of disjoint sets of repeats of the same slice, and σ from the spread of all of them; or a pair."""
    if scan.pairs is not None:
        return _pair(scan, scan.pairs.sigma, config, generator)
    repeats = scan.images[generator.choice(scan.slices)]
    order = generator.permutation(len(repeats))
    nex = int(generator.integers(1, len(repeats))) if generator.random() < 0.5 else 1
    sigma = estimate.spread_of_repeats(repeats) / np.sqrt(np.float32(nex))
    triple = np.stack([repeats[order[:nex]].mean(0), repeats[order[nex:]].mean(0), sigma])
    measured, target, sigma = _place(triple, config.patch, generator) * _gain(triple[0], generator)
    told = replace(scan.info.acquisition, nex=nex, acceleration=len(repeats) / nex)
    return _Patch(measured, target, sigma, target, told, nex, len(repeats) - nex)


def _pair(scan: Scan, sigma: Images, config: PhaseConfig, generator: np.random.Generator) -> _Patch:
    """Draw a fast scan, its reference and its σ."""
    index = generator.choice(scan.slices)
    triple = np.stack([*scan.images[index], sigma[index]])
    measured, target, spread = _place(triple, config.patch, generator) * _gain(triple[0], generator)
    ratio = pairs.noise_ratio(scan.info)
    return _Patch(measured, target, spread, target, scan.info.acquisition, 1, 1 / ratio if ratio else np.inf)


def _gain(image: Array, generator: np.random.Generator) -> np.float32:
    """Draw an intensity gain; half of the time relative to the slice's own brightness, as in a series of its own."""
    own = np.percentile(image, 99) if generator.random() < 0.5 else 1.0
    return np.float32(np.exp(generator.uniform(np.log(0.6), np.log(1.3))) / max(own, 0.1))


def _crop_kspace(image: Array, fraction: float) -> Array:
    """Return `image` on a coarser matrix, by keeping the central `fraction` of its k-space."""
    k = fft.fftshift(fft.fft2(image))
    n_rows, n_columns = (2 * round(n * fraction / 2) for n in image.shape)
    top, left = ((n // 2 - m // 2) for n, m in zip(image.shape, (n_rows, n_columns), strict=True))
    cropped = fft.ifft2(fft.ifftshift(k[top : top + n_rows, left : left + n_columns]))
    return np.asarray(np.abs(cropped) * (n_rows * n_columns / image.size), dtype=np.float32)


def _place(images: Array, side: int, generator: np.random.Generator) -> Array:
    """Cut the same random square from images (n, row, column), reflecting small ones; random flips and quarter turns."""
    short = [max(0, side - n) for n in images.shape[1:]]
    if any(short):
        images = np.pad(images, ((0, 0), *((s // 2, s - s // 2) for s in short)), mode="symmetric")
    best = images[:, :side, :side]
    for _ in range(4):  # prefer squares with anatomy in them
        top, left = (int(generator.integers(0, n - side + 1)) for n in images.shape[1:])
        best = images[:, top : top + side, left : left + side]
        if np.mean(best[0] > FOREGROUND) > generator.uniform(0.05, 0.5):
            break
    if generator.random() < 0.5:
        best = best[:, ::-1]
    return np.ascontiguousarray(np.rot90(best, int(generator.integers(4)), axes=(1, 2)))


def _stack(images: Sequence[Array]) -> Tensor:
    return torch.from_numpy(np.stack(images).astype(np.float32))[:, None]
