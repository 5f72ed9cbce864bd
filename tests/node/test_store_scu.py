import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import evt

from onenex.errors import NodeError
from onenex.node.database.spool import Spool
from onenex.node.records import Item
from onenex.node.scu import store_scu
from onenex.node.scu.store_scu import Answer, Link, NothingAccepted, PeerUnavailable
from onenex.node.scu.transcode import Transcoder
from tests.dicom.make import make_enhanced, make_series
from tests.dicom.orthanc import free_ports
from tests.node.hospital import listens, until
from tests.node.peers import digests_of, items_of, scp, silent_port

STORESCP = pytest.mark.parametrize("debian_program", [("storescp", "dcmtk")], indirect=True)


def send(folder: Path, link: Link, items: Sequence[Item], decoded_bytes: int = 10_000_000) -> list[Answer]:
    with (
        Transcoder(Spool(folder / "spool"), decoded_bytes) as transcoder,
        store_scu.associate(link, store_scu.contexts_for(items)) as association,
    ):
        return list(store_scu.store(association, items, link.timeout_s, transcoder.convert))


@contextmanager
def storescp(program: str, folder: Path, *options: str) -> Iterator[Link]:
    """Run dcmtk's storescp, which writes what it gets as it came."""
    folder.mkdir()
    (port,) = free_ports(1)
    with (folder.parent / "storescp.txt").open("w") as log:
        process = subprocess.Popen([program, "+B", "-od", str(folder), *options, str(port)], stdout=log, stderr=log)
        try:
            until(lambda: listens(port), 10, "storescp does not listen")
            yield Link(calling_ae="ONENEX", called_ae="PACS", host="127.0.0.1", port=port, timeout_s=5)
        finally:
            process.terminate()
            process.wait(10)


SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless]


@pytest.mark.debian
@STORESCP
def test_every_transfer_syntax_arrives_byte_for_byte(debian_program: str, tmp_path: Path) -> None:
    paths = [path for index, one in enumerate(SYNTAXES) for path in make_series(tmp_path / str(index), 1, 64, 64, transfer_syntax=one, seed=index)]
    items = items_of([*paths, make_enhanced(tmp_path / "enhanced" / "a.dcm")])
    with storescp(debian_program, tmp_path / "got", "+xa") as link:
        answers = send(tmp_path, link, items)
    assert [one.stored for one in answers] == [True] * 7
    assert digests_of(items_of(sorted((tmp_path / "got").iterdir()))) == digests_of(items)


@pytest.mark.debian
@STORESCP
def test_a_peer_that_takes_only_implicit_vr_gets_the_same_pixels(debian_program: str, tmp_path: Path) -> None:
    syntaxes = [JPEG2000Lossless, JPEGLSLossless, RLELossless, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian]
    items = items_of([make_series(tmp_path / one, 1, 64, 64, transfer_syntax=one, seed=len(one))[0] for one in syntaxes])
    with storescp(debian_program, tmp_path / "got", "+xi") as link:
        answers = send(tmp_path, link, items)
    assert [one.stored for one in answers] == [True] * 6
    got = {str(one.SOPInstanceUID): one for one in map(dcmread, (tmp_path / "got").iterdir())}
    for item in items:
        original = dcmread(item.path)
        assert got[item.sop_uid].file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        np.testing.assert_array_equal(got[item.sop_uid].pixel_array, original.pixel_array)
        assert [element.tag for element in got[item.sop_uid]] == [element.tag for element in original]
    assert not list((tmp_path / "spool" / "incoming").iterdir())


@pytest.mark.debian
@STORESCP
def test_refused_associations_are_explained(debian_program: str, tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "in", 1))
    with storescp(debian_program, tmp_path / "got", "--refuse") as link, pytest.raises(PeerUnavailable, match="rejects the association"):
        send(tmp_path, link, items)


@pytest.mark.debian
@STORESCP
@pytest.mark.parametrize("option", ["--abort-after", "--abort-during"])
def test_an_abort_is_no_success(debian_program: str, tmp_path: Path, option: str) -> None:
    items = items_of(make_series(tmp_path / "in", 2))
    with storescp(debian_program, tmp_path / "got", option) as link, pytest.raises(PeerUnavailable):
        send(tmp_path, link, items)


@pytest.mark.debian
@pytest.mark.parametrize("debian_program", [("dcmqrscp", "dcmtk")], indirect=True)
def test_dcmqrscp_stores_a_series(debian_program: str, tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "in", 4))
    (tmp_path / "db").mkdir()
    (port,) = free_ports(1)
    lines = ["NetworkTCPPort = " + str(port), "MaxPDUSize = 16384", "MaxAssociations = 4", "HostTable BEGIN", "HostTable END", "VendorTable BEGIN",
             "VendorTable END", "AETable BEGIN", f"PACS {tmp_path / 'db'} RW (200, 1024mb) ANY", "AETable END"]  # fmt: skip
    (tmp_path / "qr.cfg").write_text("\n".join(lines))
    with (tmp_path / "qr.txt").open("w") as log:
        process = subprocess.Popen([debian_program, "-c", str(tmp_path / "qr.cfg")], stdout=log, stderr=log)
        try:
            until(lambda: listens(port), 10, "dcmqrscp does not listen")
            answers = send(tmp_path, Link(calling_ae="ONENEX", called_ae="PACS", host="127.0.0.1", port=port, timeout_s=5), items)
        finally:
            process.terminate()
            process.wait(10)
    assert all(one.stored for one in answers)
    assert digests_of(items_of(sorted((tmp_path / "db").glob("*.dcm")) or sorted((tmp_path / "db").glob("MR*")))) == digests_of(items)


def test_one_association_and_only_the_contexts_needed(tmp_path: Path) -> None:
    items = items_of([*make_series(tmp_path / "a", 5), *make_series(tmp_path / "b", 1, transfer_syntax=RLELossless)])
    proposed = [(one.abstract_syntax, list(one.transfer_syntax)) for one in store_scu.contexts_for(items)]
    assert proposed == [(MRImageStorage, [one]) for one in (ExplicitVRLittleEndian, RLELossless, ImplicitVRLittleEndian)]
    with scp() as peer:
        assert all(one.stored for one in send(tmp_path, peer.link(), items))
    assert peer.associations == 1
    assert [syntax for _, syntax, _ in peer.received] == [ExplicitVRLittleEndian] * 6


def test_portions_fit_the_contexts_of_an_association() -> None:
    items = [Item(sop_uid=f"1.{n}", sop_class=f"1.2.{n // 2}", transfer_syntax=f"1.3.{n % 2}", path=Path("x")) for n in range(200)]
    parts = store_scu.portions(items)
    assert [one for part in parts for one in part] == items
    assert max(len(store_scu.contexts_for(part)) for part in parts) <= 127
    assert store_scu.portions(items[:2] * 500) == [items[:2] * 500]
    assert store_scu.portions([]) == []


@pytest.mark.parametrize(
    ("status", "stored", "words"),
    [
        (0x0000, True, ""), (0xB000, True, "warning B000"), (0xB006, True, "warning B006"), (0xC000, False, "cannot be understood"),
        (0xA900, False, "does not match"), (0x0122, False, "SOP class not supported"), (0x0124, False, "not authorised"), (0x0111, False, "already"),
        (0x0110, False, "refused"),
    ],
)  # fmt: skip
def test_one_bad_status_does_not_stop_the_series(tmp_path: Path, status: int, stored: bool, words: str) -> None:
    items = items_of(make_series(tmp_path / "in", 3))
    with scp(lambda number, event: status if number == 1 else 0) as peer:
        answers = send(tmp_path, peer.link(), items)
    assert [one.stored for one in answers] == [True, stored, True]
    assert words in answers[1].reason
    assert answers[1].duplicate == (status == 0x0111)


def test_out_of_resources_stops_the_series(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "in", 3))
    with scp(lambda number, event: 0xA700 if number == 1 else 0) as peer, pytest.raises(PeerUnavailable, match="out of resources"):
        send(tmp_path, peer.link(), items)
    assert len(peer.received) == 2


def hang_up(event: Any) -> None:
    event.assoc.dul.socket.close()


@pytest.mark.parametrize("way", ["abort", "close"])
def test_an_association_dropped_in_the_middle_is_no_success(tmp_path: Path, way: str) -> None:
    items = items_of(make_series(tmp_path / "in", 4))
    told: list[Answer] = []

    def drop(number: int, event: Any) -> int:
        if number == 2:
            event.assoc.abort() if way == "abort" else hang_up(event)
        return 0

    with scp(drop) as peer, pytest.raises(PeerUnavailable), store_scu.associate(peer.link(), store_scu.contexts_for(items)) as association:
        collect(store_scu.store(association, items, 5, no_convert), told)
    assert [one.item for one in told] == items[:2]


def collect(answers: Iterator[Answer], into: list[Answer]) -> None:
    for answer in answers:
        into.append(answer)  # what came before an exception is wanted


def no_convert(path: Path, syntax: str) -> Path:
    raise NodeError("must not be needed")


def test_a_peer_that_never_answers_an_image(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "in", 1))
    free = threading.Event()
    started = time.monotonic()
    with scp(lambda number, event: int(free.wait(20)) * 0) as peer:
        with pytest.raises(PeerUnavailable, match="did not answer"):
            send(tmp_path, peer.link(0.5), items)
        assert time.monotonic() - started < 5
        free.set()


def test_a_peer_that_stops_reading(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "in", 1, stored=np.zeros((1, 2600, 2600), np.uint16)))
    free = threading.Event()

    def stop_reading(event: Any) -> None:
        if type(event.pdu).__name__ == "P_DATA_TF":
            free.wait(60)

    size = items[0].path.stat().st_size
    store_scu_speed, store_scu.SLOWEST_BYTES_PER_S = store_scu.SLOWEST_BYTES_PER_S, size
    started = time.monotonic()
    try:
        with scp(handlers=[(evt.EVT_PDU_RECV, stop_reading)]) as peer:
            with pytest.raises(PeerUnavailable):
                send(tmp_path, peer.link(1.0), items)
            assert time.monotonic() - started < 15
            free.set()
    finally:
        store_scu.SLOWEST_BYTES_PER_S = store_scu_speed


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # pynetdicom leaves it to the garbage collector
def test_half_open_and_absent_peers(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "in", 1))
    (nobody,) = free_ports(1)
    with silent_port() as silent:
        for port in (nobody, silent):
            started = time.monotonic()
            with pytest.raises(PeerUnavailable, match="does not answer"):
                send(tmp_path, Link(calling_ae="ONENEX", called_ae="PACS", host="127.0.0.1", port=port, timeout_s=0.5), items)
            assert time.monotonic() - started < 5


def test_an_answer_to_another_message_is_not_trusted(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "in", 2))

    def lie(event: Any) -> None:
        if event.message.command_set.CommandField == 0x8001:
            event.message.command_set.MessageIDBeingRespondedTo = 77

    with scp(handlers=[(evt.EVT_DIMSE_SENT, lie)]) as peer, pytest.raises(PeerUnavailable, match="another message"):
        send(tmp_path, peer.link(), items)


def test_a_peer_that_takes_no_context(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "in", 1))
    with scp(classes=[EnhancedMRImageStorage]) as peer, pytest.raises(NothingAccepted):
        send(tmp_path, peer.link(), items)


def test_a_peer_that_takes_some_of_the_classes(tmp_path: Path) -> None:
    items = items_of([make_enhanced(tmp_path / "e.dcm"), *make_series(tmp_path / "in", 1)])
    with scp() as peer:
        answers = send(tmp_path, peer.link(), items)
    assert [one.stored for one in answers] == [False, True]
    assert "neither its SOP class" in answers[0].reason
