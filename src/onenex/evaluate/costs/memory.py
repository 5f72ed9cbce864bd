"""Peak memory of one job in a process of its own: `python -m onenex.evaluate.costs.memory SLICES ROWS COLUMNS DEVICE [WEIGHTS]`."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

from onenex.errors import ModelError

MIB = 2**20


def peak_bytes_of_job(shape: tuple[int, int, int], device: str = "auto", weights: Path | None = None) -> int:
    """Denoise a stack of `shape` (slice, row, column) in a new process and return its peak resident memory, bytes.

    `device` and `weights` as in `onenex.load`.

    Raises
    ------
    ModelError
        The process failed; the message holds its last line.
    """
    command = [sys.executable, "-m", "onenex.evaluate.costs.memory", *map(str, shape), device, *([] if weights is None else [str(weights)])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"the memory measurement ended with {done.returncode}: {last}")
    return int(done.stdout.split()[-1])


def own_peak_bytes() -> int:
    """Return the peak resident memory of this process.

    Linux's VmHWM, not `getrusage`: the latter keeps the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(arguments: list[str]) -> None:
    """Run the job and print the peak."""
    from onenex.model import load

    n_slices, rows, columns = (int(one) for one in arguments[:3])
    images = np.random.default_rng(0).random((n_slices, rows, columns), dtype=np.float32)
    load(arguments[3], Path(arguments[4]) if len(arguments) > 4 else None).denoise(images)
    print(own_peak_bytes())


if __name__ == "__main__":
    main(sys.argv[1:])
