"""`onenex demo`: a head phantom scanned at NEX 1 and a real MR image, through the whole product, with the truth at hand."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onenex.dicom import read_series
from onenex.dicom.synthesise import Protocol, real_example, write_mr_series
from onenex.dicom.verify import faults
from onenex.output import atomic_folder
from onenex.physics.noise import g_factor_map, rician
from onenex.physics.phantom import FOV_MM, TIMINGS, head_phantom, slice_positions
from onenex.pipeline import Denoiser, Progress, denoise_path
from onenex.series import FloatImages, Series

SHAPE = (12, 256, 256)
SEQUENCE = "T2w"
GAIN = 5.0
"""Stored units per thousandth of water's full signal."""
SIGMA = 32.0
"""Root mean square of the noise at NEX 1, thousandths of water's full signal: white matter has a signal-to-noise ratio of about 6."""
MARKER = "demo.json"
"""Tells an earlier demo's folder, which may be replaced, from anything else."""
ZOOM = ((0.44, 0.79), (0.20, 0.55))
"""Part of the rows and of the columns that the picture enlarges: cortex, a lesion, a ventricle."""


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo found."""

    psnr_before: float
    """Scanned against noise-free phantom, inside the head, dB."""
    psnr_after: float
    real_image: str
    """What became of the real image."""
    faults: tuple[str, ...]
    page: Path
    picture: Path
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the images got better and nothing is wrong with the files."""
        return not self.faults and self.psnr_after > self.psnr_before

    def text(self) -> str:
        """Return the result for people."""
        gain = self.psnr_after - self.psnr_before
        lines = [
            f"phantom   {SHAPE[0]} slices of {SHAPE[1]} × {SHAPE[2]}, {SEQUENCE}, NEX 1",
            f"          PSNR inside the head: {self.psnr_before:.2f} dB scanned, {self.psnr_after:.2f} dB denoised ({gain:+.2f} dB)",
            f"real MR   {self.real_image}",
            "checks    "
            + ("; ".join(self.faults) if self.faults else "new UIDs, same study and geometry, sources referenced, pixels changed: all well"),
            f"page      {self.page}",
            f"picture   {self.picture}",
            f"time      {self.seconds:.1f} s",
        ]
        return "\n".join(lines)


def run(output: Path, *, device: str = "auto", model: Denoiser | None = None, progress: Progress | None = None) -> DemoResult:
    """Make the phantom, scan it, denoise it and the real image, and check what came out.

    Parameters
    ----------
    output
        Folder to make: `scan/` (the input), `denoised/` (series and QA page), `demo.png`. An earlier demo's is replaced.
    device, model, progress
        As in `onenex.pipeline.denoise_path`.

    Raises
    ------
    DataError
        `output` exists and is no earlier demo's, or cannot be written.
    """
    started = time.monotonic()
    with atomic_folder(output, overwrite=(output / MARKER).is_file()) as folder:
        truth = GAIN * head_phantom(SHAPE, sequence=SEQUENCE)
        scan(truth, folder / "scan" / "phantom")
        (folder / "scan" / "real").mkdir()
        shutil.copyfile(real_example(), folder / "scan" / "real" / "examples_overlay.dcm")
        report = denoise_path(folder / "scan", folder / "denoised", device=device, model=model, progress=progress)
        sources, derived = (_by_description(read_series(folder / name)) for name in ("scan", "denoised"))
        name = next(name for name in sources if "phantom" in name)
        before, after = (series.source.images(series.stacks[0]) for series in (sources[name], derived.get(name, sources[name])))
        inside = truth > 0.02 * truth.max()
        found = [f"{r.description}: {r.status}, {r.reason}" for r in report.series if r.status != "denoised"]
        found += [f"{one}: {fault}" for one in derived for fault in faults(sources[one], derived[one])]
        real = next(result for result in report.series if result.description != name)
        numbers = psnr(before, truth, inside), psnr(after, truth, inside)
        _picture(folder / "demo.png", (before, after, truth), numbers)
        (folder / MARKER).write_text(json.dumps({"psnr_before": numbers[0], "psnr_after": numbers[1], "faults": found}, indent=2), encoding="utf-8")
    return DemoResult(
        psnr_before=numbers[0],
        psnr_after=numbers[1],
        real_image=f"{real.status}: pydicom's examples_overlay.dcm ({real.n_images} image of an upper abdomen)",
        faults=tuple(found),
        page=output / "denoised" / report.page.name,
        picture=output / "demo.png",
        seconds=time.monotonic() - started,
    )


def scan(truth: FloatImages, folder: Path, seed: int = 1) -> list[Path]:
    """Scan noise-free magnitudes once (NEX 1), with noise that parallel imaging makes uneven, into a DICOM series."""
    generator = np.random.default_rng(seed)
    sigma = GAIN * SIGMA * g_factor_map(truth.shape[1:], generator, peak=1.8)
    timing = TIMINGS[SEQUENCE]
    protocol = Protocol(
        description=f"{SEQUENCE} head phantom",
        repetition_ms=timing.repetition_ms,
        echo_ms=timing.echo_ms,
        inversion_ms=timing.inversion_ms,
        spacing_mm=(FOV_MM / truth.shape[1], FOV_MM / truth.shape[2]),
        positions_mm=tuple(float(z) for z in slice_positions(len(truth))),
        seed=seed,
    )
    return write_mr_series(rician(truth, sigma, generator), folder, protocol)


def psnr(images: FloatImages, reference: FloatImages, inside: NDArray[np.bool_]) -> float:
    """Return the peak signal-to-noise ratio in dB over the pixels `inside`; the peak is the reference's largest value there."""
    error = np.mean(np.square(images[inside] - reference[inside], dtype=np.float64))
    return float(20 * np.log10(reference[inside].max()) - 10 * np.log10(max(error, 1e-12)))


def _by_description(series: list[Series]) -> dict[str, Series]:
    """Return series by the description that source and derived series share."""
    return {one.description.removesuffix("OneNEX").rstrip(" _"): one for one in series}


def _picture(path: Path, images: tuple[FloatImages, FloatImages, FloatImages], numbers: tuple[float, float]) -> None:
    """Draw scanned, denoised and noise-free slice, whole and enlarged, with the same grey levels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 6.6), dpi=110, facecolor="#0b0d0f")
    FigureCanvasAgg(figure)
    titles = (f"scanned, NEX 1: {numbers[0]:.1f} dB", f"OneNEX fast: {numbers[1]:.1f} dB", "noise-free phantom")
    shown = images[2].shape[0] // 2
    zoom = tuple(slice(int(low * n), int(high * n)) for (low, high), n in zip(ZOOM, images[2].shape[1:], strict=True))
    top = float(np.percentile(images[2][shown], 99.3))
    for column, (stack, title) in enumerate(zip(images, titles, strict=True)):
        for row, region in enumerate(((slice(None), slice(None)), zoom)):
            axes = figure.add_axes((column / 3 + 0.003, 0.955 - (row + 1) * 0.475, 0.327, 0.47))
            axes.imshow(stack[shown][region], cmap="gray", vmin=0, vmax=top, interpolation="bilinear")
            axes.set_axis_off()
        figure.text(column / 3 + 0.1665, 0.965, title, color="#d7dcdf", ha="center", fontsize=11)
    figure.savefig(path, facecolor=figure.get_facecolor())
