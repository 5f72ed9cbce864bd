"""Derived files have harmless names, the right file meta information, and nothing half-written among them."""

import os
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
)

from onenex.dicom.folder import IMPLEMENTATION_CLASS_UID
from onenex.dicom.source import DicomSource
from onenex.dicom.write import DerivedSeriesWriter
from tests.dicom.derived import PROVENANCE, darker, differences, read, series_of, stored, write_derived
from tests.dicom.make import make_enhanced, make_series


def test_file_meta(tmp_path: Path) -> None:
    (written,) = write_derived(make_series(tmp_path / "in", 1, 6, 5), tmp_path / "out")
    dataset = dcmread(written)
    meta = dataset.file_meta
    assert (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID) == (dataset.SOPClassUID, dataset.SOPInstanceUID)
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert UID(IMPLEMENTATION_CLASS_UID).is_valid
    assert meta.ImplementationVersionName == "ONENEX_0.1.0"
    assert dataset.preamble == b"\0" * 128


@pytest.mark.parametrize(
    ("description", "folder"),
    [
        ("t2_tse_tra", "100003_t2_tse_tra_OneNEX"),
        ("../../etc/passwd", "100003_etc_passwd_OneNEX"),
        ("Schädel T2 / FLAIR", "100003_Schadel_T2_FLAIR_OneNEX"),
        ("颈椎", "100003_OneNEX"),
        ("", "100003_OneNEX"),
    ],
)
def test_folder_names_are_harmless(tmp_path: Path, description: str, folder: str) -> None:
    written = write_derived(make_series(tmp_path / "in", 2, 6, 5, SeriesDescription=description), tmp_path / "out")
    assert written == [tmp_path / "out" / folder / "IM0001.dcm", tmp_path / "out" / folder / "IM0002.dcm"]
    assert read(written[0]).SeriesDescription == f"{description} OneNEX".strip()


def test_series_of_one_name_do_not_clash(tmp_path: Path) -> None:
    first = write_derived(make_series(tmp_path / "a", 1, 6, 5), tmp_path / "out")
    second = write_derived(make_series(tmp_path / "b", 1, 6, 5), tmp_path / "out")
    assert first[0].parent.name + "_2" == second[0].parent.name
    assert {path.name for path in first + second} == {"IM0001.dcm"}


def test_paths_lie_below_the_folder_that_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    for path in write_derived(make_series(tmp_path / "in", 1, 6, 5), Path("link")):
        assert path.is_absolute()
        assert path.is_relative_to(tmp_path / "link")


def test_classic_slices_are_written_as_they_come(tmp_path: Path) -> None:
    sources = make_series(tmp_path / "in", 4, 6, 5)
    series = series_of(sources, n_stacks=2)
    writer = DerivedSeriesWriter(series=series, source=DicomSource(), folder=tmp_path, provenance=PROVENANCE)
    writer.write(series.stacks[0], series.source.images(series.stacks[0]))
    assert len(list(tmp_path.rglob("IM*.dcm"))) == 2


def test_frames_that_never_come_are_copied(tmp_path: Path) -> None:
    source = make_enhanced(tmp_path / "in.dcm", 3, 8, 8, volumes=[{"TemporalPositionIndex": 1}, {"TemporalPositionIndex": 2}])
    series = series_of([source], n_stacks=2)
    writer = DerivedSeriesWriter(series=series, source=DicomSource(), folder=tmp_path, provenance=PROVENANCE)
    writer.write(series.stacks[1], darker(series.source.images(series.stacks[1])))
    assert list(tmp_path.rglob("IM*.dcm")) == []
    (written,) = writer.close()
    before, after = stored([source])[0], stored([written])[0]
    np.testing.assert_array_equal(after[0::2], before[0::2])
    assert (after[1::2] != before[1::2]).any(axis=(1, 2)).all()
    assert read(written).ImageType[0] == "MIXED"


def test_the_source_is_never_touched(tmp_path: Path) -> None:
    sources = make_series(tmp_path / "in", 2, 6, 5)
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in sources]
    write_derived(sources, tmp_path / "out")
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in sources] == before


def test_japanese_and_chinese_headers_survive(tmp_path: Path) -> None:
    names = (("GB18030", "王^小东"), (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"))
    for number, (charset, name) in enumerate(names):
        sources = make_series(tmp_path / f"{number}", 1, 6, 5, SpecificCharacterSet=charset, PatientName=name, SeriesDescription="T2")
        (written,) = write_derived(sources, tmp_path / "out")
        assert read(written).PatientName == name
        assert read(written).SeriesDescription == "T2 OneNEX"


def test_rerunning_changes_nothing_but_the_clock(tmp_path: Path) -> None:
    sources = make_series(tmp_path / "in", 2, 6, 5)
    first, again = write_derived(sources, tmp_path / "a"), write_derived(sources, tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    series = series_of(sources)
    (tmp_path / "later").mkdir()
    writer = DerivedSeriesWriter(series=series, source=DicomSource(), folder=tmp_path / "later", provenance=PROVENANCE)
    writer.write(series.stacks[0], darker(series.source.images(series.stacks[0])))
    later = set(differences(read(first[0]), read(writer.close()[0])))
    assert later <= {"InstanceCreationDate", "InstanceCreationTime", "ContributingEquipmentSequence.ContributionDateTime"}
    assert later


@pytest.mark.skipif(not Path("/dev/full").exists() or os.geteuid() != 0, reason="needs /dev/full and the right to link to it")
def test_a_full_disk_is_an_os_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = make_series(tmp_path / "in", 1, 64, 64)
    series = series_of(sources)
    writer = DerivedSeriesWriter(series=series, source=DicomSource(), folder=tmp_path, provenance=PROVENANCE)
    (next(tmp_path.glob("1*")) / "IM0001.dcm").symlink_to("/dev/full")
    stack = series.stacks[0]
    with pytest.raises(OSError, match="No space left"):
        writer.write(stack, series.source.images(stack))
