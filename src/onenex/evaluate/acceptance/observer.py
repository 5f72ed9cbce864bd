"""Low-contrast detectability: what a channelised Hotelling observer sees before and after denoising.

Shapes: P place (a site of a slice), C channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, stats

from onenex.evaluate.acceptance import layouts, phantom
from onenex.evaluate.acceptance.records import Check, Measured, Stack
from onenex.series import FloatImages

Values = NDArray[np.float64]

HALF_SIDE = 15
"""Half side of the square that the observer looks at, pixels."""
N_CHANNELS, FIRST, RATIO, WIDTH = 8, 0.02, 1.4, 1.67
"""Channels: how many, cycles a pixel of the lowest, one to the next, outer over inner Gaussian."""
N_RESAMPLES = 400
CONFIDENCE = 0.95
"""Of all cells together (Bonferroni)."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Every place of every low-contrast slice; arrays over P."""

    slices: NDArray[np.int64]
    sigma: Values
    radius: Values
    """0 where nothing was put."""
    rose: Values
    """Signed."""


def channels() -> Values:
    """Return the channels (C, pixel): dense differences of Gaussians, blind to a constant.

    Source
    ------
    Abbey & Barrett, J. Opt. Soc. Am. A 18:473 (2001), dense channels: factor 1.4, Q 1.67.
    """
    side = 2 * HALF_SIDE + 1
    frequency = np.hypot(*np.meshgrid(fft.fftfreq(side), fft.fftfreq(side), indexing="ij"))
    made = []
    for number in range(N_CHANNELS):
        inner = FIRST * RATIO**number
        passed = np.exp(-np.square(frequency / (WIDTH * inner)) / 2) - np.exp(-np.square(frequency / inner) / 2)
        made.append(fft.fftshift(fft.ifft2(passed).real).ravel())
    return np.stack(made)


def places_of(stacks: Sequence[Stack]) -> Places:
    """List the places of all slices, in the order of `outputs`."""
    listed = [(number, scan.sigma, site.radius, site.rose) for number, scan in enumerate(_scans(stacks)) for site in scan.sites]
    slices, sigma, radius, rose = (np.asarray(column) for column in zip(*listed, strict=True))
    return Places(slices=slices, sigma=sigma, radius=radius, rose=rose)


def outputs(stacks: Sequence[Stack], images: Sequence[FloatImages]) -> Values:
    """Return what the channels see (P, C), in units of σ; the noise-free container is taken off first."""
    container = np.abs(phantom.received(phantom.kspace_of([phantom.BODY])))
    seen, filters = [], channels()
    for scan, image in zip(_scans(stacks), (one for stack in images for one in stack), strict=True):
        for site in scan.sites:
            window = np.s_[site.row - HALF_SIDE : site.row + HALF_SIDE + 1, site.column - HALF_SIDE : site.column + HALF_SIDE + 1]
            seen.append(filters @ (image - container)[window].ravel() / scan.sigma)
    return np.stack(seen)


def decisions(seen: Values, places: Places, radius: float) -> Values:
    """Return the observer's decision variable for discs of one radius at every place (P,).

    It learns the mean signal of the discs of that size and the channels' covariance on one half of the slices of each σ and decides on the other.

    Parameters
    ----------
    seen
        (P, C).
    places
        Of the same places.
    radius
        One of `layouts.RADII`.

    Source
    ------
    Barrett & Myers, Foundations of Image Science (2004), ch. 13; so does FDA's LCD-CT toolbox for denoisers of CT.
    """
    decided = np.zeros(len(seen))
    own = places.radius == radius
    for sigma in np.unique(places.sigma):
        for half in (0, 1):
            learn, judge = ((places.sigma == sigma) & (places.slices % 2 == part) for part in (1 - half, half))
            empty = seen[learn & (places.rose == 0)]
            filled, rose = seen[learn & own], places.rose[learn & own, None]
            mean = empty.mean(axis=0)
            signal = ((filled - mean) * rose).sum(axis=0) / np.square(rose).sum()
            noise = np.concatenate([empty - mean, filled - mean - rose * signal])
            template = np.linalg.solve(noise.T @ noise / len(noise), signal)
            decided[judge] = (seen[judge] - mean) @ (template / np.sqrt(template @ signal))
    return decided


def areas_under_roc(decided: Values, places: Places, cell: tuple[float, int], weights: Values) -> Values:
    """Return the share of (disc, empty place) pairs that are told apart, for each set of weights; dark discs count with turned sign.

    Parameters
    ----------
    decided
        (P,) from `decisions`.
    places
        Of the same places.
    cell
        (radius, absolute Rose number) of the discs.
    weights
        (set, P) how often each place counts (bootstrap).
    """
    radius, rose = cell
    empty = places.rose == 0
    order = np.argsort(decided[empty])
    sorted_empty = decided[empty][order]
    below = np.pad(np.cumsum(weights[:, empty][:, order], axis=1), ((0, 0), (1, 0)))
    bright, dark = ((places.radius == radius) & (places.rose == sign * rose) for sign in (1, -1))
    won = (weights[:, bright] * below[:, np.searchsorted(sorted_empty, decided[bright])]).sum(axis=1)
    won += (weights[:, dark] * (below[:, -1:] - below[:, np.searchsorted(sorted_empty, decided[dark], side="right")])).sum(axis=1)
    return np.asarray(won / weights[:, bright | dark].sum(axis=1) / below[:, -1])


def detectability(area: float, n_pairs: float) -> float:
    """Return d_A = √2 Φ⁻¹(area under the ROC curve), at most what so many pairs can show."""
    half = 0.5 / n_pairs
    return float(np.sqrt(2) * stats.norm.ppf(np.clip(area, half, 1 - half)))


def detectability_check(stacks: list[Stack], generator: np.random.Generator) -> Check:
    """Ask whether discs of any size and contrast are seen less well after than before."""
    places = places_of(stacks)
    cells = [(radius, rose) for radius in layouts.RADII for rose in layouts.ROSE]
    before, after = (outputs(stacks, [getattr(stack, when) for stack in stacks]) for when in ("before", "after"))
    counts = _resamples(places, generator)
    measured = []
    for radius in layouts.RADII:
        pair = decisions(before, places, radius), decisions(after, places, radius)
        for cell in (one for one in cells if one[0] == radius):
            measured.append(_compared(pair, places, cell, counts, 1 - (1 - CONFIDENCE) / len(cells)))
    return Check(
        name="low-contrast detectability",
        asks="Does a channelised Hotelling observer see every disc at least as well as before? Bootstrap over slices, Bonferroni over cells.",
        limit=f"ROC area not lower (at {CONFIDENCE:.0%})",
        source="FDA LCD-CT toolbox (channelised Hotelling observers for denoisers); discs as ACR's; Rose, J. Opt. Soc. Am. 38:196 (1948)",
        measured=tuple(measured),
    )


def _compared(pair: tuple[Values, Values], places: Places, cell: tuple[float, int], counts: Values, confidence: float) -> Measured:
    """Compare one cell before and after: it fails when even the upper end of the interval of the difference is below 0."""
    once = np.ones((1, len(places.rose)))
    areas = [float(areas_under_roc(decided, places, cell, once)[0]) for decided in pair]
    drawn = [areas_under_roc(decided, places, cell, counts) for decided in pair]
    value, spread = areas[1] - areas[0], float((drawn[1] - drawn[0]).std(ddof=1))
    own = (places.radius == cell[0]) & (np.abs(places.rose) == cell[1])
    n_pairs = float(own.sum() * (places.rose == 0).sum())
    seen = [detectability(area, n_pairs) for area in areas]
    upper = value + float(stats.norm.ppf(confidence)) * spread
    text = f"d′ {seen[0]:.2f} → {seen[1]:.2f} (area {areas[0]:.4f} → {areas[1]:.4f}, {value:+.4f} ± {spread:.4f})"
    return Measured(label=f"{2 * cell[0]:g} pixels wide, Rose {cell[1]}", value=value, spread=spread, margin=upper, text=text)


def _resamples(places: Places, generator: np.random.Generator) -> Values:
    """Draw how often each slice counts, within each σ, and return it for each place (resample, P)."""
    numbers = np.unique(places.slices)
    sigma_of = np.array([places.sigma[places.slices == number][0] for number in numbers])
    counts = np.zeros((N_RESAMPLES, len(numbers)))
    for sigma in np.unique(sigma_of):
        own = np.flatnonzero(sigma_of == sigma)
        counts[:, own] = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), size=N_RESAMPLES)
    return counts[:, places.slices]


def _scans(stacks: Sequence[Stack]) -> list[layouts.Scan]:
    return [scan for stack in stacks for scan in stack.scans]
