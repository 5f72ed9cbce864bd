"""What can happen to a node and its neighbours, at random instants that a seed repeats."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.node.hospital import SOURCE, NodeProcess, Pacs, start

PAUSE_S = (0.2, 2.0)
"""Between two kills."""
_JUMPING = Path(__file__).parent / "jumping"


@dataclass(kw_only=True)
class Fate:
    """Harms a node; `seen` counts what it did."""

    running: NodeProcess
    archive: Pacs
    chance: random.Random
    disk: Path | None
    """A small file system that may be filled; None where none could be mounted."""
    clock: Path
    """What the node's wall clock is off by."""
    seen: Counter[str] = field(default_factory=Counter)
    _half_open: list[socket.socket] = field(default_factory=list)

    def strike(self) -> None:
        """Let something happen, then kill a part, or all of the node."""
        time.sleep(self.chance.uniform(*PAUSE_S))
        happens = self.chance.choices(
            [self._nothing, self._pacs_changes, self._caller_hangs, self._disk_fills, self._clock_jumps], [60, 25, 10, 5, 10]
        )[0]
        happens()
        self._kill_everything() if self.chance.random() < 0.08 else self._kill_a_part()

    def end(self) -> None:
        """Let everything be well again."""
        for one in self._half_open:
            one.close()
        self.archive.status, self.archive.drop = 0, False
        if not self.archive.is_up:
            self.archive.up()

    def _nothing(self) -> None:
        return

    def _pacs_changes(self) -> None:
        """The PACS vanishes, refuses, drops associations; or is well again."""
        if not self.archive.is_up:
            self.archive.up()
            return
        how = self.chance.choice(["well", "down", "full", "refuses", "drops"])
        self.seen[f"PACS {how}"] += 1
        self.archive.drop = how == "drops"
        self.archive.status = {"full": 0xA700, "refuses": 0xC000}.get(how, 0)
        if how == "down":
            self.archive.down()

    def _caller_hangs(self) -> None:
        """Somebody connects, says half a word and stays."""
        with contextlib.suppress(OSError):
            one = socket.create_connection(("127.0.0.1", self.running.port), 1)
            one.sendall(self.chance.choice([b"", b"\x01\x00\x00\x00\x00\xcd", b"\x04\x00\x7f\xff\xff\xff", b"GET / HTTP/1.1\r\n"]))
            self._half_open.append(one)
            self.seen["half-open"] += 1

    def _disk_fills(self) -> None:
        """The disk is full for a moment."""
        if self.disk is None:
            return
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            for size in (2**20, 2**12, 1):
                with contextlib.suppress(OSError):
                    while file.write(b"\0" * size) == size:
                        pass
        time.sleep(self.chance.uniform(0.3, 1.5))
        filler.unlink()
        self.seen["disk full"] += 1

    def _clock_jumps(self) -> None:
        """The wall clock jumps by up to ten days, either way."""
        set_clock(self.clock, self.chance.randint(-10 * 86_400, 10 * 86_400))
        self.seen["clock jump"] += 1

    def _kill_a_part(self) -> None:
        victims = self.running.parts()
        while not victims:
            time.sleep(0.05)
            victims = self.running.parts()
        pid = self.chance.choice(sorted(victims))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.seen[f"kill {victims[pid]}"] += 1

    def _kill_everything(self) -> None:
        """The machine loses power: every process of the node at once; then it's started again."""
        self.running.process.kill()
        for pid in self.running.parts():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.running.process.wait(10)
        with self.running.log.open("ab") as file:
            self.running.process = start(self.running.config, file, self.running.environment)
        self.seen["kill everything"] += 1

    @property
    def n_kills(self) -> int:
        """How many so far."""
        return sum(count for what, count in self.seen.items() if what.startswith("kill"))


def set_clock(path: Path, seconds: int) -> None:
    """Have the processes of `clock_environment` see another wall clock."""
    other = path.with_suffix(".new")
    other.write_text(f"{seconds}")
    other.replace(path)


def clock_environment(path: Path) -> dict[str, str]:
    """Return what makes Python's wall clock follow a file; the monotonic clocks stay."""
    return {"ONENEX_TEST_CLOCK": str(path), "PYTHONPATH": f"{_JUMPING}:{SOURCE}"}


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """Mount a small file system at a folder; False where that isn't allowed."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)], capture_output=True, check=False)
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=True)
