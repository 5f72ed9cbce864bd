"""Fast scans of archives that hold references only: drawn by the learnt scanner f_φ, or by `physics/`; marked as what they are."""

# shapes: S slice, H row, W column

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from onenex.errors import DataError, OutOfDomain
from onenex.physics import degrade, estimate, kspace
from onenex.physics.scale import series_scale
from onenex.series import Acquisition, FloatImages

if TYPE_CHECKING:
    from onenex.model.weights import Weights

logger = logging.getLogger(__name__)

Scanner = Callable[[FloatImages, np.random.Generator], FloatImages]
"""A clean image (row, column), units of the scale → a fast scan of it."""

REFERENCE_SIGMA = (0.004, 0.03)
"""Channel noise that a reference may have, units of its series scale (signal-to-noise ratios 250 … 33): a fast scan's is √(time ratio) as much."""
TIMES_OWN_NOISE = 4.0
"""Noise of a synthetic scan over the reference's own, where the range allows it: that is then a sixteenth of the variance (as in `train.dataset`)."""
LEAST_OWN_NOISE = 2.0
"""What the range must allow; a noisier reference is refused, for its copy teaches to keep noise."""
FOREGROUND = 0.1
"""Pixels above this share of the scale count as foreground."""
MAX_JUDGED = 24
"""Slices, evenly spaced, from which a reference's own noise and resolution are read."""
_FALL, _LEAST_SHARE, _BAND = 20.0, 0.4, 0.05


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the fast scan is to be, beside a reference that counts as unaccelerated."""

    nex: float = 1.0
    reference_nex: float = 4.0
    acceleration: float = 1.0
    """In-plane factor of the fast scan."""

    @property
    def time_ratio(self) -> float:
        """Scan time of the reference over that of the fast scan: what the manifest calls acceleration."""
        return self.reference_nex / self.nex * self.acceleration


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One synthetic fast scan: everything but the noise of its slices. Make it with `draw`."""

    setting: Setting
    seed: int
    shape: tuple[int, int]
    """(row, column)."""
    scale: float
    """Of the reference, its unit."""
    own_noise: float
    """σ of the reference's own noise, units of the scale, a low estimate."""
    sigma: float
    """Channel σ of what is added, root mean square over the image, units of the scale."""
    scan: degrade.Scan = field(repr=False)
    """How `physics/` acquires it; the learnt scanner is told its `relative_sigma` only."""
    weights: Weights | None = field(default=None, repr=False)
    """Holder of f_φ; None = `physics/`."""
    acquisition: Acquisition = field(default_factory=Acquisition, repr=False)
    """Of the fast scan, as f_φ is told it."""

    @property
    def method(self) -> str:
        """What makes the noise."""
        return "physics" if self.weights is None else "learnt scanner"

    @property
    def weights_hash(self) -> str:
        """First 12 hex digits of the weights' SHA-256; empty for `physics/`."""
        return "" if self.weights is None else self.weights.hash

    @property
    def recipe(self) -> str:
        """All that decides the pixels beside the reference and the weights, for the manifest."""
        told = self.setting
        return (
            f"{self.method}: sigma {self.sigma:.5g}, own noise {self.own_noise:.5g}, NEX {told.nex:g} of {told.reference_nex:g}, "
            f"R {told.acceleration:g}, coils {self.scan.n_coils}, seed {self.seed}"
        )


def draw(
    references: FloatImages, acquisition: Acquisition, setting: Setting, *, seed: int, weights: Weights | None = None, scale: float | None = None
) -> Drawn:
    """Draw a fast scan of a series of references: its level of noise, where the noise is, which frequencies it has.

    σ is drawn log-uniformly from `REFERENCE_SIGMA` · √(time ratio), no lower than `TIMES_OWN_NOISE` times the reference's own noise
    where that leaves a range. The resolution is the reference's: noise fills the part of k-space that the reference fills, so that
    nothing is to be learnt but noise.

    Parameters
    ----------
    references
        (slice, row, column), any unit ≥ 0: the whole series, or some slices of it together with `scale`.
    acquisition
        Of the reference.
    setting
        What the fast scan is to be.
    seed
        ≥ 0; decides this draw and, with a slice's place, its noise.
    weights
        Holder of the learnt scanner; None = `physics/`.
    scale
        Series scale in the unit of `references`; measured when None.

    Raises
    ------
    OutOfDomain
        Images that are not (slice, row, column) and finite, a setting that is not faster than its reference, or weights without f_φ.
    DataError
        The reference is too noisy for this setting.
    """
    _check(references, setting, weights)
    generator = np.random.default_rng([seed, 0])
    factor = series_scale([references]) if scale is None else scale
    judged = references[np.unique(np.linspace(0, len(references) - 1, MAX_JUDGED).astype(int))] / np.float32(factor)
    window = own_window(judged)
    own_noise = float(np.median([estimate.noise_floor(image, FOREGROUND) for image in judged])) / _detail_gain(window)
    shape = (references.shape[1], references.shape[2])
    ranges = degrade.ScanRanges(
        sigma=_range(own_noise, setting), g_factor=float(setting.acceleration > 1), correlated=0, filtered=0, masked=0, averaged=0
    )
    scan = replace(degrade.draw_scan(shape, ranges, generator), window=window)
    told = replace(acquisition, nex=setting.nex, acceleration=setting.acceleration)
    logger.info("event=synthetic_drawn method=%s sigma=%.4f own_noise=%.4f", "learnt" if weights else "physics", scan.sigma, own_noise)
    return Drawn(
        setting=setting, seed=seed, shape=shape, scale=factor, own_noise=own_noise, sigma=scan.sigma, scan=scan, weights=weights, acquisition=told
    )


def synthesise(references: FloatImages, drawn: Drawn, *, first: int = 0) -> FloatImages:
    """Return fast scans (slice, row, column) of references, in their unit; the references stay untouched.

    A slice depends on its own reference, on `drawn` and on its place in the series alone: however many come at once, the result is
    the same. What the scanner blanked in the reference is blanked.

    Parameters
    ----------
    references
        (slice, row, column): the series that `drawn` was made for, or adjacent slices of it.
    first
        Place of the first of them in the series.

    Raises
    ------
    OutOfDomain
        Another matrix than `drawn` has, or NaN.
    """
    if references.ndim != 3 or references.shape[1:] != drawn.shape or not np.isfinite(references).all():
        raise OutOfDomain(f"references have shape {references.shape}: give finite slices (slice, {drawn.shape[0]}, {drawn.shape[1]})")
    made = np.empty(references.shape, np.float32)
    scanner = _physics(drawn) if drawn.weights is None else _learnt(drawn, drawn.weights)
    for place, image in enumerate(references):
        clean = np.maximum(np.asarray(image, np.float32) / np.float32(drawn.scale), 0)
        fast = scanner(clean, np.random.default_rng([drawn.seed, 1, first + place]))
        blank = ndimage.maximum_filter(clean, 5) == 0
        made[place] = np.where(blank, 0, fast * np.float32(drawn.scale))
    return made


def own_window(images: FloatImages) -> kspace.Window:
    """Return the part of k-space that images (slice, row, column) fill, as a window (row, column) of zeros and ones.

    A matrix interpolated by zero-filling shows as a sharp fall of the spectrum along its axis; where there is none the window is
    full. Up to 60 % of an axis may be filling. The fall is looked for inside the body alone, since the magnitude of noise in air
    spreads over all frequencies, and its place in the whole image, whose frequencies the body's outline does not blur.

    Parameters
    ----------
    images
        Units of the series scale.
    """
    body = ndimage.gaussian_filter((ndimage.gaussian_filter(images.mean(axis=0), 1.0) > FOREGROUND).astype(np.float32), 4.0)
    within, whole = (np.square(np.abs(fft.fft2(np.asarray(one, np.float32)))).mean(axis=0) for one in (images * body**2, images))
    rows, columns = (_filled(*((one if axis == 0 else one.T) for one in (within, whole))) for axis in (0, 1))
    return kspace.zero_filled((whole.shape[0], whole.shape[1]), rows, columns)


def _filled(within: NDArray[np.float32], whole: NDArray[np.float32]) -> float:
    """Return the share of the first axis, from the centre, that two power spectra (frequency along, across) fill."""
    falls = _falls(within)
    if not len(falls) or falls.max() < _FALL:
        return 1.0
    n = whole.shape[0] // 2
    return float((math.ceil(_LEAST_SHARE * n) + int(_falls(whole).argmax()) - 0.5) / n)


def _falls(power: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return, for each line that may be the first empty one along the first axis, the power of the lines before it over that of all beyond."""
    n, across = power.shape
    lines = power[: n // 2, np.abs(fft.fftfreq(across)) > 0.1].astype(np.float64).mean(axis=1)  # beside the ridge of the anatomy's own fall
    band, least = max(2, round(_BAND * len(lines))), 1e-12 * float(lines.max()) + 1e-30
    first = math.ceil(_LEAST_SHARE * len(lines))
    return np.array([lines[line - band : line].mean() / max(float(lines[line + 1 :].mean()), least) for line in range(first, len(lines) - 1)])


def _detail_gain(window: kspace.Window) -> float:
    """Return by what factor the finest diagonal detail of noise in `window` is below that of white noise of the same σ."""
    rows, columns = (np.square(np.sin(np.pi * kspace.frequencies(n) / 2)) for n in window.shape)
    power = np.square(window, dtype=np.float64)
    return max(0.1, float(np.sqrt(4 * (power * np.outer(rows, columns)).sum() / power.sum())))


def _range(own_noise: float, setting: Setting) -> tuple[float, float]:
    """Return (lowest, highest) σ for a setting."""
    low, high = (sigma * math.sqrt(setting.time_ratio) for sigma in REFERENCE_SIGMA)
    if LEAST_OWN_NOISE * own_noise > high:
        raise DataError(
            f"the reference's own noise is {own_noise:.3f} of its scale, too much for a scan {setting.time_ratio:g} times as fast "
            f"(σ up to {high:.3f}): leave it out, or ask for a faster setting"
        )
    return max(low, min(TIMES_OWN_NOISE * own_noise, high)), high


def _physics(drawn: Drawn) -> Scanner:
    """Return a scan by `physics.degrade.acquire`: coloured noise on the complex image, then its magnitude."""

    def scanned(clean: FloatImages, generator: np.random.Generator) -> FloatImages:
        return degrade.acquire(clean, drawn.scan, generator).measured

    return scanned


def _learnt(drawn: Drawn, weights: Weights) -> Scanner:
    """Return a scan by f_φ: its mean, and its deviation times noise of its colour (DESIGN §2.3)."""
    import torch

    from onenex.model.condition import tell
    from onenex.model.tiling import pad_to_multiple
    from onenex.text.prompt import phrases_of

    degradation, phrases = weights.degradation, weights.phrases
    if degradation is None or phrases is None:
        raise OutOfDomain(_NO_SCANNER)
    condition = tell(phrases, [phrases_of(drawn.acquisition)])[0]
    level = np.asarray(drawn.sigma * drawn.scan.relative_sigma, np.float32)

    @torch.no_grad()
    def scanned(clean: FloatImages, generator: np.random.Generator) -> FloatImages:
        both = pad_to_multiple(torch.from_numpy(np.stack([clean, level]))[None], degradation.multiple)
        white = torch.from_numpy(generator.standard_normal(both.shape[-2:], dtype=np.float32))[None, None]
        fast = degradation.sample(both[:, :1], both[:, 1:], condition, white)
        found: FloatImages = fast[0, 0, : clean.shape[0], : clean.shape[1]].numpy()
        return found

    return scanned


_NO_SCANNER = "these weights hold no learnt scanner (they know mode 'fast' only): give others, such as the bundled ones, or none for physics"


def _check(references: FloatImages, setting: Setting, weights: Weights | None) -> None:
    if references.ndim != 3 or 0 in references.shape or not np.isfinite(references).all():
        raise OutOfDomain(f"references have shape {references.shape} or hold NaN: give finite slices (slice, row, column)")
    if min(setting.nex, setting.reference_nex, setting.acceleration) <= 0 or not setting.time_ratio > 1:
        raise OutOfDomain(
            f"a fast scan of NEX {setting.nex:g} and acceleration {setting.acceleration:g} is no faster than its reference of NEX "
            f"{setting.reference_nex:g}: give fewer averages or a larger factor"
        )
    if weights is not None and (weights.degradation is None or weights.phrases is None):
        raise OutOfDomain(_NO_SCANNER)
