"""One result held against the slice it was made from: every check, its limit, and where it fails."""

# shapes: W window, R ring

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onenex.errors import OutOfDomain
from onenex.model.consistency import RingConsistency, ring_consistency
from onenex.model.lines import line_scores
from onenex.model.residual import Image, Mask, Residual, blobs, edge_shifts, residual

MIN_SIDE = 16
"""Slices with a shorter side hold too little to judge."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is still taken for honest; everything but `share` in standard deviations of noise.

    Chosen on held-out slices of *training* files, never on test files, so that two kinds of honest results pass: those of mode `fast`
    (slices as they are, under simulated noise of all kinds, and real repeats; 223 by the first weights, 164 by b620270ebd9a; the
    limits touch one of each); and the truth itself under 127 draws of simulated noise, whose residual holds all of the
    noise, where `fast` leaves the coarse part of it in the result (they touch none). Broad spots have the higher limits: dark
    tissue is lifted by several coils and by averages in ways that the Rician mean doesn't know. Faults were looked at
    only to see which searches earn their place. `onenex benchmark guard` shows what comes of it.
    """

    spread: float = 1.4
    """Of the residual's bulk: beyond it σ is wrong by so much that no other number here means anything."""
    pixel: float = 5.8
    """A single pixel: pure noise gets there in one slice of five hundred of 512 × 512."""
    spot_widths: tuple[float, ...] = (0.8, 1.25, 2.0, 3.2, 5.0)
    """Standard deviations of the Gaussians, pixels: discs of radius 1.3 to 8."""
    spots: tuple[float, ...] = (5.7, 5.8, 6.5, 8.0, 9.0)
    """One for each width."""
    edge: float = 6.8
    invented: tuple[float, ...] = (6.5, 6.0)
    """Drop of ring correlation, the innermost rings; finer ones hold more noise than result."""
    removed: tuple[float, ...] = (25.0, 30.0)
    """Power of the residual, the same rings."""
    line: float = 7.0
    """Of interference. Lines of 4 σ in the acceptance phantom score 8 and more; 90 training slices and repeats, as they are and under simulated
    noise, at most 6.8 (at the border of a blanked part under simulated noise), 86 of them less than 4."""
    share: float = 0.3
    """Of the judged area: where more must be given up, the whole slice is."""


LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Check:
    """One number held against its limit."""

    name: str
    value: float
    limit: float
    place: tuple[int, int] | None = None
    """(row, column) of the largest value; None for a number of the whole slice."""

    @property
    def passed(self) -> bool:
        """Whether the value stays within the limit."""
        return self.value <= self.limit

    def __str__(self) -> str:
        place = "" if self.place is None else f" at row {self.place[0]}, column {self.place[1]}"
        return f"{self.name}{place}: {self.value:.1f} σ, limit {self.limit:.1f} σ"


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What the searches found in one slice."""

    checks: tuple[Check, ...]
    suspicion: Image
    """(row, column), largest value over its limit among the local checks: flagged above 1, 0 where nothing is judged."""
    area: Mask
    """(row, column), the pixels judged: air, blanked background and what is lost in the noise are not."""
    lines: Mask
    """(row, column), the lines of interference over the limit: they run through air too."""

    @property
    def passed(self) -> bool:
        """Whether every check is within its limit."""
        return all(check.passed for check in self.checks)

    @property
    def flagged(self) -> Mask:
        """(row, column), where a local check is over its limit."""
        return self.suspicion > 1


def examine(
    measured: Image, restored: Image, expected_mean: Image, expected_sigma: Image, *, given_up: Mask | None = None, limits: Limits = LIMITS
) -> Examination:
    """Judge one result against the slice it was made from.

    Parameters
    ----------
    measured, restored
        (row, column) the slice and its result, one unit.
    expected_mean, expected_sigma
        (row, column) what the degradation model expects the slice to be if the result is right. Where σ is 0 nothing is judged.
    given_up
        Pixels where the result is the measured slice again; they pass by definition.

    Raises
    ------
    OutOfDomain
        Shapes differ, numbers are not finite, or σ is negative.
    """
    _check_input(measured, restored, expected_mean, expected_sigma)
    if min(measured.shape) < MIN_SIDE or not expected_sigma.any():
        nothing = np.zeros(measured.shape, dtype=np.float32)
        return Examination(checks=(), suspicion=nothing, area=nothing > 0, lines=nothing > 0)
    blind = expected_sigma <= 0
    sigma = np.where(blind, expected_sigma.max(), expected_sigma).astype(np.float32)
    found = residual(measured, expected_mean, sigma, blind if given_up is None else blind | given_up)
    local = _local_fields(found, expected_mean, sigma, limits)
    lines = _line_fields(measured, sigma, blind if given_up is None else blind | given_up, limits)
    checks = [Check(name="spread of the residual", value=found.spread, limit=limits.spread)]
    for name, field, limit in (*local, *lines):
        place = np.unravel_index(int(field.argmax()), field.shape)
        checks.append(Check(name=name, value=float(field[place]), limit=limit, place=(int(place[0]), int(place[1]))))
    crossed = np.any([field > limit for _, field, limit in lines], axis=0)
    fields = [field / np.float32(limit) for _, field, limit in local] + [crossed * field / np.float32(limit) for _, field, limit in lines]
    suspicion = np.max(fields, axis=0).astype(np.float32, copy=False)
    return Examination(checks=tuple(checks), suspicion=suspicion, area=found.area, lines=np.asarray(crossed))


def _local_fields(found: Residual, mean: Image, sigma: Image, limits: Limits) -> list[tuple[str, Image, float]]:
    """Return (name, field (row, column) ≥ 0, limit) of every local check."""
    rings = ring_consistency(mean, sigma, found)
    fields = [("single pixel", np.abs(found.z), limits.pixel)]
    for width, field, limit in zip(limits.spot_widths, blobs(found, limits.spot_widths), limits.spots, strict=True):
        fields.append((f"spot of radius {1.6 * width:.1f} pixels", np.abs(field), limit))
    for name, field in zip(("rows", "columns"), edge_shifts(found, mean, sigma), strict=True):
        fields.append((f"edge shifted along {name}", np.abs(field), limits.edge))
    return fields + _ring_fields(rings, found.area, limits)


def _line_fields(measured: Image, sigma: Image, given_up: Mask, limits: Limits) -> list[tuple[str, Image, float]]:
    """Return (name, field, limit) of interference along rows and along columns."""
    rows, columns = (scores.astype(np.float32) for scores in line_scores(measured, sigma, given_up))
    fields = {"row": np.broadcast_to(rows[:, None], measured.shape), "column": np.broadcast_to(columns, measured.shape)}
    return [(f"interference along the {name}", field, limits.line) for name, field in fields.items()]


def _ring_fields(rings: RingConsistency, area: Mask, limits: Limits) -> list[tuple[str, Image, float]]:
    """Return (name, field, limit) of the rings that have a limit."""
    fields = []
    for name, scores_WR, chosen in (("invented", rings.invented_WR, limits.invented), ("removed", rings.removed_WR, limits.removed)):
        for ring, limit in enumerate(chosen):
            fields.append((f"structure of {rings.pixels[ring]} pixels {name}", rings.paint(scores_WR[:, ring], area.shape) * area, limit))
    return fields


def _check_input(measured: Image, restored: Image, mean: Image, sigma: Image) -> None:
    """Refuse what cannot be judged."""
    named = {"measured": measured, "restored": restored, "expected mean": mean, "expected σ": sigma}
    if measured.ndim != 2 or any(image.shape != measured.shape for image in named.values()):
        shapes = ", ".join(f"{name} {image.shape}" for name, image in named.items())
        raise OutOfDomain(f"shapes differ or are not (row, column): {shapes}: give one slice and its result")
    for name, image in named.items():
        if not np.isfinite(image).all():
            raise OutOfDomain(f"{name} holds NaN or infinite numbers: the guard cannot judge them")
    if (sigma < 0).any():
        raise OutOfDomain("expected σ is negative somewhere: a standard deviation is 0 or more")
