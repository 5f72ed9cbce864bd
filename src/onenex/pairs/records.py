"""The frozen records handed from room to room in `pairs`: Geometry, Volume, Candidate, Rejected."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from onenex.volume import Geometry, Volume

__all__ = ["Candidate", "Geometry", "Kind", "Rejected", "Volume"]


class Kind(StrEnum):
    """What a candidate is."""

    PAIR = "pair"
    """Two series of one examination, a fast one and its reference."""
    REPEATS = "repeats"
    """The same stack acquired again and again."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Scans that may make pairs."""

    kind: Kind
    volumes: tuple[Volume, ...]
    """A pair: the fast scan, then its reference. Repeats: all of them, in the scanner's order."""
    why: str
    """What makes the one fast and the other its reference, or these repeats: "NEX 1 against 4 (NumberOfAverages (0018,0083))"."""
    acceleration: float | None = None
    """A pair: scan time of the reference over that of the fast scan, as far as NEX, acceleration factors or times tell."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """Series that are no pair, and why."""

    volumes: tuple[Volume, ...]
    """One series by itself, or the two that were compared."""
    reason: str
    """A sentence without a full stop."""
