"""Sample sizes of paired shares: a published test, exact enumeration by other means, simulated studies."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from onenex.errors import StudyError
from onenex.reader.sample_size_proportions import paired_proportions, score, score_power

Z = 1.959963984540054


def test_score_as_tango() -> None:
    """Tango (1998), contact lenses: 44 patients, one right with the control only, margin 0.1: Z = 1.709, one-sided p = 0.044."""
    z = float(score(0, 1, 44, 0.1))
    assert z == pytest.approx(1.709, abs=5e-4)
    assert stats.norm.sf(z) == pytest.approx(0.044, abs=5e-4)


def test_score_interval_as_fagerland() -> None:
    """Fagerland, Lydersen & Laake, Stat. Med. 33:2850 (2014), airway data 1 : 7 of 21: Tango's 95 % interval −0.517 … −0.026."""
    low = -optimize.brentq(lambda margin: float(score(1, 7, 21, margin)) - Z, 0.01, 0.9)
    high = optimize.brentq(lambda margin: float(score(7, 1, 21, margin)) - Z, -0.4, 0.9)
    assert [low, high] == pytest.approx([-0.517, -0.026], abs=5e-4)


def likelihood(control: float, test: float, n: tuple[int, int, int]) -> float:
    """Logarithm of the likelihood of (test only, control only, alike)."""
    return float(n[0] * np.log(test) + n[1] * np.log(control) + n[2] * np.log(1 - test - control))


@settings(max_examples=50)
@given(n_test=st.integers(1, 20), n_control=st.integers(1, 20), alike=st.integers(1, 60), margin=st.floats(0.01, 0.3))
def test_the_null_variance_is_that_of_the_likeliest_shares(n_test: int, n_control: int, alike: int, margin: float) -> None:
    n = n_test + n_control + alike
    best = optimize.minimize_scalar(
        lambda test: -likelihood(test + margin, test, (n_test, n_control, alike)),
        bounds=(1e-9, (1 - margin) / 2 - 1e-9), method="bounded", options={"xatol": 1e-10},
    )  # fmt: skip
    variance = 2 * best.x + margin - margin**2
    expected = ((n_test - n_control) / n + margin) / np.sqrt(variance / n)
    assert float(score(n_test, n_control, n, margin)) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_power_by_hand() -> None:
    """All tables of 12 cases, one by one."""
    n, a, b, margin = 12, 0.2, 0.1, 0.3
    total = 0.0
    for x in range(n + 1):
        for y in range(n + 1 - x):
            if float(score(x, y, n, margin)) > Z:
                total += comb(n, x) * comb(n - x, y) * a**x * b**y * (1 - a - b) ** (n - x - y)
    assert 0.2 < total < 0.99
    assert score_power(n, margin, a, b, 0.025) == pytest.approx(total, abs=1e-8)


@pytest.mark.parametrize(
    ("margin", "only_test", "only_control", "power"), [(0.1, 0.1, 0.1, 0.9), (0.05, 0.04, 0.03, 0.8), (0.1, 0.05, 0.08, 0.8), (0.15, 0.0, 0.05, 0.9)]
)
def test_studies_reach_their_power(margin: float, only_test: float, only_control: float, power: float) -> None:
    found = paired_proportions(margin=margin, only_test=only_test, only_control=only_control, power=power)
    assert found.power >= power
    tables = np.random.default_rng(4).multinomial(found.n_cases, [only_test, only_control, 1 - only_test - only_control], size=40_000)
    rejected = np.mean(score(tables[:, 0], tables[:, 1], found.n_cases, margin) > Z)
    assert rejected == pytest.approx(found.power, abs=0.006)


def test_only_cases_that_count_and_are_usable_count() -> None:
    plain = paired_proportions(margin=0.1, only_test=0.1, only_control=0.1)
    rare = paired_proportions(margin=0.1, only_test=0.1, only_control=0.1, share=0.3)
    assert rare.n_cases == -(-plain.n_cases * 10 // 3)
    assert rare.power == plain.power
    lost = paired_proportions(margin=0.1, only_test=0.1, only_control=0.1, share=0.3, lost=0.2)
    assert (lost.n_analysed, lost.n_cases) == (rare.n_cases, -(-rare.n_cases * 5 // 4))
    assert f"on {plain.n_cases} cases that count" in rare.method


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"margin": 0.0}, "give shares"),
        ({"margin": 1.0}, "give shares"),
        ({"only_test": -0.1}, "give shares"),
        ({"only_test": 0.0, "only_control": 0.0}, "give shares"),
        ({"only_test": 0.6, "only_control": 0.5}, "give shares"),
        ({"only_control": 0.3}, "no number of cases shows that"),
        ({"share": 0.0}, "share 0"),
        ({"lost": 1.0}, "lost 1"),
        ({"alpha": 0.0}, "alpha 0"),
        ({"power": 1.0}, "power 1"),
        ({"margin": 0.0005}, "more than 100000 cases"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        paired_proportions(**{"margin": 0.1, "only_test": 0.1, "only_control": 0.1, **wrong})
