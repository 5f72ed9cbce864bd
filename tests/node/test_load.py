"""Twenty scanners at once: nothing lost, nothing twice, memory flat, and how fast beside dcmtk's own storescp.

`make test-load` sends 20,000 images (`ONENEX_LOAD`), the suite a few hundred. Both receivers get the same files from the same senders in turns;
storescp (one process per association, no fsync) is what a receiver without promises can do on this machine.
"""

import os
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from onenex.node.database.spool import dataset_digest
from tests.dicom.make import make_series
from tests.dicom.orthanc import free_ports
from tests.node.hospital import listens, until
from tests.node.receiving import Receiving, receiver_process

N_IMAGES = int(os.environ.get("ONENEX_LOAD", "400"))
IS_LONG = N_IMAGES >= 5000
N_SENDERS = 20
N_ROUNDS = 4 if IS_LONG else 1
LEAST_RATIO = 0.5 if IS_LONG else 0.1
"""Of storescp's speed. A short run lasts a second or two, of which starting twenty senders on a busy machine is a good part: it only shows that
nothing is slower by an order of magnitude."""
FLAT_MB, FLAT_SHARE = 20.0, 0.10
_PLACE = "1.2.826.0.1.3680043.10.9.7.999999999"
"""Where the number of an image goes in the UID of the template."""
STORE = [pytest.param(("storescp", "dcmtk"), marks=pytest.mark.debian)]


def make_images(folder: Path, n_images: int, first: int) -> dict[str, str]:
    """Write images of 256 x 256, 16 bit, in a folder per sender; return SOP Instance UID → digest of the data set."""
    pixels = np.random.default_rng(first).integers(0, 2**16, (1, 256, 256), dtype=np.uint16)
    (path,) = make_series(folder / "template", 1, stored=pixels, SOPInstanceUID=_PLACE, SeriesInstanceUID=f"1.2.826.0.1.{first + 1}")
    template, digests = path.read_bytes(), {}
    assert template.count(_PLACE.encode()) == 2
    for number in range(n_images):
        uid = f"{_PLACE[:-9]}{10**8 + first + number}"
        target = folder / str(number % N_SENDERS) / f"{number}.dcm"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(template.replace(_PLACE.encode(), uid.encode()))
        digests[uid] = dataset_digest(target)
    shutil.rmtree(folder / "template")
    return digests


def send(port: int, called: str, folder: Path) -> float:
    """Send every folder in an association of its own, all at once; return how long that took, s."""
    start = time.monotonic()
    command = ["storescu", "-aet", "SCANNER", "-aec", called, "-xe", "-R", "+sd", "127.0.0.1", str(port)]
    senders = [subprocess.Popen([*command, str(one)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for one in sorted(folder.iterdir())]
    said = [(sender.communicate(timeout=1200)[0], sender.returncode) for sender in senders]
    assert all(code == 0 for _, code in said), [text for text, code in said if code][:2]
    return time.monotonic() - start


@contextmanager
def storescp(folder: Path) -> Iterator[int]:
    """Run dcmtk's receiver with a process per association."""
    folder.mkdir()
    (port,) = free_ports(1)
    process = subprocess.Popen(["storescp", "--fork", "-q", "-aet", "STORESCP", "-pdu", "131072", "-od", str(folder), str(port)])
    try:
        until(lambda: listens(port), 10, "storescp does not listen")
        yield port
    finally:
        process.terminate()
        process.wait(10)


@dataclass
class Memory:
    """What a process holds while somebody looks, MB."""

    receiving: Receiving
    samples: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        while not self.stop.wait(0.05 if not IS_LONG else 0.5):
            self.samples.append(self.receiving.rss_mb())

    @contextmanager
    def watching(self) -> Iterator[None]:
        self.stop.clear()
        thread = threading.Thread(target=self.watch)
        thread.start()
        try:
            yield
        finally:
            self.stop.set()
            thread.join()

    def halves(self) -> tuple[float, float]:
        """The most of the first half of the time and of the second."""
        middle = len(self.samples) // 2
        return max(self.samples[:middle]), max(self.samples[middle:])


@pytest.mark.parametrize("debian_program", STORE, indirect=True)
def test_twenty_associations(debian_program: str, tmp_path: Path) -> None:
    per_round = N_IMAGES // N_ROUNDS
    sent: dict[str, str] = {}
    ours: list[float] = []
    theirs: list[float] = []
    flushes: list[float] = []
    with receiver_process(tmp_path) as receiving, storescp(tmp_path / "storescp") as port:
        memory = Memory(receiving)
        for number in range(N_ROUNDS):
            folder = tmp_path / f"scans{number}"
            sent |= make_images(folder, per_round, number * per_round)
            os.sync()
            for who in ("node", "storescp") if number % 2 else ("storescp", "node"):
                if who == "node":
                    with memory.watching():
                        ours.append(send(receiving.port, "ONENEX", folder))
                else:
                    theirs.append(send(port, "STORESCP", folder))
                start = time.monotonic()
                os.sync()
                flushes += [time.monotonic() - start] if who == "storescp" else []
            shutil.rmtree(folder)
        _report(ours, theirs, flushes, memory)
        assert receiving.stock.digests() == sent
        assert receiving.stock.is_sound()
        assert [view.n_images for view in receiving.stock.queue.view()] == [per_round] * N_ROUNDS
        assert len(list((tmp_path / "storescp").iterdir())) == len(sent) == N_IMAGES
        assert "event=object-refused" not in receiving.log.read_text()
    before, after = memory.halves()
    assert after - before < max(FLAT_MB, FLAT_SHARE * before)
    assert sum(theirs) / sum(ours) >= LEAST_RATIO


def _report(ours: list[float], theirs: list[float], flushes: list[float], memory: Memory) -> None:
    before, after = memory.halves()
    print(
        f"\n{N_IMAGES} images over {N_SENDERS} associations: node {N_IMAGES / sum(ours):.0f}/s, storescp {N_IMAGES / sum(theirs):.0f}/s, "
        f"ratio {sum(theirs) / sum(ours):.2f} (rounds {', '.join(f'{b / a:.2f}' for a, b in zip(ours, theirs, strict=True))}; "
        f"{(sum(theirs) + sum(flushes)) / sum(ours):.2f} with what storescp left to be flushed); "
        f"memory MB: first half {before:.0f}, second {after:.0f}, median {statistics.median(memory.samples):.0f}"
    )
