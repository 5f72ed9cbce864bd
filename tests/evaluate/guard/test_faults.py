"""Planted damage is where and what it says it is, the same for the same draw, and never outside the anatomy."""

from dataclasses import replace

import numpy as np
import pytest

from onenex.evaluate.guard import faults
from onenex.model.guard import rician_model

SIZE, SIGMA = 96, 0.03


@pytest.fixture
def scene() -> faults.Scene:
    rows, columns = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    body = np.hypot(rows - 48, columns - 48) < 42
    truth = (body * (0.7 + 0.25 * np.sin(rows / 2.0) * np.cos(columns / 2.5))).astype(np.float32)
    measured = truth + np.float32(SIGMA) * np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    sigma = np.full(truth.shape, SIGMA, dtype=np.float32)
    return faults.Scene(
        measured=np.maximum(measured, 0), restored=truth, sigma=sigma, foreground=body, degrade=rician_model(sigma), neighbour=truth[::-1].copy()
    )


@pytest.mark.parametrize("kind", faults.KINDS)
def test_same_draw_same_damage_inside_the_foreground(scene: faults.Scene, kind: str) -> None:
    first, second = (faults.draw(kind, scene, np.random.default_rng(3)) for _ in range(2))
    assert first == second
    assert first is not None
    planted, again = faults.plant(first, scene), faults.plant(first, scene)
    np.testing.assert_array_equal(planted.restored, again.restored)
    np.testing.assert_array_equal(planted.measured, again.measured)
    assert planted.where.any()
    assert not (planted.where & ~scene.foreground).any()
    assert faults.ideal_snr(planted.signal) > 5


@pytest.mark.parametrize("kind", [faults.ERASED, faults.ADDED])
@pytest.mark.parametrize("contrast", [6.0, -6.0])
def test_lesions_have_their_contrast_and_size(scene: faults.Scene, kind: str, contrast: float) -> None:
    planted = faults.plant(faults.Fault(kind=kind, row=48, column=48, radius=6.0, contrast=contrast), scene)
    if kind == faults.ERASED:
        np.testing.assert_array_equal(planted.restored, scene.restored)
        change = planted.measured - scene.measured
    else:
        np.testing.assert_array_equal(planted.measured, scene.measured)
        change = planted.restored - scene.restored
    assert change[48, 48] / SIGMA == pytest.approx(contrast, rel=0.03)
    assert np.count_nonzero(np.abs(change) > abs(contrast) * SIGMA / 2) == pytest.approx(np.pi * 36, rel=0.08)
    # measured - result moves the same way as the residual is said to
    moved = (planted.measured - planted.restored) - (scene.measured - scene.restored)
    np.testing.assert_allclose(moved / SIGMA, planted.signal, atol=0.2)


def test_a_shifted_edge_moves_by_one_pixel(scene: faults.Scene) -> None:
    planted = faults.plant(faults.Fault(kind=faults.SHIFTED, row=48, column=48, radius=10.0, shift=(1, 0)), scene)
    np.testing.assert_allclose(planted.restored[44:52, 48], scene.restored[43:51, 48], atol=1e-4)
    np.testing.assert_array_equal(planted.restored[:25], scene.restored[:25])


def test_a_smoothed_region_loses_detail(scene: faults.Scene) -> None:
    planted = faults.plant(faults.Fault(kind=faults.SMOOTHED, row=48, column=48, radius=10.0, blur=2.0), scene)
    assert planted.restored[40:56, 40:56].std() < 0.6 * scene.restored[40:56, 40:56].std()


def test_nothing_is_drawn_where_there_is_no_place(scene: faults.Scene) -> None:
    empty = replace(scene, foreground=np.zeros_like(scene.foreground), neighbour=None)
    plain = replace(scene, restored=np.full_like(scene.restored, 0.7))
    assert all(faults.draw(kind, empty, np.random.default_rng(0)) is None for kind in faults.KINDS)
    assert faults.draw(faults.SHIFTED, plain, np.random.default_rng(0)) is None
    assert faults.draw(faults.SMOOTHED, plain, np.random.default_rng(0)) is None
    with pytest.raises(ValueError, match="no slice beside"):
        faults.plant(faults.Fault(kind=faults.SWAPPED), empty)


def test_dark_lesions_need_signal_to_lose(scene: faults.Scene) -> None:
    dark = replace(scene, restored=scene.restored * np.float32(0.05))
    drawn = [faults.draw(faults.ADDED, dark, np.random.default_rng(seed)) for seed in range(40)]
    assert all(fault is not None and fault.contrast > 0 for fault in drawn)
    bright = [faults.draw(faults.ADDED, scene, np.random.default_rng(seed)) for seed in range(40)]
    assert any(fault is not None and fault.contrast < 0 for fault in bright)


def test_ideal_snr_counts_energy_and_colour() -> None:
    rows, columns = np.ogrid[:128, :128]
    disc = (np.hypot(rows - 64, columns - 64) < 4).astype(np.float32)
    generator = np.random.default_rng(0)
    white = generator.standard_normal((128, 128)).astype(np.float32)
    assert faults.ideal_snr(2 * disc) == pytest.approx(2 * np.sqrt(disc.sum()))
    assert faults.ideal_snr(2 * disc, white) == pytest.approx(2 * np.sqrt(disc.sum()), rel=0.1)
    spectrum = np.fft.fft2(white) * (np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128), indexing="ij")) < 0.25)
    coloured = np.fft.ifft2(spectrum).real
    coloured /= coloured.std()
    assert faults.ideal_snr(2 * disc, coloured.astype(np.float32)) < 0.65 * faults.ideal_snr(2 * disc, white)
    assert faults.ideal_snr(0 * disc, white) == 0
