"""Simulated studies: the test keeps its alpha, intervals hold the truth, power is as planned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from onenex.reader.agreement import icc, kappa
from onenex.reader.simulate import ALPHA, MARGIN, Check, Model, claims, differences, grades, run, true_agreement, true_means, with_difference

MODEL = Model()


def test_false_claims_at_the_margin_are_at_most_2_7_percent() -> None:
    """40,000 studies: 2.5 % is known to ± 0.08 % (one standard error). `onenex study simulate` runs 200,000 and finds 2.54 %."""
    n = 40_000
    found = claims(with_difference(MODEL, -MARGIN), MARGIN, n, np.random.default_rng(1))
    assert found / n <= 0.027
    assert found / n >= 0.02


def test_the_true_difference_is_what_was_asked() -> None:
    model = with_difference(MODEL, -MARGIN)
    test, control = true_means(model)
    assert test - control == pytest.approx(-MARGIN, abs=1e-9)
    drawn = differences(grades(model, 1500, np.random.default_rng(2)), model)
    error = float(drawn.mean(axis=1).std(ddof=1)) / np.sqrt(len(drawn))
    assert abs(float(drawn.mean()) + MARGIN) < 4 * error


def test_planted_agreement_comes_back() -> None:
    endless = replace(MODEL, n_patients=30_000)
    first, second = grades(endless, 1, np.random.default_rng(3))[0, :, 0, 1, :].T
    patients = [""] * len(first)
    agreed, consistent = (
        kappa(list(first), list(second), range(1, 6), patients, weights="quadratic"),
        icc(np.column_stack([first, second]), patients)[1],
    )
    assert (agreed.value, consistent.value) == pytest.approx(true_agreement(MODEL), abs=0.012)


def test_patients_resemble_themselves_and_readers_differ() -> None:
    found = grades(MODEL, 200, np.random.default_rng(4))
    assert found.shape == (200, 60, 3, 2, 2)
    assert (found[:, 0, 1:] == 0).all()
    assert found[:, 2].min() == 1
    assert found[..., 1][found[..., 1] > 0].mean() > found[..., 0][found[..., 0] > 0].mean() + 0.2
    first, second = found[:, 2::3, 0, 1, 0].ravel(), found[:, 2::3, 1, 1, 0].ravel()
    assert np.corrcoef(first, second)[0, 1] > 0.4


def test_a_run_keeps_its_promises_and_says_so() -> None:
    """Few studies, so bounds are what chance allows of the truth at the 1e-4 level; `onenex study simulate` runs 1,000."""
    found = run(n_studies=60, seed=5)
    shares = [one for one in found.checks if "interval" in one.name]
    low, high = stats.binom.ppf((1e-4, 1 - 1e-4), 60, 0.945) / 60
    assert len(shares) == 3
    assert all(low <= one.value <= high for one in shares)
    power = next(one for one in found.checks if "power" in one.name)
    assert power.passed
    assert power.n_studies == 12_000
    assert found.checks[1].value < ALPHA + 4 * np.sqrt(ALPHA / 12_000)
    assert all(one.passed for one in found.checks if not one.percent)
    assert found.text.startswith("60 studies (seed 5): 60 patients with 1 to 3 cases, 2 readers, 5 grades")
    assert found.text.count("\n") == len(found.checks)


def test_a_broken_promise_is_said() -> None:
    check = Check(name="x", value=0.05, low=0.0, high=0.027, n_studies=1000)
    assert not check.passed
    assert check.text == "FAIL x: 5.00 % (promised 0.00 to 2.70 %; 1,000 studies)"
