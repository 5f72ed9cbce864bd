"""One record a slice: ideal values for a perfect image, the same numbers however the slice is turned, scaled or batched."""

import math
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from onenex.errors import DataError
from onenex.evaluate import metrics, perceptual
from onenex.evaluate.measures import record
from onenex.evaluate.measures.record import Measures, SliceMeasures, measure
from onenex.physics import noise
from onenex.physics.phantom import head_phantom

Turn = Callable[[np.ndarray], np.ndarray]
ONLY_FOREGROUND = ("edge_fwhm", "edge_fwhm_ratio", "edge_height_ratio", "cnr", "contrast_ratio")


@pytest.fixture(scope="module")
def scan() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return clean slices, measured slices and the foreground."""
    clean = np.concatenate([head_phantom((1, 208, 192), sequence="T2w", supersampling=2, seed=seed) for seed in (0, 1)])
    clean = (clean / np.percentile(clean[clean > 0], 99)).astype(np.float32)
    return clean, noise.rician(clean, 0.06, np.random.default_rng(0)), metrics.foreground(clean)


def blurred(images: np.ndarray, width: float) -> np.ndarray:
    return ndimage.gaussian_filter(images, (0, width, width))


def test_a_perfect_image_has_ideal_values(scan: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    clean, measured, mask = scan
    for one in measure(clean, clean, mask, 1.0, measured=measured):
        for found in (one.foreground, one.whole):
            assert (found.mse, found.psnr, found.nrmse) == (0, math.inf, 0)
            assert (found.ssim, found.ms_ssim) == (pytest.approx(1), pytest.approx(1))
            assert (found.frc_seventh, found.frc_half) == (0.5, 0.5)
            assert found.removed_edges < 0.08
            assert found.removed_neighbours == 0
        assert (one.foreground.edge_fwhm_ratio, one.foreground.edge_height_ratio, one.foreground.contrast_ratio) == (1, 1, 1)
        assert one.foreground.cnr == math.inf
        assert one.foreground.n_edges >= 10


def test_what_makes_no_sense_over_the_whole_slice_is_no_number(scan: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    clean, measured, mask = scan
    one = measure(blurred(measured, 0.6), clean, mask, 1.0, measured=measured)[0]
    missing = {name for name, value in asdict(one.whole).items() if math.isnan(value)}
    assert missing == {*ONLY_FOREGROUND, "lpips"}
    assert {name for name, value in asdict(one.foreground).items() if math.isnan(value)} == {"lpips"}
    assert one.whole.n_edges == 0
    assert one.whole.n_pixels == mask[0].size > one.foreground.n_pixels == mask[0].sum()


def test_the_numbers_are_those_of_the_benchmark(scan: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    clean, measured, mask = scan
    found = measure(measured, clean, mask, 1.3)
    mse = metrics.mean_squared_error(measured, clean, mask)
    assert record.pooled_mse([one.foreground for one in found]) == pytest.approx(mse, rel=1e-6)
    pixels = [one.foreground.n_pixels for one in found]
    assert np.average([one.foreground.ssim for one in found], weights=pixels) == pytest.approx(metrics.ssim(measured, clean, mask, 1.3), rel=1e-9)


def test_noise_and_blur_are_told_apart(scan: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    clean, measured, mask = scan
    noisy, half, soft = (
        measure(images, clean, mask, 1.0, measured=measured)[0].foreground for images in (measured, (clean + measured) / 2, blurred(measured, 0.9))
    )
    assert half.psnr > noisy.psnr + 5
    assert half.cnr == pytest.approx(2 * noisy.cnr, rel=0.1)
    assert (noisy.removed_edges, noisy.edge_fwhm_ratio) == (0, pytest.approx(1, abs=0.06))
    assert half.removed_edges < 0.1
    assert soft.removed_edges > 0.4
    assert half.edge_fwhm_ratio == pytest.approx(1, abs=0.05)
    assert soft.edge_fwhm_ratio > 1.4
    assert soft.contrast_ratio < half.contrast_ratio


@pytest.mark.parametrize(
    "turn", [lambda x: x[:, ::-1], lambda x: x[..., ::-1], lambda x: x.transpose(0, 2, 1)], ids=["rows", "columns", "transposed"]
)
def test_turning_a_slice_changes_nothing(scan: tuple[np.ndarray, np.ndarray, np.ndarray], turn: Turn) -> None:
    clean, measured, mask = (images[:1] for images in scan)
    image = blurred(measured, 0.7)
    plain = measure(image, clean, mask, 1.0, measured=measured)[0]
    turned = measure(turn(image), turn(clean), turn(mask), 1.0, measured=turn(measured))[0]
    assert turned.as_row() == pytest.approx(plain.as_row(), rel=2e-3, nan_ok=True)


def test_the_unit_changes_nothing_but_the_squared_error(scan: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    clean, measured, mask = (images[:1] for images in scan)
    image = blurred(measured, 0.7)
    plain = measure(image, clean, mask, 1.0, measured=measured)[0].as_row()
    scaled = measure(4096 * image, 4096 * clean, mask, 4096.0, measured=4096 * measured)[0].as_row()
    for region in ("foreground", "whole"):
        assert scaled.pop(f"{region}_mse") == pytest.approx(4096**2 * plain.pop(f"{region}_mse"), rel=1e-6)
    assert scaled == pytest.approx(plain, rel=1e-4, nan_ok=True)


def test_slices_do_not_know_of_one_another(scan: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    clean, measured, mask = scan
    together = measure(measured, clean, mask, 1.0, measured=blurred(measured, 1))
    alone = [measure(measured[[i]], clean[[i]], mask[[i]], 1.0, measured=blurred(measured, 1)[[i]])[0] for i in range(2)]
    assert [one.as_row() == pytest.approx(other.as_row(), rel=0, abs=0, nan_ok=True) for one, other in zip(together, alone, strict=True)] == [
        True,
        True,
    ]


def test_a_prepared_target_serves_many_images(scan: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    clean, measured, mask = scan
    target = record.prepare(clean[0], mask[0], data_range=1.0, measured=measured[0])
    for image in (measured, blurred(measured, 1)):
        direct = measure(image[:1], clean[:1], mask[:1], 1.0, measured=measured[:1])[0]
        assert record.measure_slice(image[0], target).as_row() == pytest.approx(direct.as_row(), rel=0, abs=0, nan_ok=True)


def test_an_empty_foreground_leaves_the_whole_slice(scan: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    clean, measured, _ = scan
    one = measure(measured[:1], clean[:1], np.zeros((1, 208, 192), dtype=np.bool_), 1.0)[0]
    assert (one.foreground.n_pixels, one.foreground.n_edges) == (0, 0)
    assert all(math.isnan(value) for name, value in asdict(one.foreground).items() if not name.startswith("n_"))
    assert math.isfinite(one.whole.psnr)
    assert record.pooled_mse([one.foreground, one.whole]) == pytest.approx(one.whole.mse)
    assert math.isnan(record.pooled_mse([one.foreground]))


@pytest.mark.parametrize("shape", [(1, 36, 96), (1, 11, 11), (1, 102, 41)])
def test_small_matrices_are_measured_as_far_as_they_go(shape: tuple[int, int, int]) -> None:
    reference = np.random.default_rng(0).random(shape).astype(np.float32)
    found = measure(reference * np.float32(0.9), reference, reference > 0.1, 1.0, measured=reference)[0]
    assert math.isfinite(found.whole.ms_ssim)
    assert math.isnan(found.foreground.edge_fwhm)


def test_a_noise_map_can_tell_the_noise(scan: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    clean, measured, mask = scan
    target = record.prepare(clean[0], mask[0], data_range=1.0)
    by_map = record.measure_slice(measured[0], target, noise_sigma=np.full(clean[0].shape, 0.06, np.float32)).foreground
    assert by_map.cnr == pytest.approx(record.measure_slice(measured[0], target).foreground.cnr, rel=0.1)
    assert math.isnan(by_map.removed_edges)
    assert math.isnan(by_map.removed_neighbours)


def test_lpips_in_both_regions(scan: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    if not perceptual.available():
        pytest.skip(perceptual.NOT_INSTALLED)
    clean, measured, mask = (images[:1] for images in scan)
    lpips = perceptual.load()
    found = measure(measured, clean, mask, 1.0, lpips=lpips)[0]
    assert found.whole.lpips == pytest.approx(lpips.distance(measured, clean, data_range=1.0)[0])
    assert 0 < found.foreground.lpips < found.whole.lpips
    small = measure(measured[:, :24, :24], clean[:, :24, :24], mask[:, :24, :24], 1.0, lpips=lpips)[0]
    assert math.isnan(small.whole.lpips)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_range": 0.0}, "data_range"),
        ({"data_range": math.nan}, "data_range"),
        ({"reference": np.zeros((2, 20, 21), np.float32)}, "one shape"),
        ({"mask": np.ones((1, 20, 21), dtype=np.bool_)}, "mask"),
        ({"measured": np.zeros((1, 21, 20), np.float32)}, "measured"),
        ({"images": np.full((1, 20, 20), np.nan, np.float32)}, "image holds NaN"),
        (
            {"images": np.zeros((1, 8, 20), np.float32), "reference": np.zeros((1, 8, 20), np.float32), "mask": np.ones((1, 8, 20), bool)},
            "at least 11",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(change: dict[str, object], message: str) -> None:
    plain = np.random.default_rng(0).random((1, 20, 20)).astype(np.float32)
    arguments = {"images": plain, "reference": plain, "mask": plain > 0, "data_range": 1.0} | change
    with pytest.raises(DataError, match=message):
        measure(**arguments)


def test_every_number_is_explained() -> None:
    page = (Path(__file__).parents[3] / "docs" / "explanation" / "metrics.md").read_text(encoding="utf-8")
    assert [field.name for field in fields(Measures) if f"`{field.name}`" not in page] == []


def test_rows_have_both_regions(scan: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    clean, measured, mask = (images[:1] for images in scan)
    found = measure(measured, clean, mask, 1.0)[0]
    assert isinstance(found, SliceMeasures)
    names = [field.name for field in fields(Measures)]
    assert list(found.as_row()) == [f"{region}_{name}" for region in ("foreground", "whole") for name in names]
    assert found.as_row()["whole_psnr"] == found.whole.psnr
