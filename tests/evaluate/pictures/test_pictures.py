"""The pictures: what is shown is chosen by the reference, what is drawn is right, and every file comes out small."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from onenex.errors import DataError, OutOfDomain
from onenex.evaluate.cases import clean_case
from onenex.evaluate.material import Repeats
from onenex.evaluate.pictures import canvas as pictures_canvas
from onenex.evaluate.pictures import prior as pictures_prior
from onenex.evaluate.pictures import run as pictures
from onenex.evaluate.pictures.canvas import body, canvas, detail, save, show, window
from onenex.evaluate.pictures.organ import SIGMA, load_repeats, repeated, simulated, slug
from onenex.evaluate.pictures.scanner import N_BINS, compare, radial_power
from onenex.model.degradation import Degradation
from onenex.model.tiling import pad_to_multiple
from onenex.physics.noise import rician
from onenex.scans import ScanInfo, read_manifest
from tests.model.conditions import random_condition
from tests.model.weights import random_model, random_networks
from tests.train.packed import smooth_slices, write_packed


@pytest.fixture
def infos(tmp_path: Path) -> dict[str, ScanInfo]:
    return {info.id: info for info in read_manifest(write_packed(tmp_path / "data"))}


def test_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random_model(tmp_path, unified=True)
    found = pictures.run(write_packed(tmp_path / "data"), tmp_path / "out" / "deep", quick=True, weights=tmp_path / "unified.safetensors")
    names = ["organ-head.png", "organ-head-repeats.png", "scanner.png", "prior.png"]
    assert [one.path.name for one in found] == names
    printed = capsys.readouterr().out
    for one in found:
        assert 5_000 < one.path.stat().st_size <= pictures_canvas.LIMIT_BYTES
        assert f"{one.path.name}: {one.caption}" in printed
    assert sorted(path.name for path in (tmp_path / "out" / "deep").iterdir()) == sorted(names)


def test_weights_of_mode_fast_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    random_model(tmp_path)
    with pytest.raises(OutOfDomain, match=r"random\.safetensors know mode 'fast' only"):
        pictures.run(write_packed(tmp_path / "data"), tmp_path / "out", weights=tmp_path / "random.safetensors")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_test_files_is_refused(tmp_path: Path) -> None:
    random_model(tmp_path, unified=True)
    with pytest.raises(DataError, match="split 'test'"):
        pictures.run(write_packed(tmp_path / "data", splits=("train",)), tmp_path / "out", weights=tmp_path / "unified.safetensors")


def test_a_simulated_slice_is_the_benchmarks(tmp_path: Path, infos: dict[str, ScanInfo]) -> None:
    shown = simulated(random_model(tmp_path, unified=True), infos["clean_test"], unseen=True)
    case = clean_case(infos["clean_test"], True, SIGMA, varying=False)
    assert case.reference is not None
    middle = len(case.reference) // 2
    np.testing.assert_array_equal(shown.scan.measured, case.stacks[0][middle])
    np.testing.assert_array_equal(shown.scan.reference, case.reference[middle])
    inside = shown.scan.mask
    for name, image in (("measured", shown.scan.measured), ("fast", shown.fast), ("full", shown.full)):
        error = np.mean(np.square(image - shown.scan.reference)[inside])
        assert shown.scores[name].psnr == pytest.approx(-10 * np.log10(error), abs=1e-3)
    np.testing.assert_allclose(shown.residual * SIGMA, shown.scan.measured - shown.full, atol=1e-6)
    assert (shown.spread > 0).any()


def test_a_real_repeat_is_never_part_of_its_reference(tmp_path: Path, infos: dict[str, ScanInfo]) -> None:
    shown = repeated(random_model(tmp_path, unified=True), infos["repeats_test"], unseen=True)
    repeats = load_repeats(infos["repeats_test"]).images[4]
    np.testing.assert_array_equal(shown.scan.measured, repeats[0])
    np.testing.assert_allclose(shown.scan.reference, repeats[1:].mean(axis=0), rtol=1e-6)
    assert shown.scan.sigma is None
    assert shown.scores["measured"].psnr == pytest.approx(20 * np.log10(1 / 0.08), abs=3)  # the noise that was planted


def test_the_detail_lies_in_the_tissue_where_the_edges_are() -> None:
    mask = np.zeros((120, 150), bool)
    mask[20:100, 10:140] = True
    image = mask * np.float32(1)
    image[30:60, 80:110] += np.random.default_rng(0).random((30, 30), np.float32)
    rows, columns = detail(image, mask)
    assert rows.stop - rows.start == columns.stop - columns.start == 40
    assert mask[rows, columns].all()
    assert rows.start <= 34
    assert rows.stop >= 56
    assert columns.start <= 84
    assert columns.stop >= 106


@pytest.mark.parametrize("shape", [(12, 40), (33, 20), (400, 500)])
def test_the_detail_fits_any_slice(shape: tuple[int, int]) -> None:
    for mask in (np.ones(shape, bool), np.zeros(shape, bool)):
        region = detail(np.random.default_rng(0).random(shape, np.float32), mask)
        assert mask[region].shape[0] == mask[region].shape[1] == min(128, max(32, min(shape) // 3), *shape)


def test_the_body_is_all_of_the_tissue() -> None:
    mask = np.zeros((50, 60), bool)
    mask[20:30, 2:40] = True
    assert body(mask) == (slice(14, 36), slice(0, 46))
    assert body(np.zeros((50, 60), bool)) == (slice(0, 50), slice(0, 60))


def test_the_window_is_that_of_the_tissue() -> None:
    image = np.zeros((100, 100), np.float32)
    image[:50] = np.linspace(0.2, 0.8, 5000).reshape(50, 100)
    assert window(image, image > 0.1) == (pytest.approx(0.206, abs=1e-3), pytest.approx(0.797, abs=1e-3))
    low, high = window(np.zeros((9, 9), np.float32), np.zeros((9, 9), bool))
    assert high > low


def noise_picture(size: int = 900) -> Figure:
    figure = canvas(8, 8)
    show(figure.subplots(), np.random.default_rng(0).standard_normal((size, size), np.float32), (-3, 3))
    return figure


def test_a_picture_gives_up_resolution_rather_than_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = imread(save(noise_picture(), tmp_path / "large.png"))
    monkeypatch.setattr(pictures_canvas, "LIMIT_BYTES", 150_000)
    small = save(noise_picture(), tmp_path / "small.png")
    assert small.stat().st_size <= 150_000
    assert imread(small).shape[0] < large.shape[0]


def test_greys_and_colours_survive_the_palette(tmp_path: Path) -> None:
    figure = canvas(4, 2)
    left, right = figure.subplots(1, 2)
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    show(left, ramp, (0, 1))
    show(right, ramp, (0, 1), colours=pictures_canvas.HEAT)
    figure.savefig(tmp_path / "as-drawn.png", dpi=130, bbox_inches="tight", pad_inches=0.04)
    drawn, saved = imread(tmp_path / "as-drawn.png")[..., :3], imread(save(figure, tmp_path / "saved.png"))[..., :3]
    assert drawn.shape == saved.shape
    assert np.abs(drawn - saved).max() < 0.03
    assert saved.max() == 1


def test_power_of_white_noise_is_its_variance_at_every_frequency() -> None:
    noise = 0.3 * np.random.default_rng(0).standard_normal((10, 64, 96), np.float32)
    mask = np.zeros(noise.shape, bool)
    mask[:, 8:56, 10:90] = True
    frequency, power = radial_power(noise, mask)
    assert len(frequency) == N_BINS
    np.testing.assert_allclose(power[1:], 0.09, rtol=0.12)
    blurred = (noise + np.roll(noise, 1, axis=1) + np.roll(noise, 1, axis=2)) / 3
    coloured = radial_power(blurred, mask)[1]
    assert all(later < earlier for earlier, later in pairwise(coloured[2:14:4]))


@pytest.mark.parametrize("n_repeats", [2, 6])
def test_rician_repeats_look_like_those_of_a_rician_scanner(n_repeats: int) -> None:
    sigma = np.full((6, 64, 64), 0.05, np.float32)
    clean = smooth_slices(6, 64, seed=0) + np.float32(0.5)
    images = np.stack([rician(clean, 0.05, np.random.default_rng(i)) for i in range(n_repeats)], axis=1)
    scanner = Degradation(widths=(8, 16), depth=1).eval()
    found = compare(scanner, sigma, Repeats(images=images, mask=np.ones(clean.shape, bool)), random_condition(), "a file")
    for values in (*found.standardised, *found.differences):
        assert values.std() == pytest.approx(1, abs=0.04)
        assert values.mean() == pytest.approx(0, abs=0.04)
    real, made = (radial_power(values, found.mask)[1] for values in found.differences)
    np.testing.assert_allclose((made / real)[1:], 1, atol=0.3)  # the first ring holds few frequencies
    assert np.median(made / real) == pytest.approx(1, abs=0.06)


def test_a_scanner_that_is_wrong_is_seen_to_be() -> None:
    """Told half of the noise, f_φ makes scans with a quarter of its power, and the real residuals are twice too wide."""
    clean = np.full((4, 64, 64), 1, np.float32)
    images = np.stack([rician(clean, 0.06, np.random.default_rng(i)) for i in range(5)], axis=1)
    repeats = Repeats(images=images, mask=np.ones(clean.shape, bool))
    found = compare(Degradation(widths=(8, 16), depth=1).eval(), np.full_like(clean, 0.03), repeats, random_condition(), "a file")
    real, made = (radial_power(values, found.mask)[1] for values in found.differences)
    assert np.median(made / real) == pytest.approx(0.25, abs=0.03)
    assert found.standardised[0].std() == pytest.approx(2, abs=0.1)


def test_the_draw_depends_on_the_name_alone() -> None:
    images = np.random.default_rng(0).random((2, 2, 20, 26), np.float32)
    repeats = Repeats(images=images, mask=np.ones((2, 20, 26), bool))
    sigma = np.full((2, 20, 26), 0.05, np.float32)
    scanner = random_networks().degradation
    assert scanner is not None
    first, again, other = (compare(scanner, sigma, repeats, random_condition(), name) for name in ("a", "a", "b"))
    np.testing.assert_array_equal(first.made, again.made)
    assert (first.made != other.made).any()


def test_the_prior_sees_each_time_and_its_image_has_the_size_of_the_slice(infos: dict[str, ScanInfo]) -> None:
    networks = random_networks()
    assert networks.prior is not None
    assert networks.phrases is not None
    panel = pictures_prior.look((networks.noise_level, networks.prior, networks.phrases), infos["clean_test"])
    spreads = [float((image - panel.reference).std()) for image in panel.diffused]
    assert spreads == sorted(spreads)
    assert panel.psnr(panel.diffused[0]) > 10
    assert len({panel.psnr(image) for image in panel.predicted}) == len(pictures_prior.TIMES)
    assert {image.shape for image in panel.predicted} == {panel.reference.shape}


def test_the_prior_is_given_what_mode_full_gives_it() -> None:
    prior = random_networks().prior
    assert prior is not None
    seen, t_B = torch.rand(1, 3, 21, 30), torch.tensor([200])
    with torch.no_grad():
        found = pictures_prior.predict(prior, seen, t_B, random_condition())
        padded = pad_to_multiple(seen, prior.multiple)
        expected = prior(padded[:, :1], padded[:, 1:2], padded[:, 2:], t_B, random_condition())[0, 0, :21, :30]
    np.testing.assert_array_equal(found, expected.numpy())


def test_every_organ_has_a_name_for_its_file() -> None:
    assert [slug(organ) for organ in ("C-spine", "head", "", "左 knee/2")] == ["cspine", "head", "unknown", "左knee2"]


def test_kin_of_training_files_come_last(tmp_path: Path, infos: dict[str, ScanInfo]) -> None:
    known = infos["clean_test"]
    fresh = replace(known, id="fresh")
    model = random_model(tmp_path, unified=True)
    (picture,) = pictures.organ_pictures(model, [known, fresh], {"clean_test"}, tmp_path / "out")
    assert " fresh " in picture.caption
    assert "training has other slices" not in picture.caption
    (picture,) = pictures.organ_pictures(model, [known], {"clean_test"}, tmp_path / "out")
    assert "training has other slices" in picture.caption
