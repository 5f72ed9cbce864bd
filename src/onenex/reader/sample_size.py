"""How many cases a study needs. Ratings: Student's t on the paired differences of patients, which is what the analysis tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil, sqrt
from types import MappingProxyType

from scipy import integrate, stats

from onenex.errors import StudyError
from onenex.evaluate.statistics.patients import LEAST_PATIENTS

ARE_NORMAL = 0.955
"""Efficiency of Wilcoxon's signed-rank test relative to Student's t, normal differences: 3/π (Hodges & Lehmann, Ann. Math. Stat. 27:324 (1956))."""
ARE_WORST = 0.864
"""The least it can be, whatever the (symmetric) differences are: 108/125 (ibid.)."""
MOST = 100_000
"""Patients beyond which no study is suggested."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Who reads how much of a patient, and what is lost."""

    n_readers: int = 1
    """Their ratings of a case are averaged. They are these readers, not a sample of all there are."""
    reader_correlation: float = 1.0
    """Of two readers' differences (test less control) on the same case, 0 … 1. 1: more readers bring nothing."""
    cases_per_patient: int = 1
    """Averaged too, e.g. both knees."""
    case_correlation: float = 1.0
    """Of the differences of two cases of a patient, 0 … 1. 1: more cases of a patient bring nothing."""
    efficiency: float = 1.0
    """Of the test relative to Student's t: `ARE_NORMAL` or `ARE_WORST` where ranks are tested."""
    lost: float = 0.0
    """Share of patients that will not be usable, 0 … below 1."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.n_readers < 1 or self.cases_per_patient < 1:
            raise StudyError(f"{self.n_readers} readers and {self.cases_per_patient} cases per patient: give at least 1 of each")
        if not (0 <= self.reader_correlation <= 1 and 0 <= self.case_correlation <= 1):
            raise StudyError(f"correlations {self.reader_correlation:g} and {self.case_correlation:g}: give 0 … 1")
        if not (0 < self.efficiency <= 1 and 0 <= self.lost < 1):
            raise StudyError(f"efficiency {self.efficiency:g} and lost {self.lost:g}: give above 0 … 1, and 0 … below 1")

    @property
    def variance_factor(self) -> float:
        """Variance of a patient's mean difference over that of one reader's difference on one case.

        Source
        ------
        (1 + (m − 1) ρ)/m for a mean of m values: Kish, Survey Sampling (1965), chapter 5; the same for readers.
        """
        readers = (1 + (self.n_readers - 1) * self.reader_correlation) / self.n_readers
        return readers * (1 + (self.cases_per_patient - 1) * self.case_correlation) / self.cases_per_patient


ONE_READER = Layout()
"""One reader, one case a patient, nothing lost."""


@dataclass(frozen=True, kw_only=True)
class SampleSize:
    """What a study needs."""

    n_patients: int
    """To recruit: with those that will be lost."""
    n_analysed: int
    """Of them, that must be usable."""
    n_cases: int
    """To prepare: `n_patients` times the cases of each."""
    power: float
    """With `n_analysed`, 0 … 1."""
    method: str
    """What was calculated."""
    assumptions: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """What was assumed, by name."""

    @property
    def text(self) -> str:
        """The outcome for people."""
        assumed = ", ".join(f"{name} {value:g}" for name, value in self.assumptions.items())
        more = f", of whom {self.n_analysed} must be usable" if self.n_analysed < self.n_patients else ""
        return f"{self.n_cases} cases of {self.n_patients} patients{more}: power {100 * self.power:.1f} %. {self.method}; {assumed}."


def non_inferiority(
    *, margin: float, sd: float, difference: float = 0.0, alpha: float = 0.025, power: float = 0.9, layout: Layout = ONE_READER
) -> SampleSize:
    """Return the number of cases to show that test is not worse than control by `margin` or more.

    Parameters
    ----------
    margin
        How much worse would still do, grades, above 0.
    sd
        Standard deviation of one reader's difference, test less control, between cases; grades.
    difference
        Expected, grades; above 0 when test is better.
    alpha
        One-sided.
    power
        Wanted, 0.5 … below 1.
    layout
        Readers, cases of a patient, losses.

    Raises
    ------
    StudyError
        Values that make no sense, or no number up to `MOST` is enough.

    Source
    ------
    Exact power by the non-central t distribution: Julious, Stat. Med. 23:1921 (2004).
    """
    _check(margin, sd, alpha, power)
    if difference <= -margin:
        raise StudyError(f"expected difference {difference:g} is not above −margin ({-margin:g}): no number of cases shows that; reconsider either")
    error = sd * sqrt(layout.variance_factor)

    def reached(n: float) -> float:
        return t_power(difference + margin, error / sqrt(n), n - 1, alpha)

    return _solve(reached, power, layout, "Non-inferiority, paired t", _assumed(margin, sd, difference, alpha, layout))


def equivalence(
    *, margin: float, sd: float, difference: float = 0.0, alpha: float = 0.025, power: float = 0.9, layout: Layout = ONE_READER
) -> SampleSize:
    """Return the number of cases to show that test and control differ by less than `margin` either way: two one-sided tests.

    Parameters and errors as of `non_inferiority`; `alpha` is that of each test.

    Source
    ------
    Exact power by Owen's integral: Phillips, J. Pharmacokinet. Biopharm. 18:137 (1990); test: Schuirmann, ibid. 15:657 (1987).
    """
    _check(margin, sd, alpha, power)
    if abs(difference) >= margin:
        raise StudyError(f"expected difference {difference:g} is not within ± margin ({margin:g}): no number of cases shows that; reconsider either")
    error = sd * sqrt(layout.variance_factor)

    def reached(n: float) -> float:
        return tost_power(difference, margin, error / sqrt(n), n - 1, alpha)

    return _solve(reached, power, layout, "Equivalence, two one-sided paired t", _assumed(margin, sd, difference, alpha, layout))


def t_power(distance: float, standard_error: float, df: float, alpha: float) -> float:
    """Return the power of a one-sided t test.

    Parameters
    ----------
    distance
        From the null hypothesis to what is expected.
    standard_error
        Of the estimate.
    df
        Degrees of freedom of its variance.
    alpha
        One-sided.
    """
    return float(stats.nct.sf(stats.t.ppf(1 - alpha, df), df, distance / standard_error))


def tost_power(difference: float, margin: float, standard_error: float, df: float, alpha: float) -> float:
    """Return the power of two one-sided t tests: of both rejecting, with the same estimate of the variance.

    Given the estimated over the true standard error, s, both reject when the estimate lies further than t s inside the margins; that
    probability is integrated over the distribution of s.

    Parameters
    ----------
    difference
        Expected.
    margin
        Either way.
    standard_error, df, alpha
        As of `t_power`.
    """
    quantile = float(stats.t.ppf(1 - alpha, df))
    low, high = (sqrt(stats.chi2.ppf(tail, df) / df) for tail in (1e-13, 1 - 1e-13))
    widest = min(high, margin / standard_error / quantile)
    if widest <= low:
        return 0.0

    def inside(s: float) -> float:
        upper = (margin - difference) / standard_error - quantile * s
        lower = -(margin + difference) / standard_error + quantile * s
        return float((stats.norm.cdf(upper) - stats.norm.cdf(lower)) * stats.chi2.pdf(df * s * s, df) * 2 * df * s)

    return float(integrate.quad(inside, low, widest, epsabs=1e-9, epsrel=1e-9, limit=200)[0])


def _check(margin: float, sd: float, alpha: float, power: float) -> None:
    if not (margin > 0 and sd > 0):
        raise StudyError(f"margin {margin:g} and sd {sd:g}: both must be above 0")
    check_errors(alpha, power)


def check_errors(alpha: float, power: float) -> None:
    """Refuse an alpha or power that no study is planned with.

    Raises
    ------
    StudyError
        alpha outside 0 … 0.5, or power outside 0.5 … 1.
    """
    if not (0 < alpha < 0.5 and 0.5 <= power < 1):
        raise StudyError(f"alpha {alpha:g} and power {power:g}: give above 0 … below 0.5, and 0.5 … below 1")


def _assumed(margin: float, sd: float, difference: float, alpha: float, layout: Layout) -> dict[str, float]:
    assumed: dict[str, float] = {"margin": margin, "SD of differences": sd, "expected difference": difference, "one-sided alpha": alpha}
    if layout.n_readers > 1:
        assumed |= {"readers": layout.n_readers, "correlation between readers": layout.reader_correlation}
    if layout.cases_per_patient > 1:
        assumed |= {"cases per patient": layout.cases_per_patient, "correlation within patients": layout.case_correlation}
    if layout.efficiency < 1:
        assumed["efficiency relative to t"] = layout.efficiency
    return assumed


def _solve(reached: Callable[[float], float], power: float, layout: Layout, method: str, assumed: Mapping[str, float]) -> SampleSize:
    """Return the smallest study; power grows with n."""
    low, high = LEAST_PATIENTS - 1, LEAST_PATIENTS
    while reached(high) < power:
        low, high = high, 2 * high
        if high > MOST:
            raise StudyError(f"even {MOST} patients do not give power {power:g}: widen the margin, or lower the power")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    n_analysed = ceil(high / layout.efficiency)
    n_patients = ceil(n_analysed / (1 - layout.lost))
    return SampleSize(
        n_patients=n_patients,
        n_analysed=n_analysed,
        n_cases=n_patients * layout.cases_per_patient,
        power=reached(n_analysed * layout.efficiency),
        method=method,
        assumptions=MappingProxyType(dict(assumed)),
    )
