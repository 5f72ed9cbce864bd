"""The phantom is what it says: discs of their area and place, noise of its σ, Rose numbers as told."""

import numpy as np
import pytest

from onenex.evaluate.acceptance import layouts, phantom
from onenex.evaluate.acceptance.phantom import BODY, CENTRE, SIDE, Disc


def test_a_disc_has_its_area_its_place_and_its_signal() -> None:
    disc = Disc(row=101.3, column=140.6, radius=20.0, signal=0.4)
    image = phantom.image_of(phantom.kspace_of([disc])).real
    assert image.sum() == pytest.approx(0.4 * np.pi * 400, rel=1e-6)
    rows, columns = np.indices(image.shape)
    assert (image * rows).sum() / image.sum() == pytest.approx(disc.row, abs=0.05)
    assert (image * columns).sum() / image.sum() == pytest.approx(disc.column, abs=0.05)
    assert image[101, 141] == pytest.approx(0.4, abs=0.01)
    assert abs(image[101, 180:200]).max() < 0.01


@pytest.mark.parametrize("window", [phantom.USUAL, phantom.WHOLE])
def test_noise_has_its_sigma_whatever_the_window(window: phantom.kspace.Window) -> None:
    bright = np.full((SIDE, SIDE), 10.0 + 0j)
    image = phantom.scan(bright, 0.07, np.random.default_rng(0), window)
    assert float(np.std(image)) == pytest.approx(0.07, rel=0.02)


@pytest.mark.parametrize("window", [phantom.USUAL, phantom.WHOLE])
def test_energy_is_the_ideal_observers(window: phantom.kspace.Window) -> None:
    """A matched filter sees a disc of contrast σ / √energy at a signal-to-noise ratio of 1."""
    disc = Disc(row=CENTRE, column=CENTRE, radius=4.0, signal=1 / np.sqrt(phantom.energy(4.0, window)))
    signal = phantom.image_of(phantom.kspace_of([disc]) * window).real
    generator = np.random.default_rng(2)
    noise = [phantom.kspace.apply_window(phantom.noise.gaussian((SIDE, SIDE), generator), window).real for _ in range(60)]
    gain = phantom.kspace.noise_gain(window)
    seen = np.std([float((one / gain * signal).sum()) for one in noise])
    assert float(np.square(signal).sum()) / seen == pytest.approx(1.0, rel=0.25)


def test_same_seed_same_scans_and_every_kind() -> None:
    first, second = (layouts.all_scans(3, seeds=1, contrast_slices=1, sigmas=(0.06,)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    assert {scan.kind for scan in first} == set(layouts.KINDS)
    other = layouts.all_scans(4, seeds=1, contrast_slices=1, sigmas=(0.06,))
    assert not np.array_equal(first[0].image, other[0].image)
    uniform, artefacts = (next(scan for scan in first if scan.kind == kind) for kind in (layouts.UNIFORM, layouts.ARTEFACTS))
    middle = np.s_[125:131, 120:126]
    np.testing.assert_allclose((artefacts.image - artefacts.clean)[middle], (uniform.image - uniform.clean)[middle], atol=0.02)


def test_every_slice_of_discs_holds_one_bright_and_one_dark_of_each_kind() -> None:
    sites = layouts.drawn_sites(np.random.default_rng(0))
    kinds = [(site.radius, site.rose) for site in sites if site.rose]
    assert len(kinds) == len(set(kinds)) == 2 * len(layouts.RADII) * len(layouts.ROSE)
    assert sum(site.rose == 0 for site in sites) >= 10
    assert all(np.hypot(site.row - BODY.row, site.column - BODY.column) < BODY.radius - 14 for site in sites)
