import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from onenex.errors import NodeError
from onenex.node.config import Destination
from onenex.node.database.spool import Spool
from onenex.node.records import Item
from onenex.node.scu import stow
from onenex.node.scu.store_scu import Answer, PeerUnavailable
from onenex.node.scu.stow import Server
from onenex.node.scu.transcode import Transcoder
from tests.dicom.make import make_enhanced, make_series
from tests.dicom.orthanc import free_ports
from tests.node.orthanc_web import DICOMWEB, Pacs, orthanc_web
from tests.node.peers import digests_of, items_of, silent_port, web

ORTHANC = shutil.which("Orthanc")


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    if ORTHANC is None or not DICOMWEB.exists():
        pytest.skip("Orthanc or its DICOMweb plugin not found: apt-get install orthanc orthanc-dicomweb")
    with orthanc_web(ORTHANC, tmp_path_factory.mktemp("orthanc")) as server:
        yield server


def send(folder: Path, server: Server, items: Sequence[Item]) -> list[Answer]:
    with Transcoder(Spool(folder / "spool"), 10_000_000) as transcoder:
        return list(stow.store(server, items, transcoder.convert))


@pytest.mark.debian
def test_orthanc_gets_every_file_byte_for_byte(pacs: Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stow, "BYTES_PER_REQUEST", 10_000)
    paths = [*make_series(tmp_path / "a", 6), *make_series(tmp_path / "b", 2, 64, 64, transfer_syntax=JPEG2000Lossless)]
    items = items_of([*paths, make_enhanced(tmp_path / "e.dcm")])
    answers = send(tmp_path, Server(url=pacs.url, timeout_s=10, auth=("node", "secret")), items)
    assert [one.item for one in answers if one.stored] == items
    assert pacs.digests(tmp_path) == digests_of(items)


@pytest.mark.debian
def test_orthanc_refuses_the_wrong_password(pacs: Pacs, tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "a", 1))
    with pytest.raises(PeerUnavailable, match="401"):
        send(tmp_path, Server(url=pacs.url, timeout_s=10, auth=("node", "wrong")), items)


def told(stored: Sequence[Item] = (), failed: Sequence[tuple[Item, int]] = (), warned: Sequence[Item] = ()) -> dict[str, Any]:
    """The answer of a server."""
    names = {"00081199": [{"00081155": {"vr": "UI", "Value": [one.sop_uid]}} for one in stored]}
    names["00081199"] += [{"00081155": {"vr": "UI", "Value": [one.sop_uid]}, "00081196": {"vr": "US", "Value": [0xB000]}} for one in warned]
    lost = [{"00081155": {"vr": "UI", "Value": [one.sop_uid]}, "00081197": {"vr": "US", "Value": [code]}} for one, code in failed]
    return {key: {"vr": "SQ", "Value": value} for key, value in {**names, "00081198": lost}.items() if value}


def test_only_what_the_server_names_is_stored(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "a", 5))
    answer = told(items[:1], [(items[1], 0x0110), (items[2], 0x0111)], items[3:4])
    with web(lambda number, body: (202, answer)) as server:
        answers = send(tmp_path, Server(url=server.url, timeout_s=5, token="abc"), items)
    assert [one.stored for one in answers] == [True, False, False, True, False]
    assert [one.duplicate for one in answers] == [False, False, True, False, False]
    assert "B000" in answers[3].reason
    assert "not named" in answers[4].reason
    assert server.headers[0]["Authorization"] == "Bearer abc"
    assert all(item.path.read_bytes() in server.bodies[0] for item in items)


def test_no_room_keeps_what_was_stored_before(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "a", 3))
    with web(lambda number, body: (202, told(items[:2], [(items[2], 0xA700)]))) as server:
        answers = stow.store(Server(url=server.url, timeout_s=5), items, lambda path, syntax: path)
        assert [next(answers).stored for _ in items] == [True, True, False]
        with pytest.raises(PeerUnavailable):
            next(answers)


def test_a_syntax_that_is_refused_is_decoded(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "a", 2, transfer_syntax=RLELossless))
    refuse_one = told(items[:1], [(items[1], 0xC122)])
    with web(lambda number, body: (202, refuse_one) if number == 0 else (200, told(items[1:]))) as server:
        answers = send(tmp_path, Server(url=server.url, timeout_s=5), items)
    assert [(one.item, one.stored) for one in answers] == [(items[0], True), (items[1], True)]
    start = server.bodies[1].index(b"\r\n\r\n") + 4
    (tmp_path / "got.dcm").write_bytes(server.bodies[1][start : server.bodies[1].rindex(b"\r\n--")])
    got = dcmread(tmp_path / "got.dcm")
    assert got.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(got.pixel_array, dcmread(items[1].path).pixel_array)
    assert not list((tmp_path / "spool" / "incoming").iterdir())


def test_a_request_that_is_refused_whole_is_tried_one_by_one(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "a", 3))
    answers = {1: (200, told(items[:1])), 2: (413, {}), 3: (200, told(items[2:]))}
    with web(lambda number, body: answers.get(number, (413, {}))) as server:
        got = send(tmp_path, Server(url=server.url, timeout_s=5), items)
    assert [one.stored for one in got] == [True, False, True]


@pytest.mark.parametrize(("status", "content"), [(503, {}), (302, {}), (500, b"no"), (200, b"<html>"), (200, b"[1]"), (200, b"")])
def test_servers_that_are_none(tmp_path: Path, status: int, content: Any) -> None:
    items = items_of(make_series(tmp_path / "a", 1))
    with web(lambda number, body: (status, content)) as server, pytest.raises(PeerUnavailable):
        send(tmp_path, Server(url=server.url, timeout_s=5), items)


def test_servers_that_are_silent_or_gone(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "a", 1))
    with silent_port() as silent:
        for port in (silent, *free_ports(1)):
            with pytest.raises(PeerUnavailable, match="does not answer"):
                send(tmp_path, Server(url=f"http://127.0.0.1:{port}", timeout_s=0.3), items)


def test_damaged_files_do_not_stop_the_others(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "a", 3))
    items[0].path.unlink()
    items[1].path.write_bytes(b"x" * 300)
    with web(lambda number, body: (200, told(items[2:]))) as server:
        answers = send(tmp_path, Server(url=server.url, timeout_s=5), items)
    assert {one.item.sop_uid: one.stored for one in answers} == {items[0].sop_uid: False, items[1].sop_uid: False, items[2].sop_uid: True}


def test_secrets_are_read_from_their_files(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    common = {"name": "web", "kind": "stow", "url": "https://pacs/dicom-web/"}
    server = stow.server_of(Destination(**common, user="node", password_file=tmp_path / "password"), 5, None)
    assert (server.url, server.auth, server.token) == ("https://pacs/dicom-web", ("node", "secret"), None)
    with pytest.raises(NodeError, match="token"):
        stow.server_of(Destination(**common, token_file=tmp_path / "nothing"), 5, None)
