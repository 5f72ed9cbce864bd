"""The slices of the acceptance phantom: what lies where in each, and every scan that is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from onenex.evaluate.acceptance import phantom
from onenex.evaluate.acceptance.phantom import BODY, CENTRE, Complex, Disc
from onenex.physics import artefacts
from onenex.physics.artefacts import KSpace
from onenex.series import FloatImages

UNIFORM, ARTEFACTS, EDGES, SHARPEST, GRID, CONTRAST = "uniform", "artefacts", "edges", "edges, whole matrix", "grid", "low contrast"
KINDS = (UNIFORM, ARTEFACTS, EDGES, SHARPEST, GRID, CONTRAST)
SIGMAS = (0.03, 0.06, 0.10)
"""Channel noise of the scans, units of the series scale."""
SEEDS = 4
"""Noise draws of every slice but the low-contrast ones, at each σ; even, for NEMA's signal-to-noise ratio takes pairs."""
CONTRAST_SLICES = 16
"""Slices of low-contrast discs at each σ."""
ROSE = (2, 3, 4, 5, 6)
"""Signal-to-noise ratios of the low-contrast discs: what an ideal observer of the scan has, which in white noise is Rose's contrast · √area / σ."""
RADII = (1.5, 2.5, 4.0, 6.0)
"""Of the low-contrast discs, pixels."""
PITCH = 23.0
"""Distance of the low-contrast discs' places, pixels."""
CYLINDER_RADIUS, CYLINDER_RING = 13.0, 60.3
"""Of the cylinders whose edges and signals are measured, and of the ring that they lie on, pixels."""
HIGH_STEP, LOW_STEPS = -0.6, (0.25, -0.25)
"""What cylinders add to the container: edges of high and of low contrast."""
POINT_RADIUS, POINT_PITCH, POINT_SIGNAL = 4.0, 20.0, -0.6
"""The grid's holes, pixels."""
GHOST_SHIFT = 44
"""Pixels between an object and its ghosts."""
VESSEL = Disc(row=CENTRE + 4.6, column=CENTRE - 30.2, radius=9.0, signal=0.25)
"""What pulsates in the slice of artefacts."""
FAINT_GHOST, PLAIN_GHOST = 1.0, 3.0
"""Amplitude of the container's ghosts and of the vessel's, noise standard deviations."""


@dataclass(frozen=True, kw_only=True)
class Zipper:
    """A line of radio interference."""

    column: int
    over_sigma: float
    """Root mean square of its complex amplitude, noise standard deviations."""


ZIPPERS = (
    Zipper(column=9, over_sigma=4.0),
    Zipper(column=18, over_sigma=10.0),
    Zipper(column=145, over_sigma=4.0),
    Zipper(column=175, over_sigma=10.0),
)
"""Faint and plain, beside the container and across it."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """One place of a low-contrast slice and what was put there."""

    row: int
    column: int
    radius: float = 0.0
    rose: float = 0.0
    """Negative for dark discs, 0 where nothing was put."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One simulated scan."""

    kind: str
    sigma: float
    seed: int
    image: FloatImages
    """(row, column) magnitudes."""
    clean: FloatImages
    """(row, column) the same without noise."""
    without_zippers: FloatImages | None = None
    """(row, column) of the slice of artefacts: as `clean`, with the ghosts only."""
    sites: tuple[Site, ...] = ()


def all_scans(seed: int = 0, *, seeds: int = SEEDS, contrast_slices: int = CONTRAST_SLICES, sigmas: Sequence[float] = SIGMAS) -> list[Scan]:
    """Return every scan of the acceptance test, by kind and σ; the same seed, the same scans.

    Uniform slice and artefacts share their noise, so that their difference is the artefacts.
    """
    scans = []
    for level, sigma in enumerate(sigmas):
        for kind in KINDS:
            for number in range(contrast_slices if kind == CONTRAST else seeds):
                stream = KINDS.index(UNIFORM if kind == ARTEFACTS else kind)
                scans.append(_scan(kind, sigma, number, (seed, level, stream, number)))
    return scans


def cylinders(step: float) -> list[Disc]:
    """Return the cylinders that add `step` to the container: three on a ring, their centres between pixels."""
    first = (HIGH_STEP, *LOW_STEPS).index(step)
    angles = [2 * np.pi * (number + 0.21) / 9 for number in range(first, 9, 3)]
    places = [(BODY.row + CYLINDER_RING * np.sin(angle), BODY.column + CYLINDER_RING * np.cos(angle)) for angle in angles]
    return [Disc(row=float(row), column=float(column), radius=CYLINDER_RADIUS, signal=step) for row, column in places]


@cache
def points() -> tuple[Disc, ...]:
    """Return the grid's holes, each off the pixels in its own way."""
    found = []
    for i in range(-4, 5):
        for j in range(-4, 5):
            row, column = i * POINT_PITCH * 1.013, j * POINT_PITCH * 1.007
            if np.hypot(row, column) <= BODY.radius - 14:
                found.append(Disc(row=BODY.row + row, column=BODY.column + column, radius=POINT_RADIUS, signal=POINT_SIGNAL))
    return tuple(found)


@cache
def contrast_places() -> tuple[tuple[int, int], ...]:
    """Return the places (row, column) of low-contrast discs: a hexagonal pattern well inside the container."""
    places = []
    for i in range(-6, 7):
        for j in range(-6, 7):
            row, column = i * PITCH * np.sqrt(3) / 2, (j + 0.5 * (i % 2)) * PITCH
            if np.hypot(row, column) <= BODY.radius - 15:
                places.append((round(BODY.row + row), round(BODY.column + column)))
    return tuple(places)


def drawn_sites(generator: np.random.Generator) -> tuple[Site, ...]:
    """Draw what lies where in one slice: a bright and a dark disc of every size and contrast, nothing at the other places."""
    places = contrast_places()
    kinds = [(radius, sign * rose) for radius in RADII for rose in ROSE for sign in (1, -1)]
    order = generator.permutation(len(places))
    found = [Site(row=places[i][0], column=places[i][1], radius=radius, rose=rose) for i, (radius, rose) in zip(order, kinds, strict=False)]
    return (*found, *(Site(row=places[i][0], column=places[i][1]) for i in order[len(kinds) :]))


def contrast_disc(site: Site, sigma: float) -> Disc:
    """Return the disc of a site: after the coil's shading, an ideal observer of the scan sees it at `rose`."""
    shading = phantom.coil_shading()[site.row, site.column]
    signal = site.rose * sigma / np.sqrt(_energy(site.radius)) / shading
    return Disc(row=site.row, column=site.column, radius=site.radius, signal=float(signal))


@cache
def _energy(radius: float) -> float:
    return phantom.energy(radius)


def _scan(kind: str, sigma: float, number: int, key: tuple[int, int, int, int]) -> Scan:
    generator, contents = np.random.default_rng(key), np.random.default_rng((*key, KINDS.index(kind)))
    without_zippers: FloatImages | None = None
    sites: tuple[Site, ...] = ()
    if kind == ARTEFACTS:
        ghosted = _ghosted(sigma)
        without_zippers = np.abs(phantom.received(ghosted)).astype(np.float32)
        image = phantom.received(ghosted + _zippers(sigma, contents))
    elif kind == CONTRAST:
        sites = drawn_sites(contents)
        image = phantom.received(phantom.kspace_of([BODY, *(contrast_disc(site, sigma) for site in sites if site.rose)]))
    else:
        image = _noise_free(kind)
    measured = phantom.scan(image, sigma, generator, phantom.WHOLE if kind == SHARPEST else phantom.USUAL)
    clean = np.abs(image).astype(np.float32)
    return Scan(kind=kind, sigma=sigma, seed=number, image=measured, clean=clean, without_zippers=without_zippers, sites=sites)


@cache
def _noise_free(kind: str) -> Complex:
    """Return the noise-free complex image of a slice that is the same at every σ."""
    inserts: dict[str, Sequence[Disc]] = {UNIFORM: [VESSEL], GRID: points()}
    edges = [disc for step in (HIGH_STEP, *LOW_STEPS) for disc in cylinders(step)]
    window = phantom.WHOLE if kind == SHARPEST else phantom.USUAL
    return phantom.received(phantom.kspace_of([BODY, *inserts.get(kind, edges)]), window)


def _ghosted(sigma: float) -> KSpace:
    container, vessel = phantom.kspace_of([BODY]), phantom.kspace_of([VESSEL])
    faint = artefacts.ghosted(container, FAINT_GHOST * sigma / BODY.signal, GHOST_SHIFT)
    return faint + artefacts.ghosted(vessel, PLAIN_GHOST * sigma / VESSEL.signal, GHOST_SHIFT)


def _zippers(sigma: float, generator: np.random.Generator) -> KSpace:
    return np.asarray(
        np.sum([artefacts.zipper((phantom.SIDE, phantom.SIDE), one.column, one.over_sigma * sigma, generator) for one in ZIPPERS], axis=0)
    )
