"""What the tests of the cluster share: nodes, drivers that can be killed, and what a destination holds."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from pydicom import dcmread

from onenex.batch import Ledger
from onenex.dicom.synthesise import Protocol, write_mr_series

REPOSITORY = Path(__file__).resolve().parents[2]
_DRIVER = (sys.executable, "-c", "from onenex.cli import main; main()", "batch")


@dataclass(kw_only=True)
class Machines:
    """A cluster that runs."""

    address: str
    environment: dict[str, str]
    process: subprocess.Popen[str]
    drivers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def tell(self, command: str) -> None:
        """`kill` a node, or `add` one."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def driver(self, source: Path, destination: Path, *command: str) -> subprocess.Popen[bytes]:
        """Start `onenex batch` on the cluster."""
        arguments = [*(command or _DRIVER), str(source), "-o", str(destination), "--ray", self.address]
        process = subprocess.Popen(arguments, env=self.environment, cwd=destination.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.drivers.append(process)
        return process


@contextmanager
def machines(n_nodes: int, *, script: str = "nodes.py") -> Iterator[Machines]:
    """Yield a cluster of nodes with one CPU each, made by a script of this folder; nothing of it is left behind, whatever happens."""
    home = tempfile.mkdtemp(prefix="ox", dir="/tmp")  # paths of Unix sockets are short
    environment = os.environ | {
        "RAY_TMPDIR": home,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "RAY_health_check_period_ms": "1000",  # as the how-to says: a dead node is missed for 5 s instead of 15
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join((str(REPOSITORY / "src"), str(REPOSITORY))),
    }
    command = [sys.executable, str(Path(__file__).with_name(script)), str(n_nodes)]
    with (Path(home) / "nodes.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    cluster = Machines(address="", environment=environment, process=process)
    try:
        assert process.stdout is not None
        cluster.address = process.stdout.readline().strip()
        assert cluster.address, (Path(home) / "nodes.log").read_text()
        yield cluster
    finally:
        for driver in cluster.drivers:
            _end(driver)
        _end(process)
        _kill_all(home)
        shutil.rmtree(home, ignore_errors=True)


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _kill_all(home: str) -> None:
    """Kill what was started with this home, and what that started meanwhile."""
    while found := [process for process in psutil.process_iter() if _is_of(process, home)]:
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.1)


def _is_of(process: psutil.Process, home: str) -> bool:
    """Whether a living process has this home (psutil's own look at the environment ends where a process wrote its title)."""
    try:
        return f"RAY_TMPDIR={home}".encode() in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def archive(folder: Path, *, n_series: int, n_slices: int, size: int) -> Path:
    """Write series of noisy discs, each with a seed of its own."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    for seed in range(n_series):
        rng = np.random.default_rng(seed)
        clean = 900.0 * (x**2 + y**2 < 0.7) + 300.0 * (np.sin(9 * x + seed) * np.cos(7 * y) > 0.5)
        noise = rng.normal(0, 60, (2, n_slices, size, size))
        images = np.hypot(clean + noise[0], noise[1]).astype(np.float32)
        write_mr_series(images, folder / f"s{seed:03d}", Protocol(description=f"t2 {seed}", series_number=seed + 1, seed=seed))
    return folder


def n_published(destination: Path) -> int:
    """Return how many units are whole."""
    return len(list(destination.glob("series/*/*/unit.json")))


def wait_for(destination: Path, n_units: int, driver: subprocess.Popen[bytes], *, limit_s: float = 900) -> None:
    """Wait until so many units are there and the driver still runs."""
    end = time.monotonic() + limit_s
    while n_published(destination) < n_units:
        assert driver.poll() is None, driver.communicate()[0].decode()
        assert time.monotonic() < end, f"{n_published(destination)} of {n_units} units after {limit_s} s"
        time.sleep(0.05)


def ends_well(driver: subprocess.Popen[bytes], *, limit_s: float = 900) -> str:
    """Wait for a driver; return what it said."""
    said = driver.communicate(timeout=limit_s)[0].decode()
    assert driver.returncode == 0, said
    return said


def content(destination: Path) -> dict[str, str]:
    """Return every image of a destination by name, with a hash of all its bytes but the time at which it was made."""
    return {path.relative_to(destination).as_posix(): _timeless(path) for path in sorted(destination.glob("series/**/*.dcm"))}


def _timeless(path: Path) -> str:
    image = dcmread(path)
    image.InstanceCreationDate, image.InstanceCreationTime = "20000101", "000000"
    image.ContributingEquipmentSequence[-1].ContributionDateTime = "20000101000000"
    stream = io.BytesIO()
    image.save_as(stream)
    return hashlib.sha256(stream.getvalue()).hexdigest()


def ledger_of(destination: Path) -> dict[str, tuple[str, int, str]]:
    """Return unit → (status, slices, digest of its pixels)."""
    return {row.unit: (row.status, row.slices, row.digest) for row in Ledger(str(destination)).rows()}
