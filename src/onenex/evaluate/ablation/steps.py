"""`onenex benchmark steps`: mode `full` under other presets, on slices of the training files, to choose the preset by.

Never on test files. What is held out is every 8th slice of each training file, so a head in both parts is the same head. Files of fewer
slices take part with a slice that training has seen, or nothing like them would be looked at: under other noise, and marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from onenex.evaluate.ablation import files as ablation_files
from onenex.evaluate.ablation import table as ablation_table
from onenex.evaluate.ablation.run import VARIANTS, Variant, collect, foretell, open_bench
from onenex.evaluate.ablation.table import FAST, INPUT, Measured
from onenex.evaluate.denoisers.rows import Finding
from onenex.evaluate.trials import Plan, files, trials
from onenex.model import Settings
from onenex.model.reddiff import DEFAULT, Preset
from onenex.scans import ScanInfo

STEPS = (1, 2, 3, 4, 6, 8, 12)
N_SLICES = 24
"""Clean files of which one slice is taken."""
_TRIED = (
    (300, 4, 40, 0.5), (300, 4, 100, 0.35), (300, 4, 200, 0.5), (300, 4, 200, 0.35), (500, 4, 100, 0.35), (150, 4, 200, 0.35), (300, 6, 100, 0.25),
)  # fmt: skip
"""t_start, steps, λ, rate: what docs/decisions/0006 chose the default from."""
GRID: Mapping[str, Preset] = {
    "default": DEFAULT,
    **{
        f"t {t}, {n} steps, λ {weight}, rate {rate}": preset
        for t, n, weight, rate in _TRIED
        if (preset := replace(DEFAULT, t_start=t, n_steps=n, prior_weight=weight, learning_rate=rate)) != DEFAULT
    },
}
"""What `--search` tries. Edit it, and presets that were measured before
are taken over from the journal."""


def run(
    data: Path,
    output: Path,
    *,
    n_slices: int = N_SLICES,
    device: str = "auto",
    weights: Path | None = None,
    threads: int | None = None,
) -> list[Measured]:
    """Measure every number of `STEPS`; print the table, write `steps.csv`, `.json`, `.md`, `-groups.csv` and `steps.png` to `output`.

    Arguments and errors as in `search`.
    """
    presets = {_name(n): replace(DEFAULT, n_steps=n) for n in STEPS}
    found = search(presets, data, output, n_slices=n_slices, device=device, weights=weights, threads=threads, name="steps")
    plot(found, output / "steps.png")
    return found


def search(  # noqa: PLR0913 - keyword-only settings of a verb
    presets: Mapping[str, Preset],
    data: Path,
    output: Path | None = None,
    *,
    n_slices: int = N_SLICES,
    device: str = "auto",
    weights: Path | None = None,
    threads: int | None = None,
    name: str = "presets",
) -> list[Measured]:
    """Measure presets against mode `fast` and the input on slices of training files, and say which of them meet the release's bars there.

    Parameters
    ----------
    presets
        Name → preset; each is one line of the table.
    data, output
        Folder with the manifest; folder for `<name>.csv`, `.json`, `.md` and `-groups.csv`, from which a stopped run goes on.
    n_slices
        Clean files, spread evenly over all, each with one slice at one noise level by turns. The files of repeats all
        take part, with about one slice of 256 × 256 of each input.
    device, weights, threads
        As `onenex benchmark denoisers`.
    name
        Stem of the files.

    Returns
    -------
    list[Measured]
        `INPUT` and `FAST` among the variants.

    Raises
    ------
    DataError
        There is no file of split `train`.
    OutOfDomain
        The weights know mode `fast` only.
    """
    plan = Plan(split="train", slices=1, one_a_file=True, short=True)
    infos = _spread(files(data, plan), n_slices)
    bench = open_bench(weights, plan, device=device, threads=threads, journal=None if output is None else output / f"{name}.csv")
    variants = _variants(presets)
    lines = [f"weights {bench.model.weights_hash}, held-out slices", foretell(infos, plan, variants)]
    lines += [f"{label}: {_described(preset)}" for label, preset in presets.items()]
    ablation_table.begin(bench.screen, "OneNEX presets of mode full", lines, bench.lpips is not None)
    found = collect(bench, trials(data, infos, plan), variants)
    bench.screen.print(ablation_table.drawn(ablation_table.overall(found, "slices of training files")))
    findings = [line for preset in presets for line in _judged(found, preset)]
    ablation_table.show_findings(bench.screen, findings)
    if output is not None:
        ablation_files.write(found, findings, {"weights": bench.model.weights_hash, "plan": lines}, output, name=name)
    return found


def _judged(found: Sequence[Measured], preset: str) -> list[Finding]:
    """Return the bars of one preset, without the lines that have none."""
    return [line for line in ablation_table.quality(found, preset) if line.passed is not None]


def _spread(infos: Sequence[ScanInfo], n_clean: int) -> list[ScanInfo]:
    """Return all repeats, and `n_clean` clean files spread evenly over the others."""
    repeats, clean = ([info for info in infos if info.kind == kind] for kind in ("repeats", "clean"))
    if len(clean) > n_clean:
        clean = [clean[int(place)] for place in (np.arange(n_clean) + 0.5) * len(clean) / n_clean]
    return [*repeats, *clean]


def _variants(presets: Mapping[str, Preset]) -> list[Variant]:
    base = [one for one in VARIANTS if one.name in (INPUT, FAST)]
    return [*base, *(Variant(name=name, settings=Settings(mode="full", guard=False, preset=preset)) for name, preset in presets.items())]


def _described(preset: Preset) -> str:
    return f"t_start {preset.t_start}, {preset.n_steps} steps, λ {preset.prior_weight:g}, rate {preset.learning_rate:g}"


def _name(n: int) -> str:
    return f"{n} steps"


def plot(found: Sequence[Measured], path: Path) -> None:
    """Draw the means over rows against the number of steps, mode `fast` at 0."""
    from matplotlib.figure import Figure

    names = {FAST: 0, **{_name(n): n for n in STEPS}}
    figure = Figure(figsize=(12, 3), layout="constrained")
    labels = {"psnr": "PSNR, dB", "ssim": "SSIM", "lpips": "LPIPS (less is better)", "seconds": "s per 256 × 256"}
    for axes, (metric, label) in zip(figure.subplots(1, len(labels)), labels.items(), strict=True):
        values = {
            n: [value for one in found if one.variant == name and one.simulated and (value := getattr(one, metric)) is not None]
            for name, n in names.items()
        }
        present = [n for n, those in values.items() if those]
        axes.plot(present, [np.mean(values[n]) for n in present], "o-")
        axes.set(xlabel="steps (0 = fast)", ylabel=label)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
