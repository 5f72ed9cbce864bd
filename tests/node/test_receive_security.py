"""Who may speak to the receiver, and that no name leads out of its folder."""

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from onenex.errors import NodeError
from onenex.node.receive import serving
from onenex.node.scp.listener import Server
from tests.dicom.make import make_series
from tests.node import raw
from tests.node.certificates import Authority, authority, client_context
from tests.node.receiving import Stock, config_of, receiver, still_serves

REFUSED = (raw.ASSOCIATE_RJ, 0)
"""Rejected, or cut before a word."""
STORE = [pytest.param(("storescu", "dcmtk"), marks=pytest.mark.debian)]
PEERS = [{"ae_title": "SCANNER", "addresses": ["127.0.0.1"]}, {"ae_title": "FAR", "addresses": ["10.0.0.0/8", "::1"]}]
ARCHIVE = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[tuple[Server, Stock]]:
    with receiver(tmp_path, peers=PEERS, destinations=[ARCHIVE]) as both:
        yield both


@pytest.mark.parametrize(
    ("calling", "called", "reason"),
    [("STRANGER", "ONENEX", 3), ("scanner", "ONENEX", 3), ("FAR", "ONENEX", 3), ("SCANNER", "OTHER", 7)],
)
def test_titles(scene: tuple[Server, Stock], calling: str, called: str, reason: int) -> None:
    """PS3.8 Table 9-21: rejected for good, by the user, calling or called AE title not recognised."""
    server, _ = scene
    with raw.calling(server.port) as caller:
        caller.send(raw.associate_rq([(raw.MR, raw.IMPLICIT)], calling=calling, called=called))
        assert caller.read() == (raw.ASSOCIATE_RJ, bytes((0, 1, 1, reason)))
        assert caller.read() == (0, b"")
    assert still_serves(server.port)


@pytest.mark.parametrize(("calling", "called"), [("SCANNER", ""), ("", "ONENEX")])
def test_blank_titles(scene: tuple[Server, Stock], calling: str, called: str) -> None:
    server, _ = scene
    with raw.calling(server.port) as caller:
        assert caller.associate([(raw.MR, raw.IMPLICIT)], calling=calling, called=called) in (raw.ASSOCIATE_RJ, raw.ABORT)
    assert still_serves(server.port)


def test_unknown_address_is_cut_before_a_word(scene: tuple[Server, Stock]) -> None:
    server, _ = scene
    with raw.calling(server.port, source="127.0.0.9") as caller:
        assert caller.read() == (0, b"")
    assert still_serves(server.port)


def test_nobody_may_call_where_nobody_is_listed(tmp_path: Path) -> None:
    with receiver(tmp_path, peers=[], destinations=[{**ARCHIVE, "host": "10.9.8.7"}]) as (server, _), raw.calling(server.port) as caller:
        assert caller.read() == (0, b"")


def test_archive_may_not_store(scene: tuple[Server, Stock]) -> None:
    """A PACS may promise; it may not send images, nor announce any."""
    server, stock = scene
    assert raw.store(server.port, "1.2.3.4", raw.data_set("1.2.3.4"), calling="PACS") == 0x0124
    assert not stock.files()
    assert not stock.half()
    assert still_serves(server.port)


NAMES = {
    "up and out": "../../etc/passwd",
    "up, as a UID might": "1.2/../../../3",
    "absolute": "/etc/passwd",
    "dots": "..",
    "dot": ".",
    "backslash": "..\\..\\x",
    "two dots in a row": "1..2",
    "not a UID but printable": "x~1.2",
    "64 characters": "1." + "2" * 62,
    "200 characters": "1." + "2" * 198,
    "NUL within": "1.2\0.3",
    "empty": "",
    "blank": "1.2 .3",
    "Latin-1": "1.2\xe9",
    "line feed": "1.2\n3",
}
STORED = {"up and out", "up, as a UID might", "absolute", "dots", "dot", "two dots in a row", "not a UID but printable", "64 characters"}
"""Wrong, but of characters and length that a UID may have: kept under a safe name. The others are refused."""


def listing(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(("queue.sqlite", "audit"))}


@pytest.mark.parametrize("place", ["instance", "series", "study"])
def test_uids_never_lead_out_of_the_folder(tmp_path: Path, place: str) -> None:
    with receiver(tmp_path) as (server, stock):
        before = listing(tmp_path)
        kept = set()
        for number, (name, uid) in enumerate(NAMES.items()):
            uids = {"instance": f"1.2.3.{number}", "series": "1.2.3.1", "study": "1.2.3", place: uid}
            data = raw.data_set(uids["instance"].encode("latin-1"), uids["series"].encode("latin-1"), uids["study"].encode("latin-1"))
            if _is_stored(server.port, uids["instance"], data):
                kept.add(name)
        assert kept == STORED
        made = listing(tmp_path) - before
        assert len(made) == len(STORED)
        assert all(path.is_relative_to(stock.folder / "instances") and len(path.relative_to(stock.folder / "instances").parts) == 3 for path in made)
        assert stock.is_sound()
        assert still_serves(server.port)


def _is_stored(port: int, uid: str, data: bytes) -> bool:
    """Whether it is; an association may be cut for the request alone."""
    try:
        return raw.store(port, uid, data) == 0
    except ConnectionError:
        return False


@pytest.mark.parametrize("title", ["../../x", "a/b", "%s%n{0}", "';DROP TABLE"])
def test_odd_titles_of_peers(tmp_path: Path, title: str) -> None:
    """Whatever a site calls its scanners is kept as text only."""
    with receiver(tmp_path, peers=[{"ae_title": title, "addresses": ["127.0.0.1"]}]) as (server, stock):
        assert still_serves(server.port, calling=title)
        (path,) = stock.files()
        assert dcmread(path).file_meta.SourceApplicationEntityTitle == title
        assert stock.queue.view()[0].calling_ae == title


def test_log_names_no_patient(scene: tuple[Server, Stock], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server, _ = scene
    (path,) = make_series(tmp_path / "scans", 1, PatientName="Geheim^Anna", PatientID="4711-0815", StudyInstanceUID="1.2.99.4711")
    content = path.read_bytes()
    data = content[144 + int.from_bytes(content[140:144], "little") :]
    uid = str(dcmread(path).SOPInstanceUID)
    with caplog.at_level("DEBUG"):
        for part in (data, data[:-2] + b"\7\7", data[:300], data + b"\0"):
            raw.store(server.port, uid, part, syntax=raw.EXPLICIT)
    assert caplog.records
    for secret in ("Geheim", "Anna", "4711", uid):
        assert secret not in caplog.text


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls"), "hospital")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls"), "elsewhere")


def tls_of(ours: Authority) -> dict[str, str]:
    certificate, key = ours.sign("node")
    return {"certificate": str(certificate), "key": str(key), "authorities": str(ours.file)}


def test_right_certificate(ours: Authority, tmp_path: Path) -> None:
    with receiver(tmp_path, tls=tls_of(ours)) as (server, stock):
        with raw.calling(server.port, tls=client_context(ours.file, ours.sign("scanner"))) as caller:
            assert caller.associate([(raw.MR, raw.IMPLICIT)]) == raw.ASSOCIATE_AC
            data = raw.data_set("1.2.3.4", pixels=b"\7" * 300_000)
            assert caller.store(raw.MR, "1.2.3.4", data) == 0
            caller.release()
        assert stock.is_sound()


@pytest.mark.parametrize("who", ["nobody", "expired", "of another authority", "stranger with a certificate", "without TLS"])
def test_wrong_certificate(ours: Authority, theirs: Authority, tmp_path: Path, who: str) -> None:
    certificates = {
        "expired": ours.sign("old", days=-1),
        "of another authority": theirs.sign("scanner"),
        "stranger with a certificate": ours.sign("s"),
    }
    title = "STRANGER" if who.startswith("stranger") else "SCANNER"
    with receiver(tmp_path, tls=tls_of(ours), idle_s=2.0) as (server, stock):
        tls = None if who == "without TLS" else client_context(ours.file, certificates.get(who))
        assert _association(server.port, tls, title) in REFUSED
        with raw.calling(server.port, tls=client_context(ours.file, ours.sign("scanner"))) as caller:
            assert caller.associate([(raw.MR, raw.IMPLICIT)]) == raw.ASSOCIATE_AC
            caller.release()
        assert not stock.files()


def _association(port: int, tls: ssl.SSLContext | None, title: str) -> int:
    try:
        with raw.calling(port, tls=tls) as caller:
            return caller.associate([(raw.MR, raw.IMPLICIT)], calling=title)
    except OSError:
        return 0


@pytest.mark.parametrize("debian_program", STORE, indirect=True)
def test_storescu_with_tls(debian_program: str, ours: Authority, tmp_path: Path) -> None:
    (path,) = make_series(tmp_path / "scans", 1)
    certificate, key = ours.sign("scanner")
    with receiver(tmp_path, tls=tls_of(ours)) as (server, stock):
        command = [debian_program, "-aet", "SCANNER", "-aec", "ONENEX", "+tls", str(key), str(certificate), "+cf", str(ours.file)]
        subprocess.run([*command, "127.0.0.1", str(server.port), str(path)], check=True, timeout=60)
        assert len(stock.rows()) == 1


def test_old_tls_is_refused(ours: Authority, tmp_path: Path) -> None:
    context = client_context(ours.file, ours.sign("scanner"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with receiver(tmp_path, tls=tls_of(ours)) as (server, _):
        assert _association(server.port, context, "SCANNER") in REFUSED


def test_unusable_certificates_are_said(tmp_path: Path) -> None:
    wrong = {"certificate": str(tmp_path / "no.crt"), "key": str(tmp_path / "no.key"), "authorities": str(tmp_path / "no.ca")}
    with pytest.raises(NodeError, match="PEM files"), serving(config_of(tmp_path, tls=wrong)):
        pass
