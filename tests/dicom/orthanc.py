"""A real Orthanc on free loopback ports, with its storage in a temporary folder."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

START_SECONDS = 60
PROPOSALS = {
    RLELossless: "-xr", JPEGLSLossless: "-xt", JPEG2000Lossless: "-xv", JPEG2000: "-xw", DeflatedExplicitVRLittleEndian: "-xd",
    JPEGBaseline8Bit: "-xy", JPEGLosslessSV1: "-xs", ImplicitVRLittleEndian: "-xi", ExplicitVRBigEndian: "-xb",
}  # fmt: skip
"""Transfer syntax → the option with which storescu proposes it."""


@dataclass(frozen=True)
class Orthanc:
    """Where a running server listens."""

    http_port: int
    dicom_port: int

    def get(self, path: str) -> Any:
        """Ask the REST interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=20) as answer:
            return json.load(answer)

    def store(self, paths: Sequence[Path], storescu: str) -> None:
        """Send files as a modality would, in the transfer syntax they are in."""
        by_option: dict[str, list[str]] = {}
        for path in paths:
            syntax = dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
            by_option.setdefault(PROPOSALS.get(syntax, "-x="), []).append(str(path))
        for option, names in by_option.items():
            command = [storescu, option, "-aec", "ORTHANC", "127.0.0.1", str(self.dicom_port), *names]
            sent = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            assert sent.returncode == 0, f"storescu: {sent.stdout}{sent.stderr}"


@contextmanager
def orthanc(program: str, folder: Path) -> Iterator[Orthanc]:
    """Run Orthanc as long as the block lasts."""
    ports = free_ports(2)
    server = Orthanc(http_port=ports[0], dicom_port=ports[1])
    settings = {
        "Name": "OneNEX test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": server.http_port,
        "DicomPort": server.dicom_port,
        "DicomAet": "ORTHANC",
        "DicomAlwaysAllowFind": True,
        "DicomCheckCalledAet": False,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": True,
        "Plugins": [],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            _wait(server, process, folder / "log.txt")
            yield server
        finally:
            process.terminate()
            process.wait(timeout=30)
            shutil.rmtree(folder / "storage", ignore_errors=True)


def _wait(server: Orthanc, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            server.get("/system")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"Orthanc did not start: {log.read_text()[-2000:]}")


def free_ports(n_ports: int) -> list[int]:
    """Return ports that nobody uses now."""
    sockets = [socket.socket() for _ in range(n_ports)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()
