"""A reference on the fast scan's grid shows what the scanner would have shown there: judged against an object known at every point."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from onenex.errors import DataError
from onenex.pairs.geometry.plane import polynomial
from onenex.pairs.geometry.space import Rigid, pixel_centres, vector
from onenex.pairs.match import resample
from onenex.pairs.records import Geometry
from tests.pairs.moved import axial, grid, without

CENTRES = np.array([[0, 0, 20], [40, -30, 10], [-50, 20, 30], [10, 60, 16], [-30, -55, 24], [62, 31, 22]], float)
HEIGHTS = np.array([1.0, 0.6, 0.8, 0.5, 0.9, 0.4])


def blobs(points: NDArray[np.float64], width: float = 7.0) -> NDArray[np.float64]:
    """Some round bright spots: smooth, so that every grid here can show them."""
    squares = np.square(points[..., None, :] - CENTRES).sum(-1)
    return (HEIGHTS * np.exp(-squares / (2 * width**2))).sum(-1)


def seen(geometry: Geometry, motion: Rigid | None = None) -> NDArray[np.float32]:
    back = (motion or Rigid()).inverse()
    return np.stack([blobs(back.apply(pixel_centres(geometry, k))) for k in range(len(geometry.positions_mm))]).astype(np.float32)


def turned(geometry: Geometry, rotation: NDArray[np.float64]) -> Geometry:
    """The stack turned about the origin."""
    orientation = np.concatenate([rotation @ geometry.orientation[:3], rotation @ geometry.orientation[3:]])
    a, b, c, d, e, f = (float(value) for value in orientation)
    return replace(geometry, orientation=(a, b, c, d, e, f), positions_mm=tuple(vector(rotation @ place) for place in geometry.positions_mm))


@pytest.mark.parametrize(
    ("own", "wanted"), [((96, 75), (120, 101)), ((120, 100), (75, 64)), ((80, 81), (81, 80)), ((64, 128), (128, 64)), ((77, 96), (77, 128))]
)
def test_another_matrix_of_one_field_of_view(own: tuple[int, int], wanted: tuple[int, int]) -> None:
    fast, reference = grid(3, wanted, lowest_mm=12), grid(3, own, lowest_mm=12)
    assert fast.positions_mm != reference.positions_mm, "first pixels of two matrices lie at different places"
    found = resample(seen(reference), reference, fast)
    assert found.images.shape == (3, *wanted)
    assert np.abs(found.images - seen(fast)).max() < 2e-3
    assert found.inside.all()
    assert found.how.startswith("k-space")
    assert found.images.mean() == pytest.approx(seen(reference).mean(), rel=1e-4)


def test_half_a_pixel_matters() -> None:
    fast, reference = axial(1, 80, lowest_mm=20), axial(1, 64, lowest_mm=20)
    careless = replace(reference, positions_mm=fast.positions_mm)
    assert np.abs(resample(seen(reference), reference, fast).images - seen(fast)).max() < 2e-3
    assert np.abs(resample(seen(reference), careless, fast).images - seen(fast)).max() > 0.02


def test_the_same_grid_returns_the_same_bits() -> None:
    fast = axial(3, 64)
    images = np.random.default_rng(0).uniform(0, 900, (3, 64, 64)).astype(np.float32)
    found = resample(images, fast, fast)
    np.testing.assert_array_equal(found.images, images)
    assert found.how == "same grid 64×64 to 64×64"
    assert (found.slices, found.dropped) == ((0, 1, 2), ())


def test_a_field_of_view_cut_at_whole_pixels_is_not_interpolated() -> None:
    reference = axial(2, 64, fov_mm=128)
    fast = grid(2, (48, 40), fov_mm=(96, 80), offset_mm=(4, -6))
    images = np.random.default_rng(0).uniform(0, 900, (2, 64, 64)).astype(np.float32)
    np.testing.assert_array_equal(resample(images, reference, fast).images, images[:, 10:58, 9:49])


def test_sharp_edges_stay_positive_and_keep_their_brightness() -> None:
    reference, fast = axial(1, 64), axial(1, 101)
    images = np.zeros((1, 64, 64), np.float32)
    images[:, 20:44, 16:50] = 1000
    found = resample(images, reference, fast).images
    assert found.min() == 0
    assert np.median(found[found > 500]) == pytest.approx(1000, rel=0.02)


def test_a_finer_reference_does_not_fold() -> None:
    reference, fast = axial(1, 128), axial(1, 64)
    images = (500 + 400 * (-1.0) ** np.arange(128) * np.ones((1, 128, 128))).astype(np.float32)
    np.testing.assert_allclose(resample(images, reference, fast).images, 500, atol=1)


def test_anatomy_cut_by_the_edge_does_not_ring_at_the_other() -> None:
    reference, fast = axial(1, 64), axial(1, 80)
    ramp = np.broadcast_to(np.linspace(0, 1000, 64)[:, None], (1, 64, 64)).astype(np.float32)
    found = resample(ramp, reference, fast).images[0, :, 40]
    assert np.abs(found - np.interp((np.arange(80) + 0.5) * 0.8 - 0.5, np.arange(64), ramp[0, :, 0])).max() < 20


def test_the_polynomial_is_zero_padding() -> None:
    signal = np.random.default_rng(1).normal(size=10)
    spectrum = np.fft.rfft(signal)
    spectrum[-1] /= 2
    np.testing.assert_allclose(polynomial(np.arange(20) / 2, 10) @ signal, 2 * np.fft.irfft(np.pad(spectrum, (0, 5)), 20), atol=1e-9)


def test_a_turn_in_the_plane_is_one_interpolation_from_the_original_pixels() -> None:
    motion = Rigid(rotation_rad=(0, 0, 0.05), translation_mm=(3.2, -2.1, 0), centre_mm=(5, 0, 20))
    fast, reference = axial(3, 96, lowest_mm=12), grid(3, (120, 90), lowest_mm=12)
    found = resample(seen(reference, motion), reference, fast, motion)
    assert np.abs(found.images - seen(fast))[found.inside].max() < 3e-3
    assert found.how.startswith("k-space and spline")
    assert not found.inside.all(), "corners turn out of the reference"
    rows, columns = found.window
    assert found.inside[:, rows, columns].all()
    assert (rows.stop - rows.start) * (columns.stop - columns.start) > 0.85 * 96 * 96


def test_slices_that_leave_the_stack_on_one_side_do_not_cost_the_others_that_side() -> None:
    motion = Rigid(rotation_rad=(0.03, 0, 0), centre_mm=(0, 0, 19))
    fast, reference = axial(10, 96, step_mm=2, lowest_mm=10), axial(10, 96, step_mm=2, lowest_mm=10)
    found = resample(seen(reference, motion), reference, fast, motion)
    rows, _ = found.window
    assert rows.stop - rows.start > 0.85 * 96
    assert 4 <= len(found.slices) < 10
    assert found.dropped[0] == (0, "less of it lies inside the reference than of others")
    assert sorted([*found.slices, *(index for index, _ in found.dropped)]) == list(range(10))


def test_a_motion_in_space_through_thin_slices() -> None:
    motion = Rigid(rotation_rad=(0.02, -0.015, 0.03), translation_mm=(1.5, -2.0, 1.3), centre_mm=(0, 0, 20))
    fast, reference = axial(10, 96, step_mm=2, lowest_mm=10), axial(24, 96, step_mm=2, lowest_mm=-4)
    found = resample(seen(reference, motion), reference, fast, motion)
    assert len(found.slices) == 10
    assert np.abs(found.images - seen(fast))[found.inside].max() < 6e-3
    assert "cubic between slices" in found.how


def test_an_oblique_stack_with_falling_slices_and_swapped_axes() -> None:
    fast = turned(axial(3, 80, lowest_mm=12), Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix())
    plain = turned(grid(5, (100, 90), lowest_mm=8), Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix())
    along, down = plain.orientation[:3], plain.orientation[3:]
    reference = replace(plain, rows=90, columns=100, spacing_mm=plain.spacing_mm[::-1], orientation=(*down, *along))
    found = resample(seen(reference), reference, fast)
    assert np.abs(found.images - seen(fast))[found.inside].max() < 3e-3
    falling = replace(reference, positions_mm=reference.positions_mm[::-1])
    np.testing.assert_array_equal(resample(seen(reference)[::-1], falling, fast).images, found.images)


def test_a_larger_field_of_view_is_filled_as_far_as_the_reference_goes() -> None:
    fast, reference = axial(1, 100, fov_mm=250, lowest_mm=20), axial(1, 110, fov_mm=220, lowest_mm=20)
    found = resample(seen(reference), reference, fast)
    assert np.abs(found.images - seen(fast))[found.inside].max() < 2e-3
    assert not found.images[~found.inside].any()
    assert found.window == (slice(6, 94), slice(6, 94))


def test_slices_without_a_reference_are_dropped_with_a_reason() -> None:
    fast = axial(8, 48, step_mm=4)
    reference = without(axial(6, 48, step_mm=4), 2)
    found = resample(seen(reference), reference, fast)
    assert found.slices == (0, 1, 3, 4, 5)
    assert found.reasons == {"the reference has no slice there": 3}
    assert [index for index, _ in found.dropped] == [2, 6, 7]
    np.testing.assert_array_equal(found.images, seen(fast)[[0, 1, 3, 4, 5]])


def test_slices_between_thick_ones_are_dropped_and_between_thin_ones_read() -> None:
    def half_off(step_mm: float) -> tuple[Geometry, Geometry]:
        return axial(4, 96, step_mm=step_mm, lowest_mm=12 + step_mm / 2), axial(12, 96, step_mm=step_mm, lowest_mm=12 - 4 * step_mm)

    fast, reference = half_off(7.0)
    with pytest.raises(DataError, match=r"none of 4 slices .* between two slices"):
        resample(seen(reference), reference, fast)
    fast, reference = half_off(2.0)
    assert np.abs(resample(seen(reference), reference, fast).images - seen(fast)).max() < 6e-3


def test_thick_references_are_refused_and_thin_ones_averaged() -> None:
    fast = axial(3, 48, step_mm=3, lowest_mm=15)
    with pytest.raises(DataError, match=r"5\.0 mm thick, those of the fast scan 3\.0 mm"):
        resample(seen(thick := axial(5, 48, step_mm=5)), thick, fast)
    thin = axial(40, 48, step_mm=1)
    found = resample(seen(thin), thin, fast)
    np.testing.assert_allclose(found.images[1], seen(thin)[17:20].mean(0), atol=1e-5)
    assert "mean over 3.0 mm" in found.how


def test_tilted_slices_are_refused() -> None:
    fast = axial(3, 48)
    reference = turned(fast, Rotation.from_rotvec([0.6, 0, 0]).as_matrix())
    with pytest.raises(DataError, match="tilted by 34°"):
        resample(seen(reference), reference, fast)


def test_what_contradicts_itself_is_refused() -> None:
    fast = axial(2, 32)
    with pytest.raises(DataError, match="geometry says"):
        resample(np.zeros((3, 32, 32), np.float32), fast, fast)
    with pytest.raises(DataError, match="NaN"):
        resample(np.full((2, 32, 32), np.nan, np.float32), fast, fast)
    with pytest.raises(DataError, match="perpendicular"):
        resample(np.zeros((2, 32, 32), np.float32), replace(fast, orientation=(1, 0, 0, 1, 0, 0)), fast)
    with pytest.raises(DataError, match="fast scan: spacings"):
        resample(np.zeros((2, 32, 32), np.float32), fast, replace(fast, spacing_mm=(0, 1)))
