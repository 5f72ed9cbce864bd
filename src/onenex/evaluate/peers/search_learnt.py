"""How the diffusion rivals' samplers were set: every setting of a grid on slices of the *training* files, the best mean PSNR wins.

The noise is OneNEX's own estimate, as in the benchmark. Of files too short to hold a slice out the last one takes part,
which training has seen under other noise.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from onenex import model as models
from onenex.evaluate.denoisers import table
from onenex.evaluate.material import PIXELS
from onenex.evaluate.peers import Peer
from onenex.evaluate.peers.ddpm import ConditionalDdpm
from onenex.evaluate.peers.dps import DpsPeer
from onenex.evaluate.peers.reddiff import RedDiffPeer
from onenex.evaluate.trials import Plan, Trial, files, trials
from onenex.model.weights import file_hash
from onenex.rivals.sampling import Ddim, Dps, RedDiff
from onenex.rivals.weights import bundled_path
from onenex.scans import ScanInfo
from onenex.series import FloatImages

Settings = Ddim | Dps | RedDiff
MAKE: Mapping[type[Settings], Callable[..., Peer]] = {Ddim: ConditionalDdpm, Dps: DpsPeer, RedDiff: RedDiffPeer}
GRIDS: Mapping[str, Sequence[Settings]] = {
    "DDPM": [Ddim(n_steps=n, t_start=t) for n, t in product((5, 10, 20), (1000, 300))],
    "DPS": [
        *(Dps(n_steps=10, start=start, step_size=size) for start, size in product((1.0, 2.0, 4.0), (0.1, 0.3, 0.6))),
        *(Dps(n_steps=10, start=2.0, step_size=size, normalised=True) for size in (0.3, 0.6)),
        *(Dps(n_steps=10, start=8.0, step_size=size) for size in (0.3, 0.6, 1.0)),
        *(Dps(n_steps=10, start=16.0, step_size=size) for size in (0.6, 1.0)),
        *(Dps(n_steps=20, start=start, step_size=0.3) for start in (2.0, 4.0)),
        Dps(n_steps=20, step_size=0.3),
    ],
    "RED-diff": [
        *(RedDiff(n_steps=10, start=start, prior_weight=w, rate=0.3) for start, w in product((1.0, 2.0, 3.0), (1000.0, 3000.0, 6000.0))),
        *(RedDiff(n_steps=10, start=1.0, prior_weight=3000.0, rate=rate) for rate in (0.15, 0.6)),
        *(RedDiff(n_steps=10, start=start, prior_weight=w, rate=0.3) for start, w in ((0.7, 6000.0), (0.7, 12000.0), (1.0, 12000.0), (1.4, 6000.0))),
        *(RedDiff(n_steps=20, start=start, prior_weight=3000.0, rate=0.3) for start in (1.0, 2.0)),
    ],
}
"""No fewer steps than five: one step of DDIM is a regression, and would win by PSNR against every sampler."""
N_CLEAN = 8
"""Clean files of which one slice is taken."""
JOURNAL = "search-learnt.jsonl"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One row of the search, before it is denoised."""

    trial: Trial
    sigma: tuple[FloatImages, ...]
    """Estimated noise of each of the trial's stacks."""
    input_psnr: float


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What one setting reached, mean over the rows."""

    method: str
    settings: Settings
    gain_dB: float
    """PSNR over the input, foreground."""
    least_gain_dB: float
    ssim: float
    seconds: float
    """Per 256 × 256 pixels."""


def samples(data: Path, *, n_clean: int = N_CLEAN, device: str = "cpu", quick_repeats: bool = True) -> list[Sample]:
    """Return one row of each training file of repeats, and of `n_clean` clean files at one noise level by turns.

    Parameters
    ----------
    data, n_clean
        Folder with the manifest; how many clean files, spread over all.
    device
        Where the noise is estimated.
    quick_repeats
        Whether a row of repeats is one slice of one repeat, or as many as `trials` gives it.

    Raises
    ------
    DataError
        There is no file of split `train`.
    """
    plan = Plan(split="train", slices=1, one_a_file=True, short=True)
    of_repeats = replace(plan, quick=quick_repeats)
    found = files(data, plan)
    repeats = [info for info in found if info.kind == "repeats"]
    clean = _spread([info for info in found if info.kind == "clean"], n_clean)
    model = models.load(device)
    return [_sample(trial, model) for trial in (*trials(data, repeats, of_repeats), *trials(data, clean, plan))]


def search(method: str, rows: Sequence[Sample], *, weights: Path | None = None) -> Iterator[Tried]:
    """Yield what each setting of a method's grid reaches."""
    for settings in GRIDS[method]:
        yield measure(method, settings, rows, weights=weights)


def measure(method: str, settings: Settings, rows: Sequence[Sample], *, weights: Path | None = None) -> Tried:
    """Denoise all rows under one setting and score them."""
    peer = MAKE[type(settings)](settings=settings, weights=weights)
    began, gains, ssims = time.perf_counter(), [], []
    for row in rows:
        score = row.trial.score([peer(stack, sigma) for stack, sigma in zip(row.trial.stacks, row.sigma, strict=True)])
        gains.append(score.psnr - row.input_psnr)
        ssims.append(score.ssim)
    n_pixels = sum(stack.size for row in rows for stack in row.trial.stacks)
    return Tried(
        method=method,
        settings=settings,
        gain_dB=float(np.mean(gains)),
        least_gain_dB=float(np.min(gains)),
        ssim=float(np.mean(ssims)),
        seconds=(time.perf_counter() - began) * PIXELS / n_pixels,
    )


def best(tried: Sequence[Tried]) -> Tried:
    """Return the setting with the best mean PSNR."""
    return max(tried, key=lambda one: one.gain_dB)


def run(
    data: Path, output: Path, methods: Sequence[str] | None = None, *, n_clean: int = N_CLEAN, weights: Path | None = None, threads: int | None = None
) -> dict[str, Tried]:
    """Search, print what each setting reaches, and return the best of each method.

    Parameters
    ----------
    data, output
        Folder with the manifest; folder for `search-learnt.jsonl`, from which a stopped search goes on.
    methods
        Keys of `GRIDS`; all by default.
    n_clean
        As in `samples`.
    weights
        The rivals' weights file; the bundled one by default.
    threads
        CPU threads; torch's own choice when None.

    Raises
    ------
    DataError
        There is no file of split `train`.
    WeightsMismatch
        The weights cannot be used.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    output.mkdir(parents=True, exist_ok=True)
    key = f"{file_hash(weights or bundled_path())} {n_clean}"
    journal, screen = output / JOURNAL, table.console()
    known = _read(journal, key)
    rows = samples(data, n_clean=n_clean)
    found: dict[str, Tried] = {}
    for method in methods or GRIDS:
        tried = []
        for settings in GRIDS[method]:
            one = known.get((method, str(settings)))
            if one is None:
                one = measure(method, settings, rows, weights=weights)
                with journal.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps({"key": key, **asdict(one), "settings": str(settings)}) + "\n")
            screen.print(described(one))
            tried.append(one)
        found[method] = best(tried)
        screen.print(f"best: {described(found[method])}", style="bold")
    return found


def described(one: Tried) -> str:
    """Return one line on a setting."""
    told = f"gain {one.gain_dB:+.3f} dB, least {one.least_gain_dB:+.2f} dB, SSIM {one.ssim:.4f}, {one.seconds:.2f} s per 256 × 256"
    return f"{one.method}: {one.settings}: {told}"


def _sample(trial: Trial, model: models.Model) -> Sample:
    sigma = tuple(model.estimate_sigma(stack, scale) for stack, scale in zip(trial.stacks, trial.scales, strict=True))
    return Sample(trial=trial, sigma=sigma, input_psnr=trial.score(trial.stacks).psnr)


def _spread(infos: Sequence[ScanInfo], n: int) -> list[ScanInfo]:
    """Return `n` files spread evenly over all."""
    return list(infos) if len(infos) <= n else [infos[int(place)] for place in (np.arange(n) + 0.5) * len(infos) / n]


def _read(journal: Path, key: str) -> dict[tuple[str, str], Tried]:
    """Return what a stopped search measured under the same key."""
    if not journal.is_file():
        return {}
    settings = {(method, str(one)): one for method, grid in GRIDS.items() for one in grid}
    lines = (json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines() if line.endswith("}"))
    known = {(line["method"], line["settings"]): line for line in lines if line.pop("key") == key}
    return {place: Tried(**{**line, "settings": settings[place]}) for place, line in known.items() if place in settings}
