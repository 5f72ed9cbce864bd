"""Is the test arm no worse than the control, by a margin that was set before anybody read? And if so, is it better, or the same?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from onenex.errors import StudyError
from onenex.evaluate.statistics import Equivalence, Interval, by_patient, equivalence, estimate
from onenex.evaluate.statistics.patients import p_text, too_few

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class NonInferiority:
    """Test less control, patient by patient, turned so that more is better."""

    n_patients: int
    n_pairs: int
    difference: float
    """Mean of patients' means, grades."""
    margin: float
    """How much worse would still do, grades; above 0."""
    alpha: float
    """One-sided."""
    bound: float | None
    """Lower confidence bound of the difference, level 1 − alpha, Student's; None where nothing was tested."""
    p: float | None
    """One-sided, of a difference of −margin or less."""
    p_superiority: float | None
    """One-sided, of a difference of 0 or less. It counts only after non-inferiority."""
    interval: Interval | None
    """Of level 1 − 2 alpha."""
    bootstrap_bound: float | None
    """As `bound`, from the bootstrap by patient: how much the conclusion hangs on Student's assumptions."""
    equivalence: Equivalence | None = None
    not_tested: str = ""

    @property
    def non_inferior(self) -> bool | None:
        """Whether the bound lies above −margin; None where nothing was tested."""
        return None if self.bound is None else self.bound > -self.margin

    @property
    def superior(self) -> bool | None:
        """Whether the bound lies above 0. The tests are nested, so neither alpha needs a correction."""
        return None if self.bound is None else self.bound > 0

    @property
    def verdict(self) -> str:
        """`superior`, `non-inferior`, `not shown` or `not tested`."""
        if self.bound is None:
            return "not tested"
        return "superior" if self.superior else "non-inferior" if self.non_inferior else "not shown"

    @property
    def bootstrap_agrees(self) -> bool | None:
        """Whether the bootstrap's bound leads to the same verdict; None where there is none."""
        if self.bound is None or self.bootstrap_bound is None:
            return None
        return all((self.bound > limit) == (self.bootstrap_bound > limit) for limit in (-self.margin, 0.0))

    def conclusion(self, test: str, control: str, item: str) -> str:
        """Return the conclusion in one sentence, from the numbers alone."""
        if self.bound is None:
            return f"Whether {test} is non-inferior to {control} in {item} was not tested: {self.not_tested}."
        claim = {
            "superior": f"{test} is non-inferior to {control} in {item}, and superior",
            "non-inferior": f"{test} is non-inferior to {control} in {item}",
            "not shown": f"{test} was not shown to be non-inferior to {control} in {item}",
        }[self.verdict]
        level = 100 * (1 - self.alpha)
        return (
            f"{_capital(claim)}: mean difference {signed(self.difference)} grades (above 0 favours {test}), one-sided {level:g} % lower bound "
            f"{signed(self.bound)}, margin {signed(-self.margin)} set before reading ({p_text(self.p or 0.0)}, n = {self.n_patients} patients)."
        )

    def details(self, test: str, control: str) -> list[str]:
        """Return what follows from the same test, sentence by sentence."""
        if self.bound is None or self.p_superiority is None:
            return []
        lines = [f"Superiority was not tested, since {test} was not shown to be non-inferior."]
        if self.non_inferior:
            how = "is superior" if self.superior else "was not shown to be superior"
            lines = [f"{_capital(test)} {how} to {control} (one-sided {p_text(self.p_superiority)})."]
        if self.equivalence is not None:
            lines.append(self._equivalence_sentence(test, control))
        if self.bootstrap_bound is not None:
            agrees = "leads to the same conclusion" if self.bootstrap_agrees else "leads to ANOTHER conclusion: look at the patients' differences"
            lines.append(f"The bootstrap's lower bound, {signed(self.bootstrap_bound)}, {agrees}.")
        return lines

    def _equivalence_sentence(self, test: str, control: str) -> str:
        same = self.equivalence
        if same is None or same.p is None:
            return "Equivalence was not tested."
        how = "are equivalent" if same.equivalent else "were not shown to be equivalent"
        return (
            f"{_capital(test)} and {control} {how} within ±{same.margins[1]:g} grades (two one-sided tests, alpha {same.alpha:g}, {p_text(same.p)})."
        )


def signed(value: float, digits: int = 3) -> str:
    """Return a difference for people, with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def lower_bounds(differences: ArrayLike, alpha: float) -> Values:
    """Return Student's one-sided lower confidence bounds of means.

    Parameters
    ----------
    differences
        (…, patient): the mean difference of each patient.
    alpha
        One-sided.
    """
    values = np.asarray(differences, dtype=np.float64)
    n = values.shape[-1]
    return np.asarray(values.mean(axis=-1) - stats.t.ppf(1 - alpha, n - 1) * values.std(axis=-1, ddof=1) / np.sqrt(n))


def non_inferiority(
    differences: ArrayLike,
    patients: Sequence[str],
    *,
    margin: float,
    alpha: float = 0.025,
    equivalence_margin: float | None = None,
    generator: np.random.Generator | None = None,
    n_resamples: int = 4000,
) -> NonInferiority:
    """Test non-inferiority, then superiority, and equivalence.

    A patient's differences are averaged first, so several cases, places and readers of one patient count once; readers are those of
    the study, not a sample of all readers. Superiority is claimed only after non-inferiority (a closed procedure, so both keep alpha).
    Nothing is tested with fewer than `LEAST_PATIENTS` patients, or when all differ by the same.

    Parameters
    ----------
    differences
        (pair,): test less control of the same reader, case and place, turned so that more is better, grades.
    patients
        (pair,): whose each pair is.
    margin
        How much worse would still do; set before reading.
    alpha
        One-sided.
    equivalence_margin
        For two one-sided tests at `alpha` each; None for no such test.
    generator
        Draws patients for the bootstrap's bound; none without it.

    Raises
    ------
    StudyError
        A margin that isn't above 0, or an alpha outside 0…0.5.
    DataError
        As in `by_patient`.

    Source
    ------
    Test by confidence bound and closed testing: CPMP/EWP/482/99, Points to consider on switching between superiority and
    non-inferiority (EMA, 2000), sections II and IV; ICH E9, section 3.3.2; equivalence: Schuirmann (1987).
    """
    if not margin > 0 or not 0 < alpha < 0.5:
        raise StudyError(f"margin {margin:g} and alpha {alpha:g}: the margin is how much worse would still do, above 0, and alpha one-sided, 0…0.5")
    values = np.asarray(differences, dtype=np.float64)
    gathered = by_patient(values, patients)
    means, n = gathered.means[:, 0], len(gathered)
    reason = too_few(n) or ("all patients differ by the same, so there is no spread to test against" if np.ptp(means) == 0 else "")
    bound = p = p_superiority = bootstrap_bound = interval = None
    mean = float(means.mean())
    if not reason:
        bound = float(lower_bounds(means, alpha))
        error = float(means.std(ddof=1)) / np.sqrt(n)
        p, p_superiority = (float(stats.t.sf((mean + limit) / error, n - 1)) for limit in (margin, 0.0))
        interval = Interval(low=bound, high=2 * mean - bound, level=1 - 2 * alpha)
        if generator is not None:
            drawn = estimate(values, patients, generator=generator, weigh="patients", level=1 - 2 * alpha, n_resamples=n_resamples)
            bootstrap_bound = drawn.interval.low if drawn.interval else None
    same = None
    if equivalence_margin is not None:
        same = equivalence(values, np.zeros(len(values)), patients, margins=(-equivalence_margin, equivalence_margin), alpha=alpha)
    return NonInferiority(
        n_patients=n,
        n_pairs=len(values),
        difference=mean,
        margin=margin,
        alpha=alpha,
        bound=bound,
        p=p,
        p_superiority=p_superiority,
        interval=interval,
        bootstrap_bound=bootstrap_bound,
        equivalence=same,
        not_tested=reason,
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
