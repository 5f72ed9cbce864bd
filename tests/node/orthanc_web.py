"""Orthanc with its DICOMweb plugin, passwords, and storage commitment to a node."""

import hashlib
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from onenex.node.database.spool import dataset_digest
from tests.dicom.orthanc import free_ports

DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
START_SECONDS = 60


@dataclass(frozen=True)
class Pacs:
    """Where a running server listens."""

    http_port: int
    dicom_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.http_port}{path}", auth=("node", "secret"), timeout=20, trust_env=False)

    def digests(self, folder: Path) -> dict[str, str]:
        """Return SOP Instance UID → SHA-256 of the encoded data set of everything stored."""
        found = {}
        for name in self._get("/instances").json():
            path = folder / f"{hashlib.sha256(name.encode()).hexdigest()}.dcm"
            path.write_bytes(self._get(f"/instances/{name}/file").content)
            found[self._get(f"/instances/{name}").json()["MainDicomTags"]["SOPInstanceUID"]] = dataset_digest(path)
        return found

    def clear(self) -> None:
        """Forget everything."""
        for name in self._get("/patients").json():
            httpx.delete(f"http://127.0.0.1:{self.http_port}/patients/{name}", auth=("node", "secret"), timeout=20, trust_env=False)


@contextmanager
def orthanc_web(program: str, folder: Path, node_port: int = 104) -> Iterator[Pacs]:
    """Run it as long as the block lasts; `node_port` is where the node ONENEX takes promises."""
    http_port, dicom_port = free_ports(2)
    settings: dict[str, Any] = {
        "Name": "OneNEX test", "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"), "HttpPort": http_port,
        "DicomPort": dicom_port, "DicomAet": "PACS", "DicomAlwaysAllowFind": True, "DicomCheckCalledAet": False, "AuthenticationEnabled": True,
        "RegisteredUsers": {"node": "secret"}, "RemoteAccessAllowed": True, "Plugins": [str(DICOMWEB)], "OverwriteInstances": True,
        "DicomModalities": {"node": ["ONENEX", "127.0.0.1", node_port]}, "JobsHistorySize": 10,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps(settings))
    server = Pacs(http_port, dicom_port)
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            _wait(server, process, folder / "log.txt")
            yield server
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait(server: Pacs, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if server._get("/system").status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError(f"Orthanc did not start: {log.read_text()[-2000:]}")
