"""Are two methods the same for all practical purposes? Two one-sided tests with margins that must be stated beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from onenex.errors import DataError
from onenex.evaluate.statistics.patients import Interval, by_patient, p_text, too_few


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Whether the mean difference (method − baseline) lies within margins."""

    n_patients: int
    n_images: int
    difference: float
    """Mean of patients' means."""
    margins: tuple[float, float]
    """Stated before looking, in the unit of the values."""
    alpha: float
    interval: Interval | None
    """Of level 1 − 2 alpha: the methods are equivalent exactly when it lies within the margins."""
    p: float | None
    """The larger of both tests; None where nothing was tested."""
    not_tested: str = ""

    @property
    def equivalent(self) -> bool | None:
        """Whether p < alpha; None where nothing was tested. False doesn't mean different."""
        return None if self.p is None else self.p < self.alpha

    @property
    def text(self) -> str:
        """The outcome for people."""
        low, high = self.margins
        if self.p is None:
            return f"not tested: {self.not_tested}"
        return f"{'equivalent' if self.equivalent else 'not shown to be equivalent'} within {low:g} to {high:g}, {p_text(self.p)}"


def equivalence(values: ArrayLike, baseline: ArrayLike, patients: Sequence[str], *, margins: tuple[float, float], alpha: float = 0.05) -> Equivalence:
    """Test whether the mean difference of two methods on the same patients lies between `margins`.

    Images of one patient are averaged first. The tests are Student's, so patients' differences should be roughly normal.

    Parameters
    ----------
    values, baseline
        (image,): one score of both methods on the same images.
    patients
        (image,): whose each image is.
    margins
        Lower and upper, around 0 or not, in the unit of the values.
    alpha
        Of each of the two tests, and of their conclusion.

    Raises
    ------
    DataError
        Margins that don't rise, different lengths, values that are NaN or infinite, or statsmodels isn't installed.

    Source
    ------
    Schuirmann, J. Pharmacokinet. Biopharm. 15:657 (1987), by statsmodels.
    """
    low, high = margins
    if not low < high:
        raise DataError(f"equivalence margins {low:g} and {high:g}: the lower one comes first")
    if np.shape(values) != np.shape(baseline):
        raise DataError(f"{np.shape(values)} values and {np.shape(baseline)} of the baseline: pairs are needed")
    if find_spec("statsmodels") is None:
        raise DataError("tests of equivalence need statsmodels: pip install 'onenex[evaluate]'")
    from statsmodels.stats.weightstats import ttost_paired

    gathered = by_patient(np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64), patients)
    differences, n_patients = gathered.means[:, 0], len(gathered)
    mean = float(differences.mean())
    reason = too_few(n_patients) or ("all patients differ by the same" if np.ptp(differences) == 0 else "")
    interval, p = None, None
    if not reason:
        p = float(ttost_paired(differences, np.zeros(n_patients), low, high)[0])
        half = float(stats.t.ppf(1 - alpha, n_patients - 1) * differences.std(ddof=1) / np.sqrt(n_patients))
        interval = Interval(low=mean - half, high=mean + half, level=1 - 2 * alpha)
    return Equivalence(
        n_patients=n_patients,
        n_images=int(gathered.n_images.sum()),
        difference=mean,
        margins=(low, high),
        alpha=alpha,
        interval=interval,
        p=p,
        not_tested=reason,
    )
