"""Bad input through the command line: each case with its exit code, its message, and nothing half-done left behind."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray
from pydicom import dcmread
from typer.testing import CliRunner

from onenex.cli import app
from onenex.dicom.synthesise import Protocol, write_mr_series
from tests.fake_model import FakeModel

CANNOT_START, NOTHING, SOME_FAILED = 3, 4, 5


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    """The fake model in the place of the bundled one: what is tested here happens around it."""
    import onenex.model

    model = FakeModel()
    monkeypatch.setattr(onenex.model, "load", lambda device="auto", engine="torch": model)
    return model


def images(n_slices: int = 3, rows: int = 40, columns: int = 32, top: float = 3000.0) -> NDArray[np.float32]:
    generator = np.random.default_rng(0)
    y, x = np.ogrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    disc = top * 0.8 * ((x**2 + y**2) < 0.6)
    return np.abs(np.tile(disc, (n_slices, 1, 1)) + generator.normal(0, 0.02 * top, (n_slices, rows, columns))).astype(np.float32)


def write(folder: Path, pixels: NDArray[np.float32] | None = None, **protocol: Any) -> list[Path]:
    return write_mr_series(images() if pixels is None else pixels, folder, Protocol(description="scan", **protocol))


def edit(paths: list[Path], **attributes: object) -> None:
    for path in paths:
        dataset = dcmread(path)
        for keyword, value in attributes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(path)


class Answer:
    """What one call of `onenex denoise --json` said and left."""

    def __init__(self, source: Path, output: Path, *options: str) -> None:
        beside = set(output.parent.iterdir()) if output.parent.is_dir() else set()
        result = CliRunner().invoke(app, ["denoise", str(source), "-o", str(output), "--json", *options])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.code, self.stderr, self.json = result.exit_code, result.stderr, json.loads(result.stdout)
        self.series = self.json["series"]
        self.reasons = " | ".join(one["reason"] or "" for one in self.series)
        self.remains = {path for path in output.parent.iterdir() if path not in beside and path != output} if output.parent.is_dir() else set()
        assert self.remains == set(), "something was left beside the output"
        assert "Traceback" not in self.stderr
        if self.code == CANNOT_START:
            assert self.stderr.count("\n") == 1
            assert self.json["error"]["message"] in " ".join(self.stderr.split()) or self.stderr


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_empty_folder(tmp_path: Path, out: Path) -> None:
    (tmp_path / "in").mkdir()
    answer = Answer(tmp_path / "in", out)
    assert answer.code == CANNOT_START
    assert str(tmp_path / "in") in answer.stderr
    assert not out.exists()


def test_text_files(tmp_path: Path, out: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no images here\n" * 100)
    answer = Answer(tmp_path / "in", out)
    assert answer.code == CANNOT_START
    assert "DICOM" in answer.stderr
    answer = Answer(tmp_path / "in" / "notes.txt", out)
    assert answer.code == CANNOT_START
    assert "notes.txt" in answer.stderr
    assert not out.exists()


def test_truncated_file(tmp_path: Path, out: Path) -> None:
    paths = write(tmp_path / "in")
    paths[1].write_bytes(paths[1].read_bytes()[:-700])
    answer = Answer(tmp_path / "in", out)
    assert answer.code == SOME_FAILED  # a series with holes is refused as a whole, before anything is decoded
    assert "IM0002.dcm" in answer.reasons
    assert "truncated" in answer.reasons
    assert [path.name for path in out.iterdir()] == ["qa.html"]


def test_truncated_nifti(tmp_path: Path, out: Path) -> None:
    nib.save(Nifti1Image(images().transpose(2, 1, 0), np.eye(4)), tmp_path / "in.nii.gz")
    (tmp_path / "in.nii.gz").write_bytes((tmp_path / "in.nii.gz").read_bytes()[:-3000])
    answer = Answer(tmp_path / "in.nii.gz", out)
    assert answer.code == SOME_FAILED
    assert "truncated or damaged" in answer.reasons
    assert [path.name for path in out.iterdir()] == ["qa.html"]


def test_missing_pixel_data(tmp_path: Path, out: Path) -> None:
    edit(write(tmp_path / "in")[1:2], PixelData=None)
    answer = Answer(tmp_path / "in", out)
    assert answer.code == SOME_FAILED  # a series with holes is refused as a whole, before anything is decoded
    assert "IM0002.dcm" in answer.reasons
    assert "pixel" in answer.reasons.lower()
    assert [path.name for path in out.iterdir()] == ["qa.html"]


def test_colour_image(tmp_path: Path, out: Path) -> None:
    paths = write(tmp_path / "in")
    for path in paths:
        dataset = dcmread(path)
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.PixelData = bytes(dataset.Rows * dataset.Columns * 3)
        dataset.save_as(path)
    answer = Answer(tmp_path / "in", out)
    assert answer.code == NOTHING
    assert "colour" in answer.reasons


def test_one_slice_series(tmp_path: Path, out: Path) -> None:
    write(tmp_path / "in", images(1))
    answer = Answer(tmp_path / "in", out)
    assert answer.code == 0
    assert (answer.series[0]["status"], answer.series[0]["n_images"]) == ("denoised", 1)


def test_mixed_geometry_becomes_two_series_or_a_reason(tmp_path: Path, out: Path) -> None:
    first = write(tmp_path / "in" / "a")
    uid = dcmread(first[0]).SeriesInstanceUID
    second = write(tmp_path / "in" / "b", images(2, 48, 48), series_number=2)
    edit(second, SeriesInstanceUID=uid)
    answer = Answer(tmp_path / "in", out)
    assert answer.code == 0
    assert sorted(one["n_images"] for one in answer.series) == [2, 3]
    assert {one["series_uid"] for one in answer.series} == {uid}
    for one in answer.series:
        shapes = {dcmread(path).pixel_array.shape for path in one["outputs"]}
        assert len(shapes) == 1


def test_nan_nifti(tmp_path: Path, out: Path) -> None:
    pixels = images().transpose(2, 1, 0).copy()
    pixels[3, 4, 1] = np.nan
    nib.save(Nifti1Image(pixels, np.eye(4)), tmp_path / "in.nii.gz")
    answer = Answer(tmp_path / "in.nii.gz", out)
    assert answer.code == SOME_FAILED
    assert "NaN" in answer.reasons
    assert "replace" in answer.reasons
    assert [path.name for path in out.iterdir()] == ["qa.html"]


@pytest.mark.parametrize("value", [0, 700])
def test_a_constant_slice_comes_back_as_it_was(tmp_path: Path, out: Path, value: int) -> None:
    pixels = images()
    pixels[1] = value
    write(tmp_path / "in", pixels)
    answer = Answer(tmp_path / "in", out)
    assert answer.code == 0
    middle = sorted((dcmread(path) for path in answer.series[0]["outputs"]), key=lambda ds: ds.ImagePositionPatient[2])[1]
    assert (middle.pixel_array == value).all()


@pytest.mark.parametrize("value", [0, 700])
def test_a_series_without_any_contrast_is_skipped(tmp_path: Path, out: Path, value: int) -> None:
    write(tmp_path / "in", np.full((3, 40, 32), value, np.float32))
    answer = Answer(tmp_path / "in", out)
    assert answer.code == NOTHING
    assert f"every pixel is {value}" in answer.reasons


def test_16_bit_full_range(tmp_path: Path, out: Path) -> None:
    pixels = images(top=65535.0)
    pixels[0, 0, 0], pixels[0, 0, 1] = 0, 65535
    paths = write(tmp_path / "in", pixels, bits=16)
    answer = Answer(tmp_path / "in", out, "--strength", "0")
    assert answer.code == 0
    source = {ds.ImagePositionPatient[2]: ds.pixel_array for ds in map(dcmread, paths)}
    assert max(array.max() for array in source.values()) == 65535
    for path in answer.series[0]["outputs"]:
        np.testing.assert_array_equal(dcmread(path).pixel_array, source[dcmread(path).ImagePositionPatient[2]])
    denoised = Answer(tmp_path / "in", out, "--overwrite")
    values = np.stack([dcmread(path).pixel_array for path in denoised.series[0]["outputs"]])
    assert values.max() <= 65535
    assert abs(float(values.mean()) - float(np.mean(list(source.values())))) < 200  # no wrap-around at either end


@pytest.mark.parametrize("shape", [(1, 64), (64, 1), (7, 300)])
def test_thin_image(tmp_path: Path, out: Path, shape: tuple[int, int]) -> None:
    write(tmp_path / "in", images(2, *shape))
    answer = Answer(tmp_path / "in", out)
    assert answer.code == NOTHING
    assert f"{shape[0]} × {shape[1]} pixels" in answer.reasons


def test_existing_output(tmp_path: Path, out: Path) -> None:
    write(tmp_path / "in")
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    answer = Answer(tmp_path / "in", out)
    assert answer.code == CANNOT_START
    assert "exists" in answer.stderr
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    assert Answer(tmp_path / "in", out, "--overwrite").code == 0
    assert not (out / "mine.txt").exists()


def test_output_is_a_file(tmp_path: Path, out: Path) -> None:
    write(tmp_path / "in")
    out.write_text("keep")
    answer = Answer(tmp_path / "in", out)
    assert answer.code == CANNOT_START
    assert "is a file" in answer.stderr
    assert out.read_text() == "keep"


def test_output_in_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """/proc refuses root too; a folder without write permission would not."""
    write(tmp_path / "in")
    answer = Answer(tmp_path / "in", Path("/proc/onenex-out"))
    assert answer.code == CANNOT_START
    assert "/proc" in answer.stderr
    assert "choose an output folder" in answer.stderr


def test_ten_thousand_squared_slice_is_refused_without_reading_it(tmp_path: Path, out: Path) -> None:
    (path,) = write(tmp_path / "in", images(1))
    dataset = dcmread(path)
    dataset.Rows = dataset.Columns = 10_000
    dataset.PixelData = b"\0\0"
    dataset.save_as(path)
    with path.open("r+b") as stream:  # a sparse file: the header's promise, without 200 MB of it on the disk
        head = stream.read()
        stream.seek(head.rindex(b"OW\0\0") + 4)
        stream.write((200_000_000).to_bytes(4, "little"))
        stream.truncate(head.rindex(b"OW\0\0") + 8 + 200_000_000)
    command = [sys.executable, "-c", PEAK, str(path), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, peak_growth_mb, stdout = done.stdout.split("\n", 2)
    assert code == str(SOME_FAILED)
    assert "10000 × 10000 pixels a slice is more than the limit" in stdout
    assert float(peak_growth_mb) < 500


PEAK = """
import resource, sys
from typer.testing import CliRunner
import onenex.model, onenex.pipeline, onenex.dicom
from onenex.cli import app
from tests.fake_model import FakeModel
onenex.model.load = lambda device="auto", engine="torch": FakeModel()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
result = CliRunner().invoke(app, ["denoise", sys.argv[1], "-o", sys.argv[2], "--json"])
print(result.exit_code, peak() - before, result.stdout, sep="\\n")
"""
