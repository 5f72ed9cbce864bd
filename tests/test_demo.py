"""The demo: a phantom with known truth through the whole product; and the check of derived series that it relies on."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from onenex import demo
from onenex.dicom import read_series
from onenex.dicom.synthesise import Protocol, real_example, write_mr_series
from onenex.dicom.verify import faults
from onenex.errors import DataError
from onenex.physics.phantom import head_phantom
from onenex.pipeline import denoise_path
from onenex.series import Acquisition, Denoised, FloatImages
from tests.fake_model import FakeModel


class Oracle(FakeModel):
    """Knows the truth of the phantom and moves every image half way to it."""

    def denoise(self, images: FloatImages, acquisition: Acquisition, **settings: object) -> Denoised:
        answer = super().denoise(images, acquisition)
        if images.shape != demo.SHAPE:
            return answer
        truth = demo.GAIN * head_phantom(demo.SHAPE, sequence=demo.SEQUENCE)
        return Denoised(
            images=(images + truth) / 2, noise_sigma=answer.noise_sigma, mode="fast", strength=1.0, seed=0, weights_hash=self.weights_hash
        )


def test_demo_measures_the_gain_checks_the_files_and_may_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SHAPE", (4, 96, 96))
    result = demo.run(tmp_path / "demo", model=Oracle(sigma=150.0))
    assert result.faults == ()
    assert result.psnr_after - result.psnr_before == pytest.approx(6.02, abs=0.15)
    assert result.passed
    assert "1 image" in result.text()
    assert result.page.is_file()
    assert result.picture.read_bytes()[:4] == b"\x89PNG"
    again = demo.run(tmp_path / "demo", model=FakeModel(sigma=0.0))
    assert again.psnr_before == result.psnr_before


def test_demo_replaces_nothing_but_a_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SHAPE", (1, 32, 32))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError):
        demo.run(tmp_path / "precious", model=FakeModel())
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years of work"


def test_scan_adds_rician_noise_of_the_stated_size(tmp_path: Path) -> None:
    paths = demo.scan(np.zeros((2, 128, 128), np.float32), tmp_path)
    pixels = np.stack([dcmread(path).pixel_array for path in paths]).astype(float)
    assert np.sqrt(np.mean(pixels**2) / 2) == pytest.approx(demo.GAIN * demo.SIGMA, rel=0.03)


def test_psnr_is_that_of_its_definition() -> None:
    reference = np.full((1, 4, 4), 100.0, np.float32)
    assert demo.psnr(reference + 10, reference, reference > 0) == pytest.approx(20.0)


def test_the_real_example_is_found_offline_and_would_be_denoised() -> None:
    (series,) = read_series(real_example())
    assert series.skip_reason is None
    assert series.n_images == 1


@pytest.mark.parametrize(
    ("keyword", "value", "complaint"),
    [
        ("StudyInstanceUID", "1.2.3", "StudyInstanceUID differs"),
        ("ImagePositionPatient", [0, 0, 7], "ImagePositionPatient differs"),
        ("ImageType", ["ORIGINAL", "PRIMARY"], "ImageType does not say DERIVED"),
        ("SourceImageSequence", None, "SourceImageSequence does not name the source image"),
    ],
)
def test_every_fault_of_a_derived_series_is_found(tmp_path: Path, keyword: str, value: object, complaint: str) -> None:
    source, derived = one_image(tmp_path)
    dataset = dcmread(derived)
    setattr(dataset, keyword, value)
    dataset.save_as(derived)
    assert faults(read_series(source)[0], read_series(derived)[0]) == [complaint]


def test_a_copy_is_no_derived_series(tmp_path: Path) -> None:
    source, derived = one_image(tmp_path)
    assert faults(read_series(source)[0], read_series(derived)[0]) == []
    found = faults(read_series(source)[0], read_series(source)[0])
    assert found[0] == "SeriesInstanceUID is the source's"
    assert found[-1] == "pixels did not change"


def one_image(folder: Path) -> tuple[Path, Path]:
    """A synthetic image and the one derived from it."""
    images = head_phantom((1, 48, 48), supersampling=1)
    (source,) = write_mr_series(images, folder / "in", Protocol(description="one"))
    (result,) = denoise_path(source, folder / "out", model=FakeModel()).series
    return source, result.outputs[0]
