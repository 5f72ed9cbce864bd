"""docs/how-to/connect-orthanc.md, followed to the letter: only addresses, ports and folders are others."""

import json
import re
import shutil
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from onenex.node.database.spool import dataset_digest
from tests.dicom.make import make_series
from tests.dicom.orthanc import free_ports
from tests.node.hospital import node, until, write_config
from tests.node.orthanc_web import DICOMWEB

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "connect-orthanc.md"
ORTHANC_IN_HURRY = {"StableAge": 1, "ConcurrentJobs": 2, "StorageCommitmentReportsSize": 10}

pytestmark = pytest.mark.debian


@pytest.fixture
def programs() -> tuple[str, str]:
    """Orthanc and storescu; the test is skipped without them, or without the DICOMweb plugin."""
    found = shutil.which("Orthanc"), shutil.which("storescu")
    if not found[0] or not found[1] or not DICOMWEB.is_file():
        pytest.skip("apt-get install orthanc orthanc-dicomweb dcmtk")
    return found[0], found[1]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@contextmanager
def documented_orthanc(program: str, folder: Path, tables: list[dict[str, Any]], ports: Mapping[str, int]) -> Iterator[Callable[[str], Any]]:
    """Run Orthanc with the page's JSON, on loopback; yield its REST interface."""
    settings: dict[str, Any] = {"StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "storage"), **ORTHANC_IN_HURRY}
    for table in tables:
        settings |= table
    settings |= {"DicomPort": ports["dicom"], "HttpPort": ports["http"]}
    settings["DicomModalities"]["onenex"] |= {"Host": "127.0.0.1", "Port": ports["node"]}
    folder.mkdir()
    (folder / "orthanc.json").write_text(json.dumps(settings))
    user, password = next(iter(settings["RegisteredUsers"].items()))

    def get(path: str) -> Any:
        answer = httpx.get(f"http://127.0.0.1:{ports['http']}{path}", auth=(user, password), timeout=20, trust_env=False)
        return answer.json() if answer.headers["content-type"].startswith("application/json") else answer.content

    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            until(lambda: _answers(get) or process.poll() is not None, 60, "Orthanc does not start")
            assert process.poll() is None, (folder / "log.txt").read_text()[-2000:]
            yield get
        finally:
            process.terminate()
            process.wait(timeout=30)


def _answers(get: Callable[[str], Any]) -> bool:
    try:
        return bool(get("/system")["DicomAet"] == "ORTHANC")
    except httpx.HTTPError:
        return False


def on_loopback(tables: list[Mapping[str, Any]], ports: Mapping[str, int]) -> list[Mapping[str, Any]]:
    """Return the page's tables of one kind with addresses of this machine."""
    here: dict[str, Any] = {
        "addresses": ["127.0.0.1"],
        "host": "127.0.0.1",
        "url": f"http://127.0.0.1:{ports['http']}/dicom-web",
        "port": ports["dicom"],
    }
    return [{key: here.get(key, value) for key, value in table.items()} for table in tables]


def send(storescu: str, title: str, called: str, port: int, paths: list[Path]) -> None:
    command = [storescu, "-aet", title, "-aec", called, "127.0.0.1", str(port), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_both_ways(programs: tuple[str, str], tmp_path: Path) -> None:
    """A scanner sends to OneNEX, another to Orthanc, whose script hands the series on; C-STORE with commitment and STOW-RS at once."""
    plain, web, _ = (json.loads(block) for block in blocks("json"))
    first, stow, _, back = (tomllib.loads(block) for block in blocks("toml"))
    ports = dict(zip(("dicom", "http", "node", "page"), free_ports(4), strict=True))
    (tmp_path / "orthanc-password").write_text(web["RegisteredUsers"]["onenex"] + "\n")
    (tmp_path / "onenex.lua").write_text(blocks("lua")[0])
    config = write_config(
        tmp_path,
        port=ports["node"],
        http_port=ports["page"],
        destinations=on_loopback(first["destinations"] + stow["destinations"], ports),
        peers=on_loopback(first["peers"] + back["peers"], ports),
        rules=back["rules"],
        node={"ae_title": first["node"]["ae_title"]},
    )
    hand_on = {"LuaScripts": [str(tmp_path / "onenex.lua")]}
    plain["DicomModalities"]["scanner"] = ["MR1", "127.0.0.1", 104]
    direct, around = make_series(tmp_path / "direct", 3), make_series(tmp_path / "around", 2, seed=7)
    with (
        documented_orthanc(programs[0], tmp_path / "orthanc", [plain, web, hand_on], ports) as get,
        node(config, port=ports["node"], http_port=ports["page"]) as running,
    ):
        send(programs[1], "MR1", "ONENEX", ports["node"], direct)
        send(programs[1], "MR1", "ORTHANC", ports["dicom"], around)
        until(lambda: len(running.views()) == 2 and running.idle(), 120, "not everything arrives")
        found = {view.calling_ae: {(one.kind, one.destination, one.n_items) for one in view.deliveries} for view in running.views()}
        time.sleep(4 * ORTHANC_IN_HURRY["StableAge"])  # what came back is stable now, too, and must not go round again
        assert [(view.state, view.pass_number) for view in running.views()] == [("verified", 1)] * 2
        series, kept = get("/series?expand"), stored(get, tmp_path / "kept.dcm")
    names = ("orthanc", "orthanc-web")
    assert found == {
        "MR1": {(kind, name, 3) for kind in ("original", "derived") for name in names},
        "ORTHANC": {("derived", name, 2) for name in names},
    }
    assert len({one["ParentStudy"] for one in series}) == 1
    assert len(series) == 4
    assert sum("OneNEX" in one["MainDicomTags"]["SeriesDescription"] for one in series) == 2
    assert {dataset_digest(path) for path in (*direct, *around)} <= kept


def stored(get: Callable[[str], Any], temporary: Path) -> set[str]:
    """Return the digest of every data set in Orthanc."""
    digests = set()
    for name in get("/instances"):
        temporary.write_bytes(get(f"/instances/{name}/file"))
        digests.add(dataset_digest(temporary))
    return digests
