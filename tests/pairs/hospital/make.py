"""A generated hospital whose truth is known: DICOM trees of four vendors in which true pairs of known motion lie among traps.

Made for judging software, not for tuning it: real pixels come from train and test files alike. See `anatomy` for what the
patients are made of, `vendors` for the layouts, `traps` for what is planted besides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from tests.pairs.hospital.anatomy import SEQUENCES, anatomy
from tests.pairs.hospital.scan import Grid, Matrix, draw_motion
from tests.pairs.hospital.traps import SERIES_OF_MANY, TRAPS, localiser
from tests.pairs.hospital.truth import Plan, TruePair, TrueRepeats, Truth, Visit
from tests.pairs.hospital.vendors import Exam, Person, usual_name

__all__ = ["ORGANS", "VARIANTS", "VENDORS", "TruePair", "TrueRepeats", "Truth", "make_hospital"]

VENDORS = ("Siemens", "GE", "Philips", "UIH")
ORGANS = ("head", "knee", "C-spine", "T-spine", "L-spine", "shoulder")
VARIANTS = {
    "nex": "NEX 1 against 2 to 4, under one name or with the word FAST in the fast one's",
    "parallel": "acceleration 2 or 3 against none, one average each",
    "both": "NEX and acceleration differ",
    "misnamed": "the word FAST in the reference's name",
    "nameless": "no name in either",
    "named": "neither averages nor acceleration in the headers: the name and the time tell",
    "triple": "two fast scans of one reference",
    "damaged": "the fast scan has a truncated file; counts as optional",
}
_FAMILIES = ("Quastenflosser", "Zwirbelhuber", "Müller-Süßkind", "Øksendalsvik", "Papadimitrakopoulos", "Wachtelkönig", "王小明", "Türkçapan")
_GIVEN = ("Ottilie", "Balthasar", "Jörg-Ügür", "Xaverine", "Thrasyvoulos", "Kunigunde", "Nepomuk")


def make_hospital(folder: Path, *, data: Path | None, n_patients: int, seed: int) -> Truth:
    """Write a hospital's archive and return what is true of it.

    Parameters
    ----------
    folder
        Where; made when missing.
    data
        Folder of the packed real scans; None makes every patient a phantom.
    n_patients
        Six have every trap and every vendor; 24 every vendor with every organ.
    seed
        The same seed makes the same archive, byte for byte, up to what the DICOM writer stamps on it.
    """
    truth = Truth(folder=folder)
    for index in range(n_patients):
        generator = np.random.default_rng([seed, index])
        visit = _arrival(truth, data, index, seed, generator)
        localiser(visit)
        variants = [name for name in VARIANTS if name != "damaged"]
        for place in range(2):
            _pair(visit, variants[(2 * index + place) % len(variants)])
        if index % 6 == 5:
            _pair(visit, "damaged")
        for place in range(3):
            TRAPS[(3 * index + place) % len(TRAPS)](visit)
        if index % 4 == 2 or index % 8 == 1:  # every patient of Philips, every other one of GE
            SERIES_OF_MANY["repeats"](visit, data)
        if index % 5 == 3:
            SERIES_OF_MANY["time series"](visit, data)
    truth.n_files = sum(path.is_file() for path in folder.rglob("*"))
    return truth


def _arrival(truth: Truth, data: Path | None, index: int, seed: int, generator: np.random.Generator) -> Visit:
    vendor, organ = VENDORS[index % 4], ORGANS[(index + index // 12) % 6]
    family, given = _FAMILIES[index % len(_FAMILIES)], _GIVEN[index % len(_GIVEN)]
    born = datetime(1931, 1, 1) + timedelta(days=int(generator.integers(0, 25000)))
    person = Person(name=f"{family}^{given}", patient_id=f"KO{generator.integers(10**7, 10**8)}", birth_date=born.strftime("%Y%m%d"))
    began = datetime(2019, 1, 7, 8) + timedelta(days=int(generator.integers(0, 1800)), minutes=int(generator.integers(0, 500)))
    names = {
        "Siemens": f"{family}_{given}_{person.patient_id}",
        "GE": person.patient_id,
        "Philips": f"{family} {given}",
        "UIH": f"{index:03d} {family}",
    }
    exam = Exam(
        vendor=vendor, person=person, organ=organ, folder=truth.folder / f"{began:%Y}" / names[vendor], key=f"hospital {seed} patient {index}",
        began=began, odd=bool((index // 4) % 2),
    )  # fmt: skip
    subject = anatomy(data, organ, index // 6 if data is not None else index // 2 + index)
    own = list(subject.contrasts)
    spare = [name for name in SEQUENCES if name not in own] + own[::-1]
    return Visit(
        exam=exam, anatomy=subject, generator=generator, truth=truth, clock=began + timedelta(minutes=4), spare=spare,
        noise=float(generator.uniform(0.035, 0.075)),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Setting:
    averages: float
    parallel: float | None

    def __str__(self) -> str:
        return f"NEX {self.averages:g} R {self.parallel or 1:g}"

    @property
    def time(self) -> float:
        return self.averages / (self.parallel or 1)


def _settings(variant: str, generator: np.random.Generator) -> tuple[_Setting, _Setting]:
    """Draw how the fast scan and the reference are taken."""
    averages = float(generator.integers(2, 5))
    if variant == "parallel":
        return _Setting(averages=1.0, parallel=float(generator.integers(2, 4))), _Setting(averages=1.0, parallel=1.0)
    if variant == "both":
        return _Setting(averages=1.0, parallel=2.0), _Setting(averages=averages, parallel=1.0)
    return _Setting(averages=1.0, parallel=None), _Setting(averages=4.0 if variant == "triple" else averages, parallel=None)


def _names(visit: Visit, variant: str, sequence: str) -> tuple[str, str]:
    """Name the fast series and the reference."""
    usual = usual_name(visit.exam.vendor, sequence, visit.anatomy.plane)
    marked = {"Siemens": f"{usual}_FAST", "GE": f"FAST {usual}", "Philips": f"{usual}_FAST", "UIH": f"{usual}_fast_快速"}[visit.exam.vendor]
    if variant == "nameless":
        return "", ""
    if variant == "misnamed":
        return usual, marked
    return (marked if variant in ("named", "triple") or visit.generator.random() < 0.4 else usual), usual


def _pair(visit: Visit, variant: str) -> None:
    """Take a fast scan and its reference, in either order; two fast ones of a triple."""
    sequence, generator, window = visit.spare.pop(), visit.generator, visit.window
    quick, slow = _settings(variant, generator)
    quick_name, slow_name = _names(visit, variant, sequence)
    tells = variant != "named"
    shown = _reference_grid(window, visit, generator)
    reference = Plan(
        sequence=sequence, averages=slow.averages, parallel=slow.parallel, tells=tells, name=slow_name, grid=shown, acquired=window.shape[1:]
    )
    fast = _fast_plan(visit, replace(reference, averages=quick.averages, parallel=quick.parallel, name=quick_name), shown)
    plans, done = {"reference": reference, "fast": fast}, {}
    order = ["reference", "fast"] if generator.random() < 0.5 else ["fast", "reference"]
    if variant == "triple":
        plans["middle"] = replace(_fast_plan(visit, reference, shown), averages=2.0, name=slow_name)
        order.append("middle")
    for name in order:
        done[name] = visit.take(plans[name])
    visit.paired.append((sequence, done["fast"], done["reference"]))
    true = _truth(visit, variant, (done["fast"], fast), (done["reference"], reference))
    true = replace(true, setting=f"{quick} against {slow}", n_slices=true.n_slices - _lose_a_slice(visit, done["reference"], variant))
    (visit.truth.optional if variant == "damaged" else visit.truth.pairs).append(true)
    if variant == "damaged":
        path = visit.files[done["fast"]][len(visit.files[done["fast"]]) // 2]
        path.write_bytes(path.read_bytes()[:-3000])
    if variant == "triple":
        middle = (done["middle"], plans["middle"])
        visit.truth.pairs.append(_truth(visit, variant, middle, (done["reference"], reference)))
        visit.truth.optional.append(_truth(visit, variant, (done["fast"], fast), middle))


def _lose_a_slice(visit: Visit, reference_uid: str, variant: str) -> int:
    """Lose a file from the middle of a thick reference now and then; returns how many."""
    files = visit.files[reference_uid]
    if variant == "triple" or visit.anatomy.thin or len(files) < 6 or visit.generator.random() > 0.25:
        return 0
    visit.truth.holes.add(reference_uid)
    visit.truth.planted["uids"].discard(visit.images[reference_uid][len(files) // 2])
    files.pop(len(files) // 2).unlink()
    return 1


def _reference_grid(window: Grid, visit: Visit, generator: np.random.Generator) -> Grid:
    """Draw the reference's matrix, and which of its last slices are missing."""
    zoom = generator.choice([1.0, 1.0, 1.25])
    grid = window.matrix_of(round(window.shape[1] * zoom), round(window.shape[2] * zoom))
    if window.shape[0] > 5 and not visit.anatomy.thin and generator.random() < 0.3:
        grid = grid.part(slice(0, grid.shape[0] - int(generator.integers(1, 3))), slice(None), slice(None))
    return grid


def _fast_plan(visit: Visit, plan: Plan, reference: Grid) -> Plan:
    """Draw how the fast scan differs: fewer phase-encoding lines, another matrix, another field of view, slices missing or in between."""
    generator, grid, thin = visit.generator, visit.window, visit.anatomy.thin
    if generator.random() < 0.3:
        cut = [int(n * generator.uniform(0.04, 0.08)) for n in grid.shape[1:]]
        grid = grid.part(slice(None), slice(cut[0], grid.shape[1] - cut[0]), slice(cut[1], grid.shape[2] - cut[1]))
    if grid.shape[0] > 5 and generator.random() < 0.4:
        grid = grid.part(slice(int(generator.integers(1, 3)), None), slice(None), slice(None))
    if thin and generator.random() < 0.5:
        grid = replace(grid, first_mm=grid.at((float(generator.uniform(-0.5, 0.5)), 0.0, 0.0)))
    acquired = (grid.shape[1], round(grid.shape[2] * generator.uniform(0.7, 1.0)))
    zoom = generator.choice([1.0, 1.0, 1.25, 1.5])
    square = max(grid.shape[1:]) if generator.random() < 0.2 else 0  # a scanner that interpolates to as many columns as rows
    shown = grid.matrix_of(round((square or grid.shape[1]) * zoom), round((square or grid.shape[2]) * zoom))
    pixel = min(*shown.spacing_mm[1:], *reference.spacing_mm[1:])
    return replace(plan, grid=shown, acquired=acquired, motion=draw_motion(reference, thin, pixel, generator))


def _truth(visit: Visit, variant: str, fast: tuple[str, Plan], reference: tuple[str, Plan]) -> TruePair:
    quick, slow = fast[1], reference[1]
    grids = quick.grid or visit.window, slow.grid or visit.window
    motions = [np.eye(4) if plan.motion is None else plan.motion for plan in (quick, slow)]
    motion: Matrix = np.linalg.inv(motions[1]) @ motions[0]
    settings = [_Setting(averages=plan.averages, parallel=plan.parallel) for plan in (quick, slow)]
    centre = grids[0].centre_mm
    return TruePair(
        fast_uid=fast[0], reference_uid=reference[0], fast_to_reference=motion, acceleration=settings[1].time / settings[0].time,
        setting=f"{settings[0]} against {settings[1]}", variant=variant, n_slices=_n_common(grids, motion), vendor=visit.exam.vendor,
        organ=visit.exam.organ, sequence=quick.sequence, thin=visit.anatomy.thin, pixel_mm=min(grids[0].spacing_mm[1:]),
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        radius_mm=min(n * mm for n, mm in zip(grids[0].shape[1:], grids[0].spacing_mm[1:], strict=True)) / 2,
        axes=grids[0].axes,
    )  # fmt: skip


def _n_common(grids: tuple[Grid, Grid], motion: Matrix) -> int:
    """Count the slices of the fast scan whose middle lies in the reference's slab, in truth."""
    fast, reference = grids
    rows, columns = ((n - 1) / 2 for n in fast.shape[1:])
    points = np.stack([fast.at((float(index), rows, columns)) for index in range(fast.shape[0])])
    moved = points @ motion[:3, :3].T + motion[:3, 3]
    place = (moved - reference.first_mm) @ reference.axes[0] / reference.spacing_mm[0]
    return int(np.sum((place > -0.5) & (place < reference.shape[0] - 0.5)))
