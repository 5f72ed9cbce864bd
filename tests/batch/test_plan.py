"""A source becomes the same units however it is given, and no file is opened twice without need."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from onenex.batch import Kind, Unit, plan
from onenex.dicom.quick import glance_at
from onenex.errors import DataError
from tests.dicom.make import make_series

N_FILES = int(os.environ.get("ONENEX_ARCHIVE_FILES", "3000"))


def dicom_ids(units: Iterator[Unit]) -> dict[str, int]:
    return {unit.id: len(unit.files) for unit in units if unit.kind is Kind.DICOM and not unit.problem}


def test_a_series_is_a_unit_wherever_its_files_lie(archive: Path) -> None:
    units = list(plan(str(archive)))
    assert units == list(plan(str(archive)))
    series = [unit for unit in units if unit.kind is Kind.DICOM and not unit.problem]
    assert sorted(len(unit.files) for unit in series) == [2, 2, 2]
    assert {Path(file).name for unit in series for file in unit.files} <= {path.name for path in archive.rglob("*")}
    spread = next(unit for unit in series if any("elsewhere" in file for file in unit.files))
    assert spread.source == str(archive)
    assert spread.n_bytes == sum(Path(file).stat().st_size for file in spread.files)
    assert pickle.loads(pickle.dumps(units)) == units
    assert len({unit.id for unit in units}) == len(units) == 6


def test_what_cannot_be_denoised_is_a_unit_with_a_reason_and_other_files_are_none(archive: Path) -> None:
    units = {Path(unit.source).name: unit for unit in plan(str(archive))}
    assert units["damaged.dcm"].damaged
    assert "damaged header" in units["damaged.dcm"].problem
    assert not units["inner.zip"].damaged
    assert "unpack it" in units["inner.zip"].problem
    assert units["volume.nii.gz"].kind is Kind.NIFTI
    assert "readme.txt" not in units


def test_folder_zip_url_and_manifests_hold_the_same_series(archive: Path, tmp_path: Path) -> None:
    expected = dicom_ids(plan(str(archive)))
    assert len(expected) == 3
    zipped = shutil.make_archive(str(tmp_path / "all"), "zip", archive)
    memory = fsspec.filesystem("memory")
    memory.put(str(archive), "/batch-plan", recursive=True)
    shutil.copytree(archive, tmp_path / "copy")
    lines = ["copy/series1", "copy/elsewhere", str(archive / "series2"), *(f"copy/series3/{path.name}" for path in (archive / "series3").iterdir())]
    (tmp_path / "list.csv").write_text("number,path\n" + "".join(f"{number},{line}\n" for number, line in enumerate(lines)))
    parquet.write_table(pa.table({"path": lines}), tmp_path / "list.parquet")
    sources = (archive.as_uri(), zipped, f"file://{zipped}", "memory://batch-plan", str(tmp_path / "list.csv"), str(tmp_path / "list.parquet"))
    for source in sources:
        assert dicom_ids(plan(source)) == expected, source
    memory.rm("/batch-plan", recursive=True)


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_a_manifest_without_paths_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "list.csv").write_text("file\nx\n")
    parquet.write_table(pa.table({"file": ["x"]}), tmp_path / "list.parquet")
    with pytest.raises(DataError, match="no column 'path'"):
        list(plan(str(tmp_path / name)))


def test_sources_that_are_not_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path\ngone\n")
    for source in (tmp_path / "nothing", tmp_path / "list.csv", "memory://nothing-there", tmp_path / "no.parquet"):
        with pytest.raises(DataError, match=r"does not exist|cannot be read"):
            list(plan(str(source)))


def test_an_index_spares_files_that_are_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_series(tmp_path / "in" / "a", 3)
    (other,) = make_series(tmp_path / "in" / "b", 1, 20, 20)
    looked: list[object] = []
    monkeypatch.setattr(sys.modules["onenex.batch.plan"], "glance_at", lambda file: looked.append(file.name) or glance_at(file))
    index = tmp_path / "index" / "plan.sqlite"
    first = list(plan(str(tmp_path / "in"), index=index))
    assert len(looked) == 4
    assert list(plan(str(tmp_path / "in"), index=index)) == first
    assert len(looked) == 4
    assert index.stat().st_mode & 0o077 == 0
    (new,) = make_series(tmp_path / "new", 1)
    shutil.copy(new, other)
    (tmp_path / "in" / "a").rename(tmp_path / "in" / "moved")
    assert [unit.id for unit in plan(str(tmp_path / "in"), index=index)] == [unit.id for unit in plan(str(tmp_path / "in"))]
    assert sorted({Path(str(name)).parent.name for name in looked[4:8]}) == ["b", "moved"]


def test_a_changed_series_keeps_its_id_and_changes_its_fingerprint(tmp_path: Path) -> None:
    make_series(tmp_path / "in", 3)
    (before,) = plan(str(tmp_path / "in"))
    sorted((tmp_path / "in").iterdir())[0].unlink()
    (after,) = plan(str(tmp_path / "in"))
    assert after.id == before.id
    assert after.fingerprint != before.fingerprint


_MEASURE = """
import json, sys
from onenex.batch import plan
from onenex.evaluate.costs.memory import own_peak_bytes
units = files = 0
for unit in plan(sys.argv[1]):
    units, files = units + 1, files + len(unit.files)
print(json.dumps([units, files, own_peak_bytes()]))
"""


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    """1,000 against 3,000 tiny files; 20,000 with ONENEX_ARCHIVE_FILES=20000."""
    (template,) = make_series(tmp_path / "one", 1, 8, 8)
    content = template.read_bytes()
    peaks = []
    for n_files in (1000, N_FILES):
        folder = tmp_path / str(n_files)
        write_tiny(folder, content, n_files)
        said = subprocess.run([sys.executable, "-c", _MEASURE, str(folder)], capture_output=True, text=True, check=True).stdout
        n_units, n_seen, peak = json.loads(said)
        assert (n_units, n_seen) == (n_files // 20, n_files)
        peaks.append(peak)
    print(f"peak of planning: {peaks[0] / 1e6:.1f} MB for 1,000 files, {peaks[1] / 1e6:.1f} MB for {N_FILES}")
    assert peaks[1] < 1.05 * peaks[0]


def write_tiny(folder: Path, content: bytes, n_files: int) -> None:
    """Copies of one file, 20 to a series; UIDs keep their length."""
    from io import BytesIO

    from pydicom import dcmread

    uid = str(dcmread(BytesIO(content)).SeriesInstanceUID).encode()
    for number in range(n_files):
        series = number // 20
        path = folder / f"p{series % 50:02d}" / f"s{series}" / f"{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.replace(uid, uid[:-6] + f"{100000 + series}".encode()))
