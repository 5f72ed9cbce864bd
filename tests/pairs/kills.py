"""Builds in processes of their own, some of them killed on the way, and whether two built folders are the same."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onenex.built import MANIFEST, read_table
from onenex.pairs.build import REJECTED, SPLITS
from onenex.pairs.packing.journal import NAME as JOURNAL

_MAIN = "from onenex.cli import main; main()"


@dataclass(frozen=True, kw_only=True)
class Build:
    """What is built, and where to."""

    source: Path
    folder: Path
    index: Path
    salt: Path

    def start(self) -> subprocess.Popen[str]:
        where = ["--output", str(self.folder), "--index", str(self.index), "--salt", str(self.salt)]
        command = [sys.executable, "-c", _MAIN, "pairs", "build", str(self.source), *where]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def finish(self) -> tuple[str, float]:
        """Build to the end; return what was printed and the seconds that it took."""
        began = time.monotonic()
        process = self.start()
        printed, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"the build ended with {process.returncode}:\n{printed}")
        return printed, time.monotonic() - began

    def kill_at_random(self, n_kills: int, seconds: float, generator: np.random.Generator) -> Iterator[str]:
        """Start, and kill (SIGKILL) after a random share of `seconds` / `n_kills`, again and again; yield where each found the build.

        `seconds` is what a whole build takes. One that ends before it is killed doesn't count, and its time is halved.
        """
        killed = 0
        while killed < n_kills:
            process, wait = self.start(), float(generator.uniform(0, seconds / n_kills))
            try:
                process.communicate(timeout=wait)
                seconds /= 2
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                killed += 1
                yield f"after {wait:.1f} s: {self.state()}"

    def state(self) -> str:
        """How far a build has come."""
        if not self.folder.is_dir():
            return "indexing" if self.index.is_file() else "starting"
        journal = self.folder / JOURNAL
        n_noted = journal.read_bytes().count(b"\n") if journal.is_file() else 0
        n_rows = len(read_table(self.folder, ("id",))) if (self.folder / MANIFEST).is_file() else 0
        return f"{n_rows} rows, {n_noted} scans in the journal, {len(list(self.folder.rglob('*.npy')))} shards"


def differences(one: Path, other: Path) -> list[str]:
    """What sets two built folders apart: rows of the manifest, in their order, and every other file byte by byte."""
    first, second = (read_table(folder) for folder in (one, other))
    found = [] if first.schema.equals(second.schema, check_metadata=True) else ["the manifests' schemas differ"]
    rows = [table.to_pylist() for table in (first, second)]
    found += [f"{len(rows[0])} rows and {len(rows[1])}"] if len(rows[0]) != len(rows[1]) else []
    found += [f"row {number}: {a} / {b}" for number, (a, b) in enumerate(zip(*rows, strict=False)) if a != b]
    names = [{str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {MANIFEST} for folder in (one, other)]
    found += [f"only in one of them: {name}" for name in sorted(names[0] ^ names[1])]
    plain = {name for name in names[0] & names[1] if name in (REJECTED, SPLITS) or name.endswith((".npy", ".html"))}
    return found + [f"{name} differs" for name in sorted(plain) if (one / name).read_bytes() != (other / name).read_bytes()]
