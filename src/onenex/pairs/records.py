"""The frozen records handed from room to room in `pairs`: Geometry, Volume, Candidate, Rejected."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from onenex.series import Acquisition, SliceStack


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Where the pixels of a stack lie in the patient (PS3.3 C.7.6.2.1.1)."""

    rows: int
    columns: int
    spacing_mm: tuple[float, float]
    """(between rows, between columns)."""
    orientation: tuple[float, float, float, float, float, float]
    """Direction cosines: along a row (column index rising), along a column (row index rising)."""
    positions_mm: tuple[tuple[float, float, float], ...]
    """Centre of the first pixel of each slice, patient coordinates (LPS), in the order of the stack."""
    slice_thickness_mm: float | None = None

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector from slice to slice: along a row × along a column."""
        return np.asarray(np.cross(np.asarray(self.orientation[:3]), np.asarray(self.orientation[3:])), dtype=np.float64)

    @property
    def coordinates_mm(self) -> NDArray[np.float64]:
        """(slice,), position of each slice along the normal."""
        return np.asarray(np.asarray(self.positions_mm) @ self.normal, dtype=np.float64)

    @property
    def step_mm(self) -> float | None:
        """Median distance of neighbouring slices, > 0; the slice thickness for a single slice, None when unknown."""
        if len(self.positions_mm) > 1:
            return float(np.median(np.abs(np.diff(self.coordinates_mm))))
        return self.slice_thickness_mm


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One stack of one series as the index knows it. It names the patient: it must never leave the machine it was made on."""

    patient: str
    """What the source says the patient is: PatientID with its issuer, else name and birth date; empty when it says nothing."""
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    series_number: int | None
    description: str
    acquisition: Acquisition
    stack: SliceStack
    geometry: Geometry | None
    """None when positions or spacings are missing."""
    n_stacks: int = 1
    """Stacks in the series: more than one means echoes, b-values, repeats …, named by `stack.label`."""
    model: str = ""
    echo_time_ms: float | None = None
    repetition_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None
    b_value: float | None = None
    started_s: float | None = None
    """Seconds since 1970 of the acquisition's date and time, as the scanner's clock shows them; None when unknown."""
    duration_s: float | None = None
    """How long the acquisition took."""
    contrast_agent: bool = False
    refused: str = ""
    """Why it cannot be part of a pair (a map, a localiser, damage …); empty when it can."""


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
