"""Where series come from: files, folders, DICOMDIR, zip archives; and every path that is none of these."""

import io
import os
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.fileset import FileSet
from pydicom.uid import ImplicitVRLittleEndian

from onenex.dicom import files, read_series
from onenex.errors import DataError
from tests.dicom.make import make_series


def zipped(target: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return target


def write_disc(paths: Iterable[Path], folder: Path) -> None:
    """Write a DICOMDIR and its files, as a burnt disc has them."""
    fileset = FileSet()
    for path in paths:
        fileset.add(path)
    fileset.write(folder)
    fileset._stage["t"].cleanup()  # else its collection warns, in whatever test runs then


def test_folder_is_searched_to_any_depth_and_other_files_are_ignored(tmp_path: Path) -> None:
    make_series(tmp_path / "a" / "b" / "c", 2)
    (tmp_path / "readme.txt").write_text("text")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n" + bytes(200))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "a" / "._im0000.dcm").write_bytes(b"mac")
    (series,) = read_series(str(tmp_path))
    assert series.n_images == 2


def test_file_without_preamble_and_meta(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, 1, transfer_syntax=ImplicitVRLittleEndian)
    dataset = dcmread(path)
    buffer = io.BytesIO()
    dataset.preamble, dataset.file_meta = None, type(dataset.file_meta)()
    dataset.save_as(buffer, enforce_file_format=False, implicit_vr=True, little_endian=True)
    bare = tmp_path / "bare"
    bare.write_bytes(buffer.getvalue())
    (series,) = read_series(bare)
    assert series.skip_reason is None
    assert series.source.images(series.stacks[0]).shape == (1, 32, 24)


@pytest.mark.parametrize("name", ["ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm"])
def test_pydicoms_files_without_meta_are_recognised(name: str) -> None:
    (series,) = read_series(get_testdata_file(name, download=False))
    assert series.skip_reason is not None
    assert "not MR" in series.skip_reason


def test_dicomdir(tmp_path: Path) -> None:
    sources = make_series(tmp_path / "in", 3, SeriesInstanceUID="1.2.3")
    make_series(tmp_path / "in", 2, SeriesInstanceUID="1.2.4", prefix="other")
    write_disc(sources, tmp_path / "disc")
    (series,) = read_series(tmp_path / "disc" / "DICOMDIR")
    assert (series.uid, series.n_images) == ("1.2.3", 3)
    (again,) = read_series(tmp_path / "disc")
    assert again.n_images == 3


def test_dicomdir_copied_in_another_case(tmp_path: Path) -> None:
    write_disc(make_series(tmp_path / "in", 2), tmp_path / "disc")
    for base, folders, names in os.walk(tmp_path / "disc", topdown=False):
        for name in names + folders:
            (Path(base) / name).rename(Path(base) / name.lower())
    (series,) = read_series(tmp_path / "disc" / "dicomdir")
    assert series.n_images == 2


def test_pydicoms_dicomdir() -> None:
    series = read_series(get_testdata_file("dicomdirtests/DICOMDIR", download=False))
    assert len(series) == 13
    assert sum(one.n_images for one in series) == 31


def test_dicomdir_without_its_files(tmp_path: Path) -> None:
    lonely = tmp_path / "DICOMDIR"
    lonely.write_bytes(Path(get_testdata_file("TINY_ALPHA/DICOMDIR", download=False)).read_bytes())
    with pytest.raises(DataError, match=r"lists 50 files and none of them is beside it: copy the whole disc"):
        read_series(lonely)
    with pytest.raises(DataError, match=r"no DICOM image|is not a DICOM file"):
        read_series(tmp_path)


def test_zip_archive(tmp_path: Path) -> None:
    paths = make_series(tmp_path / "in", 3)
    archive = zipped(tmp_path / "scan.zip", {f"study/{path.name}": path.read_bytes() for path in paths} | {"__MACOSX/._x": b"mac", "a.txt": b"text"})
    (series,) = read_series(archive)
    assert (series.n_images, series.path) == (3, archive)


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist: give a DICOM file, a folder of them, a DICOMDIR or a zip archive"):
        read_series(tmp_path / "nowhere")


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty: give a folder that holds DICOM files"):
        read_series(tmp_path)


def test_folder_of_texts(tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index}.txt").write_text("text" * 100)
    with pytest.raises(DataError, match="holds 3 files, but no DICOM image: give a DICOM file"):
        read_series(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x08\x00", b"\x08\x00\x05\x00CS" + bytes(300), os.urandom(5000)])
def test_file_that_is_no_dicom(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "note.dcm"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is not a DICOM file: give a DICOM file"):
        read_series(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path, 1)
    path.chmod(0)
    with pytest.raises(DataError, match="check its permissions"):
        read_series(path)


def test_permission_error_becomes_a_data_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = make_series(tmp_path, 1)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "_read_all", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\): check its permissions"):
        read_series(path)


@pytest.mark.parametrize("name", ["../evil.dcm", "a/../../evil.dcm", "/tmp/evil.dcm", "C:\\evil.dcm", "..\\evil.dcm"])
def test_zip_that_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    archive = zipped(tmp_path / "in" / "evil.zip", {name: b"x"})
    with pytest.raises(DataError, match="unsafe and was not unpacked"):
        read_series(archive)
    assert not (tmp_path / "evil.dcm").exists()


def test_zip_with_a_link(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link.dcm")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="a link: the archive is unsafe"):
        read_series(tmp_path / "link.zip")


def test_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_UNPACKED_BYTES", 10_000)
    archive = zipped(tmp_path / "bomb.zip", {"a.dcm": bytes(20_000)})
    with pytest.raises(DataError, match=r"would unpack to 1 files of .* more than .* allows: unpack it yourself"):
        read_series(archive)


def test_damaged_zip(tmp_path: Path) -> None:
    (path,) = make_series(tmp_path / "in", 1)
    archive = zipped(tmp_path / "scan.zip", {"a.dcm": path.read_bytes()})
    content = bytearray(archive.read_bytes())
    content[200:400] = bytes(200)
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be unpacked .* give the folder"):
        read_series(archive)


def test_zip_without_dicom_leaves_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with pytest.raises(DataError, match="no DICOM image"):
        read_series(zipped(tmp_path / "texts.zip", {"a.txt": b"text", "b.txt": b"text"}))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_every_file_in_pydicoms_wheel_is_read_or_refused_in_words() -> None:
    root = Path(get_testdata_file("MR_small.dcm", download=False)).parent
    outcomes = {"accepted": 0, "skipped": 0, "refused": 0}
    for path in sorted(root.glob("*")):
        if not path.is_file():
            continue
        try:
            (series,) = read_series(path)
        except DataError as error:
            assert "give a DICOM file" in str(error)  # noqa: PT017 - the file decides which way it goes
            outcomes["refused"] += 1
            continue
        outcomes["accepted" if series.skip_reason is None else "skipped"] += 1
        if series.skip_reason is None:
            for stack in series.stacks:
                assert series.source.images(stack).shape == (len(stack.frames), stack.rows, stack.columns)
    assert outcomes["accepted"] >= 9
    assert outcomes["skipped"] >= 30
    assert outcomes["refused"] >= 3
