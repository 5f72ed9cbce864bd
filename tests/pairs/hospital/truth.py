"""What is known of the generated hospital, and how a study is filled: series are taken one after the other and noted down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onenex.series import FloatImages
from tests.pairs.hospital.anatomy import Anatomy
from tests.pairs.hospital.scan import Grid, Matrix, Thing, View, rigid, scan
from tests.pairs.hospital.vendors import Exam, Person, Shot, usual_name, write

MARGIN, MARGIN_THIN = 12, 4
"""Pixels, and thin slices, of the object that no scan shows on either side: there is always anatomy to move in."""
AXES = {"axial": np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]), "sagittal": np.array([[-1, 0, 0], [0, 0, -1], [0, 1, 0]]),
        "coronal": np.array([[0, 1, 0], [0, 0, -1], [1, 0, 0]])}  # fmt: skip
"""Normal, along rising rows, along rising columns; LPS."""
_PARALLEL_NOISE = 1.15
"""Mean g-factor of an accelerated scan."""


@dataclass(frozen=True, kw_only=True)
class TruePair:
    """A fast scan and its reference."""

    fast_uid: str
    reference_uid: str
    fast_to_reference: Matrix
    """4 × 4: a point of the fast scan, patient coordinates (LPS, mm) → where the same anatomy lies in the reference."""
    acceleration: float
    """Scan time of the reference over that of the fast scan."""
    setting: str
    """NEX and acceleration factor of both, as they were: "NEX 1 R 2 against NEX 3 R 1"."""
    variant: str
    """What is special about its headers; a key of `hospital.VARIANTS`."""
    n_slices: int
    """Slices of the fast scan that lie in the reference, in truth; with thin slices the first and last ones may be argued about."""
    vendor: str
    organ: str
    sequence: str
    thin: bool
    """Moved in three dimensions, not in the plane alone."""
    pixel_mm: float
    """Of the fast scan, the smaller one."""
    centre_mm: tuple[float, float, float]
    """Middle of the fast scan: registration is judged around it."""
    radius_mm: float
    """Half its shorter side."""
    axes: NDArray[np.float64] = field(repr=False)
    """(3, 3): unit vectors from slice to slice, along rising rows, along rising columns of the fast scan; LPS."""

    def error_px(self, found: Matrix) -> float:
        """How wrong a registration is: mean distance, in pixels of the fast scan, between where it and the truth put the points of a
        disc of 0.7 radii in the middle slice; of thick slices, in the reference's plane.

        `found` is 4 × 4 as `fast_to_reference`.
        """
        spots = [(0.7 * r * np.cos(turn), 0.7 * r * np.sin(turn)) for r in (0.0, 0.5, 1.0) for turn in np.arange(8) * np.pi / 4]
        points = np.array(self.centre_mm) + self.radius_mm * np.array(spots) @ self.axes[1:]
        motion = np.asarray(found) - self.fast_to_reference
        apart = (points @ motion[:3, :3].T + motion[:3, 3]) @ self.axes.T
        return float(np.linalg.norm(apart if self.thin else apart[:, 1:], axis=1).mean() / self.pixel_mm)


@dataclass(frozen=True, kw_only=True)
class TrueRepeats:
    """A series in which every position was really acquired again and again."""

    series_uid: str
    n_repeats: int
    n_slices: int


@dataclass(kw_only=True)
class Truth:
    """All that a judge needs to know."""

    folder: Path
    pairs: list[TruePair] = field(default_factory=list)
    optional: list[TruePair] = field(default_factory=list)
    """Pairs that nobody is wrong to take or to leave: one of the two is damaged, or it is no full reference."""
    repeats: list[TrueRepeats] = field(default_factory=list)
    holes: set[str] = field(default_factory=set)
    """References that lack a slice in their middle."""
    lone: dict[str, str] = field(default_factory=dict)
    """Series that belong in no pair → the trap that they are part of."""
    reruns: list[tuple[str, str]] = field(default_factory=list)
    """Two of `lone` that are the same scan run again, the patient having moved in between: repeats, for those who register them."""
    doomed: dict[tuple[str, str], str] = field(default_factory=dict)
    """(fast, reference) that are a pair by their headers and none by their pixels → why: to be rejected, by whoever looks."""
    planted: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in ("names", "ids", "dates", "uids", "others")})
    """What must not be found in anything made of the hospital."""
    n_files: int = 0
    """Everything written, litter included."""

    def plant(self, exam: Exam) -> None:
        """Remember what names the patient of a study."""
        name = exam.person.name
        self.planted["names"] |= {name, *(part for part in name.split("^") if len(part) > 4)}
        if exam.vendor == "Siemens":  # in the names of its files
            self.planted["names"].add(name.replace("^", "_").upper())
        self.planted["ids"] |= {exam.person.patient_id}
        self.planted["dates"] |= {exam.person.birth_date, exam.began.strftime("%Y%m%d"), exam.began.strftime("%Y-%m-%d")}
        self.planted["uids"] |= {exam.uid("study"), exam.uid("frame")}
        self.planted["others"] |= {exam.accession, "Klinikum Oberpfaffenstein", "Schraubstock", "Weihrauchberg", "7788990011"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A series to be taken."""

    sequence: str
    averages: float = 1.0
    parallel: float | None = None
    """Acceleration factor; None when the header has no place for one."""
    tells: bool = True
    """Whether the header states the averages."""
    name: str | None = None
    """None = as the vendor calls it."""
    grid: Grid | None = None
    """None = the whole window."""
    acquired: tuple[int, int] | None = None
    motion: Matrix | None = None
    moved_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How far from the truth the header puts it, LPS."""
    axes: str = ""
    """Plane that the header claims instead."""
    exam: Exam | None = None
    """None = the visit's."""
    organ: str = ""
    attrs: Mapping[str, object] = field(default_factory=dict)
    component: int = 0
    pixels: str = ""
    """Sequence whose contrast the images really have; empty = `sequence`."""
    mirrored: bool = False
    """Whether the images show something else altogether."""


@dataclass(kw_only=True)
class Visit:
    """A study in the making."""

    exam: Exam
    anatomy: Anatomy
    generator: np.random.Generator
    truth: Truth
    clock: datetime
    spare: list[str]
    """Sequences that no series of the study has yet."""
    noise: float
    """Channel noise of one average without acceleration."""
    number: int = 0
    paired: list[tuple[str, str, str]] = field(default_factory=list)
    """(sequence, UID of the fast series, of the reference) of its pairs."""
    files: dict[str, list[Path]] = field(default_factory=dict)
    images: dict[str, list[str]] = field(default_factory=dict)
    """Series UID → SOPInstanceUIDs of its files."""
    place: Grid | None = None
    """Where the object lies; drawn once."""

    def thing(self, sequence: str) -> Thing:
        """What is scanned, in the contrast of a sequence."""
        images = self.anatomy.contrast(sequence)
        if self.place is None:
            oblique = rigid(np.radians(self.generator.uniform(-4, 4, 3)), np.zeros(3), np.zeros(3))[:3, :3]
            axes = AXES[self.anatomy.plane] @ oblique.T
            corner = -axes.T @ (np.asarray(images.shape) * np.asarray(self.anatomy.spacing_mm) / 2)
            first = corner + self.generator.uniform(-20, 20, 3)
            self.place = Grid(shape=tuple(images.shape), spacing_mm=self.anatomy.spacing_mm, axes=axes, first_mm=first)
        return Thing(images, self.place, self.anatomy.thin)

    @property
    def window(self) -> Grid:
        """The part of the object that scans show."""
        grid, z = self.thing(next(iter(self.anatomy.contrasts))).grid, MARGIN_THIN if self.anatomy.thin else 0
        return grid.part(slice(z, grid.shape[0] - z), slice(MARGIN, grid.shape[1] - MARGIN), slice(MARGIN, grid.shape[2] - MARGIN))

    def take(self, plan: Plan) -> str:
        """Scan, write, and return the series UID."""
        grid = plan.grid or self.window
        factor = plan.parallel or 1.0
        sigma = self.noise * np.sqrt(factor / plan.averages) * (_PARALLEL_NOISE if factor > 1 else 1.0)
        motion = np.eye(4) if plan.motion is None else plan.motion
        view = View(grid=grid, acquired=plan.acquired or grid.shape[1:], sigma=sigma, motion=motion)
        images = scan(self.thing(plan.pixels or plan.sequence), view, self.generator)
        images = images[:, ::-1, ::-1] if plan.mirrored else images
        seconds = float(np.round(74.0 * plan.averages / factor, 1))
        grid = replace(grid, first_mm=grid.first_mm + np.asarray(plan.moved_mm), axes=AXES[plan.axes] if plan.axes else grid.axes)
        return self.put(plan, images[None], grid, seconds)

    def put(self, plan: Plan, images: FloatImages, grid: Grid, seconds: float, vary: Mapping[str, list[object]] | None = None) -> str:
        """Write (repeat, slice, row, column) images as the next series."""
        exam = plan.exam or self.exam
        self.number += int(self.generator.integers(1, 3))
        name = usual_name(exam.vendor, plan.sequence, self.anatomy.plane) if plan.name is None else plan.name
        shot = Shot(
            number=self.number if exam.vendor != "Philips" else 100 * self.number + 1, name=name, sequence=plan.sequence, images=images, grid=grid,
            began=self.clock if exam is self.exam else exam.began + timedelta(minutes=5 * self.number), seconds=seconds,
            nex=plan.averages if plan.tells else None, acceleration=plan.parallel, gain=float(self.generator.uniform(400, 1800)),
            organ=plan.organ, attrs=plan.attrs, vary=vary or {}, component=plan.component,
        )  # fmt: skip
        uid, files = write(exam, shot)
        self.clock += timedelta(seconds=seconds + 17)
        self.files[uid] = files
        self.truth.plant(exam)
        enhanced = len(files) == 1 < images.shape[0] * images.shape[1]
        self.images[uid] = [exam.uid("image", shot.number)] if enhanced else [exam.uid("image", shot.number, n + 1) for n in range(len(files))]
        self.truth.planted["uids"] |= {uid, *self.images[uid]}
        return uid

    def lone(self, trap: str, plan: Plan) -> str:
        """Take a series that belongs in no pair."""
        uid = self.take(plan)
        self.truth.lone[uid] = trap
        return uid

    def elsewhere(self, key: str, began: datetime, person: Person | None = None) -> Exam:
        """Another study of the same vendor: of the same patient, or of another person."""
        who = person or self.exam.person
        folder = self.exam.folder.with_name(f"{self.exam.folder.name} {key}")
        return Exam(
            vendor=self.exam.vendor, person=who, organ=self.exam.organ, folder=folder, key=f"{self.exam.key} {key}", began=began, odd=self.exam.odd
        )
