"""How the classical rivals were set: every setting of a grid on slices of the *training* files, the best mean PSNR wins.

The rows are those of `search_learnt`, the noise is OneNEX's own estimate, as in the evaluation. BM3D keeps its authors' settings.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from onenex.errors import DataError
from onenex.evaluate.denoisers import table
from onenex.evaluate.material import PIXELS
from onenex.evaluate.peers import Peer, classical_peers, spelt
from onenex.evaluate.peers.antspy import AntsDenoise
from onenex.evaluate.peers.dipy_nlm import DipyNlm, blockwise, classic
from onenex.evaluate.peers.gaussian import Gaussian
from onenex.evaluate.peers.search_learnt import Sample, samples
from onenex.evaluate.peers.total_variation import TotalVariation
from onenex.evaluate.peers.wavelet import Wavelet

N_CLEAN = 9
"""Clean files of which one slice is taken: three at each noise level."""
CLEAR_DB = 0.05
"""A peer's setting is changed when another one is better by more than this."""
MOST_DB = 60.0
"""An unbiased score may come out infinite by chance; no PSNR counts for more than this."""
FILE = "search-peers.csv"


def _nlm(peer: DipyNlm, settings: Sequence[tuple[int, int, float]], *, rician: bool) -> list[DipyNlm]:
    """Return a method with each (patch radius, block radius, σ factor)."""
    return [replace(peer, patch_radius=patch, block_radius=block, sigma_factor=factor, rician=rician) for patch, block, factor in settings]


GRIDS: Mapping[str, Sequence[Peer]] = {
    "Gaussian": [
        *(Gaussian(rate=rate) for rate in (2.0, 3.0, 4.0, 5.0, 6.0)),
        *(Gaussian(rate=rate, exponent=1.0) for rate in (6.0, 10.0, 15.0)),
        *(Gaussian(rate=width, exponent=0.0) for width in (0.5, 0.7, 1.0)),
    ],
    "NLM classic": [
        *_nlm(classic(1), [*product((1,), (3,), (0.8, 1.0, 1.25)), (2, 3, 1.0), (2, 3, 1.25), (1, 5, 1.0), (1, 5, 1.25)], rician=True),
        *_nlm(classic(1), [(1, 3, 1.0), (1, 3, 1.25)], rician=False),
    ],
    "NLM blockwise": [
        *_nlm(blockwise(1), [*product((1,), (2,), (1.0, 1.5, 2.0, 2.5)), *product((2,), (2,), (1.5, 2.0)), (1, 3, 2.0), (2, 3, 2.0)], rician=True),
        *_nlm(blockwise(1), [*product((1,), (2,), (1.5, 2.0)), *product((2,), (2,), (1.5, 2.0, 2.5))], rician=False),
    ],
    "ANTs": [
        *(AntsDenoise(patch_radius=patch, search_radius=search, noise_model="Rician") for patch, search in product((1, 2), (2, 3))),
        *(AntsDenoise(patch_radius=patch, search_radius=search, noise_model="Gaussian") for patch, search in product((1, 2), (2, 3))),
        *(
            AntsDenoise(patch_radius=patch, search_radius=search, noise_model="Gaussian")
            for patch, search in ((2, 1), (3, 1), (4, 1), (5, 1), (3, 2))
        ),
    ],
    "wavelet": [
        *(Wavelet(wavelet=family, sigma_factor=factor) for family, factor in product(("db1", "db2", "sym4", "sym8"), (0.8, 1.0, 1.25))),
        *(Wavelet(wavelet=family, sigma_factor=0.65) for family in ("db2", "sym4")),
        *(Wavelet(wavelet="sym4", sigma_factor=1.0, max_shift=shift) for shift in (1, 7)),
    ],
    "TV": [TotalVariation(weight=weight) for weight in (0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3)],
}
"""Peer → what is tried. Wider searches of non-local means cost 10 s a slice of 256 × 256 and more."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What one setting reached, mean over the files, foreground."""

    peer: Peer
    psnr: float
    """dB."""
    simulated_gain: float
    """dB over the input, clean files with simulated noise; NaN where there are none."""
    repeats_gain: float
    """dB over the input, unbiased, real repeats; NaN where there are none."""
    least_gain: float
    """dB over the input, of the worst file."""
    ssim: float
    seconds: float
    """Of processors, all threads together, per 256 × 256 pixels."""


HEAD = ("peer", "settings", "PSNR, dB", "gain, simulated", "gain, repeats", "least gain", "SSIM", "CPU s")


def measure(peer: Peer, rows: Sequence[Sample]) -> Tried:
    """Denoise all rows by one peer and score them."""
    began, psnr, ssim = time.process_time(), [], []
    for row in rows:
        score = row.trial.score([peer(stack, sigma) for stack, sigma in zip(row.trial.stacks, row.sigma, strict=True)])
        psnr.append(min(score.psnr, MOST_DB))
        ssim.append(score.ssim)
    seconds = time.process_time() - began
    gains = [found - min(row.input_psnr, MOST_DB) for found, row in zip(psnr, rows, strict=True)]
    simulated = [row.trial.simulated for row in rows]
    return Tried(
        peer=peer,
        psnr=_mean(psnr),
        simulated_gain=_mean([gain for gain, made in zip(gains, simulated, strict=True) if made]),
        repeats_gain=_mean([gain for gain, made in zip(gains, simulated, strict=True) if not made]),
        least_gain=min(gains),
        ssim=_mean(ssim),
        seconds=seconds * PIXELS / sum(stack.size for row in rows for stack in row.trial.stacks),
    )


def best(tried: Sequence[Tried]) -> Tried:
    """Return the setting with the best mean PSNR."""
    return max(tried, key=lambda one: one.psnr)


def run(
    data: Path, output: Path | None = None, methods: Sequence[str] | None = None, *, n_clean: int = N_CLEAN, threads: int | None = None
) -> dict[str, Tried]:
    """Search, print what each setting reaches as a Markdown table, and return the best of each peer.

    Parameters
    ----------
    data, output
        Folder with the manifest; folder for `search-peers.csv`, made when missing.
    methods
        Names of classical peers as `spelt` reads them; all by default.
    n_clean
        How many clean files take part.
    threads
        CPU threads of the noise estimate; torch's own choice when None. The peers get one.

    Raises
    ------
    DataError
        There is no file of split `train`, an unknown name, or a peer's package is missing.
    """
    defaults = {peer.name: peer for peer in classical_peers(1)}
    chosen = _chosen(methods)
    if threads is not None:
        torch.set_num_threads(threads)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    screen, found = table.console(), {}
    rows = samples(data, n_clean=n_clean, quick_repeats=False)
    every: list[Tried] = []
    screen.print(f"{len(rows)} files, input {_mean([min(row.input_psnr, MOST_DB) for row in rows]):.3f} dB")
    screen.print(_line(HEAD) + "\n" + _line(["---"] * len(HEAD)), soft_wrap=True)
    for method in chosen:
        tried = []
        for peer in GRIDS[method]:
            tried.append(measure(peer, rows))
            screen.print(_line(_cells(tried[-1])), soft_wrap=True)
        found[method] = best(tried)
        every += tried
    screen.print("\n".join(_verdict(one, defaults[method], every) for method, one in found.items()), soft_wrap=True)
    if output is not None:
        with (output / FILE).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([HEAD, *(_cells(one) for one in every)])
    return found


def described(peer: Peer) -> str:
    """Return a peer's settings."""
    hidden = ("name", "package", "method", "n_threads")
    names: list[str] = [one.name for one in fields(peer) if one.name not in hidden] if is_dataclass(peer) else []
    told = ((name, getattr(peer, name)) for name in names)
    return ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in told)


def _chosen(methods: Sequence[str] | None) -> list[str]:
    """Return the keys of `GRIDS` that are asked for, in its order."""
    if methods is None:
        return list(GRIDS)
    wanted, known = {spelt(name) for name in methods}, {spelt(name): name for name in GRIDS}
    unknown = sorted(wanted - set(known))
    if unknown:
        raise DataError(f"nothing to search for {', '.join(unknown)}: choose from {', '.join(known)}")
    return [name for key, name in known.items() if key in wanted]


def _verdict(winner: Tried, default: Peer, every: Sequence[Tried]) -> str:
    """Return one line: what won, and by how much over what the peer uses."""
    used = next((one.psnr for one in every if one.peer == default), -math.inf)
    ahead = winner.psnr - used
    said = f"keeps {described(default)}" if ahead <= CLEAR_DB else f"should use {described(winner.peer)}"
    return f"{winner.peer.name}: best {described(winner.peer)} ({winner.psnr:.3f} dB, {ahead:+.3f} over what it uses): {said}"


def _cells(one: Tried) -> list[str]:
    gains = [f"{gain:+.2f}" for gain in (one.simulated_gain, one.repeats_gain, one.least_gain)]
    return [one.peer.name, described(one.peer), f"{one.psnr:.3f}", *gains, f"{one.ssim:.4f}", f"{one.seconds:.2f}"]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
