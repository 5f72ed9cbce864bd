"""The guard passes honest results as they are, finds planted damage where it is, and gives the measured pixels back."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from onenex.errors import OutOfDomain
from onenex.evaluate.guard import faults
from onenex.model import guard as guards
from onenex.model import load
from onenex.physics import degrade, kspace, noise
from onenex.physics.phantom import head_phantom

Image = NDArray[np.float32]
SIGMA = 0.04


@pytest.fixture(scope="module")
def clean() -> Image:
    """Two neighbouring slices (slice, row, column), brightest tissue about 1."""
    slices = head_phantom((9, 192, 192))[3:5]
    return slices / np.percentile(slices, 99)


def flat(shape: tuple[int, ...], value: float = SIGMA) -> Image:
    return np.full(shape, value, dtype=np.float32)


def scanned(clean: Image, seed: int, window: Image | None = None) -> tuple[Image, Image]:
    """Return (measured, reference) with noise of `SIGMA`."""
    whole = np.ones(clean.shape, dtype=np.float32)
    scan = degrade.Scan(sigma=SIGMA, window=whole if window is None else window, relative_sigma=whole)
    pair = degrade.acquire(clean, scan, np.random.default_rng(seed))
    return pair.measured, pair.reference


def scene(clean: Image, seed: int = 0) -> faults.Scene:
    """An honest result: the truth itself."""
    measured, reference = scanned(clean[0], seed)
    sigma = flat(reference.shape)
    return faults.Scene(
        measured=measured,
        restored=reference,
        sigma=sigma,
        foreground=reference > 0.25,
        degrade=guards.rician_model(sigma),
        neighbour=clean[1],
    )


def examine(one: faults.Scene) -> guards.Examination:
    return guards.examine(one.measured, one.restored, *one.degrade(one.restored))


def guard(one: faults.Scene) -> guards.Guarded:
    return guards.guard(one.measured, one.restored, one.degrade)


@pytest.mark.parametrize("seed", range(6))
def test_the_truth_passes_untouched(clean: Image, seed: int) -> None:
    one = scene(clean, seed)
    guarded = guard(one)
    assert guarded.verdict.passed
    assert guarded.verdict.reasons == ()
    assert (guarded.verdict.kept, guarded.verdict.steps, guarded.verdict.share_given_up) == (1.0, 0, 0.0)
    assert not guarded.verdict.flagged.any()
    np.testing.assert_array_equal(guarded.image, one.restored)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_slightly_wrong_sigma_is_no_fault(clean: Image, factor: float) -> None:
    one = scene(clean)
    assert examine(replace(one, degrade=guards.rician_model(flat(clean[0].shape, factor * SIGMA)))).passed


@pytest.mark.parametrize("fraction", [0.5, 0.7])
def test_zero_filled_noise_is_no_fault(clean: Image, fraction: float) -> None:
    window = kspace.zero_filled((192, 192), fraction, fraction)
    for seed in range(4):
        measured, reference = scanned(clean[0], seed, window)
        assert guards.examine(measured, reference, *guards.rician_model(flat(reference.shape))(reference)).passed


def test_the_measured_slice_itself_passes_inside_tissue(clean: Image) -> None:
    one = scene(clean)
    bright = np.where(one.foreground, one.measured, 0).astype(np.float32)
    assert guard(replace(one, measured=bright, restored=bright)).verdict.passed


def test_the_bundled_restoration_passes(clean: Image) -> None:
    measured, _ = scanned(clean[0], 5)
    denoised = load("cpu").denoise(measured[None], scale=1.0)
    guarded = guards.guard(measured, denoised.images[0], guards.rician_model(denoised.noise_sigma[0]))
    assert guarded.verdict.passed, guarded.verdict.reasons
    assert np.abs(denoised.images[0] - measured).max() > SIGMA  # there was something to judge


@pytest.mark.parametrize("kind", [faults.ERASED, faults.ADDED, faults.SHIFTED, faults.SMOOTHED])
@pytest.mark.parametrize("seed", range(5))
def test_damage_is_found_where_it_is_and_taken_back(clean: Image, kind: str, seed: int) -> None:
    one = scene(clean, seed)
    fault = faults.draw(kind, one, np.random.default_rng(seed))
    assert fault is not None
    if kind in (faults.ERASED, faults.ADDED):
        fault = replace(fault, radius=4.0, contrast=4.0)
    planted = faults.plant(fault, one)
    guarded = guards.guard(planted.measured, planted.restored, one.degrade)
    verdict = guarded.verdict
    assert not verdict.passed
    assert verdict.reasons
    assert (verdict.flagged & planted.where).any()
    assert verdict.kept < 1
    damage = planted.restored - planted.honest
    assert np.sum((guarded.image - planted.honest) * damage) < 0.35 * np.sum(damage**2)
    untouched = verdict.kept_map == 1
    assert untouched.mean() > 0.5
    np.testing.assert_array_equal(guarded.image[untouched], planted.restored[untouched])
    given_up = verdict.kept_map == 0
    np.testing.assert_array_equal(guarded.image[given_up], planted.measured[given_up])


def test_a_swapped_slice_is_given_up_whole(clean: Image) -> None:
    one = scene(clean)
    guarded = guard(replace(one, restored=clean[1]))
    assert guarded.verdict.kept == 0
    np.testing.assert_array_equal(guarded.image, one.measured)


def test_what_nobody_could_see_is_not_flagged(clean: Image) -> None:
    one = scene(clean)
    fault = faults.draw(faults.ADDED, one, np.random.default_rng(0))
    assert fault is not None
    faint = faults.plant(replace(fault, radius=2.0, contrast=0.5), one)
    assert faults.ideal_snr(faint.signal) < 3
    assert guards.guard(faint.measured, faint.restored, one.degrade).verdict.passed


def test_noise_twice_as_strong_as_stated_gives_the_slice_up(clean: Image) -> None:
    one = scene(clean)
    guarded = guard(replace(one, degrade=guards.rician_model(flat(clean[0].shape, SIGMA / 2))))
    assert any(reason.startswith("spread of the residual") for reason in guarded.verdict.reasons)
    assert guarded.verdict.kept < 1


def test_a_lesion_lost_in_the_dark_is_found(clean: Image) -> None:
    one = scene(clean)
    rows, columns = np.ogrid[:192, :192]
    lesion = np.hypot(rows - 14, columns - 20) < 5
    assert not examine(one).area[lesion].any()
    lost = replace(one, measured=one.measured + lesion * np.float32(8 * SIGMA))
    assert (examine(lost).flagged & lesion).any()


def test_air_is_not_judged_by_a_sigma_that_holds_in_tissue(clean: Image) -> None:
    """A scanner's filter left coarse noise of five such σ in air, and the result has none of it."""
    generator, quiet = np.random.default_rng(2), 0.002
    coarse = ndimage.zoom(np.abs(generator.normal(0, 5 * quiet, (96, 96))), 2, order=1).astype(np.float32)
    air = clean[0] < 0.02
    restored = np.where(air, np.float32(4 * quiet), clean[0])
    measured = np.where(air, coarse, clean[0] + generator.normal(0, quiet, (192, 192))).astype(np.float32)
    sigma = flat((192, 192), quiet)
    found = guards.examine(measured, restored, *guards.rician_model(sigma)(restored))
    assert not (found.area & ndimage.binary_erosion(air, iterations=8)).any()
    assert not (found.flagged & ndimage.binary_erosion(air, iterations=8)).any()
    rows, columns = np.ogrid[:192, :192]
    lesion = (np.hypot(rows - 14, columns - 20) < 5) & air
    lost = (measured + lesion * np.float32(0.05)).astype(np.float32)
    assert (guards.examine(lost, restored, *guards.rician_model(sigma)(restored)).flagged & lesion).any()


def test_scale_changes_nothing(clean: Image) -> None:
    one = scene(clean)
    large = guards.rician_model(flat(clean[0].shape, 1000 * SIGMA))
    first, second = examine(one), guards.examine(1000 * one.measured, 1000 * one.restored, *large(1000 * one.restored))
    assert [check.value for check in first.checks] == pytest.approx([check.value for check in second.checks], rel=1e-2, abs=1e-2)


@pytest.mark.parametrize("turn", [np.flipud, np.fliplr, np.rot90])
def test_flips_and_turns_commute(clean: Image, turn: Callable[[Image], Image]) -> None:
    one = scene(clean)
    mean, sigma = one.degrade(one.restored)
    first = examine(one)
    turned = guards.examine(*(np.ascontiguousarray(turn(image)) for image in (one.measured, one.restored, mean, sigma)))
    local = [check.value for check in first.checks if "spot" in check.name or "pixel" in check.name or "spread" in check.name][:7]
    assert local == pytest.approx([check.value for check in turned.checks][:7], rel=1e-3, abs=1e-3)
    np.testing.assert_array_equal(turn(first.area), turned.area)


def test_blanked_background_is_not_judged(clean: Image) -> None:
    one = scene(clean)
    measured = np.where(one.foreground, one.measured, 0).astype(np.float32)
    restored = np.where(one.foreground, one.restored, 0).astype(np.float32)
    found = guards.examine(measured, restored, *one.degrade(restored))
    assert found.passed, [str(check) for check in found.checks if not check.passed]
    assert found.area.any()
    assert not found.area[~one.foreground].any()


def test_the_model_is_asked_a_bounded_number_of_times(clean: Image) -> None:
    one, asked = scene(clean), []

    def hostile(image: Image) -> tuple[Image, Image]:
        asked.append(image)
        spot = np.zeros_like(image)
        spot[20 * len(asked) : 20 * len(asked) + 8, 90:98] = 8 * SIGMA
        mean, sigma = one.degrade(one.restored)
        return mean + spot, sigma

    guarded = guards.guard(one.measured, one.restored, hostile)
    assert len(asked) <= guards.MAX_STEPS + 1
    assert not guarded.verdict.passed


def test_uncertainty_is_reported_and_excuses_nothing(clean: Image) -> None:
    one = scene(clean)
    fault = faults.draw(faults.ADDED, one, np.random.default_rng(1))
    assert fault is not None
    planted = faults.plant(replace(fault, radius=4.0, contrast=6.0), one)
    plain = guards.guard(planted.measured, planted.restored, one.degrade)
    told = guards.guard(planted.measured, planted.restored, one.degrade, uncertainty=flat(clean[0].shape, 100 * SIGMA))
    np.testing.assert_array_equal(plain.image, told.image)
    assert plain.verdict.uncertainty is None
    assert told.verdict.uncertainty == pytest.approx(100, rel=0.05)
    assert told.verdict.uncertainty_flagged == pytest.approx(100, rel=0.1)
    with pytest.raises(OutOfDomain, match="uncertainty"):
        guards.guard(planted.measured, planted.restored, one.degrade, uncertainty=flat((3, 3)))


def test_slices_without_anything_to_judge_pass() -> None:
    for shape in ((8, 40), (1, 1), (40, 40)):
        image = np.zeros(shape, dtype=np.float32)
        sigma = flat(shape) if shape != (40, 40) else np.zeros(shape, dtype=np.float32)
        guarded = guards.guard(image, image, lambda one, sigma=sigma: (one, sigma))
        assert guarded.verdict.passed
        np.testing.assert_array_equal(guarded.image, image)
    air = noise.rician(np.zeros((64, 64), dtype=np.float32), SIGMA, np.random.default_rng(0))
    found = guards.examine(air, 0 * air, *guards.rician_model(flat(air.shape))(0 * air))
    assert found.passed
    assert found.area.mean() < 0.05


@pytest.mark.parametrize(
    ("broken", "message"),
    [("shape", "shapes differ"), ("nan", "NaN"), ("negative", "negative")],
)
def test_input_that_cannot_be_judged_is_refused(clean: Image, broken: str, message: str) -> None:
    one = scene(clean)
    mean, sigma = one.degrade(one.restored)
    if broken == "shape":
        mean = mean[:-1]
    elif broken == "nan":
        mean[3, 3] = np.nan
    else:
        sigma = -sigma
    with pytest.raises(OutOfDomain, match=message):
        guards.examine(one.measured, one.restored, mean, sigma)


def test_the_rician_model_agrees_with_physics() -> None:
    amplitude = np.linspace(0, 1, 101, dtype=np.float32).reshape(1, -1)
    mean, sigma = guards.rician_model(flat(amplitude.shape))(amplitude)
    np.testing.assert_allclose(mean, noise.rice_mean(amplitude, SIGMA), rtol=1e-5)
    np.testing.assert_allclose(sigma, np.sqrt(noise.rice_variance(amplitude, SIGMA)), rtol=1e-4)
