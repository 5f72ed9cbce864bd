"""A stack of a series as an index of an archive knows it, without its pixels: Geometry and Volume."""

from __future__ import annotations

from dataclasses import dataclass

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
    technique: tuple[str, ...] = ()
    """How the scanner excites and reads, sorted: SE, GR, IR, EP, RM (PS3.3 C.8.3.1.1.2), MT, and 2D or 3D."""
    image_type: tuple[str, ...] = ()
    """ImageType from its third value on, in capitals: what the reconstruction did ("M", "NORM", "DIS2D")."""
    direction: tuple[float, ...] | None = None
    """Of the diffusion gradient; () where there is none (b 0, a trace image), None when the header doesn't say."""
    phase_encoding: str = ""
    """InPlanePhaseEncodingDirection: ROW or COL."""
    coil: str = ""
    """ReceiveCoilName."""
    laterality: str = ""
    """L or R of a paired body part; empty when unknown or unpaired."""
    perfusion: bool = False
    """Whether a time series follows blood (arterial spin labelling, a bolus) rather than repeating itself."""
    refused: str = ""
    """Why it cannot be part of a pair (a map, a localiser, damage …); empty when it can."""
