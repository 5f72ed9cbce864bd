"""How many cases a study of sensitivity or specificity needs: shares of right answers on the same cases."""

from __future__ import annotations

from math import ceil, sqrt
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from onenex.errors import StudyError
from onenex.reader.sample_size import MOST, SampleSize, check_errors


def paired_proportions(
    *, margin: float, only_test: float, only_control: float, alpha: float = 0.025, power: float = 0.9, share: float = 1.0, lost: float = 0.0
) -> SampleSize:
    """Return the number of cases to show that test's sensitivity (or specificity) is not below control's by `margin` or more.

    One reader, one case a patient. From Nam's formula on, n grows until the exact power of the score test, summed over all tables, is
    enough; of a discrete test it falls and rises again a little beyond that.

    Parameters
    ----------
    margin
        Of the difference of the two shares, 0 … 1.
    only_test, only_control
        Share of diseased cases that are found with one arm but not with the other. Sensitivities differ by `only_test − only_control`.
    alpha
        One-sided.
    power
        Wanted, 0.5 … below 1.
    share
        Of cases that count: the prevalence for sensitivity, 1 less prevalence for specificity.
    lost
        Share of cases that will not be usable.

    Raises
    ------
    StudyError
        Values that make no sense, or no number up to `MOST` is enough.

    Source
    ------
    Nam, Biometrics 53:1422 (1997); the test also by Tango, Stat. Med. 17:891 (1998), and Liu et al., ibid. 21:231 (2002).
    """
    check_errors(alpha, power)
    if not (0 < margin < 1 and only_test >= 0 and only_control >= 0 and 0 < only_test + only_control < 1):
        raise StudyError(f"margin {margin:g}, only_test {only_test:g}, only_control {only_control:g}: give shares, that of disagreement below 1")
    if not (0 < share <= 1 and 0 <= lost < 1):
        raise StudyError(f"share {share:g} and lost {lost:g}: give above 0 … 1, and 0 … below 1")
    distance = only_test - only_control + margin
    if distance <= 0:
        raise StudyError(f"expected difference {only_test - only_control:g} is not above −margin ({-margin:g}): no number of cases shows that")
    quantiles = stats.norm.ppf(1 - alpha), stats.norm.ppf(power)
    spread = sqrt(float(_null_variance(only_test, only_control, margin))), sqrt(only_test + only_control - (only_test - only_control) ** 2)
    n = ceil(((quantiles[0] * spread[0] + quantiles[1] * spread[1]) / distance) ** 2)
    while (reached := score_power(n, margin, only_test, only_control, alpha) if n <= MOST else 1.0) < power:
        n += 1
    if n > MOST:
        raise StudyError(f"more than {MOST} cases would be needed: widen the margin, or lower the power")
    n_patients = ceil(ceil(n / share) / (1 - lost))
    assumed = {
        "margin": margin,
        "found with test only": only_test,
        "with control only": only_control,
        "one-sided alpha": alpha,
        "share that counts": share,
    }
    return SampleSize(
        n_patients=n_patients,
        n_analysed=ceil(n / share),
        n_cases=n_patients,
        power=reached,
        method=f"Non-inferiority of paired shares, score test on {n} cases that count",
        assumptions=MappingProxyType(assumed),
    )


def score(n_only_test: ArrayLike, n_only_control: ArrayLike, n: int, margin: float) -> NDArray[np.float64]:
    """Return z of the score test that test's share is not below control's by `margin`; large values reject.

    Parameters
    ----------
    n_only_test, n_only_control
        Cases that are right with one arm only.
    n
        All cases.
    margin
        0 … 1.

    Source
    ------
    Tango, Stat. Med. 17:891 (1998), eq. 5–7.
    """
    test, control = np.asarray(n_only_test, dtype=np.float64) / n, np.asarray(n_only_control, dtype=np.float64) / n
    return np.asarray((test - control + margin) / np.sqrt(_null_variance(test, control, margin) / n))


def score_power(n: int, margin: float, only_test: float, only_control: float, alpha: float) -> float:
    """Return the exact power of the score test, summed over tables (those of less than 10⁻⁹ left out).

    Parameters
    ----------
    n
        Cases that count.
    margin, only_test, only_control, alpha
        As of `paired_proportions`.
    """
    differ = only_test + only_control
    fewest, most = (int(stats.binom.ppf(tail, n, differ)) for tail in (1e-10, 1 - 1e-10))
    n_differ, n_test = np.meshgrid(np.arange(fewest, most + 1), np.arange(most + 1), indexing="ij")
    chance: NDArray[np.float64] = np.multiply(stats.binom.pmf(n_differ, n, differ), stats.binom.pmf(n_test, n_differ, only_test / differ))
    rejects = score(n_test, np.maximum(n_differ - n_test, 0), n, margin) > stats.norm.ppf(1 - alpha)
    return float(chance[rejects & (n_test <= n_differ)].sum())


def _null_variance(test: Any, control: Any, margin: float) -> NDArray[np.float64]:
    """Return n times the variance of the difference where it is −margin, with the likeliest shares under that hypothesis."""
    b = test + control + margin * (2 + control - test)
    likeliest = (b + np.sqrt(np.maximum(b * b - 8 * control * margin * (1 + margin), 0))) / 4
    return np.asarray(2 * likeliest - margin - margin * margin)
