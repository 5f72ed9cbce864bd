"""Files get into the spool whole or not at all, and never outside it."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onenex.errors import NodeError
from onenex.node.database.spool import NoRoom, Spool, dataset_digest, safe_name
from tests.node.arriving import encoded

REPOSITORY = Path(__file__).resolve().parents[2]
_HOSTILE = st.one_of(
    st.text(max_size=80),
    st.text(alphabet="./\\~0x1", max_size=70),
    st.sampled_from(["..", "../../etc/passwd", "/etc/passwd", "1.2/../3", "1..2", ".1", "1.", "", "1.2\n", "1.2\0", "C:\\x", "１.２", "1" * 65]),
)


@given(uid=_HOSTILE)
def test_names_never_leave_their_folder(uid: str) -> None:
    name = safe_name(uid)
    assert Path("/spool", name).parent == Path("/spool")
    assert name not in ("", ".", "..")
    assert set(name) <= set("0123456789.abcdefx")
    assert len(name) <= 64
    assert os.path.normpath(f"/spool/{name}") == f"/spool/{name}"


@given(uid=st.from_regex(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}", fullmatch=True))
def test_a_uid_is_its_own_name(uid: str) -> None:
    assert safe_name(uid) == uid


@given(one=_HOSTILE, other=_HOSTILE)
def test_different_uids_have_different_names(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) is (one == other)


@given(parts=st.lists(st.binary(max_size=100), max_size=5))
def test_received_bytes_are_the_files(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool"))
    temporary = spool.receive(parts)
    assert temporary.parent == spool.incoming
    assert temporary.read_bytes() == b"".join(parts)
    assert temporary.stat().st_mode & 0o077 == 0


def test_hostile_uids_are_placed_inside(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "node")
    path = spool.place(spool.receive([encoded(1)]), "../../..", "/etc", "..", "ab" * 32)
    assert path.resolve().is_relative_to(spool.instances)
    assert [one.name for one in tmp_path.iterdir()] == ["node"]


def test_same_data_set_is_kept_once_whatever_its_file_meta(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    first = spool.receive([encoded(1)])
    digest = dataset_digest(first)
    placed = spool.place(first, "1", "2", "3", digest)
    second = spool.receive([encoded(1).replace(b"SCANNER ", b"BACKUP  ")])
    assert second.read_bytes() != placed.read_bytes()
    assert spool.place(second, "1", "2", "3", digest) == placed
    assert list(spool.stored()) == [placed]
    assert list(spool.incoming.iterdir()) == []


def test_other_data_set_under_a_taken_name_gets_its_own(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    paths = []
    for pixels in (b"\1\2", b"\3\4", b"\5\6"):
        temporary = spool.receive([encoded(1, pixels=pixels)])
        digest = dataset_digest(temporary)
        paths.append(spool.place(temporary, "1", "2", "3", digest))
        assert dataset_digest(paths[-1]) == digest
    assert paths[0].name == "3.dcm"
    assert [path.name[:2] for path in paths[1:]] == ["3~", "3~"]
    assert len(set(paths)) == 3


def test_many_threads_placing_under_one_name_lose_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    start = threading.Barrier(8)

    def place(number: int) -> tuple[Path, str]:
        temporary = spool.receive([encoded(1, pixels=bytes([number % 3, 0]))])
        digest = dataset_digest(temporary)
        start.wait()
        return spool.place(temporary, "1", "2", "3", digest), digest

    with ThreadPoolExecutor(8) as threads:
        placed = list(threads.map(place, range(8)))
    assert all(dataset_digest(path) == digest for path, digest in placed)
    assert len({path for path, _ in placed}) == 3


def test_folder_that_retention_took_away_is_made_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    first = spool.place(spool.receive([encoded(1)]), "1", "2", "3", "ab" * 32)
    first.unlink()
    first.parent.rmdir()
    assert spool.place(spool.receive([encoded(1)]), "1", "2", "3", "ab" * 32).is_file()


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoRoom, match="full"):
        spool.receive([b"x" * 100])
    assert list(spool.incoming.iterdir()) == []


def test_reserve_is_kept(tmp_path: Path) -> None:
    with pytest.raises(NoRoom, match="reserve"):
        Spool(tmp_path, reserve_bytes=2**62).receive([b"x"])
    assert list((tmp_path / "incoming").iterdir()) == []


def test_sender_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)

    def parts() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionAbortedError

    with pytest.raises(NodeError):
        spool.receive(parts())
    assert list(spool.incoming.iterdir()) == []


def test_sweep_takes_what_dead_processes_left_and_nothing_else(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    mine = spool.receive([b"alive"])
    code = f"from pathlib import Path; from onenex.node.database.spool import Spool; Spool(Path({str(tmp_path)!r})).receive([b'dead'])"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=REPOSITORY)
    assert len(list(spool.incoming.iterdir())) == 2
    assert spool.sweep(3600) == 0
    assert spool.sweep(0) == 1
    assert list(spool.incoming.iterdir()) == [mine]


def test_digest_of_what_is_no_dicom_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"y" * 500)
    with pytest.raises(NodeError, match="no DICOM file"):
        dataset_digest(tmp_path / "x")
