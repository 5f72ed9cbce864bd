"""Judges that are not ours: dciodvfy finds no error that the source didn't have, and a real Orthanc takes what we write."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from tests.dicom.derived import coded, write_derived
from tests.dicom.make import make_enhanced, make_series
from tests.dicom.orthanc import Orthanc, orthanc

NATIVE = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
COMPRESSED = [RLELossless, JPEGLSLossless, JPEG2000Lossless]
UNDEFLATED = [syntax for syntax in [*NATIVE, *COMPRESSED] if syntax != DeflatedExplicitVRLittleEndian]
"""dciodvfy cannot inflate."""
MADE_BY_PYDICOM = [
    "MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "examples_overlay.dcm",
]  # fmt: skip
pytestmark = pytest.mark.debian


def program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} not found: apt-get install {package}")
    return found


def generated(folder: Path, kind: str, syntax: str) -> list[Path]:
    """A generated series of this kind in this transfer syntax."""
    plain = ExplicitVRLittleEndian if syntax in COMPRESSED else syntax
    if kind == "classic":
        made = make_series(folder, 3, 33, 35, transfer_syntax=plain)
    else:
        made = [
            make_enhanced(
                folder / "enhanced.dcm", 3, 33, 35, volumes=[{"EffectiveEchoTime": 20.0}, {"EffectiveEchoTime": 80.0}], transfer_syntax=plain
            )
        ]
    return coded(made, syntax) if syntax in COMPRESSED else made


def shared_series(data_dir: Path) -> Iterator[tuple[str, list[Path]]]:
    """Name, first and last file of every shared series; the headers between hardly differ."""
    for folder in sorted(path for path in (data_dir / "dicom").iterdir() if path.is_dir()):
        files = sorted(folder.glob("*.dcm"))
        yield folder.name, files[:1] + files[1:][-1:]


def complaints(path: Path, kind: str = "Error") -> set[str]:
    """What dciodvfy holds against a file, without the number of the item or frame that it was found in."""
    checked = subprocess.run(
        [program("dciodvfy", "dicom3tools"), str(path)], capture_output=True, text=True, errors="replace", timeout=60, check=False
    )
    lines = (checked.stdout + checked.stderr).splitlines()
    assert any("MRImage" in line for line in lines), f"dciodvfy did not recognise the image: {lines[:5]}"
    return {re.sub(r"\b[0-9]+\b", "N", line) for line in lines if line.startswith(kind)}


def assert_no_new_errors(sources: Sequence[Path], folder: Path) -> None:
    for before, after in zip(sources, write_derived(sources, folder), strict=True):
        assert complaints(after) - complaints(before) == set()


# ── dciodvfy ──


@pytest.mark.parametrize("syntax", UNDEFLATED, ids=lambda uid: uid.name)
@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_generated_series_gain_no_error(tmp_path: Path, kind: str, syntax: str) -> None:
    assert_no_new_errors(generated(tmp_path / "in", kind, syntax)[:1], tmp_path / "out")


@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_generated_series_gain_no_warning(tmp_path: Path, kind: str) -> None:
    sources = generated(tmp_path / "in", kind, ExplicitVRLittleEndian)[:1]
    (after,) = write_derived(sources, tmp_path / "out")
    assert complaints(after, "Warning") - complaints(sources[0], "Warning") == set()


@pytest.mark.parametrize("name", MADE_BY_PYDICOM)
def test_real_files_gain_no_error(tmp_path: Path, name: str) -> None:
    assert_no_new_errors([Path(get_testdata_file(name))], tmp_path / "out")


@pytest.mark.data
def test_shared_series_gain_no_error(tmp_path: Path, data_dir: Path) -> None:
    for name, sources in shared_series(data_dir):
        assert_no_new_errors(sources, tmp_path / name)


def test_the_judge_notices_an_error(tmp_path: Path) -> None:
    (source,) = make_series(tmp_path, 1, 33, 35)
    before = complaints(source)
    dataset = dcmread(source)
    dataset.ImageType = ["DERIVED", "NONSENSE", "OTHER"]
    del dataset.FrameOfReferenceUID
    dataset.save_as(source)
    assert len(complaints(source) - before) >= 2


# ── Orthanc ──


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(program("Orthanc", "orthanc"), tmp_path_factory.mktemp("orthanc")) as running:
        yield running


def assert_found_beside_its_source(server: Orthanc, sources: Sequence[Path], derived: Sequence[Path]) -> None:
    """Find both series again: one study, two series, every instance."""
    series = {one["MainDicomTags"]["SeriesInstanceUID"]: one for one in server.get("/series?expand")}
    parents = set()
    for paths in (sources, derived):
        headers = [dcmread(path, stop_before_pixels=True) for path in paths]
        found = series[headers[0].SeriesInstanceUID]
        instances = server.get(f"/series/{found['ID']}/instances")
        assert {one["MainDicomTags"]["SOPInstanceUID"] for one in instances} == {header.SOPInstanceUID for header in headers}
        parents.add(found["ParentStudy"])
        assert found["ID"] in server.get(f"/studies/{found['ParentStudy']}")["Series"]
    assert len(parents) == 1
    assert dcmread(sources[0]).SeriesInstanceUID != dcmread(derived[0]).SeriesInstanceUID


@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED], ids=lambda uid: uid.name)
@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_orthanc_takes_generated_series(server: Orthanc, tmp_path: Path, kind: str, syntax: str) -> None:
    sources = generated(tmp_path / "in", kind, syntax)
    derived = write_derived(sources, tmp_path / "out")
    server.store([*sources, *derived], program("storescu", "dcmtk"))
    assert_found_beside_its_source(server, sources, derived)


@pytest.mark.data
def test_orthanc_takes_the_shared_series(server: Orthanc, tmp_path: Path, data_dir: Path) -> None:
    pairs = [(sources, write_derived(sources, tmp_path / name)) for name, sources in shared_series(data_dir)]
    server.store([path for pair in pairs for paths in pair for path in paths], program("storescu", "dcmtk"))
    for sources, derived in pairs:
        assert_found_beside_its_source(server, sources, derived)
