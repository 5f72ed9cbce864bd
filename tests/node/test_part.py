"""A part as a process: it ends when told to, with its parent, and says no more than it should when it breaks."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.dicom.orthanc import free_ports
from tests.node.hospital import SOURCE, write_config

BREAKS = """
import sys
from onenex.node import clerk, part
def broken(config, stop):
    raise ValueError("PatientName Secret^Name")
clerk.run = broken
sys.exit(part.main("clerk", part.Path(sys.argv[1])))
"""


def begin(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    http_port, port = free_ports(2)
    config = write_config(
        folder, port=port, http_port=http_port, destinations=[{"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}]
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *arguments, str(config)], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)


def test_it_ends_when_its_parent_dies(tmp_path: Path) -> None:
    part = begin(tmp_path, "-m", "onenex.node.part", "clerk")
    assert part.stderr is not None
    assert "clerk ready" in part.stderr.readline()
    _, _ = part.communicate("", timeout=15)
    assert part.returncode == 0


def test_an_unforeseen_error_names_its_type_and_place_only(tmp_path: Path) -> None:
    part = begin(tmp_path, "-c", BREAKS)
    _, log = part.communicate(timeout=15)
    assert part.returncode == 1
    line = json.loads(log.splitlines()[-1])
    assert (line["level"], line["error"]) == ("error", "ValueError")
    assert any("broken" in place for place in line["where"])
    assert "Secret" not in log
