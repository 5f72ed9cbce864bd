"""Statistics: textbook examples, and simulated data whose truth is known."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from onenex.errors import DataError
from onenex.evaluate.statistics import bland_altman, by_patient, compare, equivalence, estimate, holm, paired_test, relative_gain_percent

# Bland & Altman, Lancet 327:307 (1986), table: peak flow of 17 people, l/min, first reading of each meter
LARGE_METER = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI_METER = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
# Hollander & Wolfe, Nonparametric Statistical Methods, table 3.1: Hamilton depression factor of 9 patients before and after
BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
# Darwin's maize, cross- minus self-fertilised height in eighths of an inch, pair by pair (Fisher, The Design of Experiments, 1935)
MAIZE = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def names(n: int) -> list[str]:
    return [f"patient {index}" for index in range(n)]


def test_signed_rank_test_of_hollander_and_wolfe() -> None:
    found = paired_test(AFTER, BEFORE, names(9))
    assert found.p == pytest.approx(0.0390625)  # T+ = 5 of 45
    assert found.rank_biserial == pytest.approx((5 - 40) / 45)
    assert found.mean_difference == pytest.approx(-0.4319, abs=1e-4)
    assert found.median_difference == pytest.approx(-0.49)
    assert found.text == "p = 0.039"


def test_signed_rank_test_of_darwins_maize() -> None:
    found = paired_test(MAIZE, np.zeros(15), names(15))
    assert found.p == pytest.approx(2 * 676 / 2**15, abs=1e-9)  # T- = 24: 0.0413
    assert found.d_z == pytest.approx(np.mean(MAIZE) / np.std(MAIZE, ddof=1))


def test_tied_differences_are_tested_by_all_changes_of_sign() -> None:
    differences = np.array([1.0, 1, 2, -1, 3, 4, 5, 0])
    ranks = np.array([2.0, 2, 4, -2, 5, 6, 7])
    sums = [abs(np.dot(signs, np.abs(ranks))) for signs in itertools.product((-1, 1), repeat=7)]
    found = paired_test(differences, np.zeros(8), names(8))
    assert found.p == pytest.approx(np.mean(np.array(sums) >= ranks.sum() - 1e-9))
    assert found.rank_biserial == pytest.approx(ranks.sum() / 28)
    assert found.least_p == pytest.approx(2 / 2**7)  # the patient without a difference doesn't count


def test_many_ties_take_the_normal_approximation() -> None:
    differences = np.array([1.0, 1, 1, -1] * 10)
    found = paired_test(differences, np.zeros(40), names(40)).p
    assert found is not None  # all ranks 20.5: z = 410 / √(40·20.5²)
    assert found == pytest.approx(0.00157, abs=2e-5)


@pytest.mark.parametrize("n", [1, 3, 5])
def test_few_patients_are_not_tested_however_many_images(n: int) -> None:
    patients = [name for name in names(n) for _ in range(20)]
    values = np.random.default_rng(n).normal(1, 0.1, 20 * n)
    found = paired_test(values, np.zeros(20 * n), patients)
    assert (found.p, found.n_patients, found.n_images) == (None, n, 20 * n)
    assert found.text.startswith(f"not tested: n = {n} patient")
    assert found.rank_biserial == 1
    assert (found.d_z is None) == (n == 1)
    assert equivalence(values, np.zeros(20 * n), patients, margins=(-2, 2)).text.startswith(f"not tested: n = {n} patient")
    guessed = estimate(values, patients, generator=np.random.default_rng(0))
    assert guessed.interval is None
    assert f"no interval: n = {n} patient" in guessed.text()


def test_patients_without_a_difference_cannot_be_ranked() -> None:
    found = paired_test([1.0, 2, 3, 0, 0, 0, 0, 0], np.zeros(8), names(8))
    assert found.p is None
    assert found.not_tested == "only 3 of 8 patients differ"
    same = paired_test(np.ones(8), np.ones(8), names(8))
    assert (same.p, same.rank_biserial, same.d_z) == (None, None, None)


def test_images_of_one_patient_count_once() -> None:
    generator = np.random.default_rng(5)
    means = generator.normal(0.3, 1, 10)
    patients = [name for name in names(10) for _ in range(4)]
    spread = np.array([[-0.5, 0.5, -0.2, 0.2]] * 10)
    many = paired_test((means[:, None] + spread).ravel(), np.zeros(40), patients)
    once = paired_test(means, np.zeros(10), names(10))
    assert (many.p, many.rank_biserial) == (once.p, once.rank_biserial)
    assert many.d_z == pytest.approx(once.d_z)


def test_holm_by_hand() -> None:
    base = paired_test(MAIZE, np.zeros(15), names(15))
    untested = paired_test([1.0], [0.0], ["a"])
    found = holm([replace(base, p=p) for p in (0.01, 0.04, 0.03)] + [untested, replace(base, p=0.005)])
    # sorted 0.005·4, 0.01·3, 0.03·2, and 0.04 no less than the one before
    assert [one.p_holm for one in found] == [pytest.approx(0.03), pytest.approx(0.06), pytest.approx(0.06), None, pytest.approx(0.02)]
    assert found[0].text == "p = 0.030 (Holm)"
    assert found[0].least_p == pytest.approx(4 * 2 / 2**15)
    assert holm([untested]) == [untested]


def test_false_positives_come_at_the_nominal_rate() -> None:
    generator, n_sets = np.random.default_rng(1), 1000
    patients = np.repeat(names(9), 3)
    own = generator.standard_t(3, (n_sets, 9)).repeat(3, axis=1)  # heavy tails, and images of one patient resemble each other
    values = own + generator.normal(0, 0.5, own.shape)
    found = np.array([paired_test(one, np.zeros(27), patients).p for one in values], dtype=float)
    assert 0.03 < (found < 0.05).mean() < 0.065  # exact rate of nine patients: 0.0488
    naive = np.array([paired_test(one, np.zeros(27), names(27)).p for one in values[:150]], dtype=float)
    assert (naive < 0.05).mean() > 0.15  # what counting images as patients would have done


def test_holm_keeps_the_familys_error_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(2)
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels calls it each time, which costs 0.1 s
    families = [holm([paired_test(one, np.zeros(12), names(12)) for one in generator.normal(0, 1, (4, 12))]) for _ in range(120)]
    wrong = np.mean([any(one.p_holm is not None and one.p_holm < 0.05 for one in family) for family in families])
    assert 0 < wrong < 0.1


@pytest.mark.parametrize(("weigh", "n_patients"), [("images", 10), ("patients", 10), ("images", 30)])
def test_the_clustered_bootstrap_covers_the_truth(weigh: str, n_patients: int) -> None:
    generator, n_sets = np.random.default_rng(n_patients), 400
    sizes = 1 + np.arange(n_patients) % 4
    patients = np.repeat(names(n_patients), sizes)
    own = np.repeat(generator.normal(0, 1, (n_sets, n_patients)), sizes, axis=1)
    values = 7 + own + generator.normal(0, 0.5, own.shape)

    def coverage(who: np.ndarray) -> float:
        found = [estimate(one, who, generator=generator, weigh=weigh, n_resamples=800).interval for one in values]
        return float(np.mean([one is not None and 7.0 in one for one in found]))

    assert 0.915 < coverage(patients) < 0.98
    if n_patients == 10 and weigh == "images":
        assert coverage(np.array(names(len(patients)))) < 0.87  # images taken for patients


def test_the_bootstrap_of_a_relative_gain() -> None:
    generator = np.random.default_rng(3)
    noisy = generator.uniform(0.7, 0.9, 60)
    table = np.stack([noisy, 1.0705 * noisy], axis=1)
    found = estimate(table, np.repeat(names(20), 3), generator=generator, statistic=relative_gain_percent)
    assert found.value == pytest.approx(7.05)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(7.05)
    assert found.interval.high == pytest.approx(7.05)
    assert found.text(2, " %") == "7.05 % (95 % CI 7.05 to 7.05)"


def test_weights_of_images_and_of_patients() -> None:
    patients = ["a", "b", "b", "b", *names(6)]
    values = [0.0, 4, 4, 4, 2, 2, 2, 2, 2, 2]
    by_image = estimate(values, patients, generator=np.random.default_rng(0))
    by_person = estimate(values, patients, generator=np.random.default_rng(0), weigh="patients")
    assert (by_image.value, by_person.value) == (pytest.approx(2.4), pytest.approx(2))


def test_the_same_seed_gives_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).normal(0, 1, 40)
    first = estimate(values, names(40), generator=np.random.default_rng(9))
    monkeypatch.setattr("onenex.evaluate.statistics.bootstrap._AT_ONCE", 1000)  # in many blocks
    assert estimate(values, names(40), generator=np.random.default_rng(9)) == first


def test_bland_and_altmans_peak_flow() -> None:
    found = bland_altman(LARGE_METER, MINI_METER, names(17))
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert found.spread == pytest.approx(38.8, abs=0.05)
    assert found.limits == pytest.approx((-2.1 - 1.96 * 38.8, -2.1 + 1.96 * 38.8), abs=0.1)
    assert found.bias_interval is not None
    assert found.lower_interval is not None
    assert found.upper_interval is not None
    assert (found.bias_interval.low, found.bias_interval.high) == pytest.approx((-22.0, 17.8), abs=0.1)
    # of the limits: near the exact intervals, by the noncentral t distribution (Carkeet, Optom. Vis. Sci. 92:e71, 2015)
    low, high = (found.bias + found.spread * stats.nct.ppf(q, 16, 1.96 * np.sqrt(17)) / np.sqrt(17) for q in (0.025, 0.975))
    assert (found.upper_interval.low, found.upper_interval.high) == pytest.approx((low, high), abs=3)
    assert (found.lower_interval.low, found.lower_interval.high) == pytest.approx((2 * found.bias - high, 2 * found.bias - low), abs=3)
    # the paper's symmetric ones, -114.3 to -45.1 and 40.9 to 110.1, are as wide but for the few patients
    assert found.upper_interval.high - found.upper_interval.low == pytest.approx(110.1 - 40.9, rel=0.06)
    assert "n = 17 patients" in found.text()


def test_bland_and_altmans_blood_pressure() -> None:
    # Stat. Methods Med. Res. 8:135 (1999): 85 people, bias -16.29, standard deviation 19.61 mmHg
    values = np.random.default_rng(0).normal(0, 1, 85)
    values = -16.29 + 19.61 * (values - values.mean()) / values.std(ddof=1)
    found = bland_altman(values, np.zeros(85), names(85))
    assert found.limits == pytest.approx((-54.7, 22.1), abs=0.06)
    assert found.bias_interval is not None
    assert found.lower_interval is not None
    assert found.upper_interval is not None
    assert (found.bias_interval.low, found.bias_interval.high) == pytest.approx((-20.5, -12.1), abs=0.06)
    assert (found.lower_interval.low, found.lower_interval.high) == pytest.approx((-61.9, -47.5), abs=1)
    assert (found.upper_interval.low, found.upper_interval.high) == pytest.approx((14.9, 29.3), abs=1)


def test_limits_of_agreement_with_several_images_of_a_patient() -> None:
    generator = np.random.default_rng(6)
    sizes = generator.integers(1, 6, 4000)
    patients = np.repeat(np.arange(4000), sizes).astype(str)
    differences = 1 + np.repeat(generator.normal(0, 2, 4000), sizes) + generator.normal(0, 1.5, sizes.sum())
    found = bland_altman(differences, np.zeros(len(differences)), patients)
    assert found.spread == pytest.approx(2.5, rel=0.03)  # √(2² + 1.5²)
    assert found.bias == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("n_images", [1, 3])
def test_intervals_of_limits_cover_the_truth(n_images: int) -> None:
    generator, patients = np.random.default_rng(7), np.repeat(names(12), n_images)
    truth = 1.96 * (1 if n_images == 1 else np.sqrt(1 + 0.25))
    hits = []
    for _ in range(500):
        differences = np.repeat(generator.normal(0, 1, 12), n_images) + (generator.normal(0, 0.5, 12 * n_images) if n_images > 1 else 0)
        found = bland_altman(differences, np.zeros(12 * n_images), patients).upper_interval
        hits.append(found is not None and truth in found)
    assert 0.93 < np.mean(hits) < 0.985


def test_agreement_in_percent_and_of_one_patient() -> None:
    found = bland_altman([110.0, 220], [90.0, 180], ["a", "b"], percent=True)
    assert found.bias == pytest.approx(20)
    alone = bland_altman([3.0, 5], [2.0, 2], ["a", "a"])
    assert (alone.bias, alone.limits) == (2, None)
    assert "n = 1 patient" in alone.text()
    with pytest.raises(DataError, match="isn't positive"):
        bland_altman([0.0, 1], [0.0, 1], ["a", "b"], percent=True)


def test_equivalence_by_hand() -> None:
    # peak flow: bias -2.118, standard error 9.401, 16 degrees of freedom; t = 27.88 / 9.401 = 2.966 is the smaller of both
    found = equivalence(LARGE_METER, MINI_METER, names(17), margins=(-30, 30))
    assert found.p == pytest.approx(0.00455, abs=5e-5)
    assert found.equivalent is True
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((-2.118 - 1.746 * 9.401, -2.118 + 1.746 * 9.401), abs=0.02)
    narrow = equivalence(LARGE_METER, MINI_METER, names(17), margins=(-18, 18))  # the interval reaches to -18.5
    assert narrow.equivalent is False
    assert narrow.text.startswith("not shown to be equivalent within -18 to 18, p = 0.05")


def test_equivalence_errs_at_the_nominal_rate_on_the_margin() -> None:
    generator = np.random.default_rng(8)
    found = [equivalence(one, np.zeros(12), names(12), margins=(-1, 1)).equivalent for one in generator.normal(1, 0.4, (600, 12))]
    assert 0.03 < np.mean(found) < 0.072


def test_compare_is_one_family_against_one_method() -> None:
    generator = np.random.default_rng(10)
    ours, noise = generator.normal(30, 1, 24), generator.normal(0, 0.3, 24)
    values = {"input": ours - 3 + noise, "ours": ours, "twin": ours + noise - noise.mean()}
    found = compare(values, "ours", np.repeat(names(12), 2), generator=generator)
    assert [one.baseline for one in found] == ["input", "twin"]
    better, same = found
    assert better.test.p_holm == pytest.approx(2 * 2 / 2**12)
    assert better.difference.interval is not None
    assert 3.0 in better.difference.interval
    assert same.difference.interval is not None
    assert 0.0 in same.difference.interval
    assert same.test.p_holm is not None
    assert same.test.p_holm > 0.2
    with pytest.raises(DataError, match="no values of 'theirs'"):
        compare(values, "theirs", names(24), generator=generator)


@pytest.mark.parametrize(
    ("values", "patients", "message"),
    [([1.0, np.inf], ["a", "b"], "1 of 2 images"), ([1.0], ["a", "b"], "one row an image"), ([], [], "at least one")],
)
def test_bad_values_are_refused(values: list[float], patients: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        by_patient(values, patients)


def test_bad_margins_and_levels_are_refused() -> None:
    with pytest.raises(DataError, match="the lower one comes first"):
        equivalence(MAIZE, MAIZE, names(15), margins=(1, -1))
    with pytest.raises(DataError, match="outside 0…1"):
        estimate(MAIZE, names(15), generator=np.random.default_rng(0), level=95)
    with pytest.raises(DataError, match="pairs are needed"):
        paired_test([1.0, 2], [1.0], ["a", "b"])
