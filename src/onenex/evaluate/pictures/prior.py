"""A sanity panel of the prior g_θ: what it sees and what it says of a slice from little to much diffusion noise."""

# shapes: B batch, H row, W column

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from onenex.evaluate import metrics
from onenex.evaluate.cases import load_clean, simulate
from onenex.evaluate.pictures.canvas import RESIDUAL_RANGE, Picture, canvas, detail, save, show, window
from onenex.evaluate.pictures.organ import SIGMA
from onenex.model.condition import tell
from onenex.model.diffusion import diffuse
from onenex.model.noise_level import NoiseLevel
from onenex.model.prior import Prior
from onenex.model.tiling import pad_to_multiple
from onenex.nets.attention import Condition
from onenex.scans import ScanInfo
from onenex.series import FloatImages
from onenex.text.prompt import phrases_of
from onenex.text.tokens import PhraseTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TIMES = (50, 100, 200, 400, 600, 900)
N_ORGANS = 2
PANEL_INCHES = 1.5


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The middle slice of a file; images (row, column), units of the series scale."""

    info: ScanInfo
    reference: FloatImages
    measured: FloatImages
    """y, with Rician noise `SIGMA`."""
    mask: metrics.Mask
    diffused: tuple[FloatImages, ...]
    """x_t / √ᾱ_t at each of `TIMES`."""
    predicted: tuple[FloatImages, ...]
    """g_θ(x_t, y, t, c)."""

    def psnr(self, image: FloatImages) -> float:
        """Return the PSNR of an image against the reference in the foreground, dB."""
        return metrics.psnr(metrics.mean_squared_error(image, self.reference, self.mask), 1.0)


def prior_picture(networks: tuple[NoiseLevel, Prior, PhraseTable], infos: Sequence[ScanInfo], output: Path) -> Picture | None:
    """Draw `prior.png` of the first clean file of each of the first `N_ORGANS` organs among `infos`; None when there is none."""
    firsts: dict[str, ScanInfo] = {}
    for info in infos:
        if info.kind == "clean":
            firsts.setdefault(info.organ, info)
    panels = [look(networks, info) for info in list(firsts.values())[:N_ORGANS]]
    if not panels:
        return None
    regions = [detail(panel.reference, panel.mask) for panel in panels]
    heights = [(rows.stop - rows.start) / (columns.stop - columns.start) for rows, columns in regions for _ in range(3)]
    n_columns = len(TIMES) + 1
    figure = canvas(PANEL_INCHES * n_columns, PANEL_INCHES * sum(heights) + 0.2 * len(heights))
    grid = figure.subplots(len(heights), n_columns, squeeze=False, height_ratios=heights)
    for number, (panel, region) in enumerate(zip(panels, regions, strict=True)):
        _draw(list(grid[3 * number : 3 * number + 3]), panel, region)
    return Picture(save(figure, output / "prior.png"), "; ".join(map(describe, panels)))


@torch.no_grad()
def look(networks: tuple[NoiseLevel, Prior, PhraseTable], info: ScanInfo) -> Panel:
    """Let g_θ see the middle slice of a clean file at each of `TIMES`, beside y with simulated noise."""
    noise_level, prior, phrases = networks
    clean = load_clean(info)
    middle = len(clean.images) // 2
    reference, measured = clean.images[middle], simulate(clean, info, SIGMA, varying=False)[0][middle]
    condition, _ = tell(phrases, [phrases_of(info.acquisition)])
    cautious = noise_level(_image(measured)).cautious
    generator = torch.Generator().manual_seed(zlib.crc32(info.id.encode()))
    diffused, predicted = [], []
    for t in TIMES:
        t_B = torch.tensor([t])
        seen = diffuse(_image(reference), t_B, torch.randn((1, 1, *reference.shape), generator=generator))
        diffused.append(seen[0, 0].numpy())
        predicted.append(predict(prior, torch.cat([seen, _image(measured), cautious], dim=1), t_B, condition))
    return Panel(info=info, reference=reference, measured=measured, mask=clean.mask[middle], diffused=tuple(diffused), predicted=tuple(predicted))


def predict(prior: Prior, seen_B3HW: Tensor, t_B: Tensor, condition: Condition) -> FloatImages:
    """Return g_θ's image (row, column) of one slice of any size; the channels are x_t / √ᾱ_t, y and the σ that g_θ is told."""
    padded = pad_to_multiple(seen_B3HW, prior.multiple)
    found: Tensor = prior(padded[:, :1], padded[:, 1:2], padded[:, 2:], t_B, condition)
    return np.asarray(found[0, 0, : seen_B3HW.shape[2], : seen_B3HW.shape[3]].numpy(), np.float32)


def _draw(grid: Sequence[Sequence[Axes]], panel: Panel, region: tuple[slice, slice]) -> None:
    """Draw three rows of the slice's detail: x_t, prediction and its error; the first column has y, the reference and y's error."""
    limits = window(panel.reference, panel.mask)
    columns = [("y", panel.measured, panel.reference, panel.measured)]
    columns += [(f"t = {t}", seen, told, told) for t, seen, told in zip(TIMES, panel.diffused, panel.predicted, strict=True)]
    for number, (title, seen, told, judged) in enumerate(columns):
        images = (seen, told, (judged - panel.reference) / SIGMA)
        for axes, image, those in zip((row[number] for row in grid), images, (limits, limits, RESIDUAL_RANGE), strict=True):
            show(axes, image[region], those)
        grid[0][number].set_title(f"{title}: {panel.psnr(seen):.1f} dB", fontsize=7, pad=2)
        grid[1][number].set_title("reference" if number == 0 else f"{panel.psnr(told):.2f} dB", fontsize=7, pad=2)
    for row, label in zip(grid, (r"$x_t\,/\,\sqrt{\bar\alpha_t}$", r"$g_\theta$", "error / σ"), strict=True):
        row[0].set_ylabel(label, fontsize=7)


def describe(panel: Panel) -> str:
    """Return what is seen of a slice, in figures."""
    quality = ", ".join(
        f"t {t}: {panel.psnr(seen):.1f} → {panel.psnr(told):.2f} dB" for t, seen, told in zip(TIMES, panel.diffused, panel.predicted, strict=True)
    )
    return (
        f"where {panel.info.id} has most detail, Rician noise σ {SIGMA}; PSNR in the tissue of the whole slice, "
        f"y {panel.psnr(panel.measured):.2f} dB, x_t → g_θ {quality}"
    )


def _image(array: FloatImages) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))[None, None]
