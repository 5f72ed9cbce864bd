"""Settings, overrides, guard and uncertainty, from the command line to files, JSON, words and page."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

import onenex.model
from onenex.dicom import read_series
from onenex.dicom.synthesise import Protocol, write_mr_series
from onenex.errors import ModelError
from onenex.options import Options
from onenex.pipeline import denoise_path
from onenex.results import RunReport
from tests.dicom.make import make_enhanced
from tests.fake_model import FakeModel, spread
from tests.model.weights import random_model
from tests.test_cli import call
from tests.test_pipeline import SHAPE, noisy, write_nifti

FULL = Options(mode="full", uncertainty=True, guard_maps=True)
TOUCHED = {1: 0.25, 3: 1.0}
"""Slice → share in which the fake's guard finds something."""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """The fake model in the place of the bundled one."""
    model = FakeModel(touched=TOUCHED)
    monkeypatch.setattr(onenex.model, "load", lambda device="auto", engine="torch": model)
    return model


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    write_mr_series(noisy(), tmp_path / "scan", Protocol(description="T2w head"))
    return tmp_path / "scan"


def described(report: RunReport) -> list[str]:
    return [str(dcmread(path).DerivationDescription) for path in report.series[0].outputs]


# ── mode and settings ──


def test_settings_reach_the_model_the_images_and_the_json(scan: Path, tmp_path: Path, fake: FakeModel) -> None:
    arguments = ["--mode", "full", "--samples", 3, "--steps", 2, "--preset", "paper", "--seed", 5]
    code, out, _ = call("denoise", scan, "-o", tmp_path / "out", "--json", *arguments)
    (series,) = json.loads(out)["series"]
    asked = fake.settings[-1]
    assert (code, asked.mode, asked.preset, asked.n_steps, asked.n_samples, asked.guard) == (0, "full", "paper", 2, 3, True)
    assert series["settings"] == {"mode": "full", "preset": "paper", "steps": 2, "samples": 3, "strength": 1.0, "seed": 5, "guard": True}
    assert "mode full, preset paper, 2 steps, 3 samples, strength 1, seed 5" in dcmread(series["outputs"][0]).DerivationDescription
    assert series["maps"] == {}


def test_the_steps_of_a_preset_are_named(scan: Path, tmp_path: Path, fake: FakeModel) -> None:
    call("denoise", scan, "-o", tmp_path / "out", "--mode", "full", "--preset", "paper")
    assert fake.settings[-1].n_steps is None
    assert "41 steps, 1 sample," in dcmread(next((tmp_path / "out").rglob("*.dcm"))).DerivationDescription


def test_mode_fast_speaks_of_no_steps(scan: Path, tmp_path: Path) -> None:
    report = denoise_path(scan, tmp_path / "out", model=FakeModel())
    assert "steps" not in described(report)[0]
    assert report.series[0].settings == {"mode": "fast", "strength": 1.0, "seed": 0, "guard": True}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--uncertainty"], "use mode full"),
        (["--samples", "4"], "mode fast is one pass"),
        (["--mode", "full", "--uncertainty", "--samples", "1"], "use 2 or more"),
        (["--no-guard", "--guard-maps"], "switch the guard on"),
        (["--organ", " "], "organ is empty"),
        (["--acceleration", "0.5"], "acceleration"),
        (["--preset", "mine"], "preset"),
    ],
)
def test_nonsense_is_a_wrong_command_line(scan: Path, tmp_path: Path, fake: FakeModel, arguments: list[str], message: str) -> None:
    code, _, err = call("denoise", scan, "-o", tmp_path / "out", *arguments)
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_weights_that_do_not_know_a_mode_end_the_run_before_it_begins(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="use --mode fast"):
        denoise_path(scan, tmp_path / "out", Options(mode="full"), model=random_model(tmp_path))
    monkeypatch.setattr(onenex.model, "load", lambda device="auto", engine="torch": FakeModel(knows_full=False))
    code, out, err = call("denoise", scan, "-o", tmp_path / "out", "--mode", "full", "--json")
    assert (code, err.count("\n")) == (3, 1)
    assert "use --mode fast, or other weights" in json.loads(out)["error"]["message"]
    assert not (tmp_path / "out").exists()


def test_other_settings_make_another_series(scan: Path, tmp_path: Path) -> None:
    wanted = [Options(), Options(guard=False), Options(organ="ankle"), Options(mode="full"), Options(mode="full", n_samples=2)]
    uids = set()
    for number, options in enumerate(wanted):
        report = denoise_path(scan, tmp_path / f"{number}", options, model=FakeModel())
        header = dcmread(report.series[0].outputs[0])
        uids |= {header.SeriesInstanceUID, header.SOPInstanceUID}
    assert len(uids) == 2 * len(wanted)


# ── what the user knows better ──


def test_overrides_reach_the_model_and_the_page(scan: Path, tmp_path: Path, fake: FakeModel) -> None:
    arguments = ["--organ", "knee", "--vendor", "Acme", "--sequence", "PDw", "--acceleration", "2.5"]
    assert call("denoise", scan, "-o", tmp_path / "out", *arguments)[0] == 0
    (known,) = fake.acquisitions
    assert (known.organ, known.vendor, known.sequence, known.acceleration) == ("knee", "Acme", "PDw", 2.5)
    assert {known.evidence[name] for name in ("organ", "vendor", "sequence", "acceleration")} == {"command line"}
    page = (tmp_path / "out" / "qa.html").read_text()
    assert page.count('<td class="from">command line</td>') == 4
    assert 'told organ "knee"' in dcmread(next((tmp_path / "out").rglob("*.dcm"))).DerivationDescription


def test_an_unknown_organ_is_noted_in_json_words_and_page(scan: Path, tmp_path: Path, fake: FakeModel) -> None:
    note = "'Organ: ankle' is not known, so 'Organ: unknown' was used instead"
    _, out, _ = call("denoise", scan, "-o", tmp_path / "a", "--organ", "ankle", "--json")
    assert json.loads(out)["series"][0]["notes"] == [note]
    _, out, _ = call("denoise", scan, "-o", tmp_path / "b", "--organ", "ankle")
    assert f"note: {note}" in out
    assert "told: organ ankle" in out
    assert note in (tmp_path / "a" / "qa.html").read_text().replace("&#39;", "'")


# ── guard ──


def test_no_guard_is_said_everywhere(scan: Path, tmp_path: Path, fake: FakeModel) -> None:
    _, out, _ = call("denoise", scan, "-o", tmp_path / "a", "--no-guard", "--json")
    (series,) = json.loads(out)["series"]
    assert (series["guard"], series["settings"]["guard"], fake.settings[-1].guard) == (None, False, False)
    for path in series["outputs"]:
        assert dcmread(path).DerivationDescription.endswith("guard off. Research use only.")
    assert 'class="banner"' in (tmp_path / "a" / "qa.html").read_text()
    assert "guard off" in call("denoise", scan, "-o", tmp_path / "b", "--no-guard")[1]


def test_every_image_says_what_the_guard_did_to_it(scan: Path, tmp_path: Path) -> None:
    report = denoise_path(scan, tmp_path / "out", model=FakeModel(touched=TOUCHED))
    said = [text.split("0123456789ab. ")[1] for text in described(report)]
    nothing = "Research use only."
    some, all_of_it = "Guard: 25 % of its tissue shows measured pixels again. ", "Guard: given up, it shows the measured pixels. "
    assert said == [nothing, some + nothing, nothing, all_of_it + nothing, nothing]


def test_every_frame_says_what_the_guard_did_to_it(tmp_path: Path) -> None:
    source = make_enhanced(tmp_path / "in.dcm", 4, 32, 24, volumes=[{"EffectiveEchoTime": 20.0}, {"EffectiveEchoTime": 80.0}])
    report = denoise_path(source, tmp_path / "out", model=FakeModel(touched=TOUCHED))
    groups = dcmread(report.series[0].outputs[0]).PerFrameFunctionalGroupsSequence
    said = ["Guard: " in group.DerivationImageSequence[0].DerivationDescription for group in groups]
    assert said == 2 * [False, True, False, True]


def test_guard_summary_in_json_words_and_page(scan: Path, tmp_path: Path, fake: FakeModel) -> None:
    _, out, _ = call("denoise", scan, "-o", tmp_path / "a", "--json")
    guard = json.loads(out)["series"][0]["guard"]
    reasons = ["spot of radius 3.2 pixels at row 0, column 5: 9.3 σ, limit 6.2 σ"]
    assert guard["n_slices"] == 5
    assert [(one["label"], one["share_given_up"], one["kept"]) for one in guard["touched"]] == [
        ("slice 4 of 5", 1.0, 0.0),
        ("slice 2 of 5", 0.25, 0.75),
    ]
    assert guard["touched"][0]["reasons"] == reasons
    _, out, _ = call("denoise", scan, "-o", tmp_path / "b")
    assert "guard: 2 of 5 slices did not pass and show measured pixels again; worst is slice 4 of 5: given up" in out
    page = (tmp_path / "a" / "qa.html").read_text()
    assert "2 of 5 slices did not pass" in page
    assert "25 % of its tissue shows measured pixels again" in page
    assert reasons[0] in page


# ── maps ──


def by_kind(report: RunReport) -> dict[str, list[Path]]:
    (series,) = report.series
    return {name: list(paths) for name, paths in series.maps.items()}


def test_maps_come_as_series_of_their_own(scan: Path, tmp_path: Path) -> None:
    report = denoise_path(scan, tmp_path / "out", FULL, model=FakeModel(touched=TOUCHED))
    maps = by_kind(report)
    assert {name: len(paths) for name, paths in maps.items()} == {"uncertainty": 5, "guard": 5}
    images = noisy()
    headers = [dcmread(path) for path in report.series[0].outputs]
    assert len({header.SeriesInstanceUID for header in [*headers, dcmread(maps["uncertainty"][0]), dcmread(maps["guard"][0])]}) == 3
    (found,) = read_series(maps["uncertainty"][0].parent)
    values = found.source.images(found.stacks[0])
    np.testing.assert_allclose(values, spread(images, 20.0), atol=images.max() / 65535)
    (found,) = read_series(maps["guard"][0].parent)
    values = found.source.images(found.stacks[0])
    assert (values[3] == 150).all()
    assert (values[0] == 25).all()


def test_maps_of_nifti_are_floats_in_the_same_space(tmp_path: Path) -> None:
    write_nifti(tmp_path / "scan.nii.gz", volumes=2)
    (tmp_path / "scan.json").write_text(json.dumps({"Manufacturer": "GE"}))
    report = denoise_path(tmp_path / "scan.nii.gz", tmp_path / "out", FULL, model=FakeModel(touched=TOUCHED))
    maps = by_kind(report)
    assert [path.name for path in maps["uncertainty"]] == ["scan_OneNEX_uncertainty.nii.gz", "scan_OneNEX_uncertainty.json"]
    source, found, guard = (nib.load(path) for path in (tmp_path / "scan.nii.gz", maps["uncertainty"][0], maps["guard"][0]))
    assert (found.get_data_dtype(), found.shape) == (np.float32, source.shape)
    np.testing.assert_array_equal(found.affine, source.affine)
    wanted = spread(np.zeros(SHAPE, np.float32), 20.0)
    np.testing.assert_array_equal(found.get_fdata()[..., 1], wanted.transpose(2, 1, 0))
    assert guard.get_fdata()[:, :, 3].min() == 150
    assert b"uncertainty full default 4x8" in found.header["descrip"].item()
    said: dict[str, Any] = json.loads(maps["uncertainty"][1].read_text())["OneNEX"]
    assert said["Map"].startswith("standard deviation of the samples")
    said = json.loads(next(path for path in report.series[0].outputs if path.suffix == ".json").read_text())["OneNEX"]
    assert (said["Steps"], said["Samples"], said["Guard"]) == (4, 8, True)
    assert said["Slices"]["volume 2, slice 4"] == "Guard: given up, it shows the measured pixels."


@pytest.mark.parametrize("big_endian", [False, True])
def test_nifti_maps_keep_the_byte_order(tmp_path: Path, big_endian: bool) -> None:
    from tests.test_nifti import save

    path = save(tmp_path / "scan.nii", np.rint(noisy().transpose(2, 1, 0)).astype(np.int16), big_endian=big_endian, slope=0.5, inter=3.0)
    report = denoise_path(path, tmp_path / "out", FULL, model=FakeModel())
    found = nib.load(by_kind(report)["uncertainty"][0])
    assert found.header.endianness == (">" if big_endian else "<")
    np.testing.assert_array_equal(found.get_fdata(), spread(np.zeros(SHAPE, np.float32), 20.0).transpose(2, 1, 0))


def test_a_guard_with_nothing_to_judge_writes_no_map_and_says_so(scan: Path, tmp_path: Path) -> None:
    report = denoise_path(scan, tmp_path / "out", Options(guard_maps=True, strength=0.0), model=FakeModel())
    assert by_kind(report) == {}
    assert report.series[0].notes == ("no guard map: the guard had nothing to judge",)


def test_series_of_the_same_name_keep_image_map_and_sidecar_together(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        write_nifti(tmp_path / "in" / folder / "scan.nii.gz")
    report = denoise_path(tmp_path / "in", tmp_path / "out", FULL, model=FakeModel())
    assert [path.name for path in by_kind_of(report, 1)] == ["2-scan_OneNEX_uncertainty.nii.gz", "2-scan_OneNEX_guard.nii.gz"]
    assert report.series[1].outputs[0].name == "2-scan_OneNEX.nii.gz"


def by_kind_of(report: RunReport, number: int) -> list[Path]:
    return [path for paths in report.series[number].maps.values() for path in paths]


# ── a real model, of random weights ──


@pytest.fixture(scope="module")
def unified(tmp_path_factory: pytest.TempPathFactory) -> onenex.model.Model:
    return random_model(tmp_path_factory.mktemp("weights"), unified=True)


@pytest.mark.parametrize("kind", ["classic", "enhanced", "nifti"])
def test_uncertainty_of_a_real_model_comes_back_from_its_file(tmp_path: Path, unified: onenex.model.Model, kind: str) -> None:
    source = tmp_path / ("in.nii" if kind == "nifti" else "in.dcm" if kind == "enhanced" else "in")
    if kind == "nifti":
        write_nifti(source)
    elif kind == "enhanced":
        make_enhanced(source, 2, 32, 24)
    else:
        write_mr_series(noisy((2, 32, 24)), source, Protocol(description="T2w head"))
    options = Options(mode="full", n_samples=2, uncertainty=True)
    report = denoise_path(source, tmp_path / "out", options, model=unified)
    assert report.series[0].reason is None
    (series,) = onenex.read_series(source)
    stack = series.stacks[0]
    images = series.source.images(stack)
    asked = onenex.model.Settings(mode="full", n_samples=2)
    from onenex.checks import scale_of

    scale = scale_of(series, images)
    wanted = unified.denoise(images, series.acquisition, mode=asked, scale=scale).uncertainty
    assert wanted is not None
    assert wanted.max() > 0
    path = by_kind(report)["uncertainty"][0]
    (found,) = onenex.read_series(path if kind != "classic" else path.parent)
    values = found.source.images(found.stacks[0])
    np.testing.assert_allclose(values, np.minimum(wanted, scale), atol=scale / 65535, rtol=1e-4)
