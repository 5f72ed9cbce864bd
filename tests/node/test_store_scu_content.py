import shutil
import ssl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from onenex.errors import NodeError
from onenex.node.config import Tls
from onenex.node.database.spool import Spool
from onenex.node.records import Item
from onenex.node.scu import store_scu
from onenex.node.scu.store_scu import Answer, Link, PeerUnavailable
from onenex.node.scu.transcode import Transcoder
from tests.dicom.make import make_series
from tests.node.peers import items_of, scp


def send(folder: Path, link: Link, items: Sequence[Item], decoded_bytes: int = 10_000_000) -> list[Answer]:
    with (
        Transcoder(Spool(folder / "spool"), decoded_bytes) as transcoder,
        store_scu.associate(link, store_scu.contexts_for(items)) as association,
    ):
        return list(store_scu.store(association, items, link.timeout_s, transcoder.convert))


def test_files_that_are_gone_changed_or_damaged_do_not_stop_the_others(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "in", 4))
    items[0].path.unlink()
    shutil.copy(items[3].path, items[1].path)
    items[2].path.write_bytes(b"x" * 200)
    with scp() as peer:
        answers = send(tmp_path, peer.link(), items)
    assert [one.stored for one in answers] == [False, False, False, True]
    assert [uid for uid, _, _ in peer.received] == [items[3].sop_uid]


def test_what_cannot_be_decoded_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "in", 3, 64, 64, transfer_syntax=JPEG2000Lossless))
    data = items[1].path.read_bytes()
    items[1].path.write_bytes(data[: len(data) - len(data) // 4])
    with scp() as peer:
        answers = send(tmp_path, peer.link(), items)
    assert [one.stored for one in answers] == [True, False, True]
    assert "cannot be decoded" in answers[1].reason


def test_what_would_be_too_large_is_not_decoded(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "in", 1, 64, 64, transfer_syntax=RLELossless))
    with scp() as peer:
        (answer,) = send(tmp_path, peer.link(), items, decoded_bytes=64 * 64 * 2 - 1)
        (other,) = send(tmp_path, peer.link(), items, decoded_bytes=64 * 64 * 2)
    assert not answer.stored
    assert "limits.decoded_mb" in answer.reason
    assert other.stored


def test_a_decoder_that_dies_is_replaced(tmp_path: Path) -> None:
    items = items_of(make_series(tmp_path / "in", 1, transfer_syntax=RLELossless))
    with Transcoder(Spool(tmp_path / "spool"), 10_000_000) as transcoder:
        transcoder.convert(items[0].path, ExplicitVRLittleEndian).unlink()
        child = transcoder._child
        assert child is not None
        child.kill()
        child.wait()
        transcoder.convert(items[0].path, ExplicitVRLittleEndian).unlink()
    assert not list((tmp_path / "spool" / "incoming").iterdir())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and two certificates for 127.0.0.1, one of them of a stranger."""
    folder = tmp_path_factory.mktemp("certificates")
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl not found: apt-get install openssl")
    for name in ("own", "stranger"):
        new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run([openssl, *new, *more], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("trusted", ["own", "stranger"])
def test_tls_with_a_peer_that_is_known_or_is_not(certificates: Path, tmp_path: Path, trusted: str) -> None:
    items = items_of(make_series(tmp_path / "in", 1))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates / "own.pem", certificates / "own.key")
    server.load_verify_locations(certificates / "own.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    tls = Tls(certificate=certificates / "own.pem", key=certificates / "own.key", authorities=certificates / f"{trusted}.pem")
    with scp(tls=server) as peer:
        link = peer.link(tls=store_scu.tls_context(tls))
        if trusted == "own":
            assert [one.stored for one in send(tmp_path, link, items)] == [True]
        else:
            with pytest.raises(PeerUnavailable):
                send(tmp_path, link, items)
            assert not peer.received


def test_certificates_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="certificates"):
        store_scu.tls_context(Tls(certificate=tmp_path / "a", key=tmp_path / "b", authorities=tmp_path / "c"))


def test_the_decoder_prints_no_contents(tmp_path: Path) -> None:
    path = make_series(tmp_path / "in", 1, transfer_syntax=RLELossless)[0]
    data = bytearray(path.read_bytes())
    data[-40:] = b"\xff" * 40
    path.write_bytes(data)
    request = f'{{"source": "{path}", "target": "{tmp_path / "out.dcm"}", "syntax": "{ExplicitVRLittleEndian}", "limit": 1000000}}\n'
    command = [sys.executable, "-m", "onenex.node.scu.transcode", str(4 << 30)]
    done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=60, check=True)
    assert "Phantom" not in done.stdout
    assert len(done.stdout) < 60
