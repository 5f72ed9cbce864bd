"""The frozen records handed from stage to stage: Acquisition, SliceStack, Series, Denoised.

None of them holds pixels of a whole series before they are needed: a `SliceStack` knows where its slices are, and
its `Source` (DICOM or NIfTI) reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onenex.scan_time import ScanTime

FloatImages = NDArray[np.float32]
"""(slice, row, column) float32 images in the unit of their source."""

UNKNOWN = "unknown"
DEFAULT_SUFFIX = "OneNEX"
"""What the description of a derived series ends with, unless the user adds to it."""
VENDORS = ("Siemens", "GE", "Philips", "UIH", "Hitachi", "Canon", UNKNOWN)
ORGANS = ("head", "knee", "C-spine", "T-spine", "L-spine", "shoulder", UNKNOWN)
SEQUENCES = ("T1w", "T2w", "T1-FLAIR", "T2-FLAIR", "PDw", "T2*w", "STIR", "DWI", "Dixon", "MT", UNKNOWN)
PLANES = ("axial", "sagittal", "coronal", UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """How a series was acquired, as far as it is known.

    Any string is accepted for the text fields (an organ OneNEX has never seen is not an error); `VENDORS`, `ORGANS`,
    `SEQUENCES` and `PLANES` list the spellings that the product itself uses.
    """

    vendor: str = UNKNOWN
    organ: str = UNKNOWN
    sequence: str = UNKNOWN
    plane: str = UNKNOWN
    field_strength_T: float | None = None
    """Static magnetic field, tesla."""
    nex: float | None = None
    """Number of signal averages (NEX, NSA)."""
    acceleration: float | None = None
    """Total in-plane acceleration (1 = none)."""
    fat_suppressed: bool | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    """Field name → where its value came from, e.g. {"vendor": "Manufacturer (0008,0070)"}."""


@dataclass(frozen=True, kw_only=True)
class FrameRef:
    """Where one slice's pixels are."""

    path: Path
    """The file (inside an unpacked archive where the input was one)."""
    frame: int = 0
    """0-based frame within the file; 0 for a single-frame file."""
    sop_instance_uid: str = ""
    """Empty for NIfTI."""


@dataclass(frozen=True, kw_only=True)
class SliceStack:
    """One volume of a series: every slice position once, in rising order along the slice normal."""

    label: str
    """What sets this stack apart inside its series ("echo 2", "b 1000", "repeat 3"); empty when it is the only one."""
    frames: tuple[FrameRef, ...]
    rows: int
    columns: int
    spacing_mm: tuple[float, float, float] | None = None
    """(between slices, between rows, between columns), mm; None when the source does not say."""


class MapKind(StrEnum):
    """What may be written beside a denoised series, as a series of its own."""

    UNCERTAINTY = "uncertainty"
    GUARD = "guard"


MAP_MEANING: Mapping[MapKind, str] = {
    MapKind.UNCERTAINTY: "standard deviation of the samples that the result is the mean of, in the unit of the source",
    MapKind.GUARD: "suspicion of the guard in percent: the largest test statistic at each pixel over its limit; above 100 measured pixels come back",
}


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a derived series says about its own making: everything that decides its pixels."""

    version: str
    """OneNEX version."""
    weights_hash: str
    """First 12 hex digits of the weights file's SHA-256."""
    mode: str
    strength: float
    seed: int
    preset: str | None = None
    """Of the guided inference; None in mode `fast`, and so is `n_steps`."""
    n_steps: int | None = None
    """Most steps that a slice takes."""
    n_samples: int = 1
    guard: bool = True
    engine: str = "torch"
    """What ran the networks."""
    told: Mapping[str, str] = field(default_factory=dict)
    """Field of the acquisition → what the user said in place of the header."""
    shows: MapKind | None = None
    """None for the denoised images themselves."""
    description_suffix: str = DEFAULT_SUFFIX
    """Appended to SeriesDescription, followed by what a map shows."""

    @property
    def suffix(self) -> str:
        """What SeriesDescription ends with."""
        return f"{self.description_suffix} {self.shows}" if self.shows else self.description_suffix

    def settings(self) -> dict[str, str | int | float | bool | dict[str, str]]:
        """Return the settings by name, in the order in which people are told; those of mode `full` only where they mean something."""
        settings: dict[str, str | int | float | bool | dict[str, str]] = {"mode": self.mode}
        if self.preset is not None and self.n_steps is not None:
            settings |= {"preset": self.preset, "steps": self.n_steps, "samples": self.n_samples}
        settings |= {"strength": self.strength, "seed": self.seed, "guard": self.guard}
        settings |= {"engine": self.engine} if self.engine != "torch" else {}
        return settings | ({"told": dict(self.told)} if self.told else {})


class SeriesWriter(Protocol):
    """Takes the results of one series, stack by stack."""

    def write(self, stack: SliceStack, images: FloatImages, notes: Sequence[str] = ()) -> None:
        """Write one stack.

        Parameters
        ----------
        stack
            A stack of the series, once.
        images
            (slice, row, column) in the unit that `Source.images` returned; of a map, in its own.
        notes
            A sentence a slice on what happened to it, "" for nothing; or no sentences at all.
        """

    def close(self) -> list[Path]:
        """Finish the series and return the files written, as absolute paths inside the folder given to `Source.writer`."""


class Source(Protocol):
    """Reads pixels of a series and writes derived ones; one implementation for DICOM, one for NIfTI."""

    def images(self, stack: SliceStack) -> FloatImages:
        """Return (slice, row, column) float32 in the unit of the source after rescale.

        Raises
        ------
        DecodeError
            Pixel data that cannot be decoded.
        """

    def writer(self, series: Series, folder: Path, provenance: Provenance) -> SeriesWriter:
        """Open a derived series inside `folder`, which exists and is ours alone (the pipeline renames it when all is done)."""

    def map_writer(self, series: Series, folder: Path, provenance: Provenance, top: float) -> SeriesWriter:
        """Open the series of the map that `provenance.shows`, inside `folder`.

        Parameters
        ----------
        top
            Largest value that the map needs to hold, > 0; a format of integers clips what lies beyond.
        """


@dataclass(frozen=True, kw_only=True)
class Series:
    """One series as read: its stacks, what is known of it, and whether it may be denoised."""

    uid: str
    """SeriesInstanceUID; for NIfTI the file's name."""
    path: Path
    """The folder or file the series came from."""
    description: str
    number: int | None
    acquisition: Acquisition
    stacks: tuple[SliceStack, ...]
    skip_reason: str | None = None
    """Why the series must not be denoised; None when it may."""
    damaged: bool = False
    """Whether `skip_reason` is damage (a run then counts the series as failed) rather than a rule."""
    study_uid: str = ""
    """StudyInstanceUID; empty for NIfTI, and so is the next."""
    scan_time: ScanTime | None = None
    """How long the scan took, as far as the header tells."""
    source: Source
    """Reads the pixels and writes results (dicom/ or nifti.py)."""

    @property
    def n_images(self) -> int:
        """Slices in all stacks."""
        return sum(len(stack.frames) for stack in self.stacks)


@dataclass(frozen=True, kw_only=True)
class GuardNote:
    """What the guard found in one slice, and what it did about it (DESIGN §2.6)."""

    passed: bool
    """Whether the result was faithful before anything was blended back."""
    reasons: tuple[str, ...]
    """A sentence for each check that failed; empty when all passed."""
    kept: float
    """Share 0…1 of the change that the slice still shows: 1 untouched, 0 the measured slice."""
    share_given_up: float
    """Share 0…1 of the judged area that shows measured pixels again, wholly or in part."""
    suspicion: FloatImages
    """(row, column), 1 = at the limit of a check."""


@dataclass(frozen=True, kw_only=True)
class Denoised:
    """What the model returns for one stack."""

    images: FloatImages
    """(slice, row, column), the unit of the input."""
    noise_sigma: FloatImages
    """(slice, row, column), estimated noise standard deviation, the unit of the input."""
    mode: str
    strength: float
    seed: int
    weights_hash: str
    """First 12 hex digits of the weights file's SHA-256."""
    uncertainty: FloatImages | None = None
    """(slice, row, column), standard deviation of the samples that `images` is the mean of, the unit of the input; None with one sample."""
    notes: tuple[str, ...] = ()
    """What the user should know of how the scan was understood, a sentence each."""
    guard: tuple[GuardNote, ...] | None = None
    """One a slice; None when the guard was off, or had nothing to judge (strength 0)."""
