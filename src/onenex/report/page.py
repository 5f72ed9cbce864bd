"""Renders the QA page: one HTML file that needs nothing else, with no word on the patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from onenex.report.collect import HISTOGRAM_EDGES, Findings, Picture
from onenex.report.guard import SHOWN_FROM, SHOWN_TO, described, overlay, overlay_bar, overlay_palette
from onenex.report.png import data_uri, palette, to_bytes
from onenex.results import SeriesResult
from onenex.series import UNKNOWN, Acquisition, FloatImages, Series

RESIDUAL_RANGE = 4.0
"""The residual is shown from minus to plus this many local noise standard deviations."""

PAGE_BYTES = 8_000_000
"""Pictures are thinned out so that a page stays about below this."""

MAX_SIDE = 640
"""Longer sides are averaged down by a whole factor, and the page says so."""

_BYTES_PER_PIXEL, _BYTES_PER_MAP_PIXEL = 1.6, 0.4
_FIELDS = (
    ("vendor", "vendor", ""),
    ("organ", "organ", ""),
    ("sequence", "sequence", ""),
    ("plane", "plane", ""),
    ("field_strength_T", "field", " T"),
    ("nex", "averages (NEX)", ""),
    ("acceleration", "acceleration", "×"),
    ("fat_suppressed", "fat suppressed", ""),
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One series on the page."""

    title: str
    result: SeriesResult
    reason: str | None
    """As in the result, without the input's folders."""
    acquisition: Acquisition
    findings: Findings | None
    """None unless denoised."""

    @classmethod
    def of(cls, series: Series, result: SeriesResult, findings: Findings | None, source: Path) -> Entry:
        """Describe a series by number and description. Paths stay out: folders are often named after the patient."""
        number = f"{series.number} · " if series.number is not None else ""
        reason = result.reason
        for folder in (source, source.resolve()):
            reason = reason.replace(f"{folder}/", "").replace(str(folder), "the input") if reason else reason
        return cls(
            title=number + (series.description or "no description"), result=result, reason=reason, acquisition=series.acquisition, findings=findings
        )


def pictures_per_series(pixels: Sequence[int], n_maps: int = 0) -> int:
    """Return how many slices (0 … 3) of each series fit the page, given the pixels of one slice of every series.

    Parameters
    ----------
    pixels
        Of one slice of every series.
    n_maps
        Further maps shown of each slice (uncertainty, suspicion).
    """
    total = sum(min(n, MAX_SIDE**2) for n in pixels)
    fit = PAGE_BYTES // max(1, int(total * (_BYTES_PER_PIXEL + n_maps * _BYTES_PER_MAP_PIXEL)))
    return min(3, max(fit, 1 if len(pixels) <= 24 else 0))


def render(entries: list[Entry], settings: Mapping[str, str]) -> str:
    """Return the page.

    Parameters
    ----------
    entries
        Every series of the run, in its order.
    settings
        Name → value, shown at the head of the page (mode, strength, seed, guard, version, weights …).
    """
    denoised = [entry for entry in entries if entry.findings is not None]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("onenex.report", "."), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        settings=settings,
        denoised=[_series(entry) for entry in denoised],
        guard_off=any(not entry.result.settings.get("guard", True) for entry in denoised),
        others=[entry for entry in entries if entry.findings is None],
        counts={status: sum(entry.result.status == status for entry in entries) for status in ("denoised", "skipped", "failed")},
        residual_range=RESIDUAL_RANGE,
        suspicion_range=(SHOWN_FROM, SHOWN_TO),
    )


def _series(entry: Entry) -> dict[str, Any]:
    findings = entry.findings
    if findings is None:
        raise ValueError("only a denoised series has findings to show")
    doubted = [touched.label for touched in findings.guard.touched] if findings.guard is not None else []
    gain = findings.snr_after / findings.snr_before if findings.snr_after and findings.snr_before else None
    return {
        "title": entry.title,
        "n_images": entry.result.n_images,
        "seconds": f"{entry.result.seconds:.1f}",
        "numbers": {
            "snr_before": _number(findings.snr_before),
            "snr_after": _number(findings.snr_after),
            "gain": f"×{gain:.1f}" if gain else "",
            "noise_sigma": _number(findings.noise_sigma),
            "residual_sigma": f"{findings.residual_sigma:.2f}" if findings.residual_sigma is not None else "–",
        },
        "acquisition": _known(entry.acquisition),
        "unknown": ", ".join(label for name, label, _ in _FIELDS if getattr(entry.acquisition, name) in (None, UNKNOWN)),
        "pictures": [_picture(picture, doubted) for picture in findings.pictures],
        "first": _first([picture.label for picture in findings.pictures], doubted),
        "samples": entry.result.settings.get("samples", 1),
        "guard": described(findings.guard, entry.result.settings.get("guard", True)),
        "notes": entry.result.notes,
        "histogram": _histogram(findings),
    }


def _number(value: float | None) -> str:
    """Three figures, no exponent where a person can do without."""
    if value is None:
        return "–"
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def _known(acquisition: Acquisition) -> list[tuple[str, str, str]]:
    """Return (name, value, where it came from) of all that is known."""
    rows = []
    for name, label, unit in _FIELDS:
        value = getattr(acquisition, name)
        if value is None or value == UNKNOWN:
            continue
        text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else (f"{value:g}" if isinstance(value, float) else str(value))
        rows.append((label, text + unit, acquisition.evidence.get(name, "")))
    return rows


def _first(labels: list[str], doubted: list[str]) -> int:
    """Return which picture is open at first: the one that the guard liked least, else the one in the middle."""
    return next((labels.index(label) for label in doubted if label in labels), (len(labels) - 1) // 2)


def _picture(picture: Picture, doubted: list[str]) -> dict[str, Any]:
    factor = int(np.ceil(max(picture.before.shape) / MAX_SIDE))
    before, after, residual = (_shrink(image, factor) for image in (picture.before, picture.after, picture.residual))
    low, high = picture.window
    rows, columns = before.shape
    return {
        "label": picture.label,
        "doubted": picture.label in doubted,
        "before": data_uri(to_bytes(before, low, high)),
        "after": data_uri(to_bytes(after, low, high)),
        "residual": data_uri(to_bytes(residual, -RESIDUAL_RANGE, RESIDUAL_RANGE, levels=65)),
        "noise": _coloured(_shrink(picture.noise_sigma, factor)),
        "uncertainty": None if picture.uncertainty is None else _coloured(_shrink(picture.uncertainty, factor)),
        "suspicion": None if picture.suspicion is None else _suspected(after, _shrink(picture.suspicion, factor), picture.window),
        "window": f"level {_number((low + high) / 2)}, width {_number(high - low)}",
        "shrunk": f"shown at 1/{factor} of its resolution" if factor > 1 else "",
        "width": columns,
        "height": max(1, round(rows * picture.aspect)),
    }


def _coloured(values: FloatImages) -> dict[str, str]:
    """Return a map in colour, its scale bar and the value at the bar's end."""
    top = 1.2 * float(np.percentile(values, 99.5))
    return {
        "image": data_uri(to_bytes(values, 0.0, top, levels=65), palette("cividis")),
        "bar": data_uri(np.arange(256, dtype=np.uint8)[None, :], palette("cividis")),
        "top": _number(top),
    }


def _suspected(after: FloatImages, suspicion: FloatImages, window: tuple[float, float]) -> dict[str, str]:
    """Return a denoised slice with the guard's suspicion laid over it, and its scale bar."""
    colours = overlay_palette()
    grey = to_bytes(after, *window).astype(np.float32) / 255
    return {
        "image": data_uri(overlay(grey, suspicion), colours),
        "bar": data_uri(overlay_bar(), colours),
        "largest": f"{100 * suspicion.max():.0f} %",
    }


def _shrink(image: FloatImages, factor: int) -> FloatImages:
    """Average whole blocks of `factor` × `factor`; what is left over at the far edges is not shown. An image too thin for blocks stays."""
    if factor == 1 or min(image.shape) < factor:
        return image
    rows, columns = (n // factor for n in image.shape)
    return np.asarray(image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor).mean(axis=(1, 3)), np.float32)


def _histogram(findings: Findings) -> dict[str, Any] | None:
    """Return bars and the unit normal curve, in the coordinates of a 200 × 80 drawing."""
    total = int(findings.histogram.sum())
    if not total:
        return None
    step = float(HISTOGRAM_EDGES[1] - HISTOGRAM_EDGES[0])
    density = findings.histogram / (total * step)
    centres = (HISTOGRAM_EDGES[1:] + HISTOGRAM_EDGES[:-1]) / 2
    normal = np.exp(-(centres**2) / 2) / np.sqrt(2 * np.pi)
    top = max(float(density.max()), float(normal.max()))
    x = (centres - HISTOGRAM_EDGES[0]) * 20
    width = step * 20
    bars = [
        (f"{a - width / 2 + 0.3:.1f}", f"{76 - 72 * d / top:.1f}", f"{width - 0.6:.1f}", f"{72 * d / top:.1f}")
        for a, d in zip(x, density, strict=True)
    ]
    curve = " ".join(f"{a:.1f},{76 - 72 * d / top:.1f}" for a, d in zip(x, normal, strict=True))
    return {"bars": bars, "curve": curve}
