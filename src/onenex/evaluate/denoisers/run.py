"""`onenex benchmark denoisers`: OneNEX, the untouched input and the peers on every test file, in one run and one table."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from onenex import model as models
from onenex.errors import DataError
from onenex.evaluate.cases import Case, Score, cases, load_clean, simulate
from onenex.evaluate.costs.memory import peak_bytes_of_job
from onenex.evaluate.denoisers import speed, table
from onenex.evaluate.denoisers.rows import INPUT, ONENEX, Finding, Row, findings
from onenex.evaluate.peers import Peer, all_peers, classical_peers, spelt
from onenex.evaluate.peers.dipy_nlm import blockwise_default
from onenex.scans import read_manifest
from onenex.series import FloatImages

_LOG = logging.getLogger(__name__)
SLICE_PIXELS = 256 * 256
SPEED_SLICES = 4
UNGUARDED = models.Settings(mode="fast", guard=False)
"""The network is judged here; what the guard does to its results, `onenex benchmark guard` tells."""


def run(
    data: Path,
    output: Path | None = None,
    methods: Sequence[str] | None = None,
    quick: bool = False,
    *,
    device: str = "auto",
    weights: Path | None = None,
    threads: int | None = None,
) -> Path | None:
    """Score every method on every test file, print the table as it grows, then what follows from it.

    Parameters
    ----------
    data
        Folder with `manifest.csv` and `test/`.
    output
        Folder for `denoisers.csv`, `denoisers.json` and `growth.png`; made when missing.
    methods
        Peers to run, by name in any case with hyphens for blanks ("nlm-blockwise", "tv", "u-net"); the classical ones when None. The
        untouched input and OneNEX always run.
    quick
        A few rows only, to see that everything works.
    device
        Where OneNEX runs, as in `onenex.load`; the peers know the CPU only.
    weights
        A weights file to judge instead of the bundled one.
    threads
        CPU threads of OneNEX and of the peers; all cores when None.

    Returns
    -------
    Path | None
        `denoisers.json`, or None without `output`.

    Raises
    ------
    DataError
        No usable data, an unknown method, or a peer's package is missing.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    n_threads = threads or os.cpu_count() or 1
    peers = classical_peers(n_threads) if methods is None else chosen_peers(all_peers(n_threads, methods), methods)
    model = models.load(device, weights)
    screen = table.console()
    screen.print(f"OneNEX weights {model.weights_hash}, device {model.device}, {n_threads} CPU threads")
    screen.print(table.head([INPUT, ONENEX, *(peer.name for peer in peers)]), style="bold")
    rows = []
    for case in cases(data, quick):
        rows.append(score(case, model, peers))
        screen.print(table.line(rows[-1]))
    if not rows:
        raise DataError(f"{data}: the manifest lists no test file")
    lines = findings(rows)
    _show(screen, [*(Finding(text=text) for text in table.LEGEND), *lines])
    reach = speed.QUICK if quick else speed.FULL
    timed = _timed(model, peers, n_threads)
    costs = speed.measure(timed, *speed_stack(data), reach, lambda job: peak_bytes_of_job(job, str(model.device), weights))
    lines += speed.findings(costs)
    _show(screen, speed.findings(costs))
    if output is None:
        return None
    speed.plot_growth(costs.growth, output / "growth.png")
    table.write(rows, lines, {"weights": model.weights_hash, "threads": n_threads, "costs": asdict(costs)}, output)
    return output / "denoisers.json"


def chosen_peers(peers: Sequence[Peer], methods: Sequence[str] | None) -> list[Peer]:
    """Return the peers that `methods` names, in the order of `peers`.

    Raises
    ------
    DataError
        A name that no peer has.
    """
    if methods is None:
        return list(peers)
    wanted = {spelt(name) for name in methods if name.strip()}
    by_name = {spelt(peer.name): peer for peer in peers}
    unknown = sorted(wanted - set(by_name))
    if unknown:
        raise DataError(f"no method named {', '.join(unknown)}: choose from {', '.join(by_name)}")
    return [peer for name, peer in by_name.items() if name in wanted]


def score(case: Case, model: models.Model, peers: Sequence[Peer]) -> Row:
    """Denoise one case by every method and score the results; peers get the σ that OneNEX estimated."""
    per_slice = SLICE_PIXELS / sum(stack.size for stack in case.stacks)
    scores: dict[str, Score] = {INPUT: case.score(case.stacks)}
    seconds: dict[str, float] = {}
    start = time.perf_counter()
    denoised = [model.denoise(stack, case.info.acquisition, mode=UNGUARDED) for stack in case.stacks]
    seconds[ONENEX] = (time.perf_counter() - start) * per_slice
    scores[ONENEX] = case.score([one.images for one in denoised])
    for peer in peers:
        start = time.perf_counter()
        restored = [peer(stack, one.noise_sigma) for stack, one in zip(case.stacks, denoised, strict=True)]
        seconds[peer.name] = (time.perf_counter() - start) * per_slice
        scores[peer.name] = case.score([_finite(peer.name, one, stack) for one, stack in zip(restored, case.stacks, strict=True)])
    ratio = None
    if case.sigma is not None:
        ratio = float(np.median((denoised[0].noise_sigma / case.sigma)[case.mask]))
    return Row(
        file=case.info.id,
        condition=case.condition,
        simulated=case.simulated,
        unseen=case.unseen,
        nex=case.nex,
        scores=scores,
        seconds=seconds,
        sigma_ratio=ratio,
        prototype=case.prototype,
    )


def _finite(name: str, restored: FloatImages, measured: FloatImages) -> FloatImages:
    """Let pixels that a peer returned as NaN or infinite count as unchanged, and say so."""
    bad = ~np.isfinite(restored)
    if bad.any():
        _LOG.warning("event=non_finite_pixels method=%s n_pixels=%d", name, int(bad.sum()))
    return np.where(bad, measured, restored)


def _timed(model: models.Model, peers: Sequence[Peer], n_threads: int) -> dict[str, speed.Denoise]:
    """Return what is timed: OneNEX, the peers, and DIPY's blockwise means once more with its own, quicker defaults."""

    def fast(images: FloatImages, _sigma: FloatImages) -> FloatImages:
        return model.denoise(images, mode=UNGUARDED).images

    timed: dict[str, speed.Denoise] = {ONENEX: fast, **{peer.name: peer for peer in peers}}
    default = blockwise_default(n_threads)
    if any(peer.package == default.package for peer in peers):
        timed[default.name] = default
    return timed


def speed_stack(data: Path) -> tuple[FloatImages, FloatImages]:
    """Return `SPEED_SLICES` noisy 256 × 256 slices (repeated or cropped) of the first clean test file, σ 0.06, and their σ."""
    info = next((one for one in read_manifest(data) if one.split == "test" and one.kind == "clean"), None)
    if info is None:
        raise DataError(f"{data}: the speed measurement needs one clean test file")
    measured, sigma = simulate(load_clean(info), info, 0.06, varying=False)
    widths = [(0, max(0, wanted - n)) for wanted, n in zip((SPEED_SLICES, 256, 256), measured.shape, strict=True)]
    cut = np.s_[:SPEED_SLICES, :256, :256]
    return np.pad(measured, widths, mode="wrap")[cut], np.pad(sigma, widths, mode="wrap")[cut]


def _show(screen: Console, lines: Sequence[Finding]) -> None:
    screen.print()
    for finding in lines:
        screen.print(table.finding_line(finding))
