"""How much of planted ghosts and zippers is left after denoising: a radiologist must still see that the scan went wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onenex.evaluate.acceptance import layouts
from onenex.evaluate.acceptance.layouts import VESSEL
from onenex.evaluate.acceptance.phantom import BODY
from onenex.evaluate.acceptance.records import Check, Measured, Stack
from onenex.evaluate.acceptance.signal import Mask, distance, standard_error
from onenex.series import FloatImages

Values = NDArray[np.float64]

KEPT_LIMIT = 0.9
VISIBLE_LIMIT = 1.0
RIM = 6.0
"""Pixels on either side of the container's edge that are left out."""
ZIPPER_REACH = 6
"""Columns on either side of a zipper that are left out where ghosts are measured: its side lobes."""
ZIPPER_WIDTH = 1
"""Columns on either side of a zipper that belong to it."""
GHOSTS, ZIPPERS = "ghosts", "zippers"
_SOURCES = {
    GHOSTS: "ghosts of periodic motion: Haacke & Patrick 1986; compare ACR's percent signal ghosting",
    ZIPPERS: "radio interference at one frequency",
}


@dataclass(frozen=True, kw_only=True)
class Left:
    """What is left of one artefact at one σ."""

    kind: str
    label: str
    kept: float
    """Amplitude after over that before."""
    spread: float
    above_noise: float
    """Amplitude over the noise beside it, after over before."""


def artefact_checks(stacks: list[tuple[Stack, Stack]]) -> list[Check]:
    """Ask whether ghosts and zippers keep their amplitude, and whether both stay as visible; takes (artefacts, uniform) of each σ."""
    found = [_left(pair, region, (kind, label)) for pair in stacks for kind, label, region in _regions()]
    checks = [_kept_check(kind, [one for one in found if one.kind == kind]) for kind in (GHOSTS, ZIPPERS)]
    measured = tuple(
        Measured(
            label=f"{one.label}",
            value=one.above_noise,
            spread=one.above_noise * one.spread / max(abs(one.kept), 1e-9),
            margin=one.above_noise - VISIBLE_LIMIT,
            text=f"{one.above_noise:.1f} times as far above the noise",
        )
        for one in found
    )
    visible = Check(
        name="artefacts visible",
        asks="Do planted ghosts and zippers stand out from the noise beside them at least as far as before?",
        limit=f"≥ {VISIBLE_LIMIT:g} times as far",
        source="Rose, J. Opt. Soc. Am. 38:196 (1948): what is seen is contrast over noise; no published limit",
        measured=measured,
    )
    return [*checks, visible]


def _kept_check(kind: str, found: list[Left]) -> Check:
    texts = [f"{one.kept:.0%} ± {one.spread:.0%} kept" for one in found]
    return Check(
        name=kind,
        asks=f"Do planted {kind} keep their amplitude? Compared in scans with the same noise.",
        limit=f"≥ {KEPT_LIMIT:.0%} of the amplitude",
        source=f"{_SOURCES[kind]}; the limit is ours: a tenth of the ghosts that ACR accepts (2.5 %) is a quarter of a percent of the signal",
        measured=tuple(
            Measured(label=one.label, value=one.kept, spread=one.spread, margin=one.kept - KEPT_LIMIT, text=text)
            for one, text in zip(found, texts, strict=True)
        ),
    )


def _regions() -> list[tuple[str, str, Mask]]:
    """Return (kind, label, where) of every artefact."""
    body = distance(BODY.row, BODY.column)
    air, tissue = body > BODY.radius + RIM, body < BODY.radius - RIM
    beside_zippers = np.ones(body.shape, dtype=np.bool_)
    for one in layouts.ZIPPERS:
        beside_zippers[:, max(0, one.column - ZIPPER_REACH) : one.column + ZIPPER_REACH + 1] = False
    vessel = np.any([distance(VESSEL.row + shift, VESSEL.column) < VESSEL.radius for shift in (-layouts.GHOST_SHIFT, layouts.GHOST_SHIFT)], axis=0)
    faint, plain = f"{layouts.FAINT_GHOST:g} σ", f"{layouts.PLAIN_GHOST:g} σ"
    regions = [
        (GHOSTS, f"container's ghosts of {faint} in air", air & beside_zippers),
        (GHOSTS, f"container's ghosts of {faint} over tissue", tissue & beside_zippers & ~vessel),
        (GHOSTS, f"vessel's ghosts of {plain} over tissue", vessel),
    ]
    for one in layouts.ZIPPERS:
        own = np.zeros_like(air)
        own[:, one.column - ZIPPER_WIDTH : one.column + ZIPPER_WIDTH + 1] = True
        inside = abs(one.column - BODY.column) < BODY.radius
        where = tissue if inside else air
        regions.append((ZIPPERS, f"zipper of {one.over_sigma:g} σ {'over tissue' if inside else 'in air'}", own & where))
    return regions


def _left(pair: tuple[Stack, Stack], region: Mask, name: tuple[str, str]) -> Left:
    """Measure what is left of an artefact in a region.

    Scans with and without artefacts share their noise. Their difference, before and after, is taken apart by least squares into the two
    noise-free patterns (ghosts, zippers) and a constant; what is kept is the pattern's share after over that before.
    """
    artefacts, uniform = pair
    shares = _shares(region, artefacts, uniform, (GHOSTS, ZIPPERS).index(name[0]))
    before, after = shares(artefacts.before - uniform.before), shares(artefacts.after - uniform.after)
    kept = float(after.mean() / before.mean())
    noise_before, noise_after = (float(np.sqrt(images[:, region].var(axis=0, ddof=1).mean())) for images in (uniform.before, uniform.after))
    return Left(
        kind=name[0],
        label=f"σ {artefacts.sigma:g}, {name[1]}",
        kept=kept,
        spread=standard_error(after - kept * before) / abs(float(before.mean())),
        above_noise=kept * noise_before / max(noise_after, 1e-9),
    )


def _shares(region: Mask, artefacts: Stack, uniform: Stack, which: int) -> Callable[[FloatImages], Values]:
    """Return a function from differences (slice, row, column) to a pattern's least-squares share in a region (slice,)."""
    terms = []
    for scan in artefacts.scans:
        ghosts_only = scan.clean if scan.without_zippers is None else scan.without_zippers
        patterns = [(ghosts_only - uniform.clean)[region], (scan.clean - ghosts_only)[region]]
        terms.append(np.stack([*patterns, np.ones(int(region.sum()))], axis=1).astype(np.float64))

    def shares(differences: FloatImages) -> Values:
        found = [np.linalg.lstsq(term, one[region].astype(np.float64), rcond=None)[0][which] for term, one in zip(terms, differences, strict=True)]
        return np.asarray(found)

    return shares
