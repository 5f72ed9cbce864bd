"""Is one method better than another on the same patients? Wilcoxon's signed-rank test, corrected after Holm, with effect sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from onenex.errors import DataError
from onenex.evaluate.statistics.bootstrap import Estimate, estimate
from onenex.evaluate.statistics.patients import Values, by_patient, p_text, too_few

MOST_EXACT = 14
"""Patients up to which tied differences are tested by all 2ⁿ changes of sign."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Method minus baseline, patient by patient."""

    n_patients: int
    n_images: int
    mean_difference: float
    """Of patients' means."""
    median_difference: float
    p: float | None
    """Two-sided, Wilcoxon's signed-rank test; None where nothing was tested."""
    not_tested: str = ""
    """Why not."""
    p_holm: float | None = None
    """Corrected for the family it belongs to; None before `holm`."""
    least_p: float | None = None
    """What p would be if all patients agreed: with few patients it's far from 0. Corrected as `p_holm` once that is known."""
    rank_biserial: float | None
    """Matched pairs, −1…1: share of the rank sum in favour less the share against. None when nothing differs."""
    d_z: float | None
    """Cohen's d of the differences: mean over standard deviation. None for one patient, or when all differ by the same."""

    @property
    def text(self) -> str:
        """The outcome for people: "p = 0.012", or "not tested: n = 3 patients, at least 6 needed"."""
        if self.p is None:
            return f"not tested: {self.not_tested}"
        return p_text(self.p) if self.p_holm is None else f"{p_text(self.p_holm)} (Holm)"


def paired_test(values: ArrayLike, baseline: ArrayLike, patients: Sequence[str]) -> Paired:
    """Test whether two methods differ on the same images; images of one patient are averaged first.

    Patients without a difference are left out, as Wilcoxon did. p is exact: by his distribution without ties up to 50 patients,
    with ties up to `MOST_EXACT`; beyond that by the normal approximation with tie correction.

    Parameters
    ----------
    values, baseline
        (image,): one score of both methods on the same images.
    patients
        (image,): whose each image is.

    Raises
    ------
    DataError
        Different lengths, or values that are NaN or infinite.

    Source
    ------
    Wilcoxon, Biometrics Bull. 1:80 (1945), by scipy; rank-biserial correlation: Kerby, Compr. Psychol. 3:1 (2014), eq. 1;
    d_z: Lakens, Front. Psychol. 4:863 (2013), eq. 6.
    """
    if np.shape(values) != np.shape(baseline):
        raise DataError(f"{np.shape(values)} values and {np.shape(baseline)} of the baseline: pairs are needed")
    gathered = by_patient(np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64), patients)
    differences = gathered.means[:, 0]
    changed = differences[differences != 0]
    reason = too_few(len(gathered)) or (too_few(len(changed)) and f"only {len(changed)} of {len(gathered)} patients differ")
    spread = float(differences.std(ddof=1)) if len(gathered) > 1 else 0.0
    return Paired(
        n_patients=len(gathered),
        n_images=int(gathered.n_images.sum()),
        mean_difference=float(differences.mean()),
        median_difference=float(np.median(differences)),
        p=None if reason else _signed_rank_p(changed),
        not_tested=reason,
        least_p=None if reason else 2.0 ** (1 - len(changed)),
        rank_biserial=_rank_biserial(changed) if len(changed) else None,
        d_z=float(differences.mean() / spread) if spread > 0 else None,
    )


def holm(family: Sequence[Paired]) -> list[Paired]:
    """Correct the p values of tests that are read together; those not tested don't count.

    Raises
    ------
    DataError
        statsmodels isn't installed.

    Source
    ------
    Holm, Scand. J. Stat. 6:65 (1979), by statsmodels.
    """
    if find_spec("statsmodels") is None:
        raise DataError("Holm's correction needs statsmodels: pip install 'onenex[evaluate]'")
    from statsmodels.stats.multitest import multipletests

    found = [one.p for one in family if one.p is not None]
    corrected = iter(multipletests(found, method="holm")[1] if found else ())
    return [
        one if one.p is None or one.least_p is None else replace(one, p_holm=float(next(corrected)), least_p=min(1.0, one.least_p * len(found)))
        for one in family
    ]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One method against a baseline: the difference with its interval, and the test."""

    method: str
    baseline: str
    difference: Estimate
    """Method minus baseline, each patient weighing the same."""
    test: Paired


def compare(values: Mapping[str, ArrayLike], method: str, patients: Sequence[str], *, generator: np.random.Generator) -> list[Comparison]:
    """Compare one method with each of the others on the same images; the tests are one family.

    Parameters
    ----------
    values
        Method → (image,), one score of all methods.
    method
        The one to compare with the others.
    patients
        (image,): whose each image is.
    generator
        For the bootstrap.

    Raises
    ------
    DataError
        `method` isn't among the values, or as in `paired_test`.
    """
    if method not in values:
        raise DataError(f"no values of '{method}': there are {', '.join(values)}")
    ours, others = np.asarray(values[method], dtype=np.float64), [name for name in values if name != method]
    tests = holm([paired_test(ours, values[name], patients) for name in others])
    return [
        Comparison(
            method=method,
            baseline=name,
            difference=estimate(ours - np.asarray(values[name], dtype=np.float64), patients, generator=generator, weigh="patients"),
            test=test,
        )
        for name, test in zip(others, tests, strict=True)
    ]


def _signed_rank_p(changed: Values) -> float:
    """Return the two-sided p of differences (patient,) none of which is 0."""
    signed_ranks = stats.rankdata(np.abs(changed)) * np.sign(changed)
    if len(np.unique(np.abs(changed))) == len(changed):
        return float(stats.wilcoxon(changed).pvalue)
    if len(changed) <= MOST_EXACT:
        return float(stats.permutation_test((signed_ranks,), np.sum, permutation_type="samples", n_resamples=2**MOST_EXACT).pvalue)
    return float(stats.wilcoxon(changed, method="approx").pvalue)


def _rank_biserial(changed: Values) -> float:
    ranks = stats.rankdata(np.abs(changed))
    return float((ranks * np.sign(changed)).sum() / ranks.sum())
