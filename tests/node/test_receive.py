"""The receiver keeps what it is sent, byte for byte, and says yes only once it has."""

import hashlib
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE

from onenex.errors import NodeError
from onenex.node.database.spool import dataset_digest
from onenex.node.queue import Queue
from onenex.node.records import Arrival, Outcome
from onenex.node.scp.listener import Server
from tests.dicom.make import make_enhanced, make_series
from tests.node import raw
from tests.node.receiving import Stock, receiver

SYNTAXES = (
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless, JPEGLSLossless, RLELossless,
)  # fmt: skip
CLASSES = (
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.88.11",
    "1.2.840.10008.5.1.4.1.1.66",
    "1.3.12.2.1107.5.9.1",
    "1.2.840.99.1",
)
"""Enhanced MR, CT, text report, raw data, a vendor's own, one that nobody knows."""
ECHO = [pytest.param(("echoscu", "dcmtk"), marks=pytest.mark.debian)]
STORE = [pytest.param(("storescu", "dcmtk"), marks=pytest.mark.debian)]
SUCCESS, DUPLICATE, OUT_OF_RESOURCES, DOES_NOT_MATCH, NOT_UNDERSTOOD = 0x0000, 0x0111, 0xA700, 0xA900, 0xC000


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[tuple[Server, Stock]]:
    with receiver(tmp_path) as both:
        yield both


def test_echo_of_pynetdicom(scene: tuple[Server, Stock]) -> None:
    ae = AE("SCANNER")
    ae.add_requested_context(raw.ECHO)
    association = ae.associate("127.0.0.1", scene[0].port, ae_title="ONENEX")
    assert association.send_c_echo().Status == SUCCESS
    association.release()


@pytest.mark.parametrize("debian_program", ECHO, indirect=True)
def test_echo_of_dcmtk(debian_program: str, scene: tuple[Server, Stock]) -> None:
    subprocess.run([debian_program, "-aet", "SCANNER", "-aec", "ONENEX", "127.0.0.1", str(scene[0].port)], check=True, timeout=60)


@pytest.mark.parametrize("debian_program", STORE, indirect=True)
@pytest.mark.parametrize(
    ("syntax", "options"),
    [(ImplicitVRLittleEndian, ["-xi"]), (ExplicitVRLittleEndian, ["-xe"]), (JPEG2000Lossless, ["-xv", "-R"]), (RLELossless, ["-xr", "-R"])],
)
def test_series_of_storescu(debian_program: str, scene: tuple[Server, Stock], tmp_path: Path, syntax: UID, options: Sequence[str]) -> None:
    server, stock = scene
    files = make_series(tmp_path / "scans", 3, 64, 64, transfer_syntax=syntax)
    files.append(make_enhanced(tmp_path / "scans" / "enhanced.dcm", 2, 64, 64, transfer_syntax=syntax))
    command = [debian_program, "-aet", "SCANNER", "-aec", "ONENEX", *options, "127.0.0.1", str(server.port), *map(str, files)]
    subprocess.run(command, check=True, timeout=60)
    sent = {str(dcmread(path).SOPInstanceUID): path for path in files}
    assert stock.rows().keys() == sent.keys()
    assert stock.is_sound()
    for uid, kept in stock.rows().items():
        before, after = dcmread(sent[uid]), dcmread(kept)
        assert after.file_meta.TransferSyntaxUID == syntax
        assert after.PixelData == before.PixelData
        if syntax in (ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless):  # dcmtk writes these anew, with the same bytes
            assert after == before


def bytes_of(path: Path) -> bytes:
    """The encoded data set of a file."""
    content = path.read_bytes()
    return content[144 + int.from_bytes(content[140:144], "little") :]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_bytes_of_every_transfer_syntax(scene: tuple[Server, Stock], tmp_path: Path, syntax: UID) -> None:
    server, stock = scene
    (classic,) = make_series(tmp_path / "a", 1, 64, 64, transfer_syntax=syntax)
    enhanced = make_enhanced(tmp_path / "e.dcm", 3, 64, 64, transfer_syntax=syntax)
    with raw.calling(server.port) as caller:
        files = {}
        meta = [dcmread(path, stop_before_pixels=True) for path in (classic, enhanced)]
        assert caller.associate([(one.SOPClassUID, syntax) for one in meta]) == raw.ASSOCIATE_AC
        assert all(caller.accepted.values())
        for number, (path, one) in enumerate(zip((classic, enhanced), meta, strict=True)):
            files[str(one.SOPInstanceUID)] = path
            assert caller.store(one.SOPClassUID, one.SOPInstanceUID, bytes_of(path), context=2 * number + 1, piece=999) == SUCCESS
        caller.release()
    assert stock.is_sound()
    for uid, path in stock.rows().items():
        kept = dcmread(path)
        assert bytes_of(path) == bytes_of(files[uid])
        assert (kept.file_meta.TransferSyntaxUID, kept.file_meta.MediaStorageSOPInstanceUID) == (syntax, uid)
        assert (kept.file_meta.SourceApplicationEntityTitle, kept.file_meta.MediaStorageSOPClassUID) == ("SCANNER", kept.SOPClassUID)
        assert dcmread(files[uid]).pixel_array.tobytes() == kept.pixel_array.tobytes()
    assert len(stock.files()) == 2


@pytest.mark.parametrize("sop_class", CLASSES)
def test_any_storage_class(scene: tuple[Server, Stock], sop_class: str) -> None:
    server, stock = scene
    data = raw.data_set("1.2.3.4", sop_class=sop_class)
    assert raw.store(server.port, "1.2.3.4", data, sop_class=sop_class) == SUCCESS
    assert stock.digests() == {"1.2.3.4": hashlib.sha256(data).hexdigest()}


def test_unknown_transfer_syntax_is_kept(scene: tuple[Server, Stock], tmp_path: Path) -> None:
    """A codec of the future is explicit little endian outside the pixels, like all since 1993."""
    server, stock = scene
    (path,) = make_series(tmp_path / "a", 1)
    uid = str(dcmread(path).SOPInstanceUID)
    assert raw.store(server.port, uid, bytes_of(path), syntax="1.2.840.10008.1.2.4.999") == SUCCESS
    assert bytes_of(stock.rows()[uid]) == bytes_of(path)


def test_large_object_takes_the_way_over_the_disk(scene: tuple[Server, Stock]) -> None:
    server, stock = scene
    data = raw.data_set("1.2.3.4", pixels=os.urandom(5 * 2**20))
    assert raw.store(server.port, "1.2.3.4", data) == SUCCESS
    assert bytes_of(stock.rows()["1.2.3.4"]) == data
    assert stock.is_sound()


def test_same_image_twice(scene: tuple[Server, Stock]) -> None:
    server, stock = scene
    data = raw.data_set("1.2.3.4")
    assert [raw.store(server.port, "1.2.3.4", data) for _ in range(3)] == [SUCCESS] * 3
    assert len(stock.files()) == len(stock.rows()) == 1
    assert stock.queue.view()[0].n_images == 1


def test_same_uid_with_other_pixels(scene: tuple[Server, Stock]) -> None:
    server, stock = scene
    first = raw.data_set("1.2.3.4")
    assert raw.store(server.port, "1.2.3.4", first) == SUCCESS
    assert raw.store(server.port, "1.2.3.4", raw.data_set("1.2.3.4", pixels=b"\3\4")) == DUPLICATE
    elsewhere = raw.data_set("1.2.3.4", series="1.2.3.2", pixels=b"\5\6")
    assert raw.store(server.port, "1.2.3.4", elsewhere) == DUPLICATE
    assert [bytes_of(path) for path in stock.files()] == [first]
    assert stock.is_sound()
    assert len(stock.queue.view()) == 1


def test_same_image_on_twelve_associations_at_once(scene: tuple[Server, Stock]) -> None:
    server, stock = scene
    data = raw.data_set("1.2.3.4", pixels=b"\7" * 200_000)
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(raw.store(server.port, "1.2.3.4", data))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert statuses == [SUCCESS] * 12
    assert len(stock.files()) == 1
    assert stock.is_sound()


GOOD = raw.data_set("1.2.3.4")
BROKEN = {
    "garbage": (os.urandom(300), NOT_UNDERSTOOD),
    "nothing": (b"", NOT_UNDERSTOOD),
    "cut off within the UIDs": (GOOD[:70], NOT_UNDERSTOOD),
    "explicit though implicit was agreed on": (b"\x08\x00\x16\x00UI\x04\x001.2\0" + GOOD, NOT_UNDERSTOOD),
    "another instance": (raw.data_set("1.2.3.5"), DOES_NOT_MATCH),
    "another class": (raw.data_set("1.2.3.4", sop_class="1.2.840.10008.5.1.4.1.1.2"), DOES_NOT_MATCH),
    "no study": (raw.data_set("1.2.3.4", study=""), NOT_UNDERSTOOD),
    "a sequence that never ends": (b"\x08\x00\x40\x11\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff" * 40, NOT_UNDERSTOOD),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_object(scene: tuple[Server, Stock], name: str) -> None:
    server, stock = scene
    data, status = BROKEN[name]
    with raw.calling(server.port) as caller:
        caller.associate([(raw.MR, raw.IMPLICIT)])
        assert caller.store(raw.MR, "1.2.3.4", data) == status
        assert not stock.files()
        assert caller.store(raw.MR, "1.2.3.4", GOOD) == SUCCESS, "the association goes on"
    assert stock.is_sound()


def test_no_data_set(scene: tuple[Server, Stock]) -> None:
    server, stock = scene
    with raw.calling(server.port) as caller:
        caller.associate([(raw.MR, raw.IMPLICIT)])
        caller.send(raw.fragment(raw.store_rq(raw.MR, "1.2.3.4", data_set=False), command=True))
        assert caller.answer() == NOT_UNDERSTOOD
    assert not stock.files()


def test_no_promise_without_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def failing(self: Queue, arrivals: Sequence[Arrival]) -> list[Outcome]:
        raise NodeError("the database is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Queue, "register", failing)
        with receiver(tmp_path) as (server, stock):
            assert raw.store(server.port, "1.2.3.4", GOOD) == OUT_OF_RESOURCES
            assert not stock.rows()
    with receiver(tmp_path) as (server, stock):
        assert raw.store(server.port, "1.2.3.4", GOOD) == SUCCESS
        assert stock.is_sound()


def test_no_promise_of_what_the_disk_does_not_take(monkeypatch: pytest.MonkeyPatch, scene: tuple[Server, Stock]) -> None:
    server, stock = scene

    def failing(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        assert raw.store(server.port, "1.2.3.4", GOOD) == OUT_OF_RESOURCES
    assert not stock.rows()
    assert not stock.files()
    assert not stock.half()
    assert raw.store(server.port, "1.2.3.4", GOOD) == SUCCESS


def test_order_of_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Bytes on the disk, name on the disk, row committed; then the answer."""
    steps: list[str] = []
    fsync, register = os.fsync, Queue.register

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        is_file = Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".part"
        steps.append("bytes" if is_file else "name")

    def noted_register(self: Queue, arrivals: Sequence[Arrival]) -> list[Outcome]:
        assert all(dataset_digest(one.path) == one.digest for one in arrivals)
        outcomes = register(self, arrivals)
        assert self.view()[0].n_images == 1, "committed: another connection sees it"
        steps.append("row")
        return outcomes

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Queue, "register", noted_register)
    with receiver(tmp_path) as (server, stock), raw.calling(server.port) as caller:
        caller.associate([(raw.MR, raw.IMPLICIT)])
        steps.clear()
        assert caller.store(raw.MR, "1.2.3.4", GOOD) == SUCCESS
        steps.append("answer")
        assert stock.is_sound()
    assert steps[0] == "bytes"
    assert steps[-2:] == ["row", "answer"]
    assert set(steps[1:-2]) == {"name"}
