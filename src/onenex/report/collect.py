"""Gathers, while a series is denoised stack by stack, what the QA page shows of it: a few slices and whole-series numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onenex.results import GuardSummary, TouchedSlice
from onenex.series import Denoised, FloatImages, GuardNote

HISTOGRAM_EDGES = np.linspace(-5.0, 5.0, 41)
"""Bins of the residual, in units of the local noise."""

FOREGROUND_SHARE = 0.1
"""Foreground: above this share of the series scale *and* above twice the local noise, in the denoised image."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One slice as the page shows it."""

    label: str
    before: FloatImages
    """(row, column), the unit of the source; so is `after`."""
    after: FloatImages
    residual: FloatImages
    """(row, column), before - after in units of the local noise; 0 where no noise was found."""
    noise_sigma: FloatImages
    """(row, column), the unit of the source."""
    window: tuple[float, float]
    """(lowest, highest) value shown."""
    aspect: float
    """Height of a pixel over its width."""
    uncertainty: FloatImages | None = None
    """(row, column), the unit of the source; None where there is none."""
    suspicion: FloatImages | None = None
    """(row, column), 1 = the guard's limit; None where it judged nothing."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a slice is shown."""

    window: tuple[float, float] | None = None
    """(lowest, highest) value; None takes percentiles."""
    aspect: float = 1.0
    """Height of a pixel over its width."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was seen of one series."""

    pictures: tuple[Picture, ...]
    snr_before: float | None
    """Foreground mean over the model's noise estimate; None without foreground or noise."""
    snr_after: float | None
    """`snr_before` times the fall of the finest detail; fine anatomy counts as noise in it, and any smoothing flatters it."""
    noise_sigma: float | None
    """Mean noise in the foreground, the unit of the source."""
    residual_sigma: float | None
    """Root mean square of what was taken away in the foreground, in units of the local noise."""
    histogram: NDArray[np.int64]
    """Foreground pixels per bin of `HISTOGRAM_EDGES`."""
    notes: tuple[str, ...] = ()
    """The model's, each once."""
    guard: GuardSummary | None = None
    """None when the guard was off or had nothing to judge."""


def representative(n_images: int, wanted: int) -> tuple[int, ...]:
    """Return up to `wanted` indices spread evenly over a series: 25, 50, 75 % for three, the middle for one."""
    return tuple(sorted({min(n_images - 1, n_images * (i + 1) // (wanted + 1)) for i in range(wanted)})) if n_images else ()


class Collector:
    """Takes stacks of one series in order; holds only the few slices to be shown, and the one that the guard liked least."""

    def __init__(self, shown: tuple[int, ...], scale: float) -> None:
        self._shown = frozenset(shown)
        self._threshold = FOREGROUND_SHARE * scale
        self._seen = 0
        self._pictures: list[Picture] = []
        self._worst: Picture | None = None
        self._notes: dict[str, None] = {}
        self._n_judged = 0
        self._touched: list[TouchedSlice] = []
        self._pixels, self._signal, self._noise, self._power = 0, 0.0, 0.0, 0.0
        self._detail = np.zeros(2)
        self._histogram = np.zeros(len(HISTOGRAM_EDGES) - 1, np.int64)

    def add(self, before: FloatImages, denoised: Denoised, labels: Sequence[str], look: Callable[[int], Look]) -> None:
        """Take the next stack.

        Parameters
        ----------
        before
            (slice, row, column) as read.
        denoised
            The model's answer to it.
        labels
            What each slice is called.
        look
            Slice within the stack → how to show it; asked only of slices that are shown.
        """
        self._notes |= dict.fromkeys(denoised.notes)
        for index, (old, new, sigma) in enumerate(zip(before, denoised.images, denoised.noise_sigma, strict=True)):
            ratio = np.divide(old - new, sigma, out=np.zeros_like(old), where=sigma > 0)
            self._measure(old, new, sigma, ratio)
            shown = self._seen + index in self._shown
            note = denoised.guard[index] if denoised.guard is not None else None
            worse = note is not None and self._judge(note, labels[index])
            if shown or (worse and self._shown):
                maps = (ratio, None if denoised.uncertainty is None else denoised.uncertainty[index], None if note is None else note.suspicion)
                picture = _picture(labels[index], look(index), (old, new, sigma), maps)
                self._pictures += [picture] if shown else []
                self._worst = picture if worse else self._worst
        self._seen += len(before)

    def _judge(self, note: GuardNote, label: str) -> bool:
        """Count one slice that the guard judged; return whether it's the worst so far of those that did not pass."""
        self._n_judged += 1
        if note.passed:
            return False
        found = TouchedSlice(label=label, share_given_up=note.share_given_up, kept=note.kept, reasons=note.reasons)
        self._touched.append(found)
        return min(self._touched, key=_badness) is found

    def _measure(self, old: FloatImages, new: FloatImages, sigma: FloatImages, ratio: FloatImages) -> None:
        inside = (new > self._threshold) & (new > 2 * sigma)
        n = int(inside.sum())
        if not n:
            return
        self._pixels += n
        self._signal += float(new[inside].sum(dtype=np.float64))
        self._noise += float(sigma[inside].sum(dtype=np.float64))
        self._power += float(np.square(ratio[inside], dtype=np.float64).sum())
        self._histogram += np.histogram(ratio[inside & (sigma > 0)], HISTOGRAM_EDGES)[0]
        self._detail += n * np.array([_finest_detail(old, inside), _finest_detail(new, inside)])

    def findings(self) -> Findings:
        """Return what was seen so far."""
        n = self._pixels
        before = self._signal / self._noise if self._noise > 0 else None
        extra = [] if self._worst is None or any(picture is self._worst for picture in self._pictures) else [self._worst]
        falls = self._detail[1] > 0 and self._detail[0] > 0
        return Findings(
            pictures=(*self._pictures, *extra),
            snr_before=before,
            snr_after=before * float(self._detail[0] / self._detail[1]) if before is not None and falls else None,
            noise_sigma=self._noise / n if n else None,
            residual_sigma=float(np.sqrt(self._power / n)) if n else None,
            histogram=self._histogram.copy(),
            notes=tuple(self._notes),
            guard=GuardSummary(n_slices=self._n_judged, touched=tuple(sorted(self._touched, key=_badness))) if self._n_judged else None,
        )


def _picture(
    label: str, look: Look, images: tuple[FloatImages, FloatImages, FloatImages], maps: tuple[FloatImages, FloatImages | None, FloatImages | None]
) -> Picture:
    """Copy what a picture needs: `images` are before, after and noise, `maps` residual, uncertainty and suspicion."""
    before, after, noise_sigma = (image.copy() for image in images)
    residual, uncertainty, suspicion = (None if one is None else one.copy() for one in maps)
    return Picture(
        label=label,
        before=before,
        after=after,
        residual=np.zeros_like(before) if residual is None else residual,
        noise_sigma=noise_sigma,
        window=look.window or _robust_window(before),
        aspect=look.aspect,
        uncertainty=uncertainty,
        suspicion=suspicion,
    )


def _badness(touched: TouchedSlice) -> tuple[float, float]:
    """Return what sorts the slices of the guard: given up entirely first, then by the share given up."""
    return touched.kept, -touched.share_given_up


def _robust_window(image: FloatImages) -> tuple[float, float]:
    low, high = np.percentile(image, [1.0, 99.5])
    return (float(low), float(high)) if high > low else (float(image.min()), float(image.max()))


def _finest_detail(image: FloatImages, inside: NDArray[np.bool_]) -> float:
    """Return the median magnitude of the diagonal Haar detail inside the foreground: 0.6745 σ for white noise."""
    if min(image.shape) < 2:
        return 0.0
    detail = (image[:-1, :-1] - image[:-1, 1:] - image[1:, :-1] + image[1:, 1:]) / 2
    chosen = detail[inside[:-1, :-1]]
    return float(np.median(np.abs(chosen))) if chosen.size else 0.0
