"""A picture of the learnt scanner f_φ: real fast scans beside those that it makes, and the statistics of both."""

# shapes: S slice, H row, W column

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onenex.evaluate.material import Repeats
from onenex.evaluate.metrics import Mask, others_mean
from onenex.evaluate.pictures.canvas import ORANGE, RESIDUAL_RANGE, Picture, body, save, scale_bar, show, window
from onenex.evaluate.pictures.organ import load_repeats
from onenex.model.condition import tell
from onenex.model.degradation import Degradation
from onenex.model.noise_level import NoiseLevel
from onenex.model.tiling import pad_to_multiple
from onenex.nets.attention import Condition
from onenex.scans import ScanInfo
from onenex.series import FloatImages
from onenex.text.prompt import phrases_of
from onenex.text.tokens import PhraseTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_SERIES = 4
"""Series shown, the first ones."""
MAX_SLICES = 12
"""Adjacent middle slices that the statistics are taken from; the middle one is shown."""
N_BINS = 20
"""Rings of the spectra, from 0 to 0.5 cycles per pixel."""
COLUMNS = ("real fast scan", r"fast scan of $f_\varphi$", "(real − others) / σ", r"($f_\varphi$ − others) / σ")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Real fast scans and those of f_φ; images (slice, row, column), units of the series scale."""

    real: FloatImages
    others: FloatImages
    """Mean of the other repeats: what f_φ scans."""
    made: FloatImages
    mean: FloatImages
    """m_φ of the others."""
    deviation: FloatImages
    """σ_φ of the others."""
    sigma: FloatImages
    """Noise map of the real fast scan, as f_φ is told it."""
    mask: Mask
    n_others: int

    @property
    def widening(self) -> float:
        """√(1 + 1/m): what noise of the m others adds to a difference from the real scan; f_φ's was made from the others, so its has none."""
        return float(np.sqrt(1 + 1 / self.n_others))

    @property
    def differences(self) -> tuple[FloatImages, FloatImages]:
        """Real and made minus others, in units of σ, both for a single scan's noise."""
        return (self.real - self.others) / (self.sigma * np.float32(self.widening)), (self.made - self.others) / self.sigma

    @property
    def standardised(self) -> tuple[FloatImages, FloatImages]:
        """(y − m_φ) / σ_φ of the real and of the made scan: unit normal where f_φ is right."""
        return (self.real - self.mean) / (self.deviation * np.float32(self.widening)), (self.made - self.mean) / self.deviation


def scanner_picture(networks: tuple[NoiseLevel, Degradation, PhraseTable], infos: Sequence[ScanInfo], output: Path) -> Picture | None:
    """Draw `scanner.png` of the files of repeats among `infos`; None when there is none."""
    from matplotlib.figure import Figure

    noise_level, degradation, phrases = networks
    chosen = [info for info in infos if info.kind == "repeats"][:MAX_SERIES]
    if not chosen:
        return None
    figure = Figure(figsize=(14.5, 2.75 * len(chosen)), layout="constrained")
    grid = figure.subplots(len(chosen), len(COLUMNS) + 2, squeeze=False, width_ratios=[1] * len(COLUMNS) + [1.35, 1.35])
    captions = []
    for panels, info in zip(grid, chosen, strict=True):
        repeats = load_repeats(info)
        first = max(0, (len(repeats.images) - MAX_SLICES) // 2)
        span = slice(first, first + MAX_SLICES)
        part = Repeats(images=repeats.images[span], mask=repeats.mask[span])
        found = compare(degradation, noise_maps(noise_level, part.images[:, 0]), part, tell(phrases, [phrases_of(info.acquisition)])[0], info.id)
        _draw_row(panels, found, info)
        captions.append(describe(found, info))
    return Picture(save(figure, output / "scanner.png"), "; ".join(captions))


@torch.no_grad()
def noise_maps(noise_level: NoiseLevel, images_SHW: FloatImages) -> FloatImages:
    """Return the noise map (median) of each slice, units of the series scale."""
    maps = [noise_level(torch.from_numpy(image)[None, None]).sigma[0, 0].numpy() for image in images_SHW]
    return np.stack(maps)


@torch.no_grad()
def compare(degradation: Degradation, sigma_SHW: FloatImages, repeats: Repeats, condition: Condition, name: str) -> Compared:
    """Scan the mean of all repeats but the first with f_φ, and put the first beside it.

    Parameters
    ----------
    degradation
        f_φ.
    sigma_SHW
        Noise of the first repeat, units of the series scale.
    repeats
        At least two.
    condition
        Text of the series, a batch of one.
    name
        What the draw depends on.
    """
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    others = others_mean(repeats.images, (0,))
    found: list[tuple[Tensor, ...]] = []
    for other, sigma in zip(others, sigma_SHW, strict=True):
        both = torch.from_numpy(np.stack([other, sigma]))[None]
        n_rows, n_columns = other.shape
        padded = pad_to_multiple(both, degradation.multiple)
        clean, level = padded[:, :1], padded[:, 1:]
        white = torch.randn(clean.shape, generator=generator)
        parts = (*degradation(clean, level, condition), degradation.sample(clean, level, condition, white))
        found.append(tuple(part[0, 0, :n_rows, :n_columns] for part in parts))
    mean, deviation, made = (np.asarray(torch.stack(images).numpy(), np.float32) for images in zip(*found, strict=True))
    return Compared(
        real=repeats.images[:, 0],
        others=others,
        made=made,
        mean=mean,
        deviation=deviation,
        sigma=sigma_SHW,
        mask=repeats.mask,
        n_others=repeats.n_others,
    )


def radial_power(difference_SHW: FloatImages, mask_SHW: Mask) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return frequency (cycles per pixel) and mean power in each of `N_BINS` rings, over all slices, of what lies inside the mask.

    White noise of variance v has power v at every frequency. A ring that holds no frequency of the grid is NaN.
    """
    n_rows, n_columns = difference_SHW.shape[1:]
    radius = np.hypot(np.fft.fftfreq(n_rows)[:, None], np.fft.fftfreq(n_columns))
    power = np.square(np.abs(np.fft.fft2(difference_SHW * mask_SHW))).sum(axis=0) / max(1, int(mask_SHW.sum()))
    ring = np.minimum((radius / 0.5 * N_BINS).astype(int), N_BINS)  # corners beyond 0.5 fall into one ring more, which is dropped
    counts, sums = (np.bincount(ring.ravel(), weights, minlength=N_BINS + 1)[:N_BINS] for weights in (None, power.ravel()))
    return (np.arange(N_BINS) + 0.5) * 0.5 / N_BINS, np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _draw_row(panels: Sequence[Axes], found: Compared, info: ScanInfo) -> None:
    middle = len(found.real) // 2
    region = body(found.mask[middle])
    limits = window(found.others[middle], found.mask[middle])
    real, made = found.differences
    greys = ((found.real, limits), (found.made, limits), (real, RESIDUAL_RANGE), (made, RESIDUAL_RANGE))
    for axes, title, (images, those) in zip(panels, COLUMNS, greys, strict=False):
        show(axes, images[middle][region], those)
        axes.set_title(title, fontsize=8)
    scale_bar(panels[0], region, info.pixel_spacing_mm)
    panels[0].set_ylabel(info.id.removeprefix("repeats_"), fontsize=7)
    _draw_spectra(panels[-2], found)
    _draw_histogram(panels[-1], found)
    for axes in panels[-2:]:
        axes.tick_params(which="both", labelsize=6)
        axes.legend(fontsize=6, frameon=False)


def _draw_spectra(axes: Axes, found: Compared) -> None:
    for images, label, style, colour in zip(found.differences, ("real", r"$f_\varphi$"), ("-", "--"), ("k", ORANGE), strict=True):
        axes.semilogy(*radial_power(images, found.mask), style, label=label, color=colour)
    axes.set_title("power of the differences, σ²", fontsize=8)
    axes.set_xlabel("cycles per pixel", fontsize=7)


def _draw_histogram(axes: Axes, found: Compared) -> None:
    edges = np.linspace(-5, 5, 61)
    for images, label, colour in zip(found.standardised, ("real", r"$f_\varphi$"), ("k", ORANGE), strict=True):
        values = images[found.mask]
        axes.hist(
            values, list(edges), density=True, histtype="step", color=colour, label=f"{label}: mean {values.mean():+.2f}, std {values.std():.2f}"
        )
    axes.plot(edges, np.exp(-np.square(edges) / 2) / np.sqrt(2 * np.pi), color="0.6", linewidth=2.5, zorder=0, label="unit normal")
    axes.set_ylim(0, 0.62)
    axes.set_title(r"(scan − $m_\varphi$) / $\sigma_\varphi$", fontsize=8)


def describe(found: Compared, info: ScanInfo) -> str:
    """Return what is seen of a series, in figures."""
    real, made = (images[found.mask] for images in found.standardised)
    ratio = _power_ratio(found)
    return (
        f"{info.id} ({info.organ}, {info.vendor}, {info.sequence}; {len(found.real)} slices; others: {found.n_others}; real differences "
        f"over {found.widening:.2f}): standardised residual real mean {real.mean():+.3f} variance {real.var():.3f}, f_φ's mean {made.mean():+.3f} "
        f"variance {made.var():.3f}; f_φ's power over real power {ratio.min():.2f} to {ratio.max():.2f}, median {np.median(ratio):.2f}"
    )


def _power_ratio(found: Compared) -> NDArray[np.float64]:
    """Return the power of f_φ's differences over that of the real ones in each ring that holds something."""
    real, made = (radial_power(images, found.mask)[1] for images in found.differences)
    known = np.isfinite(real) & (real > 0)
    return np.asarray(made[known] / real[known])
