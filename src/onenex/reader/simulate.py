"""Studies made up by the thousand, whose truth is known: do the tests and intervals of the analysis keep what they promise?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from onenex.evaluate.statistics import estimate
from onenex.reader.agreement import icc, icc_moments, icc_of_moments, kappa
from onenex.reader.sample_size import non_inferiority as patients_needed
from onenex.reader.statistics.non_inferiority import lower_bounds

Values = NDArray[np.float64]
Grades = NDArray[np.int64]

MARGIN, ALPHA, POWER = 0.5, 0.025, 0.8
"""Grades; one-sided; as planned."""
MORE = 200
"""Times as many studies for the rates of the test itself, which cost little, so that they are known to 0.05 %."""
_AT_ONCE = 1000
_SEVERAL = 200
"""Points of the integrals over what readers share."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """How grades come about: a latent quality of the images, cut into grades by each reader's own thresholds. Latent units."""

    n_patients: int = 60
    most_cases: int = 3
    """Patients have 1, 2, … this many cases in turn."""
    effects: tuple[float, ...] = (0.0, 0.0)
    """Of test and control."""
    shifts: tuple[float, ...] = (-0.3, 0.4)
    """How much milder each reader is. Readers are those of the study: the same in every simulated one."""
    stretches: tuple[float, ...] = (1.0, 1.2)
    """How far apart each reader's thresholds are, relative to `thresholds`."""
    thresholds: tuple[float, ...] = (-1.5, -0.5, 0.5, 1.5)
    patient: float = 0.8
    """Standard deviations: between patients,"""
    case: float = 0.4
    """between cases of a patient,"""
    patient_arm: float = 0.3
    """of an arm's effect between patients,"""
    reader_patient: float = 0.4
    """of what a reader thinks of a patient,"""
    rest: float = 0.5
    """and of one grading."""

    @property
    def shared(self) -> float:
        """Standard deviation of what both readers see of one case in one arm."""
        return float(np.sqrt(self.patient**2 + self.case**2 + self.patient_arm**2))

    @property
    def own(self) -> float:
        """Standard deviation of what only one reader adds."""
        return float(np.hypot(self.reader_patient, self.rest))

    def cuts(self, reader: int) -> Values:
        """Return a reader's thresholds."""
        return np.asarray(self.thresholds) * self.stretches[reader] - self.shifts[reader]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One promise, and how it was kept."""

    name: str
    value: float
    low: float
    """The promise: from `low`"""
    high: float
    """to `high`."""
    n_studies: int
    percent: bool = True

    @property
    def passed(self) -> bool:
        """Whether it was kept."""
        return self.low <= self.value <= self.high

    @property
    def text(self) -> str:
        """It in one line."""
        unit, factor = (" %", 100.0) if self.percent else ("", 1.0)
        value, low, high = (f"{factor * one:.{2 if self.percent else 3}f}" for one in (self.value, self.low, self.high))
        return f"{'ok  ' if self.passed else 'FAIL'} {self.name}: {value}{unit} (promised {low} to {high}{unit}; {self.n_studies:,} studies)"


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """All checks."""

    n_studies: int
    seed: int
    model: Model
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every promise was kept."""
        return all(check.passed for check in self.checks)

    @property
    def text(self) -> str:
        """It for people, a line a check."""
        model = self.model
        head = (
            f"{self.n_studies:,} studies (seed {self.seed}): {model.n_patients} patients with 1 to {model.most_cases} cases, "
            f"{len(model.shifts)} readers, {len(model.thresholds) + 1} grades; "
            "the true difference is worked out from the model, and lies exactly at the margin where that is asked"
        )
        return "\n".join([head, *(check.text for check in self.checks)])


def run(n_studies: int = 1000, seed: int = 0, model: Model | None = None) -> Simulation:
    """Simulate studies and return how the tests and intervals did.

    Grades are ordinal, so a latent effect isn't a difference of grades. What is true of grades (mean difference, kappa, ICC) is
    integrated from the model, and the effect that puts the true difference at −margin is solved for.

    Parameters
    ----------
    n_studies
        For the intervals, whose bootstrap costs time; the tests are repeated on `MORE` times as many as well.
    seed
        The same seed, the same outcome.
    model
        How grades come about; `Model()` by default.
    """
    model = model or Model()
    generator = np.random.default_rng(seed)
    at_margin = with_difference(model, -MARGIN)
    sd = spread_of_differences(model, generator)
    planned = patients_needed(sd=sd, margin=MARGIN / 2, alpha=ALPHA, power=POWER)
    n_planned = int(planned.n_patients)
    larger = replace(model, n_patients=n_planned)
    expected = planned.power
    observed = claims(larger, MARGIN / 2, n_studies * MORE, generator)
    n_claims = [claims(at_margin, MARGIN, n, generator) for n in (n_studies, n_studies * MORE)]
    checks = [
        Check(name="non-inferiority claimed at the margin", value=n_claims[0] / n_studies, low=0.0, high=_highest(n_studies), n_studies=n_studies),
        Check(
            name="the same, more studies", value=n_claims[1] / n_studies / MORE, low=0.0, high=_highest(n_studies * MORE), n_studies=n_studies * MORE
        ),
        Check(
            name=f"power with {n_planned} patients, planned {100 * expected:.1f} %",
            value=observed / (n_studies * MORE),
            low=expected - 0.03,
            high=expected + 0.03,
            n_studies=n_studies * MORE,
        ),
        *_intervals(model, at_margin, n_studies, generator),
    ]
    return Simulation(n_studies=n_studies, seed=seed, model=model, checks=tuple(checks))


def _highest(n_studies: int) -> float:
    """Return 2.7 %, and what chance adds to 2.5 % in so few studies (two standard errors)."""
    return max(0.027, ALPHA + 2 * float(np.sqrt(ALPHA * (1 - ALPHA) / n_studies)))


def grades(model: Model, n_studies: int, generator: np.random.Generator) -> Grades:
    """Return grades (study, patient, case, arm, reader), from 1; 0 where a patient has no such case."""
    shape = (n_studies, model.n_patients, model.most_cases, len(model.effects), len(model.shifts))
    parts = ((model.patient, (2, 3, 4)), (model.case, (3, 4)), (model.patient_arm, (2, 4)), (model.reader_patient, (2, 3)), (model.rest, ()))
    latent = np.asarray(model.effects)[:, None] + np.zeros(shape)
    for spread, once in parts:
        latent += spread * generator.standard_normal(tuple(1 if axis in once else size for axis, size in enumerate(shape)))
    found = np.empty(shape, dtype=np.int64)
    for reader in range(len(model.shifts)):
        found[..., reader] = 1 + np.searchsorted(model.cuts(reader), latent[..., reader])
    return np.asarray(found * _has_case(model)[:, :, None, None])


def _has_case(model: Model) -> NDArray[np.bool_]:
    return np.asarray(np.arange(model.most_cases) <= (np.arange(model.n_patients) % model.most_cases)[:, None])


def true_means(model: Model) -> Values:
    """Return the expected grade (arm,) of these readers."""
    total = np.hypot(model.shared, model.own)
    over = [[stats.norm.sf((model.cuts(reader) - effect) / total).sum() for reader in range(len(model.shifts))] for effect in model.effects]
    return np.asarray(1 + np.asarray(over).mean(axis=1))


def with_difference(model: Model, difference: float) -> Model:
    """Return the model with the effect of test that makes the true mean difference of grades, test less control, what is asked."""

    def off(effect: float) -> float:
        test, control = true_means(replace(model, effects=(effect, model.effects[1])))
        return float(test - control) - difference

    return replace(model, effects=(float(optimize.brentq(off, -6, 6)), model.effects[1]))


def true_agreement(model: Model) -> tuple[float, float]:
    """Return the quadratic kappa and ICC(3,1) of the first two readers in the control arm, in a study without end."""
    points, weights = np.polynomial.hermite_e.hermegauss(_SEVERAL)
    seen = model.effects[1] + model.shared * points
    shares = []
    for reader in (0, 1):
        below = stats.norm.cdf((model.cuts(reader) - seen[:, None]) / model.own)
        shares.append(np.diff(np.column_stack([np.zeros(len(seen)), below, np.ones(len(seen))]), axis=1))
    table = np.einsum("p,pi,pj->ij", weights / weights.sum(), *shares)
    number = np.arange(1.0, len(table) + 1)
    cost = np.square(number[:, None] - number)
    weighted = 1 - (table * cost).sum() / (np.outer(table.sum(axis=1), table.sum(axis=0)) * cost).sum()
    first, second = (one.ravel() for one in np.meshgrid(number, number, indexing="ij"))
    moments = (icc_moments(np.column_stack([first, second])) * table.ravel()[:, None]).sum(axis=0)
    return float(weighted), float(icc_of_moments(moments, 10**9, 2)[1])


def differences(found: Grades, model: Model) -> Values:
    """Return (study, patient): mean of test less control over cases and readers."""
    steps = (found[..., 0, :] - found[..., 1, :]).mean(axis=-1)
    return np.asarray(steps.sum(axis=-1) / _has_case(model).sum(axis=1))


def spread_of_differences(model: Model, generator: np.random.Generator) -> float:
    """Return the standard deviation of patients' mean differences: what a sample size is worked out from."""
    return float(differences(grades(model, 1000, generator), model).std(ddof=1))


def claims(model: Model, margin: float, n_studies: int, generator: np.random.Generator) -> int:
    """Return in how many studies non-inferiority is claimed."""
    found = 0
    for start in range(0, n_studies, _AT_ONCE):
        drawn = differences(grades(model, min(_AT_ONCE, n_studies - start), generator), model)
        found += int((lower_bounds(drawn, ALPHA) > -margin).sum())
    return found


def _intervals(model: Model, at_margin: Model, n_studies: int, generator: np.random.Generator) -> list[Check]:
    """Return the coverage of the bootstrap's intervals, and whether planted agreement comes back."""
    true_kappa, true_icc = true_agreement(model)
    inside, seen = np.zeros(3), np.zeros(2)
    patients, pairs = _patients(model)
    for one, shifted in zip(_one_by_one(model, n_studies, generator), _one_by_one(at_margin, n_studies, generator), strict=True):
        steps = (shifted[..., 0, :] - shifted[..., 1, :]).mean(axis=-1)[pairs]
        mean = estimate(steps, patients, generator=generator, weigh="patients", n_resamples=1000)
        first, second = (one[..., 1, reader][pairs] for reader in (0, 1))
        scale = range(1, len(model.thresholds) + 2)
        agreed = kappa(first.tolist(), second.tolist(), scale, patients, weights="quadratic", generator=generator, n_resamples=1000)
        consistent = icc(np.column_stack([first, second]), patients, generator=generator, n_resamples=1000)[1]
        truths = ((mean.interval, -MARGIN), (agreed.bootstrap, true_kappa), (consistent.bootstrap, true_icc))
        inside += [interval is not None and true in interval for interval, true in truths]
        seen += [agreed.value or 0.0, consistent.value or 0.0]
    names = ("mean difference", "quadratic kappa", "ICC(3,1)")
    room = 2 * float(np.sqrt(0.95 * 0.05 / n_studies)) - 2 * float(np.sqrt(0.95 * 0.05 / 1000))
    shares = [
        Check(
            name=f"95 % bootstrap interval holds the {name}", value=hits / n_studies, low=0.93 - room, high=min(1.0, 0.97 + room), n_studies=n_studies
        )
        for name, hits in zip(names, inside, strict=True)
    ]
    means = zip(names[1:], seen / n_studies, (true_kappa, true_icc), strict=True)
    return shares + [
        Check(name=f"mean {name}", value=value, low=true - 0.03, high=true + 0.03, n_studies=n_studies, percent=False) for name, value, true in means
    ]


def _patients(model: Model) -> tuple[list[str], NDArray[np.bool_]]:
    has = _has_case(model)
    return [f"P{patient}" for patient in np.nonzero(has)[0]], has


def _one_by_one(model: Model, n_studies: int, generator: np.random.Generator) -> Iterator[Grades]:
    for start in range(0, n_studies, _AT_ONCE):
        yield from grades(model, min(_AT_ONCE, n_studies - start), generator)
