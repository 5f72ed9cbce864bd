"""Samples of a cohort: what is measured, against what, and that their scores are those of the metrics."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onenex.errors import DataError
from onenex.evaluate import metrics
from onenex.evaluate.cohort.samples import Plan, Sample, Unit, order, samples, units
from onenex.evaluate.measures.record import Measures, measure_slice, pooled_mse, prepare
from onenex.physics.scale import series_scale
from onenex.scans import load_images, read_manifest, write_scan
from tests.evaluate.cohort.small import PLAN, write_cohort
from tests.train.packed_pairs import SIGMA


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"))


def unit(cohort: Path, kind: str, nex: int = 1) -> Unit:
    return next(one for one in units(cohort, replace(PLAN, slices=None)) if one.info.kind == kind and one.condition.nex == nex)


def test_every_scan_has_its_conditions(cohort: Path) -> None:
    found = [(one.info.id, one.condition.name, one.acceleration) for one in units(cohort, PLAN)]
    assert found == [
        ("anna_clean", "σ 0.06 uniform", None),
        ("anna_repeats", "repeats", 4.0),
        ("anna_repeats", "repeats, means of 2", 2.0),
        ("bert_pairs", "fast scan", 2.0),
    ]


def test_the_largest_scans_come_first(tmp_path: Path) -> None:
    for size, name in ((48, "small"), (96, "large"), (64, "middle")):
        write_scan(tmp_path, name, np.ones((2, size, size), np.float32), "clean", {"split": "test"})
    assert [one.info.id for one in order(units(tmp_path, PLAN))] == ["large", "middle", "small"]


def test_a_split_without_scans_is_refused(cohort: Path) -> None:
    with pytest.raises(DataError, match="no scan of split 'train'"):
        units(cohort, Plan(split="train"))


def test_simulated_noise_is_as_strong_as_its_name_says(cohort: Path) -> None:
    found = list(samples(unit(cohort, "clean"), replace(PLAN, slices=None)))
    assert len(found) == 4
    bright = np.concatenate([(one.measured - one.reference)[one.reference > 0.5] for one in found])
    assert np.std(bright) == pytest.approx(0.06, rel=0.05)


def test_repeats_score_as_the_unbiased_error_does(cohort: Path) -> None:
    plan = replace(PLAN, slices=None, max_inputs=1)
    one = unit(cohort, "repeats")
    found = [measured(sample) for sample in samples(one, plan)]
    images = load_images(one.info)
    scale = np.float32(series_scale([images.mean(axis=1)]))
    mask = metrics.foreground((images / scale).mean(axis=1)) & ~metrics.saturated(images).any(axis=1)
    expected = metrics.unbiased_mse([images[:, 0] / scale], [(0,)], images / scale, mask)
    assert pooled_mse(found) == pytest.approx(expected, rel=1e-5)
    assert pooled_mse(found) == pytest.approx(SIGMA**2, rel=0.2)


def measured(sample: Sample) -> Measures:
    target = prepare(sample.reference, sample.mask, data_range=1.0, measured=sample.measured, reference_variance=sample.reference_variance)
    return measure_slice(sample.measured, target).foreground


def test_an_input_is_never_in_its_own_reference(cohort: Path) -> None:
    for sample in samples(unit(cohort, "repeats", nex=2), PLAN):
        noise = sample.measured - sample.reference
        inside = sample.mask
        expected = SIGMA**2 / 2 + SIGMA**2 / 2  # a mean of two against a mean of the other two
        assert np.var(noise[inside]) == pytest.approx(expected, rel=0.3)


def test_pairs_come_to_one_brightness(cohort: Path) -> None:
    (sample, *_) = samples(unit(cohort, "pairs"), PLAN)
    bright = sample.reference > 0.5
    assert np.median(sample.measured[bright] / sample.reference[bright]) == pytest.approx(1, abs=0.02)


def test_fewer_slices_are_a_choice_among_all(cohort: Path) -> None:
    one = unit(cohort, "clean")
    every = {sample.slice: sample.measured for sample in samples(one, replace(PLAN, slices=None))}
    few = list(samples(replace(one, info=read_manifest(cohort)[0]), replace(PLAN, slices=1)))
    assert few
    for sample in few:
        assert np.array_equal(sample.measured, every[sample.slice])
