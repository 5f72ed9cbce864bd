"""The rows of the benchmark: which slices of which file, degraded how, and how a result is scored.

Everything here was fixed before any result was seen. `SLICE_BUDGET_PIXELS` keeps a whole run to about a quarter of an hour on two cores.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from onenex.evaluate import metrics
from onenex.evaluate.material import Clean, Repeats, clean_scan, groups_of, repeated_scan, sizes_of_means, slices_per_volume
from onenex.physics import noise
from onenex.scans import ScanInfo, read_manifest
from onenex.series import FloatImages

SIGMAS = (0.03, 0.06, 0.10)
"""Rician channel σ of the simulated rows, in units of the series scale."""
SLICE_BUDGET_PIXELS = 300_000
"""Clean files: as many adjacent middle slices as fit, at least `MIN_SLICES`, at most `MAX_SLICES`."""
MIN_SLICES, MAX_SLICES = 2, 6
MAX_VOLUMES = 2
"""Repeats: volumes (diffusion directions) scored, the first ones."""
MAX_INPUTS = 3
"""Repeats: how many inputs are denoised, the first ones; the reference of each is always the mean of *all* others."""


@dataclass(frozen=True, kw_only=True)
class PrototypeB:
    """What prototype B (DESIGN §8) reached on a file: foreground PSNR of its input and its output, dB."""

    input_dB: float
    output_dB: float

    @property
    def gain_dB(self) -> float:
        """Output over input: does not depend on the data range."""
        return self.output_dB - self.input_dB


PROTOTYPE_B_REPEATS = {
    "repeats_head_siemens_dwi_nex2": PrototypeB(input_dB=20.1, output_dB=22.4),
    "repeats_cspine_b0_x5": PrototypeB(input_dB=19.1, output_dB=21.1),
    "repeats_head_philips_b0_x6": PrototypeB(input_dB=31.0, output_dB=31.2),
    "repeats_head_ge_seepi_x3": PrototypeB(input_dB=45.07, output_dB=44.99),
}
PROTOTYPE_B_SIMULATED = {
    "head_siemens_t2flair_ax": (PrototypeB(input_dB=24.3, output_dB=31.4), PrototypeB(input_dB=17.0, output_dB=26.3)),
    "lspine_hitachi_t2w_sag": (PrototypeB(input_dB=24.0, output_dB=32.1), PrototypeB(input_dB=16.9, output_dB=28.0)),
    "knee_ge_mese_te32": (PrototypeB(input_dB=24.0, output_dB=32.5), PrototypeB(input_dB=16.8, output_dB=27.9)),
}
"""Its σ 0.04 and 0.09 were relative to another scale: our rows get the σ at which the input scores what its input scored."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Quality inside the foreground."""

    psnr: float
    """dB, data range = the series scale."""
    ssim: float
    second_moment_psnr: float | None = None
    """dB, of squared images against a reference without Rician floor; real repeats only."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row before it is denoised. Images are in units of the series scale."""

    info: ScanInfo
    condition: str
    simulated: bool
    unseen: bool
    """False when the training split holds other slices or directions of the same series."""
    nex: int = 1
    """Repeats averaged in each input."""
    stacks: tuple[FloatImages, ...]
    """(slice, row, column) each: what a denoiser gets, one adjacent volume at a time."""
    score: Callable[[Sequence[FloatImages]], Score]
    """Takes the denoised stacks in the same order."""
    sigma: FloatImages | None = None
    """(slice, row, column), the true σ of a simulated row."""
    mask: metrics.Mask
    """(slice, row, column), foreground of all scored slices."""
    prototype: PrototypeB | None = None
    reference: FloatImages | None = None
    """(slice, row, column), the clean slices of a simulated row."""


def cases(data: Path, quick: bool = False) -> Iterator[Case]:
    """Yield every row for the files of `data/test`: repeats first, then clean files under each condition.

    Parameters
    ----------
    data
        A folder that `onenex.scans` reads.
    quick
        The first two clean files at one σ, and one volume and one input of each file of repeats: a try-out, not a result.
    """
    infos = read_manifest(data)
    trained = {info.id for info in infos if info.split == "train"}
    tests = [info for info in infos if info.split == "test"]
    for info in tests:
        if info.kind == "repeats":
            yield from repeats_cases(info, info.id not in trained, quick)
    clean_files = [info for info in tests if info.kind == "clean"]
    for info in clean_files[:2] if quick else clean_files:
        yield from _clean_cases(info, info.id not in trained, SIGMAS[1:2] if quick else SIGMAS)


def repeats_cases(info: ScanInfo, unseen: bool, quick: bool = False) -> Iterator[Case]:
    """Yield the rows of a file of real repeats: leave-one-out, unbiased (see `metrics.unbiased_mse`).

    First single repeats; then, where enough repeats are left for a reference, means of 2 and 3, which are less noisy
    real scans: do no harm at every noise level (DESIGN §8).
    """
    scan = repeated_scan(info, slices_per_volume(info) * (1 if quick else MAX_VOLUMES))
    n_repeats = scan.images.shape[1]
    for nex in [1] if quick else sizes_of_means(n_repeats):
        yield _repeats_case(info, unseen, scan, groups_of(n_repeats, nex, 1 if quick else MAX_INPUTS))


def _repeats_case(info: ScanInfo, unseen: bool, scan: Repeats, groups: Sequence[metrics.Group]) -> Case:
    per_volume, nex, repeats = slices_per_volume(info), len(groups[0]), scan.images
    inputs = [repeats[:, list(group)].mean(axis=1) for group in groups]
    return Case(
        info=info,
        condition="real repeats" if nex == 1 else f"real repeats, means of {nex}",
        simulated=False,
        unseen=unseen,
        nex=nex,
        stacks=tuple(one[start : start + per_volume] for one in inputs for start in range(0, len(repeats), per_volume)),
        score=partial(score_repeats, repeats, scan.mask, groups),
        mask=scan.mask,
        prototype=PROTOTYPE_B_REPEATS.get(info.id) if nex == 1 else None,
    )


def load_clean(info: ScanInfo) -> Clean:
    """Load the slices of a clean file that are scored, in series scale, with their foreground."""
    whole = clean_scan(info)
    n_slices = int(np.clip(SLICE_BUDGET_PIXELS // (info.rows * info.columns), MIN_SLICES, MAX_SLICES))
    first = max(0, (len(whole.images) - n_slices) // 2)
    chosen = slice(first, first + n_slices)
    return Clean(images=whole.images[chosen], mask=whole.mask[chosen])


def simulate(clean: Clean, info: ScanInfo, sigma: float, varying: bool) -> tuple[FloatImages, FloatImages]:
    """Return (measured, σ map) of `clean` with Rician noise; the draw depends on file, σ and `varying` only.

    Parameters
    ----------
    clean, info
        The slices and whose they are.
    sigma
        Channel σ, series scale; its root mean square over the image when varying.
    varying
        One smooth g-factor map for all slices instead of uniform noise.
    """
    generator = np.random.default_rng([zlib.crc32(info.id.encode()), round(sigma * 10_000), int(varying)])
    shape = (clean.images.shape[1], clean.images.shape[2])
    relative = noise.g_factor_map(shape, generator) if varying else np.ones(shape, dtype=np.float32)
    level = np.broadcast_to(np.float32(sigma) * relative, clean.images.shape)
    return noise.rician(clean.images, level, generator), np.array(level)


def clean_case(info: ScanInfo, unseen: bool, sigma: float, varying: bool) -> Case:
    """Return one simulated row of a clean file."""
    return _simulated_case(load_clean(info), info, unseen, (f"σ {sigma:.2f} {'varying' if varying else 'uniform'}", sigma, varying))


def _clean_cases(info: ScanInfo, unseen: bool, sigmas: Sequence[float]) -> Iterator[Case]:
    clean = load_clean(info)
    for sigma in sigmas:
        for varying in (False, True):
            yield _simulated_case(clean, info, unseen, (f"σ {sigma:.2f} {'varying' if varying else 'uniform'}", sigma, varying))
    if tuple(sigmas) == SIGMAS:
        for prototype in PROTOTYPE_B_SIMULATED.get(info.id, ()):
            sigma = sigma_for_input(clean, info, prototype.input_dB)
            yield _simulated_case(clean, info, unseen, (f"as prototype, input {prototype.input_dB:.1f} dB", sigma, True), prototype)


def _simulated_case(clean: Clean, info: ScanInfo, unseen: bool, condition: tuple[str, float, bool], prototype: PrototypeB | None = None) -> Case:
    name, sigma, varying = condition
    measured, level = simulate(clean, info, sigma, varying)
    return Case(
        info=info,
        condition=name,
        simulated=True,
        unseen=unseen,
        stacks=(measured,),
        score=partial(score_clean, clean),
        sigma=level,
        mask=clean.mask,
        prototype=prototype,
        reference=clean.images,
    )


def sigma_for_input(clean: Clean, info: ScanInfo, input_dB: float) -> float:
    """Return the varying σ at which the untouched input scores `input_dB`, by bisection to 0.01 dB or 0.0001 of the scale."""
    low, high = 1e-4, 1.0
    for _ in range(14):
        sigma = (low + high) / 2
        measured, _ = simulate(clean, info, sigma, varying=True)
        found = metrics.psnr(metrics.mean_squared_error(measured, clean.images, clean.mask), 1.0)
        low, high = (sigma, high) if found > input_dB else (low, sigma)
    return round((low + high) / 2, 4)


def score_clean(clean: Clean, restored: Sequence[FloatImages]) -> Score:
    """Return the score of a simulated row: one stack against its reference, in the foreground."""
    (images,) = restored
    return Score(
        psnr=metrics.psnr(metrics.mean_squared_error(images, clean.images, clean.mask), 1.0),
        ssim=metrics.ssim(images, clean.images, clean.mask, 1.0),
    )


def score_repeats(repeats: FloatImages, mask: metrics.Mask, groups: Sequence[metrics.Group], restored: Sequence[FloatImages]) -> Score:
    """Return the score of a row of real repeats (slice, repeat, row, column): the stacks of each group of inputs, one group after another."""
    per_input = len(restored) // len(groups)
    whole = [np.concatenate(restored[index * per_input : (index + 1) * per_input]) for index in range(len(groups))]
    return Score(
        psnr=metrics.psnr(metrics.unbiased_mse(whole, groups, repeats, mask), 1.0),
        ssim=metrics.leave_one_out_ssim(whole, groups, repeats, mask, 1.0),
        second_moment_psnr=metrics.psnr(metrics.second_moment_mse(whole, groups, repeats, mask), 1.0),
    )
