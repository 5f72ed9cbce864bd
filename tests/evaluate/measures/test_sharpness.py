"""Edge widths: known ones are found at any angle, blur adds as it must, noise and contrast don't."""

import numpy as np
import pytest
from scipy import ndimage, special

from onenex.evaluate.measures import sharpness
from onenex.physics.phantom import head_phantom

EVERYWHERE = np.ones((160, 150), dtype=np.bool_)


def bars(angle_degrees: float, width: float) -> np.ndarray:
    """Straight bars 18 pixels wide, whose edges are error functions of standard deviation `width`, pixels."""
    rows, columns = np.indices(EVERYWHERE.shape)
    angle = np.deg2rad(angle_degrees)
    across = rows * np.cos(angle) + columns * np.sin(angle)
    steps = [(-1) ** index * special.ndtr((across - place) / width) for index, place in enumerate(np.arange(-140.5, 320, 18))]
    return (0.2 + 0.5 * np.sum(steps, axis=0)).astype(np.float32)


@pytest.mark.parametrize("angle", [0, 17, 45, 90, 128])
@pytest.mark.parametrize("width", [0.5, 0.8, 1.4])
def test_a_known_width_is_found(angle: float, width: float) -> None:
    edges = sharpness.find_edges(bars(angle, width), EVERYWHERE, 1.0)
    assert len(edges.fwhm_E) > 30
    tolerance = 0.08 if width < 0.6 else 0.03  # below that, pixels are too few for their interpolation
    assert edges.fwhm == pytest.approx(sharpness.FWHM * width, rel=tolerance)
    assert np.median(edges.fwhm_E) == pytest.approx(sharpness.FWHM * width, rel=tolerance)
    assert edges.height == pytest.approx(0.5, rel=0.02)


def test_profiles_are_centred_between_pixels() -> None:
    """Where bars from 0.2 to 0.7 pass 0.45."""
    reference = bars(17, 0.8)
    places = sharpness.find_edges(reference, EVERYWHERE, 1.0).places
    middle = ndimage.map_coordinates(reference, places[..., places.shape[-1] // 2], order=3)
    np.testing.assert_allclose(middle, 0.45, atol=0.02)


@pytest.mark.parametrize("blur", [0.6, 1.0, 1.5])
def test_blur_widens_by_the_known_amount(blur: float) -> None:
    reference = bars(30, 0.7)
    found = sharpness.sharpness(ndimage.gaussian_filter(reference, blur), sharpness.find_edges(reference, EVERYWHERE, 1.0))
    assert found.fwhm == pytest.approx(sharpness.FWHM * np.hypot(0.7, blur), rel=0.02)
    assert found.ratio == pytest.approx(np.hypot(0.7, blur) / 0.7, rel=0.03)


def test_the_image_itself_is_as_sharp_as_itself() -> None:
    reference = bars(30, 0.7)
    found = sharpness.sharpness(reference, sharpness.find_edges(reference, EVERYWHERE, 1.0))
    assert (found.ratio, found.height_ratio) == (1.0, 1.0)


def test_sharpening_narrows() -> None:
    reference = bars(30, 1.2)
    sharper = reference + (reference - ndimage.gaussian_filter(reference, 1.0))
    assert sharpness.sharpness(sharper, sharpness.find_edges(reference, EVERYWHERE, 1.0)).ratio < 0.9


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_does_not_pass_for_sharpness(seed: int) -> None:
    """Edges five times as high as the noise."""
    reference = bars(30, 0.8)
    noisy = reference + np.random.default_rng(seed).normal(0, 0.1, reference.shape)
    found = sharpness.sharpness(noisy, sharpness.find_edges(reference, EVERYWHERE, 1.0))
    assert found.ratio == pytest.approx(1, abs=0.04)


def test_contrast_and_level_change_the_height_not_the_width() -> None:
    reference = bars(64, 0.9)
    found = sharpness.sharpness(0.7 * reference + 3, sharpness.find_edges(reference, EVERYWHERE, 1.0))
    assert found.ratio == pytest.approx(1, abs=1e-3)
    assert found.height_ratio == pytest.approx(0.7, rel=1e-3)


def test_turned_images_have_the_same_edges() -> None:
    clean = head_phantom((1, 160, 160), sequence="T1w", supersampling=2)[0]
    clean, blurred = clean / clean.max(), ndimage.gaussian_filter(clean / clean.max(), 0.8)
    mask = np.ones(clean.shape, dtype=np.bool_)
    found = [
        sharpness.sharpness(turn(blurred).copy(), sharpness.find_edges(turn(clean).copy(), mask, 1.0))
        for turn in (np.asarray, np.flipud, np.fliplr, np.transpose)
    ]
    assert found[0].n_edges > 20
    assert {one.n_edges for one in found} == {found[0].n_edges}
    np.testing.assert_allclose([one.ratio for one in found], found[0].ratio, rtol=1e-3)


def test_blur_of_a_head_is_seen() -> None:
    clean = head_phantom((1, 192, 192), sequence="T2w", supersampling=2)[0]
    clean = clean / np.percentile(clean[clean > 0], 99)
    edges = sharpness.find_edges(clean, np.ones(clean.shape, dtype=np.bool_), 1.0)
    ratios = [sharpness.sharpness(ndimage.gaussian_filter(clean, width), edges).ratio for width in (0.3, 0.6, 1.0)]
    assert 1 < ratios[0] < ratios[1] < ratios[2]
    assert ratios[2] == pytest.approx(np.hypot(edges.fwhm, sharpness.FWHM) / edges.fwhm, rel=0.15)  # folds lie closer than the profiles reach


def test_edges_that_bend_are_left_out() -> None:
    rows, columns = (np.mod(index, 20) - 9.5 for index in np.indices(EVERYWHERE.shape))
    discs = special.ndtr((5 - np.hypot(rows, columns)) / 0.7)
    assert len(sharpness.find_edges(discs, EVERYWHERE, 1.0).fwhm_E) == 0
    squares = special.ndtr((5 - np.maximum(abs(rows), abs(columns))) / 0.7)
    assert len(sharpness.find_edges(squares, EVERYWHERE, 1.0).fwhm_E) > 20


def test_without_edges_there_is_no_width() -> None:
    outline = np.hypot(*(np.indices(EVERYWHERE.shape) - 75)) < 60  # the body's outline is no edge
    for image in (np.zeros(EVERYWHERE.shape), np.random.default_rng(0).normal(1, 0.02, EVERYWHERE.shape), outline * 1.0):
        edges = sharpness.find_edges(image, outline, 1.0)
        found = sharpness.sharpness(image, edges)
        assert found.n_edges < sharpness.LEAST_EDGES
        assert np.isnan([found.fwhm, found.ratio, found.height_ratio]).all()
