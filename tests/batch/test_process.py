"""One unit: whole or not at all, once however often it's asked for, and its row says what happened."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
from pydicom import dcmread

from onenex.batch import Kind, Row, Unit, plan, process
from onenex.batch.publish import is_published, place_of, published
from onenex.errors import DataError
from onenex.options import Options
from tests.batch.archive import SHAPE, Fake, files
from tests.dicom.make import make_series
from tests.test_pipeline import write_dicom

OPTIONS = Options()


def only(folder: Path) -> Unit:
    (unit,) = plan(str(folder))
    return unit


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    write_dicom(tmp_path / "in", shape=SHAPE)
    return only(tmp_path / "in")


def leftovers(destination: Path) -> set[str]:
    return files(destination / ".onenex-batch") if destination.exists() else set()


def test_a_unit_becomes_a_folder_with_its_row(unit: Unit, tmp_path: Path) -> None:
    row = process(unit, str(tmp_path / "out"), OPTIONS, Fake())
    home = tmp_path.joinpath("out", *place_of(unit.id))
    images = sorted(home.rglob("*.dcm"))
    assert (row.status, row.reason, row.slices, len(images)) == ("denoised", "", 2, 2)
    assert row.bytes_in == unit.n_bytes
    assert row.bytes_out == sum(path.stat().st_size for path in home.rglob("*") if path.is_file() and path.name != "unit.json")
    assert (row.weights, row.source, row.series) == (Fake.weights_hash, unit.source, unit.series)
    assert row.started < row.ended
    assert published(str(tmp_path / "out"), unit.id) == row
    assert (home / "qa.html").is_file()
    assert leftovers(tmp_path / "out") == set()
    assert str(dcmread(images[0]).SeriesInstanceUID) not in str(row)


def test_twice_is_once(unit: Unit, tmp_path: Path) -> None:
    model = Fake()
    first = process(unit, str(tmp_path / "out"), OPTIONS, model)
    assert process(unit, str(tmp_path / "out"), OPTIONS, model) == first
    assert len(model.scales) == 1
    again = process(unit, str(tmp_path / "elsewhere"), OPTIONS, model)
    assert again.digest == first.digest != ""


def test_other_options_or_another_source_replace_it(unit: Unit, tmp_path: Path) -> None:
    first = process(unit, str(tmp_path / "out"), OPTIONS, Fake())
    weaker = process(unit, str(tmp_path / "out"), Options(strength=0.5), Fake())
    assert len({first.digest, weaker.digest}) == 2
    assert first.options != weaker.options
    sorted((tmp_path / "in").iterdir())[0].unlink()
    shorter = process(only(tmp_path / "in"), str(tmp_path / "out"), OPTIONS, Fake())
    assert (shorter.unit, shorter.slices) == (first.unit, 1)
    assert len(list(tmp_path.joinpath("out", *place_of(unit.id)).rglob("*.dcm"))) == 1


@pytest.mark.parametrize("destination", ["folder", "file", "memory"])
def test_destinations_hold_the_same(unit: Unit, tmp_path: Path, destination: str) -> None:
    where = {"folder": str(tmp_path / "out"), "file": (tmp_path / "out").as_uri(), "memory": f"memory://{tmp_path.name}/out"}[destination]
    row = process(unit, where, OPTIONS, Fake())
    process(unit, str(tmp_path / "plain"), OPTIONS, Fake())
    system, root = fsspec.core.url_to_fs(where)
    found = {name.removeprefix(root.rstrip("/")).lstrip("/") for name in system.find(root)}
    assert found == files(tmp_path / "plain")
    (image,) = (name for name in system.find(root) if name.endswith("IM0001.dcm"))
    with system.open(image) as stream:
        pixels = dcmread(stream).pixel_array
    (plain,) = (tmp_path / "plain").rglob("IM0001.dcm")
    np.testing.assert_array_equal(pixels, dcmread(plain).pixel_array)
    assert published(where, unit.id) == row
    assert process(unit, where, OPTIONS, Fake()) == row


def test_an_upload_that_broke_off_does_not_count(unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = f"memory://{tmp_path.name}/broken"
    system = fsspec.filesystem("memory")
    process(unit, where, OPTIONS, Fake())
    whole = set(system.find(f"/{tmp_path.name}/broken"))
    system.rm(next(name for name in whole if name.endswith("unit.json")))
    system.pipe_file(f"/{tmp_path.name}/broken/{'/'.join(place_of(unit.id))}/of-an-older-run.dcm", b"half")
    assert not is_published(where, unit.id)
    process(unit, where, OPTIONS, Fake())
    assert set(system.find(f"/{tmp_path.name}/broken")) == whole


def test_failures_leave_nothing_and_say_why(unit: Unit, tmp_path: Path) -> None:
    refused = process(unit, str(tmp_path / "out"), OPTIONS, Fake(refuse="head"))
    assert (refused.status, refused.reason, refused.slices) == ("failed", "the fake refuses this organ", 0)
    assert process(unit, str(tmp_path / "out"), OPTIONS, Fake(burst=MemoryError)).status == "failed"
    gone = process(replace(unit, files=(str(tmp_path / "in" / "gone.dcm"),)), str(tmp_path / "out"), OPTIONS, Fake())
    assert gone.status == "failed"
    assert "gone.dcm cannot be read" in gone.reason
    assert files(tmp_path / "out") == set()


def test_a_damaged_file_fails_its_unit_by_name(unit: Unit, tmp_path: Path) -> None:
    path = Path(unit.files[1])
    path.write_bytes(path.read_bytes()[:-100])
    row = process(unit, str(tmp_path / "out"), OPTIONS, Fake())
    assert row.status == "failed"
    assert row.reason.startswith(f"{path.name} is truncated")
    assert ".onenex-batch" not in row.reason


def test_a_failure_takes_older_results_of_another_source_with_it(unit: Unit, tmp_path: Path) -> None:
    process(unit, str(tmp_path / "out"), OPTIONS, Fake())
    row = process(replace(unit, fingerprint="changed"), str(tmp_path / "out"), OPTIONS, Fake(refuse="head"))
    assert row.status == "failed"
    assert files(tmp_path / "out") == set()


def test_what_must_not_be_denoised_is_skipped_with_its_reason(tmp_path: Path) -> None:
    make_series(tmp_path / "in", 2, ImageType=["DERIVED", "PRIMARY", "ADC"])
    row = process(only(tmp_path / "in"), str(tmp_path / "out"), OPTIONS, Fake())
    assert row.status == "skipped"
    assert row.reason
    assert files(tmp_path / "out") == set()


def test_a_full_disk_ends_the_run_instead_of_failing_every_unit(unit: Unit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise DataError("the disk is full") from OSError(28, "No space left on device")

    monkeypatch.setattr(sys.modules["onenex.batch.process"], "denoise_path", full)
    with pytest.raises(DataError, match="full"):
        process(unit, str(tmp_path / "out"), OPTIONS, Fake())


def test_files_of_one_name_do_not_hide_each_other(tmp_path: Path) -> None:
    first, second = write_dicom(tmp_path / "in", shape=SHAPE)
    (tmp_path / "in" / "more").mkdir()
    shutil.move(second, tmp_path / "in" / "more" / first.name)
    assert process(only(tmp_path / "in"), str(tmp_path / "out"), OPTIONS, Fake()).slices == 2


def test_a_refused_unit_is_not_even_fetched(tmp_path: Path) -> None:
    unit = Unit(id="ab" * 16, kind=Kind.DICOM, source="x", series="cd", fingerprint="ef", files=("nowhere",), problem="no", damaged=True)
    row = process(unit, str(tmp_path / "out"), OPTIONS, Fake())
    assert isinstance(row, Row)
    assert (row.status, row.reason) == ("failed", "no")
    assert process(replace(unit, damaged=False), str(tmp_path / "out"), OPTIONS, Fake()).status == "skipped"
