"""How well readers agree, with each other and with themselves: weighted kappa and intraclass correlation, with intervals and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from onenex.errors import StudyError
from onenex.evaluate.statistics import Interval
from onenex.evaluate.statistics.bootstrap import N_RESAMPLES
from onenex.evaluate.statistics.patients import LEAST_PATIENTS
from onenex.reader.statistics.resampling import intervals
from onenex.reader.statistics.wording import KOO_LI, LANDIS_KOCH, in_words

Values = NDArray[np.float64]
Weights = Literal["linear", "quadratic"]

FORMS = ("ICC(2,1)", "ICC(3,1)", "ICC(2,k)", "ICC(3,k)")


@dataclass(frozen=True, kw_only=True)
class Kappa:
    """Cohen's weighted kappa of two series of grades."""

    weights: Weights
    value: float | None
    """None where it's undefined: nobody used more than one grade."""
    standard_error: float | None = None
    """Large-sample, of independent pairs."""
    asymptotic: Interval | None = None
    """From `standard_error`; too narrow where a patient has several pairs."""
    bootstrap: Interval | None = None
    """Patients drawn whole; None where they are too few."""
    n_pairs: int
    n_patients: int
    same: float
    """Share of pairs with the same grade, 0…1."""
    undefined: str = ""

    @property
    def interval(self) -> Interval | None:
        """The interval to report: by patient; without one, the large-sample one where each of enough patients has one pair."""
        return self.bootstrap or (self.asymptotic if self.n_pairs == self.n_patients >= LEAST_PATIENTS else None)

    @property
    def wording(self) -> str:
        """Landis and Koch's words for both ends of the interval."""
        return "" if self.interval is None else in_words(self.interval, LANDIS_KOCH)


@dataclass(frozen=True, kw_only=True)
class Icc:
    """An intraclass correlation of readers."""

    form: str
    """One of `FORMS`: 2 for absolute agreement of readers drawn from many, 3 for consistency of these; k for the mean of all readers."""
    value: float | None
    interval: Interval | None = None
    """From F distributions: of independent subjects."""
    bootstrap: Interval | None = None
    """Patients drawn whole."""
    n_subjects: int
    n_left_out: int
    """Subjects that not every reader graded."""
    n_readers: int
    n_patients: int
    undefined: str = ""

    @property
    def reported(self) -> Interval | None:
        """The interval to report: the F-based one where subjects are patients, otherwise the bootstrap's."""
        return self.interval if self.n_subjects == self.n_patients else self.bootstrap

    @property
    def wording(self) -> str:
        """Koo and Li's words for both ends of the interval."""
        return "" if self.reported is None else in_words(self.reported, KOO_LI)


def kappa(
    first: Sequence[int],
    second: Sequence[int],
    values: range,
    patients: Sequence[str],
    *,
    weights: Weights,
    generator: np.random.Generator | None = None,
    n_resamples: int = N_RESAMPLES,
) -> Kappa:
    """Return the weighted kappa of two gradings of the same things.

    Parameters
    ----------
    first, second
        (pair,): grades by one reader and another, or by one reader twice.
    values
        What may be graded, in order; grades that nobody used count for the weights.
    patients
        (pair,): whose each pair is.
    weights
        Of a disagreement: as the distance of the grades, or as its square.
    generator, n_resamples
        Draws patients for the bootstrap interval, so often; no such interval without it.

    Raises
    ------
    StudyError
        Different numbers of grades, none, or a grade that isn't of the scale; statsmodels isn't installed.

    Source
    ------
    Cohen, Psychol. Bull. 70:213 (1968); standard error: Fleiss, Cohen & Everitt, Psychol. Bull. 72:323 (1969), by statsmodels;
    bootstrap as in `resampling.intervals`.
    """
    ours, theirs = np.asarray(first), np.asarray(second)
    if not len(ours) == len(theirs) == len(patients) or not len(ours):
        raise StudyError(f"{len(ours)} and {len(theirs)} grades of {len(patients)} pairs: a kappa needs the same number of each, and at least one")
    wrong = sorted({int(one) for one in (*ours, *theirs)} - set(values))
    if wrong:
        raise StudyError(f"grade {wrong[0]} isn't of the scale {values.start}…{values.stop - 1}: correct the answer or the item")
    n_pairs, n_patients = len(ours), len(set(patients))
    same = float((ours == theirs).mean())
    columns = _kappa_columns(ours - values.start, theirs - values.start, len(values), weights)
    if float(_expected(columns.mean(axis=0), len(values), weights)) == 0:
        return Kappa(weights=weights, value=None, same=same, n_pairs=n_pairs, n_patients=n_patients, undefined="all grades are the same")
    value, error = _large_sample(ours - values.start, theirs - values.start, len(values), weights)
    around = float(stats.norm.ppf(0.975)) * error
    drawn: tuple[Interval | None, ...] = (None,)
    if generator is not None:
        drawn = intervals(
            columns, patients, lambda means: _kappa_of(means, len(values), weights)[..., None], generator=generator, n_resamples=n_resamples
        )
    return Kappa(
        weights=weights,
        value=value,
        standard_error=error,
        asymptotic=Interval(low=max(-1.0, value - around), high=min(1.0, value + around), level=0.95) if error > 0 else None,
        bootstrap=drawn[0],
        n_pairs=n_pairs,
        n_patients=n_patients,
        same=same,
    )


def _large_sample(ours: NDArray[np.int64], theirs: NDArray[np.int64], n_grades: int, weights: Weights) -> tuple[float, float]:
    if find_spec("statsmodels") is None:
        raise StudyError("kappa needs statsmodels: pip install 'onenex[evaluate]'")
    from statsmodels.stats.inter_rater import cohens_kappa

    table = np.zeros((n_grades, n_grades))
    np.add.at(table, (ours, theirs), 1)
    with np.errstate(invalid="ignore", divide="ignore"):  # its test against 0 of tables without spread
        found = cohens_kappa(table, wt=weights)
    return float(found.kappa), float(np.sqrt(max(0.0, float(found.var_kappa))))


def _kappa_columns(ours: NDArray[np.int64], theirs: NDArray[np.int64], n_grades: int, weights: Weights) -> Values:
    """Return (pair, 1 + 2 · grade): the disagreement, and which grade each reader gave. Kappa follows from their means."""
    grades = np.arange(n_grades)
    parts = (_distance(ours - theirs, weights)[:, None], ours[:, None] == grades, theirs[:, None] == grades)
    return np.concatenate([np.asarray(part, dtype=np.float64) for part in parts], axis=1)


def _distance(steps: NDArray[np.int64], weights: Weights) -> Values:
    return np.asarray(np.abs(steps) if weights == "linear" else np.square(steps), dtype=np.float64)


def _expected(means: Values, n_grades: int, weights: Weights) -> Values:
    """Return the disagreement by chance."""
    grades = np.arange(n_grades)
    cost = _distance(grades[:, None] - grades, weights)
    return np.asarray(np.einsum("...i,ij,...j->...", means[..., 1 : 1 + n_grades], cost, means[..., 1 + n_grades :]))


def _kappa_of(means: Values, n_grades: int, weights: Weights) -> Values:
    """Return kappa from the means of `_kappa_columns`; 1 for a draw in which everything is the same grade."""
    expected = _expected(means, n_grades, weights)
    return np.where(expected > 0, 1 - means[..., 0] / np.where(expected > 0, expected, 1), 1.0)


def icc(
    scores: ArrayLike, patients: Sequence[str], *, generator: np.random.Generator | None = None, level: float = 0.95, n_resamples: int = N_RESAMPLES
) -> tuple[Icc, ...]:
    """Return the intraclass correlations of two-way designs, in the order of `FORMS`.

    Parameters
    ----------
    scores
        (subject, reader); NaN where a reader didn't grade. Subjects with a gap are left out, and counted.
    patients
        (subject,): whose each subject is.
    generator, n_resamples
        Draws patients for the bootstrap interval, so often; no such interval without it.
    level
        Confidence of the intervals, 0…1.

    Raises
    ------
    StudyError
        No table, fewer than two readers, or another number of patients than of subjects.

    Source
    ------
    Shrout & Fleiss, Psychol. Bull. 86:420 (1979), tables 1–4; intervals as McGraw & Wong, Psychol. Methods 1:30 (1996), tables 4
    and 7; of the mean of all readers by Spearman and Brown's formula on the ends.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or len(table) != len(patients):
        raise StudyError(f"scores of shape {table.shape} for {len(patients)} subjects: an intraclass correlation needs a row each and two readers")
    whole = np.asarray(np.isfinite(table).all(axis=1))
    kept, theirs = table[whole], [one for one, is_whole in zip(patients, whole, strict=True) if is_whole]
    n, k = kept.shape
    reason = "fewer than two subjects that every reader graded" if n < 2 else "all scores are the same" if np.ptp(kept) == 0 else ""
    values: list[float | None] = [None] * len(FORMS)
    exact: tuple[Interval | None, ...] = (None,) * len(FORMS)
    drawn = exact
    if not reason:
        moments = icc_moments(kept)
        values = [float(one) for one in icc_of_moments(moments.mean(axis=0), n, k)]
        exact = _f_intervals(moments.mean(axis=0), n, k, level)
        if generator is not None:
            drawn = intervals(moments, theirs, lambda means: icc_of_moments(means, n, k), generator=generator, n_resamples=n_resamples, level=level)
    return tuple(
        Icc(
            form=form,
            value=value,
            interval=interval,
            bootstrap=bootstrap,
            n_subjects=n,
            n_left_out=len(table) - n,
            n_readers=k,
            n_patients=len(set(theirs)),
            undefined=reason,
        )
        for form, value, interval, bootstrap in zip(FORMS, values, exact, drawn, strict=True)
    )


def icc_moments(table: Values) -> Values:
    """Return (subject, reader + 2): the scores, the square of their mean, and the sum of their squares."""
    return np.column_stack([table, np.square(table.mean(axis=1)), np.square(table).sum(axis=1)])


def _mean_squares(means: Values, n: int, k: int) -> tuple[Values, Values, Values]:
    """Return the mean squares between subjects, between readers, and of the rest."""
    grand = means[..., :k].mean(axis=-1)
    subjects = k * (means[..., k] - grand**2)
    readers = np.square(means[..., :k] - grand[..., None]).sum(axis=-1)
    rest = np.maximum(0.0, means[..., k + 1] - k * grand**2 - subjects - readers)
    return n * subjects / (n - 1), n * readers / (k - 1), n * rest / ((n - 1) * (k - 1))


def icc_of_moments(means: Values, n: int, k: int) -> Values:
    """Return (…, form); 1 for a draw without any spread."""
    between, readers, rest = _mean_squares(means, n, k)
    offset = (readers - rest) / n
    below = (between + (k - 1) * rest + k * offset, between + (k - 1) * rest, between + offset, between)
    return np.stack([np.where(one > 0, (between - rest) / np.where(one > 0, one, 1), 1.0) for one in below], axis=-1)


def _f_intervals(means: Values, n: int, k: int, level: float) -> tuple[Interval | None, ...]:
    between, readers, rest = (float(one) for one in _mean_squares(means, n, k))
    if rest <= 1e-12 * between:
        return (None,) * len(FORMS)
    tail, freedom = (1 + level) / 2, (n - 1) * (k - 1)
    ratio = between / rest
    low, high = ratio / stats.f.ppf(tail, n - 1, freedom), ratio * stats.f.ppf(tail, freedom, n - 1)
    consistency = [(one - 1) / (one + k - 1) for one in (low, high)]
    value = float(icc_of_moments(means, n, k)[0])
    a, b = k * value / (n * (1 - value)), 1 + k * value * (n - 1) / (n * (1 - value))
    v = (a * readers + b * rest) ** 2 / ((a * readers) ** 2 / (k - 1) + (b * rest) ** 2 / freedom)
    more, less = stats.f.ppf(tail, n - 1, v), stats.f.ppf(tail, v, n - 1)
    common = k * readers + (k * n - k - n) * rest
    absolute = [
        n * (between - more * rest) / (more * common + n * between),
        n * (less * between - rest) / (common + n * less * between),
    ]
    averaged = [[k * end / (1 + (k - 1) * end) if end > -1 / (k - 1) else float("-inf") for end in ends] for ends in (absolute, consistency)]
    return tuple(Interval(low=float(low), high=float(high), level=level) for low, high in (absolute, consistency, *averaged))
