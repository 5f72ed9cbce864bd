"""The index of a DICOM tree: what is read, what is not read again, what survives a kill, and what is said of the rest."""

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from onenex.errors import DataError
from onenex.pairs import archive
from onenex.pairs.archive import scan, volumes
from onenex.volume import Volume
from tests.dicom.make import make_series, save

STUDY = "1.2.826.0.1.3680043.8.498.77"


def made(tree: Path, name: str, number: int = 1, n_slices: int = 4, **attrs: object) -> list[Path]:
    """A series of its own folder, in one study of one patient unless told otherwise."""
    known = {"PatientID": "P1", "StudyInstanceUID": STUDY, "SeriesNumber": number, "SeriesDescription": name}
    return make_series(tree / name, n_slices, seed=number, **(known | attrs))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three series of two patients."""
    root = tmp_path / "tree"
    made(root, "one", 1)
    made(root, "two", 2, n_slices=5)
    made(root / "deep" / "er", "three", 3, PatientID="P0", StudyInstanceUID=STUDY + ".1")
    return root


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


def names(index: Path) -> list[str]:
    return [one.description for one in volumes(index)]


def files_opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that scans open from now on, on either level."""
    opened: list[Path] = []
    look, read = archive.glances, archive.read_volumes

    def looking(paths: Sequence[Path]) -> object:
        listed = list(paths)
        opened.extend(listed)
        return look(listed)

    def reading(paths: Sequence[Path]) -> object:
        listed = list(paths)
        opened.extend(listed)
        return read(listed)

    monkeypatch.setattr(archive, "glances", looking)
    monkeypatch.setattr(archive, "read_volumes", reading)
    return opened


def test_everything_is_found_and_ordered(tree: Path, index: Path) -> None:
    calls: list[tuple[int, int]] = []
    found = scan(tree, index, progress=lambda done, total: calls.append((done, total)))
    assert (found.n_files, found.n_new, found.n_unchanged, found.n_gone) == (13, 13, 0, 0)
    assert (found.n_dicom, found.n_unreadable, found.n_series, found.n_series_read, found.n_volumes) == (13, 0, 3, 3, 3)
    everything = list(volumes(index))
    assert [(one.patient, one.description, len(one.stack.frames)) for one in everything] == [("P0", "three", 4), ("P1", "one", 4), ("P1", "two", 5)]
    assert all(ref.path.is_file() and ref.path.is_relative_to(tree) for one in everything for ref in one.stack.frames)
    assert calls == sorted(calls)
    assert calls[-1] == (26, 26)


def test_a_second_scan_opens_nothing(tree: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan(tree, index)
    before, opened = list(volumes(index)), files_opened(monkeypatch)
    found = scan(tree, index)
    assert (found.n_files, found.n_new, found.n_unchanged, found.n_series_read, opened) == (13, 0, 13, 0, [])
    assert list(volumes(index)) == before


def test_only_the_series_of_a_changed_file_is_read_again(tree: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan(tree, index)
    for path in (tree / "one").iterdir():
        dataset = dcmread(path)
        dataset.SeriesDescription = "renamed"
        save(dataset, path)
    opened = files_opened(monkeypatch)
    found = scan(tree, index)
    assert (found.n_new, found.n_series_read) == (4, 1)
    assert {path.parent.name for path in opened} == {"one"}
    assert names(index) == ["three", "renamed", "two"]


def test_vanished_files_are_forgotten_and_their_series_made_anew(tree: Path, index: Path) -> None:
    scan(tree, index)
    (tree / "two" / "im0004.dcm").unlink()
    shutil.rmtree(tree / "one")
    found = scan(tree, index)
    assert (found.n_files, found.n_new, found.n_gone, found.n_series, found.n_series_read) == (8, 0, 5, 2, 1)
    assert [(one.description, len(one.stack.frames)) for one in volumes(index)] == [("three", 4), ("two", 4)]


def test_a_new_file_joins_its_series(tree: Path, index: Path) -> None:
    last = tree / "two" / "im0004.dcm"
    kept = last.read_bytes()
    last.unlink()
    scan(tree, index)
    (tree / "elsewhere").mkdir()
    (tree / "elsewhere" / "lost and found").write_bytes(kept)
    assert scan(tree, index).n_series_read == 1
    assert [len(one.stack.frames) for one in volumes(index)] == [4, 4, 5]


@pytest.mark.parametrize("step", [1, 3, 6, 8])
def test_a_kill_at_any_batch_loses_nothing(tree: Path, index: Path, step: int, tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from onenex.pairs import archive
archive.BATCH = 3
calls = []
def progress(done, total):
    calls.append(done)
    if len(calls) == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
archive.scan(Path({str(tree)!r}), Path({str(index)!r}), progress=progress)
"""
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    found = scan(tree, index)
    assert found.n_new == max(0, 13 - 3 * step)
    scan(tree, tmp_path / "fresh.sqlite")
    assert list(volumes(index)) == list(volumes(tmp_path / "fresh.sqlite"))
    assert scan(tree, index).n_series_read == 0


def test_worker_processes_find_the_same(tree: Path, index: Path, tmp_path: Path) -> None:
    alone = scan(tree, index)
    helped = scan(tree, tmp_path / "helped.sqlite", workers=1)
    assert replace(alone, seconds=0) == replace(helped, seconds=0)
    assert list(volumes(index)) == list(volumes(tmp_path / "helped.sqlite"))


def test_litter_is_counted_and_left_alone(tree: Path, index: Path) -> None:
    scan(tree, index)
    (tree / "notes.txt").write_text("hello")
    (tree / "empty.dcm").touch()
    (tree / "._one.dcm").write_bytes(b"\0" * 200)
    (tree / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM" + b"\2\0\0\0UL\4\0\0\0\0\0")
    with zipfile.ZipFile(tree / "export.zip", "w") as packed:
        packed.write(tree / "one" / "im0000.dcm", "im0000.dcm")
    os.mkfifo(tree / "pipe")
    found = scan(tree, index)
    assert (found.n_files, found.n_new, found.n_dicom, found.n_archives, found.n_other, found.n_unreadable) == (17, 4, 13, 1, 2, 1)
    assert scan(tree, index).n_new == 0


def test_links_are_followed_once_and_circles_end(tree: Path, index: Path, tmp_path: Path) -> None:
    made(tmp_path / "store", "outside", 9)
    (tree / "a link").symlink_to(tmp_path / "store", target_is_directory=True)
    (tree / "deep" / "circle").symlink_to(tree, target_is_directory=True)
    (tree / "itself").symlink_to(tree / "itself")
    (tree / "nowhere").symlink_to(tree / "gone")
    found = scan(tree, index)
    assert (found.n_files, found.n_links, found.n_copies) == (17, 3, 0)
    assert "outside" in names(index)


def test_what_may_not_be_read_is_counted_and_tried_again(tree: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions are played, for root has them all."""
    really_open, really_list = Path.open, os.scandir

    def opened(path: Path, *mode: str) -> IO[Any]:
        if path == tree / "one" / "im0000.dcm":
            raise PermissionError(13, "Permission denied")
        return really_open(path, *mode)

    def listed(path: bytes) -> object:
        if path == os.fsencode(tree / "two"):
            raise PermissionError(13, "Permission denied")
        return really_list(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        patch.setattr(os, "scandir", listed)
        found = scan(tree, index)
    assert (found.n_denied, found.n_unreadable, found.n_dicom, found.n_series) == (1, 1, 7, 2)
    assert (scan(tree, index).n_new, len(names(index))) == (6, 3)


def test_copies_of_an_instance_count_once_and_damage_in_one_spoils_nothing(tree: Path, index: Path) -> None:
    shutil.copytree(tree / "one", tree / "Kopie (2)")
    scan(tree, index)
    assert [len(one.stack.frames) for one in volumes(index)] == [4, 4, 5]
    for path in (tree / "Kopie (2)").iterdir():
        path.write_bytes(path.read_bytes()[:-40])
    found = scan(tree, index)
    assert (found.n_copies, found.n_series, found.n_unreadable) == (4, 3, 0)
    (one,) = (one for one in volumes(index) if one.description == "one")
    assert (one.refused, {ref.path.parent.name for ref in one.stack.frames}) == ("", {"one"})


def test_damage_refuses_a_series_without_naming_its_files(tree: Path, index: Path) -> None:
    bad = tree / "one" / "MUELLER^HANS.dcm"
    (tree / "one" / "im0002.dcm").rename(bad)
    bad.write_bytes(bad.read_bytes()[:-40])
    found = scan(tree, index)
    (one,) = (one for one in volumes(index) if one.description == "one")
    assert found.n_unreadable == 1
    assert one.refused.startswith("1 of its 4 files damaged")
    assert "MUELLER" not in one.refused


def test_one_series_uid_in_two_studies_stays_apart(tree: Path, index: Path) -> None:
    uid = str(generate_uid())
    made(tree, "here", 7, SeriesInstanceUID=uid)
    made(tree, "there", 8, SeriesInstanceUID=uid, StudyInstanceUID=STUDY + ".9", PatientID="P9")
    scan(tree, index)
    assert [(one.patient, len(one.stack.frames)) for one in volumes(index) if one.series_uid == uid] == [("P1", 4), ("P9", 4)]


def test_a_moved_tree_needs_no_reading(tree: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan(tree, index)
    moved = tree.rename(tree.with_name("moved"))
    opened = files_opened(monkeypatch)
    assert (scan(moved, index).n_new, opened) == (0, [])
    assert all(ref.path.is_file() for one in volumes(index) for ref in one.stack.frames)


def test_names_need_not_be_utf_8(tree: Path, index: Path) -> None:
    strange = os.fsencode(tree) + b"/Gr\xf6\xdfe \xff"
    os.rename(os.fsencode(tree / "one"), strange)  # noqa: PTH104 - a name in bytes
    assert scan(tree, index).n_dicom == 13
    assert all(ref.path.is_file() for one in volumes(index) for ref in one.stack.frames)
    assert scan(tree, index).n_new == 0


def test_the_index_is_for_its_owner_alone_and_no_part_of_the_tree(tree: Path) -> None:
    found = scan(tree, index := tree / "deep" / "index.sqlite")
    assert stat.S_IMODE(index.stat().st_mode) == 0o600
    assert (found.n_files, scan(tree, index).n_files) == (13, 13)


def test_what_is_stored_comes_back_as_it_was(tree: Path, index: Path) -> None:
    made(tree, "odd", 12, PixelSpacing=None, PatientID="Ünï ^^^ 王")
    scan(tree, index)
    read: list[Volume] = []
    for folder in (tree / "deep" / "er" / "three", tree / "one", tree / "two"):
        read += archive.read_volumes(folder.iterdir()).volumes
    assert [one for one in volumes(index) if one.description != "odd"] == read
    assert {type(one.stack.frames) for one in volumes(index)} == {tuple}
    assert [one.geometry is None for one in volumes(index) if one.description == "odd"] == [True]


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be taken for a header" * 20, None])
def test_an_index_that_is_something_else_is_left_alone(tree: Path, index: Path, content: bytes | None) -> None:
    if content is None:
        with sqlite3.connect(index) as db:
            db.execute("CREATE TABLE holiday (photo BLOB)")
        db.close()
    else:
        index.write_bytes(content)
    before = index.read_bytes()
    with pytest.raises(DataError, match="give another name"):
        scan(tree, index)
    with pytest.raises(DataError, match="give another name"):
        list(volumes(index))
    assert index.read_bytes() == before


def test_a_tree_or_an_index_that_is_missing_is_said(tmp_path: Path, index: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        scan(tmp_path / "gone", index)
    with pytest.raises(DataError, match="scan the archive first"):
        list(volumes(index))
    made(tmp_path / "tree", "one")
    with pytest.raises(DataError, match="worker processes"):
        scan(tmp_path / "tree", index, workers=-1)


def test_nothing_of_a_patient_is_logged(tree: Path, index: Path, caplog: pytest.LogCaptureFixture) -> None:
    made(tree, "geheim", 12, PatientID="SECRET", PatientName="Quastenflosser^Ottilie")
    (tree / "geheim" / "im0000.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 900)
    with caplog.at_level("DEBUG"):
        assert scan(tree, index).n_unreadable == 1
        list(volumes(index))
    assert not any(word in caplog.text for word in ("SECRET", "Quastenflosser", "geheim", STUDY, str(tree)))
