"""Sample sizes: published examples, independent calculations, simulated studies."""

from collections.abc import Callable
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower

from onenex.errors import StudyError
from onenex.evaluate.statistics.patients import LEAST_PATIENTS
from onenex.reader.sample_size import ARE_NORMAL, ARE_WORST, Layout, SampleSize, equivalence, non_inferiority, t_power, tost_power

N_SIMULATED = 20_000
TOLERANCE = 0.01
"""Four standard errors of 20,000 studies at power 0.8 are 0.011, at 0.9 0.008; seeds are fixed."""


def crossover(cv: float, n: int) -> tuple[float, int]:
    """Standard error and degrees of freedom of the log ratio in a balanced 2 × 2 crossover."""
    return sqrt(log(1 + cv * cv)) * sqrt(2 / n), n - 2


def test_non_inferiority_as_powertost() -> None:
    """PowerTOST's vignette on non-inferiority: CV 25 %, margin 80 %, expected ratio 95 %, alpha 2.5 %: n = 36, power 0.820330."""
    distance = log(0.95) - log(0.8)
    assert t_power(distance, *crossover(0.25, 36), 0.025) == pytest.approx(0.820330, abs=1e-6)
    assert t_power(distance, *crossover(0.25, 34), 0.025) < 0.8


@pytest.mark.parametrize(("cv", "n", "power"), [(0.2, 20, 0.834680), (0.3, 40, 0.815845)])
def test_equivalence_as_powertost(cv: float, n: int, power: float) -> None:
    """PowerTOST's README and manual: limits 80 … 125 %, expected ratio 95 %, alpha 5 %, target power 80 %."""
    assert tost_power(log(0.95), log(1.25), *crossover(cv, n), 0.05) == pytest.approx(power, abs=1e-6)
    assert tost_power(log(0.95), log(1.25), *crossover(cv, n - 2), 0.05) < 0.8


@given(
    margin=st.floats(0.2, 1), sd=st.floats(0.3, 1.5), difference=st.floats(-0.15, 0.3), alpha=st.sampled_from([0.01, 0.025, 0.05]),
    power=st.floats(0.6, 0.95),
)  # fmt: skip
def test_non_inferiority_as_statsmodels(margin: float, sd: float, difference: float, alpha: float, power: float) -> None:
    found = non_inferiority(margin=margin, sd=sd, difference=difference, alpha=alpha, power=power)
    wanted = TTestPower()

    def reached(n: int) -> float:
        return float(wanted.power((margin + difference) / sd, n, alpha, alternative="larger"))

    assert found.power == pytest.approx(reached(found.n_cases), abs=1e-6)
    assert found.power >= power
    assert found.n_cases == LEAST_PATIENTS or reached(found.n_cases - 1) < power


@given(difference=st.floats(-0.4, 0.4), error=st.floats(0.02, 0.5), df=st.integers(4, 300), alpha=st.floats(0.01, 0.1))
def test_equivalence_is_less_than_each_of_its_tests_and_more_than_bonferroni(difference: float, error: float, df: int, alpha: float) -> None:
    power = tost_power(difference, 0.5, error, df, alpha)
    one, other = (t_power(0.5 + sign * difference, error, df, alpha) for sign in (1, -1))
    assert max(one + other - 1, 0) - 1e-6 <= power <= min(one, other) + 1e-6


def differences(found: SampleSize, layout: Layout, sd: float, shift: float, seed: int) -> np.ndarray:
    """Simulate (study, patient) means with the layout's correlations."""
    rng = np.random.default_rng(seed)
    shape = (N_SIMULATED, found.n_analysed)
    values = np.zeros(shape)
    m, k, r, c = layout.n_readers, layout.cases_per_patient, layout.reader_correlation, layout.case_correlation
    # Covariance of (case, reader): correlations multiply, which is what variance_factor says.
    both, cases, readers, neither = (sqrt(part) for part in (r * c, (1 - c) * r, c * (1 - r), (1 - c) * (1 - r)))
    by_reader = [readers * rng.standard_normal(shape) for _ in range(m)]
    shared = both * rng.standard_normal(shape)
    for _ in range(k):
        case = cases * rng.standard_normal(shape)
        for reader in by_reader:
            values += shared + case + reader + neither * rng.standard_normal(shape)
    return shift + sd * values / (m * k)


LAYOUTS = {
    "one reader": Layout(),
    "two readers": Layout(n_readers=2, reader_correlation=0.3),
    "two readers, two knees": Layout(n_readers=2, reader_correlation=0.4, cases_per_patient=2, case_correlation=0.5),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(("margin", "shift", "power"), [(0.5, 0.0, 0.9), (0.4, -0.1, 0.8)])
def test_non_inferiority_reaches_its_power(name: str, margin: float, shift: float, power: float) -> None:
    layout = LAYOUTS[name]
    found = non_inferiority(margin=margin, sd=0.9, difference=shift, power=power, layout=layout)
    means = differences(found, layout, 0.9, shift, seed=1)
    t = (means.mean(axis=1) + margin) / (means.std(axis=1, ddof=1) / sqrt(found.n_analysed))
    assert np.mean(t > stats.t.ppf(0.975, found.n_analysed - 1)) == pytest.approx(found.power, abs=TOLERANCE)


@pytest.mark.parametrize(("margin", "shift", "power"), [(0.5, 0.0, 0.9), (0.5, 0.15, 0.8), (1.0, 0.0, 0.8)])
def test_equivalence_reaches_its_power(margin: float, shift: float, power: float) -> None:
    found = equivalence(margin=margin, sd=0.9, difference=shift, power=power)
    values = differences(found, Layout(), 0.9, shift, seed=2)
    error, limit = values.std(axis=1, ddof=1) / sqrt(found.n_analysed), stats.t.ppf(0.975, found.n_analysed - 1)
    within = (values.mean(axis=1) + margin > limit * error) & (margin - values.mean(axis=1) > limit * error)
    assert np.mean(within) == pytest.approx(found.power, abs=TOLERANCE)


def test_wilcoxon_with_its_efficiency_reaches_its_power() -> None:
    found = non_inferiority(margin=0.5, sd=1.0, power=0.9, layout=Layout(efficiency=ARE_NORMAL))
    values = differences(found, Layout(), 1.0, 0.5, seed=3)
    ranks = stats.rankdata(np.abs(values), axis=1)
    n = found.n_analysed
    z = ((ranks * (values > 0)).sum(axis=1) - n * (n + 1) / 4) / sqrt(n * (n + 1) * (2 * n + 1) / 24)
    assert np.mean(z > stats.norm.ppf(0.975)) == pytest.approx(found.power, abs=TOLERANCE)


@pytest.mark.parametrize("calculate", [non_inferiority, equivalence])
def test_what_helps_and_what_costs(calculate: Callable[..., SampleSize]) -> None:
    plain = calculate(margin=0.5, sd=1.0)
    assert calculate(margin=0.5, sd=1.0, layout=Layout(n_readers=2, reader_correlation=0.5)).n_cases < plain.n_cases
    assert calculate(margin=0.5, sd=1.0, layout=Layout(n_readers=9)).n_cases == plain.n_cases
    knees = calculate(margin=0.5, sd=1.0, layout=Layout(cases_per_patient=2, case_correlation=0.5))
    assert knees.n_patients < plain.n_patients
    assert knees.n_cases == 2 * knees.n_patients > plain.n_cases
    assert calculate(margin=0.5, sd=1.0, layout=Layout(efficiency=ARE_WORST)).n_cases == -(-plain.n_cases * 1000 // 864)
    lost = calculate(margin=0.5, sd=1.0, layout=Layout(lost=0.1))
    assert (lost.n_analysed, lost.n_patients) == (plain.n_patients, -(-plain.n_patients * 10 // 9))
    assert calculate(margin=0.25, sd=0.5).n_cases == plain.n_cases
    assert "power 9" in plain.text
    assert "of whom 44 must be usable" in non_inferiority(margin=0.5, sd=1.0, layout=Layout(lost=0.1)).text


def test_a_tiny_study_has_at_least_the_patients_that_the_analysis_asks_for() -> None:
    assert non_inferiority(margin=3, sd=0.1).n_cases == LEAST_PATIENTS


@pytest.mark.parametrize("calculate", [non_inferiority, equivalence])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"margin": 0.0}, "margin 0 and sd 1: both must be above 0"),
        ({"sd": -1.0}, "both must be above 0"),
        ({"sd": float("nan")}, "both must be above 0"),
        ({"difference": -0.5}, "no number of cases shows that"),
        ({"alpha": 0.5}, "alpha 0.5"),
        ({"power": 1.0}, "power 1"),
        ({"power": 0.2}, "power 0.2"),
        ({"margin": 0.001}, "even 100000 patients do not give power 0.9"),
    ],
)
def test_nonsense_is_refused(calculate: Callable[..., SampleSize], wrong: dict[str, float], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        calculate(**{"margin": 0.5, "sd": 1.0, **wrong})


@pytest.mark.parametrize(
    "wrong", [{"n_readers": 0}, {"cases_per_patient": 0}, {"reader_correlation": 1.1}, {"case_correlation": -0.1}, {"efficiency": 0.0}, {"lost": 1.0}]
)
def test_a_layout_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(StudyError, match="give"):
        Layout(**wrong)  # type: ignore[arg-type]
