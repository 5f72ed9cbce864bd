"""An output folder appears whole, or not at all."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from onenex.errors import DataError
from onenex.output import atomic_folder


def fill(folder: Path, text: str = "new") -> None:
    (folder / "series").mkdir()
    (folder / "series" / "a.txt").write_text(text)


def make(target: Path, action: Callable[[Path], object], *, overwrite: bool = False, expected_bytes: int | None = None) -> None:
    with atomic_folder(target, overwrite=overwrite, expected_bytes=expected_bytes) as folder:
        fill(folder)
        action(folder)


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "made" / "on the way" / "out"
    with atomic_folder(target) as folder:
        fill(folder)
        assert not target.exists()
        assert folder.stat().st_dev == tmp_path.stat().st_dev
    assert contents(target) == ["series", "series/a.txt"]
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_permissions_are_the_usual_ones(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with atomic_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_takes_over_an_empty_folder(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with atomic_folder(target) as folder:
        fill(folder)
    assert contents(target) == ["series", "series/a.txt"]
    assert contents(tmp_path) == ["out", "out/series", "out/series/a.txt"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3)], ids=lambda e: type(e).__name__)
def test_nothing_is_left_after_an_exception(tmp_path: Path, error: BaseException) -> None:
    def stop(folder: Path) -> None:
        raise error

    with pytest.raises(type(error)):
        make(tmp_path / "made" / "out", stop)
    assert contents(tmp_path) == []


def test_an_old_folder_survives_an_exception(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    fill(tmp_path / "out", "old")

    def stop(folder: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "out", stop, overwrite=True)
    assert contents(tmp_path) == ["out", "out/series", "out/series/a.txt"]
    assert (tmp_path / "out/series/a.txt").read_text() == "old"


def test_refuses_a_folder_with_something_in_it_unless_told(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").touch()
    with pytest.raises(DataError, match="exists and is not empty"), atomic_folder(tmp_path / "out"):
        pass
    with atomic_folder(tmp_path / "out", overwrite=True) as folder:
        fill(folder)
    assert contents(tmp_path) == ["out", "out/series", "out/series/a.txt"]


def test_never_overwrites_the_folder_that_holds_the_input(tmp_path: Path) -> None:
    scan = tmp_path / "out" / "scan"
    scan.mkdir(parents=True)
    with pytest.raises(DataError, match=r"holds .* will not be overwritten"), atomic_folder(tmp_path / "out", overwrite=True, protect=[scan]):
        pass
    assert scan.is_dir()


def test_never_overwrites_home_or_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "sub")
    with pytest.raises(DataError, match="will not be overwritten"), atomic_folder(tmp_path / "work", overwrite=True):
        pass
    monkeypatch.setenv("HOME", str(tmp_path / "work" / "sub"))
    monkeypatch.chdir("/")
    with pytest.raises(DataError, match="will not be overwritten"), atomic_folder(tmp_path / "work", overwrite=True):
        pass


def test_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(DataError, match="is a file"), atomic_folder(tmp_path / "out"):
        pass
    with pytest.raises(DataError, match="cannot make the folder"), atomic_folder(tmp_path / "out" / "below"):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody can write: /proc")
def test_says_that_it_cannot_write() -> None:
    with pytest.raises(DataError, match="choose an output folder that you may write to"), atomic_folder(Path("/proc/onenex-out")):
        pass


@pytest.mark.parametrize("wrapped", [False, True])
def test_says_that_the_disk_is_full(tmp_path: Path, wrapped: bool) -> None:
    def full_disk(folder: Path) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            if wrapped:
                raise OSError("With tag ... got exception") from error
            raise

    with pytest.raises(DataError, match=r"disk of .* is full: the output needs about 5\.0 MB"):
        make(tmp_path / "out", full_disk, expected_bytes=5_000_000)
    assert contents(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_really_full_device(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "image").symlink_to("/dev/full")
        (folder / "image").write_text("x")

    with pytest.raises(DataError, match="is full"):
        make(tmp_path / "out", write)
    assert contents(tmp_path) == []


def test_refuses_at_once_what_cannot_fit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs about .* has .* left"), atomic_folder(tmp_path / "out", expected_bytes=10**18):
        pass
    assert contents(tmp_path) == []


def test_a_mount_point_is_filled_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    target.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda self: self == target)
    with atomic_folder(target) as folder:
        assert folder.parent == target
        fill(folder)
    assert contents(target) == ["series", "series/a.txt"]
