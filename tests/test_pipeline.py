"""The pipeline: every series gets its own answer, the input stays as it is, and the output is whole or absent."""

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from pydicom import dcmread

from onenex.dicom.synthesise import Protocol, write_mr_series
from onenex.errors import DataError
from onenex.options import Options
from onenex.physics.noise import rician
from onenex.physics.phantom import head_phantom
from onenex.pipeline import denoise_path
from onenex.results import RunReport
from tests.fake_model import FakeModel

SHAPE = (5, 64, 48)
SERIES_KEYS = {
    "path", "series_uid", "description", "status", "reason", "n_images", "outputs", "seconds", "maps", "settings", "notes", "guard",
    "transient",
}  # fmt: skip


def noisy(shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> np.ndarray:
    return rician(head_phantom(shape, seed=seed, supersampling=1), 20.0, np.random.default_rng(seed))


def write_dicom(folder: Path, number: int = 1, organ: str = "HEAD", shape: tuple[int, int, int] = SHAPE) -> list[Path]:
    return write_mr_series(noisy(shape, number), folder, Protocol(description=f"T2w series {number}", series_number=number, body_part=organ))


def write_nifti(path: Path, volumes: int = 1) -> None:
    data = np.rint(np.stack([noisy(seed=i).transpose(2, 1, 0) for i in range(volumes)], axis=-1)).astype(np.int16)
    nib.save(Nifti1Image(data.squeeze(), np.diag([0.9, 0.9, 5.0, 1.0])), path)


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def statuses(report: RunReport) -> dict[str, str]:
    return {result.description: result.status for result in report.series}


def test_a_dicom_folder_becomes_a_derived_series_and_a_page_and_stays_as_it_was(tmp_path: Path) -> None:
    write_dicom(tmp_path / "in")
    before = digests(tmp_path / "in")
    told: list[tuple[int, int]] = []
    model = FakeModel()
    report = denoise_path(tmp_path / "in", tmp_path / "out", model=model, progress=lambda _, done, total: told.append((done, total)))
    (result,) = report.series
    assert (result.status, result.reason, result.n_images, len(result.outputs)) == ("denoised", None, 5, 5)
    assert all(path.is_file() and path.is_relative_to(tmp_path / "out") for path in result.outputs)
    assert report.page.is_file()
    assert report.weights_hash == model.weights_hash
    assert model.acquisitions[0].organ == "head"
    assert told[-1] == (5, 5)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert digests(tmp_path / "in") == before
    derived = dcmread(result.outputs[0])
    source = next(ds for ds in map(dcmread, sorted((tmp_path / "in").iterdir())) if ds.ImagePositionPatient == derived.ImagePositionPatient)
    assert derived.StudyInstanceUID == source.StudyInstanceUID
    assert derived.SeriesInstanceUID != source.SeriesInstanceUID
    assert not np.array_equal(derived.pixel_array, source.pixel_array)


def test_strength_zero_returns_the_stored_pixels(tmp_path: Path) -> None:
    write_dicom(tmp_path / "in")
    report = denoise_path(tmp_path / "in", tmp_path / "out", Options(strength=0.0), model=FakeModel())
    sources = {tuple(ds.ImagePositionPatient): ds.pixel_array for ds in map(dcmread, (tmp_path / "in").iterdir())}
    for path in report.series[0].outputs:
        derived = dcmread(path)
        np.testing.assert_array_equal(derived.pixel_array, sources[tuple(derived.ImagePositionPatient)])


def test_one_scale_serves_every_stack_of_a_series(tmp_path: Path) -> None:
    write_nifti(tmp_path / "four_d.nii.gz", volumes=3)
    model = FakeModel()
    report = denoise_path(tmp_path / "four_d.nii.gz", tmp_path / "out", model=model)
    assert report.series[0].n_images == 15
    assert len(model.scales) == 3
    assert len(set(model.scales)) == 1
    assert model.scales[0] is not None
    assert model.scales[0] > 0


def test_dicom_and_nifti_side_by_side_are_told_apart_by_content(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_dicom(folder)
    for path in folder.iterdir():
        path.rename(path.with_suffix(".bin"))
    write_nifti(folder / "volume.nii.gz")
    (folder / "fake.nii").write_text("not a volume at all, though named like one")
    report = denoise_path(folder, tmp_path / "out", model=FakeModel())
    assert statuses(report) == {"T2w series 1": "denoised", "volume": "denoised"}


def test_a_nifti_file_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    write_nifti(tmp_path / "good.nii.gz")
    nib.save(Nifti1Image(np.zeros((16, 16, 2), np.complex64), np.eye(4)), tmp_path / "odd.nii")
    report = denoise_path(tmp_path, tmp_path / "out", model=FakeModel())
    assert statuses(report) == {"good": "denoised", "odd.nii": "failed"}
    assert "complex" in str(report.series[1].reason)


def test_a_nifti_file_without_its_suffix_says_so(tmp_path: Path) -> None:
    write_nifti(tmp_path / "volume.nii.gz")
    (tmp_path / "volume.nii.gz").rename(tmp_path / "volume")
    with pytest.raises(DataError, match="volume"):
        denoise_path(tmp_path / "volume", tmp_path / "out", model=FakeModel())


def test_a_failing_series_leaves_nothing_and_the_others_go_on(tmp_path: Path) -> None:
    write_dicom(tmp_path / "in" / "a", 1)
    write_dicom(tmp_path / "in" / "b", 2, organ="KNEE")
    report = denoise_path(tmp_path / "in", tmp_path / "out", model=FakeModel(refuse="knee"))
    assert statuses(report) == {"T2w series 1": "denoised", "T2w series 2": "failed"}
    failed = report.series[1]
    assert failed.reason == "the fake refuses this organ"
    assert failed.outputs == ()
    files = {path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {*report.series[0].outputs, report.page}
    assert "the fake refuses this organ" in report.page.read_text()


def test_a_fault_of_ours_fails_one_series_without_quoting_the_header(tmp_path: Path) -> None:
    write_dicom(tmp_path / "in")
    report = denoise_path(tmp_path / "in", tmp_path / "out", model=FakeModel(burst=ValueError))
    (result,) = report.series
    assert result.status == "failed"
    assert result.reason is not None
    assert "unexpected ValueError at fake_model.py:" in result.reason
    assert "Doe" not in report.page.read_text().split("<main>")[1]


@pytest.mark.parametrize(("burst", "transient"), [(DataError, False), (MemoryError, True), (ZeroDivisionError, True)])
def test_a_failure_says_whether_it_may_pass(tmp_path: Path, burst: type[Exception], transient: bool) -> None:
    write_dicom(tmp_path / "in")
    (result,) = denoise_path(tmp_path / "in", tmp_path / "out", model=FakeModel(burst=burst)).series
    assert (result.status, result.transient) == ("failed", transient)


def test_series_with_the_same_name_keep_their_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        write_nifti(tmp_path / "in" / folder / "scan.nii.gz")
    report = denoise_path(tmp_path / "in", tmp_path / "out", model=FakeModel())
    assert len({path for result in report.series for path in result.outputs if path.name.endswith(".nii.gz")}) == 2
    assert all(path.is_file() for result in report.series for path in result.outputs)


def test_ctrl_c_in_the_middle_leaves_neither_output_nor_remains(tmp_path: Path) -> None:
    write_dicom(tmp_path / "in")

    def interrupt(_: str, done: int, __: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denoise_path(tmp_path / "in", tmp_path / "out", model=FakeModel(), progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_the_model_is_not_loaded_when_every_series_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onenex.model

    monkeypatch.setattr(onenex.model, "load", lambda **_: pytest.fail("the model was loaded for nothing"))
    write_dicom(tmp_path / "in", shape=(3, 8, 8))
    for path in (tmp_path / "in").iterdir():
        dataset = dcmread(path)
        dataset.ImageType = ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]
        dataset.save_as(path)
    report = denoise_path(tmp_path / "in", tmp_path / "out")
    assert report.count("skipped") == 1
    assert report.weights_hash is None
    assert report.page.is_file()


def test_the_input_is_never_overwritten(tmp_path: Path) -> None:
    write_dicom(tmp_path / "in")
    before = digests(tmp_path / "in")
    for target in (tmp_path / "in", tmp_path):
        with pytest.raises(DataError):
            denoise_path(tmp_path / "in", target, model=FakeModel(), overwrite=True)
    assert digests(tmp_path / "in") == before


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_out_of_range_is_refused_before_anything_is_done(tmp_path: Path, strength: float) -> None:
    with pytest.raises(DataError, match="0 … 1"):
        denoise_path(tmp_path / "absent", tmp_path / "out", Options(strength=strength), model=FakeModel())
    assert not (tmp_path / "out").exists()


def test_report_turns_into_plain_json_values(tmp_path: Path) -> None:
    import json

    write_nifti(tmp_path / "scan.nii")
    report = denoise_path(tmp_path / "scan.nii", tmp_path / "out", model=FakeModel())
    plain = json.loads(json.dumps(report.as_json()))
    assert plain["series"][0].keys() == SERIES_KEYS
    assert plain["page"] == str(report.page)


def test_mode_strength_and_seed_may_be_given_for_short(tmp_path: Path) -> None:
    write_dicom(tmp_path / "in")
    report = denoise_path(tmp_path / "in", tmp_path / "out", mode="fast", strength=0.5, seed=3, model=FakeModel())
    assert (report.mode, report.strength, report.seed) == ("fast", 0.5, 3)
    with pytest.raises(DataError, match="strength"):
        denoise_path(tmp_path / "in", tmp_path / "out2", Options(), strength=2.0, model=FakeModel())


def test_a_suffix_ends_the_description_and_makes_other_uids(tmp_path: Path) -> None:
    write_dicom(tmp_path / "in")
    reports = [
        denoise_path(tmp_path / "in", tmp_path / str(index), Options(suffix=suffix), model=FakeModel())
        for index, suffix in enumerate(("", "site pass 2", "site pass 2"))
    ]
    plain, second, again = ([dcmread(path) for path in report.series[0].outputs] for report in reports)
    assert {one.SeriesDescription for one in plain} == {"T2w series 1 OneNEX"}
    assert {one.SeriesDescription for one in second} == {"T2w series 1 OneNEX site pass 2"}
    assert not {one.SOPInstanceUID for one in plain} & {one.SOPInstanceUID for one in second}
    assert second[0].SeriesInstanceUID not in {one.SeriesInstanceUID for one in plain}
    assert [one.SOPInstanceUID for one in second] == [one.SOPInstanceUID for one in again]
