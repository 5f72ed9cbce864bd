"""A row of pictures for every organ: measured, fast, full, reference, what was taken away, and how sure mode `full` is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onenex.evaluate import metrics
from onenex.evaluate.cases import Score, clean_case
from onenex.evaluate.material import Repeats, repeated_scan, slices_per_volume
from onenex.evaluate.pictures.canvas import HEAT, RESIDUAL_RANGE, Picture, Region, body, canvas, detail, save, scale_bar, show, window
from onenex.model import Model, Settings
from onenex.physics.scale import series_scale
from onenex.scans import ScanInfo
from onenex.series import FloatImages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIGMA = 0.06
"""Rician noise of the simulated scans, units of the series scale."""
FULL = Settings(mode="full", n_samples=4)
PANEL_INCHES = 1.9
COLUMNS = ("measured fast scan", "fast", "full", "reference", "(measured − full) / σ", "uncertainty / σ")


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One measured slice; images (row, column), units of the series scale."""

    info: ScanInfo
    unseen: bool
    """False when the training split holds other slices of the same series."""
    condition: str
    measured: FloatImages
    reference: FloatImages
    sigma: FloatImages | None
    """The true one; None for real noise."""
    mask: metrics.Mask
    scale: float
    """Series scale of the noisy series."""
    score: Callable[[FloatImages], Score]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A slice and what became of it; images (row, column), units of the series scale."""

    scan: Scan
    fast: FloatImages
    full: FloatImages
    sigma: FloatImages
    """True where it is known, else the model's estimate."""
    uncertainty: FloatImages
    scores: dict[str, Score]
    """Of `measured`, `fast` and `full`."""
    given_up: float
    """Share of the judged area where the guard gave measured pixels back in mode `full`."""

    @property
    def residual(self) -> FloatImages:
        """What mode `full` took away, in noise standard deviations."""
        return (self.scan.measured - self.full) / self.sigma

    @property
    def spread(self) -> FloatImages:
        """The uncertainty in noise standard deviations."""
        return self.uncertainty / self.sigma


def organ_pictures(model: Model, infos: Sequence[ScanInfo], trained: set[str], output: Path) -> Iterator[Picture]:
    """Draw the files of one organ: its first clean one that training has no kin of (or the first), and all its real repeats.

    Parameters
    ----------
    model
        With all networks.
    infos
        Test files of the organ.
    trained
        Names of the training files.
    output
        Folder of the pictures.
    """
    name = f"organ-{slug(infos[0].organ)}"
    clean = sorted((info for info in infos if info.kind == "clean"), key=lambda info: info.id in trained)
    if clean:
        shown = simulated(model, clean[0], clean[0].id not in trained)
        rows = [(shown, body(shown.scan.mask), "whole"), (shown, detail(shown.scan.reference, shown.scan.mask), "detail")]
        yield Picture(save(draw(rows), output / f"{name}.png"), f"whole slice and crop of {describe(shown)}")
    repeats = [repeated(model, info, info.id not in trained) for info in infos if info.kind == "repeats"]
    if repeats:
        path = save(
            draw([(shown, body(shown.scan.mask), shown.scan.info.id.removeprefix("repeats_")) for shown in repeats]), output / f"{name}-repeats.png"
        )
        yield Picture(path, "; ".join(map(describe, repeats)))


def slug(organ: str) -> str:
    """Return an organ's name for a file: letters and digits only, in lower case."""
    return "".join(letter for letter in organ.lower() if letter.isalnum()) or "unknown"


def simulated(model: Model, info: ScanInfo, unseen: bool) -> Shown:
    """Return the middle slice of a clean file under Rician noise, as the benchmark scores it."""
    case = clean_case(info, unseen, SIGMA, varying=False)
    (measured,), reference, sigma = case.stacks, case.reference, case.sigma
    if reference is None or sigma is None:
        raise ValueError(f"{info.id}: a simulated case without its truth")
    middle = len(measured) // 2
    one = slice(middle, middle + 1)

    def score(image: FloatImages) -> Score:
        mse = metrics.mean_squared_error(image[None], reference[one], case.mask[one])
        return Score(psnr=metrics.psnr(mse, 1.0), ssim=metrics.ssim(image[None], reference[one], case.mask[one], 1.0))

    scan = Scan(
        info=info,
        unseen=unseen,
        condition=f"Rician noise σ {SIGMA} added",
        measured=measured[middle],
        reference=reference[middle],
        sigma=sigma[middle],
        mask=case.mask[middle],
        scale=float(series_scale([measured])),
        score=score,
    )
    return restore(model, scan)


def load_repeats(info: ScanInfo) -> Repeats:
    """Return the first volume of a file of repeats."""
    return repeated_scan(info, slices_per_volume(info))


def repeated(model: Model, info: ScanInfo, unseen: bool) -> Shown:
    """Return the middle slice of the first repeat, with the mean of all others as its reference; PSNR is unbiased."""
    repeats = load_repeats(info)
    middle = len(repeats.images) // 2
    one = slice(middle, middle + 1)

    def score(image: FloatImages) -> Score:
        asked = ([image[None]], [(0,)], repeats.images[one], repeats.mask[one])
        return Score(psnr=metrics.psnr(metrics.unbiased_mse(*asked), 1.0), ssim=metrics.leave_one_out_ssim(*asked, 1.0))

    scan = Scan(
        info=info,
        unseen=unseen,
        condition="real repeat, the reference is " + (f"the mean of {repeats.n_others} more" if repeats.n_others > 1 else "another"),
        measured=repeats.images[middle, 0],
        reference=metrics.others_mean(repeats.images[one], (0,))[0],
        sigma=None,
        mask=repeats.mask[middle],
        scale=float(series_scale([repeats.images[:, 0]])),
        score=score,
    )
    return restore(model, scan)


def restore(model: Model, scan: Scan) -> Shown:
    """Denoise a slice in both modes and score the results."""
    measured = scan.measured
    fast = model.denoise(measured[None], scan.info.acquisition, scale=scan.scale)
    full = model.denoise(measured[None], scan.info.acquisition, mode=FULL, scale=scan.scale)
    if full.uncertainty is None:
        raise ValueError(f"{scan.info.id}: several samples, but no uncertainty")
    results = {"measured": measured, "fast": fast.images[0], "full": full.images[0]}
    return Shown(
        scan=scan,
        fast=results["fast"],
        full=results["full"],
        sigma=full.noise_sigma[0] if scan.sigma is None else scan.sigma,
        uncertainty=full.uncertainty[0],
        scores={name: scan.score(image) for name, image in results.items()},
        given_up=full.guard[0].share_given_up if full.guard else 0.0,
    )


def draw(rows: Sequence[tuple[Shown, Region, str]]) -> Figure:
    """Draw a row of panels for each slice, region and its label: all greys of a row in one window, everything else in noise standard deviations."""
    heights = [min(1.5, (region[0].stop - region[0].start) / (region[1].stop - region[1].start)) for _, region, _ in rows]
    figure = canvas(PANEL_INCHES * len(COLUMNS), PANEL_INCHES * sum(heights) + 0.35 * len(rows) + 0.6)
    grid = figure.subplots(len(rows), len(COLUMNS), squeeze=False, height_ratios=heights)
    top = max(_top(shown) for shown, _, _ in rows)
    for panels, (shown, region, label) in zip(grid, rows, strict=True):
        limits = window(shown.scan.reference, shown.scan.mask)
        greys = {"measured": shown.scan.measured, "fast": shown.fast, "full": shown.full, "reference": shown.scan.reference}
        for axes, (name, image) in zip(panels, greys.items(), strict=False):
            show(axes, image[region], limits, below="" if label == "detail" else _below(shown, name))
        scale_bar(panels[0], region, shown.scan.info.pixel_spacing_mm)
        maps = [
            show(panels[4], shown.residual[region], RESIDUAL_RANGE),
            show(panels[5], shown.spread[region], (0, top), colours=HEAT),
        ]
        panels[0].set_ylabel(label, fontsize=7)
    for axes, title in zip(grid[0], COLUMNS, strict=True):
        axes.set_title(title, fontsize=8)
    for column, drawn in zip((4, 5), maps, strict=True):
        figure.colorbar(drawn, ax=grid[:, column], location="bottom", shrink=0.9, aspect=25, pad=0.02).ax.tick_params(labelsize=6)
    return figure


def _top(shown: Shown) -> float:
    """Return the largest uncertainty that the colours tell apart: the 99.5th percentile in the foreground, in σ, rounded up to tenths."""
    values = shown.spread[shown.scan.mask]
    return max(0.1, float(np.ceil(10 * np.percentile(values, 99.5)) / 10)) if values.size else 0.1


def _below(shown: Shown, name: str) -> str:
    if name not in shown.scores:
        return ""
    text = f"{shown.scores[name].psnr:.1f} dB, {shown.scores[name].ssim:.3f}"
    return f"{text}, {shown.given_up:.1%} given up" if name == "full" and shown.given_up else text


def describe(shown: Shown) -> str:
    """Return what is seen of a slice, in figures."""
    scan, info = shown.scan, shown.scan.info
    quality = ", ".join(f"{name} {score.psnr:.2f} dB / {score.ssim:.4f}" for name, score in shown.scores.items())
    low, high = window(scan.reference, scan.mask)
    size = f"{info.rows} × {info.columns}" + (f", {info.pixel_spacing_mm:.2g} mm" if info.pixel_spacing_mm else "")
    kin = "" if scan.unseen else ", training has other slices of it"
    return (
        f"{info.id} ({info.vendor}, {info.sequence}, {size}{kin}), {scan.condition}: PSNR / SSIM in tissue {quality}; "
        f"window {low:.3f} to {high:.3f} of the series scale; residual {_root_mean_square(shown.residual[scan.mask]):.2f} σ (root mean square), "
        f"uncertainty {np.median(shown.spread[scan.mask]):.2f} σ (median); guard gave up {shown.given_up:.1%}"
    )


def _root_mean_square(values: FloatImages) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
