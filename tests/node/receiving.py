"""A receiver in this process for the tests, and what lies in its folder."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
from pydicom import dcmread
from sqlalchemy import select

from onenex.node import receive
from onenex.node.config import NodeConfig
from onenex.node.database.schema import objects
from onenex.node.database.spool import dataset_digest
from onenex.node.queue import Queue
from onenex.node.scp.listener import Server
from tests.dicom.orthanc import free_ports
from tests.node import raw
from tests.node.hospital import SOURCE, listens, until, write_config

PACS = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}


def config_of(folder: Path, *, peers: Any = None, destinations: Any = (PACS,), tls: Any = None, **limits: Any) -> NodeConfig:
    """A configuration that lets SCANNER on this machine send; `limits` are those of the table."""
    tables: dict[str, Any] = {
        "node": {"folder": folder / "node", "host": "127.0.0.1", "port": 0},
        "peers": [{"ae_title": "SCANNER", "addresses": ["127.0.0.1"]}] if peers is None else peers,
        "destinations": list(destinations),
        "limits": {"reserve_mb": 10, "idle_s": 10.0, **limits},
        "tls": tls,
    }
    return NodeConfig.model_validate(tables)


@contextmanager
def receiver(folder: Path, **tables: Any) -> Iterator[tuple[Server, "Stock"]]:
    """Receive in this process."""
    config = config_of(folder, **tables)
    with mock.patch.object(receive, "_LOOK_S", 0.02), receive.serving(config) as server:
        yield server, Stock(config.node.folder)


class Stock:
    """What a node keeps: its files and its rows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.queue = Queue(folder)

    def files(self) -> list[Path]:
        """Every file of an image."""
        return sorted(path for path in (self.folder / "instances").rglob("*") if path.is_file())

    def half(self) -> list[Path]:
        """What lies in `incoming/`."""
        return sorted((self.folder / "incoming").iterdir())

    def rows(self) -> dict[str, Path]:
        """SOP Instance UID → file, of every row."""
        with self.queue._read() as connection:
            return {row.sop_uid: self.folder / row.path for row in connection.execute(select(objects.c.sop_uid, objects.c.path))}

    def digests(self) -> dict[str, str]:
        """SOP Instance UID → SHA-256 of the encoded data set."""
        return {uid: dataset_digest(path) for uid, path in self.rows().items()}

    def is_sound(self) -> bool:
        """Whether rows and files are the same, nothing is half there, and pydicom reads all."""
        files = self.files()
        for path in files:
            dcmread(path, stop_before_pixels=True)
        return not self.half() and sorted(self.rows().values()) == files


def still_serves(port: int, number: int = 0, **titles: str) -> bool:
    """Whether a proper image of a proper sender is still taken."""
    uid = f"1.2.826.0.1.77.{number}"
    return raw.store(port, uid, raw.data_set(uid, series="1.2.826.0.1.77"), **titles) == 0


@dataclass(frozen=True, kw_only=True)
class Receiving:
    """A receiver as the node runs it: a process of its own."""

    port: int
    process: "subprocess.Popen[bytes]"
    log: Path
    stock: Stock
    idle_threads: int
    """Of the process before anybody called."""

    def rss_mb(self) -> float:
        """Memory that it has now."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 1e6

    def tally(self) -> dict[str, int]:
        """What it logged (event, reason, error) → how often."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return dict(Counter(_ANYBODY.sub("", str(line.get("message", line))) for line in lines).most_common(40))


_ANYBODY = re.compile(r"(calling_ae|address)=\S+ ?")


@contextmanager
def receiver_process(folder: Path, **tables: Any) -> Iterator[Receiving]:
    """Run `python -m onenex.node.part receive node.toml`; `tables` change the configuration."""
    (port,) = free_ports(1)
    config = write_config(folder, port=port, http_port=0, destinations=[PACS], **tables)
    log = folder / "receive.log"
    with log.open("ab") as file:
        command = [sys.executable, "-m", "onenex.node.part", "receive", str(config)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=file, env={**os.environ, "PYTHONPATH": str(SOURCE)})
        try:
            until(lambda: listens(port) or process.poll() is not None, 30, f"no receiver: {log.read_text()[-2000:]}")
            time.sleep(0.5)  # until that call is over
            threads = psutil.Process(process.pid).num_threads()
            yield Receiving(port=port, process=process, log=log, stock=Stock(folder / "node"), idle_threads=threads)
        finally:
            process.terminate()
            process.wait(20)
            if process.stdin is not None:
                process.stdin.close()
