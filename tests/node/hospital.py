"""A hospital on loopback ports for the tests: the node as its users start it, scanners that send, and PACS of several makes."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import Verification

from onenex.node.config import load_config
from onenex.node.queue import Queue
from onenex.node.records import SeriesView

SOURCE = Path(__file__).resolve().parents[2] / "src"


def until(condition: Callable[[], bool], seconds: float, what: str | Callable[[], str]) -> None:
    """Wait until something holds; fail with `what` (as it is then) if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what() if callable(what) else what}")
        time.sleep(0.1)


def data_set_start(content: bytes) -> int:
    """Return where the data set of a file begins: after preamble and file meta information."""
    return 132 + 12 + int(dcmread(DicomBytesIO(content), specific_tags=["SOPInstanceUID"]).file_meta.FileMetaInformationGroupLength)


def data_set_digest(path: Path) -> str:
    """Return the SHA-256 of the encoded data set of a file."""
    content = path.read_bytes()
    return hashlib.sha256(content[data_set_start(content) :]).hexdigest()


@dataclass(kw_only=True)
class NodeProcess:
    """A running node."""

    config: Path
    folder: Path
    port: int
    http_port: int
    process: "subprocess.Popen[bytes]"
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def parts(self) -> dict[int, str]:
        """Return process id → command of its children, read from /proc."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"onenex.node.part" in command and str(self.config).encode() in command:
                found[int(entry.name)] = command[command.index(b"onenex.node.part") + 1].decode()
        return found

    def views(self) -> list[SeriesView]:
        return Queue(self.folder).view(limit=10_000)

    def idle(self) -> bool:
        """Whether every series has come to its end."""
        views = self.views()
        return bool(views) and all(settled(view) for view in views)


def settled(view: SeriesView) -> bool:
    """Whether nothing is left to do for a series."""
    done = all(delivery.state == "verified" for delivery in view.deliveries)
    return done and view.state in ("verified", "passed-through", "failed")


def write_config(folder: Path, *, port: int, http_port: int, destinations: Sequence[Mapping[str, Any]], **tables: Mapping[str, Any]) -> Path:
    """Write a node.toml whose times suit tests; `tables` change or add to it."""
    merged: dict[str, Any] = {
        "node": {"folder": str(folder / "node"), "host": "127.0.0.1", "port": port, "lease_s": 20, "longest_pause_s": 1, "device": "cpu"},
        "limits": {"reserve_mb": 10},
        "completion": {"quiet_s": 1.5, "expected_quiet_s": 0.5},
        "sending": {"first_retry_s": 0.5, "longest_retry_s": 2, "timeout_s": 10},
        "status": {"port": http_port},
    }
    for name, table in tables.items():
        if name not in ("rules", "peers"):
            merged[name] = {**merged.get(name, {}), **table}
    lines = []
    for name, table in merged.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items()), ""]
    many = {
        "peers": tables.get("peers", [{"ae_title": "SCANNER", "addresses": ["127.0.0.1"]}]),
        "destinations": destinations,
        "rules": tables.get("rules", []),
    }
    for name, rows in many.items():
        for row in rows:
            lines += [f"[[{name}]]", *(f"{key} = {_toml(value)}" for key, value in row.items()), ""]
    path = folder / "node.toml"
    path.write_text("\n".join(lines))
    return path


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


@contextmanager
def node(config: Path, *, port: int, http_port: int, **environment: str) -> Iterator[NodeProcess]:
    """Run `onenex node serve` as long as the block lasts."""
    log = config.with_name("node.log")
    with log.open("ab") as file:
        process = start(config, file, environment)
        folder = load_config(config).node.folder
        running = NodeProcess(config=config, folder=folder, port=port, http_port=http_port, process=process, log=log, environment=environment)
        try:
            until(lambda: listens(port), 60, lambda: f"the node does not listen: {log.read_text()[-3000:]}")
            yield running
        finally:
            running.process.terminate()
            try:
                running.process.wait(45)
            except subprocess.TimeoutExpired:
                running.process.kill()
                raise
            for pid in running.parts():
                os.kill(pid, signal.SIGKILL)


def start(config: Path, log: Any, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start the command that users start."""
    everything = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-c", "from onenex.cli import main; main()", "node", "serve", str(config)]
    return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=everything)


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@dataclass
class Pacs:
    """A storage SCP that remembers what it was sent."""

    port: int
    digests: dict[str, str] = field(default_factory=dict)
    """SOP Instance UID → digest of the encoded data set, the last one."""
    counts: Counter[str] = field(default_factory=Counter)
    series: dict[str, set[str]] = field(default_factory=dict)
    """Series Instance UID → SOP Instance UIDs."""
    changed: list[str] = field(default_factory=list)
    """SOP Instance UIDs that came with different bytes a second time."""
    derived: dict[str, str] = field(default_factory=dict)
    """Derived series → the description it came with."""
    status: int = 0x0000
    """What it answers; nothing is kept unless it's 0."""
    drop: bool = False
    """Whether it aborts associations in the middle."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: Any = None

    def up(self) -> None:
        """Listen."""
        ae = AE("PACS")
        ae.supported_contexts = []
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(context.abstract_syntax, _SYNTAXES)
        ae.add_supported_context(Verification)
        ae.maximum_associations = 50
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])

    @property
    def is_up(self) -> bool:
        return self._server is not None

    def down(self) -> None:
        """Vanish."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def _store(self, event: Any) -> int:
        if self.status:
            return self.status
        if self.drop:
            event.assoc.abort()
            return 0xC000
        data = event.request.DataSet.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        syntax = event.context.transfer_syntax
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        header = read_dataset(
            DicomBytesIO(data), implicit, little, specific_tags=[Tag("ImageType"), Tag("SeriesInstanceUID"), Tag("SeriesDescription")]
        )
        uid = str(event.request.AffectedSOPInstanceUID)
        with self._lock:
            if self.digests.get(uid, digest) != digest:
                self.changed.append(uid)
            self.digests[uid] = digest
            self.counts[uid] += 1
            self.series.setdefault(str(header.SeriesInstanceUID), set()).add(uid)
            if "DERIVED" in header.ImageType:
                self.derived[str(header.SeriesInstanceUID)] = str(header.get("SeriesDescription", ""))
        return 0x0000


_SYNTAXES = [
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.1.99",
]  # fmt: skip


@contextmanager
def pacs(port: int) -> Iterator[Pacs]:
    """Run a PACS as long as the block lasts."""
    one = Pacs(port)
    one.up()
    try:
        yield one
    finally:
        one.down()
