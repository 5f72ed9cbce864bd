"""`python -m tests.batch.killed ARCHIVE FOLDER`: a run killed (SIGKILL) at each point in turn, and the run after it; one line of JSON a point."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onenex.batch import Ledger, local
from onenex.batch.job import Job
from tests.batch.archive import Fake, files

POINTS = [
    ("onenex.batch.process", "fetch", 2, "before"),
    ("onenex.batch.process", "denoise_path", 2, "before"),
    ("onenex.batch.process", "denoise_path", 2, "after"),
    ("onenex.batch.process", "publish", 2, "before"),
    ("onenex.batch.publish", "_swap", 2, "before"),
    ("onenex.batch.publish", "_swap", 2, "after"),
    ("onenex.batch.process", "publish", 3, "after"),
    ("onenex.batch.storage", "write_bytes", 1, "before"),
    ("onenex.batch.storage", "write_bytes", 1, "after"),
    ("onenex.batch.storage", "atomic_file", 3, "before"),
    ("onenex.batch.job", "settle", 1, "after"),
    ("onenex.batch.plan", "_unit", 3, "before"),
    ("onenex.batch.plan", "_seen", 5, "before"),
    ("os", "fsync", 7, "before"),
    ("os", "fsync", 30, "before"),
]
"""(module, function, which of its calls, before or after it)."""


def deadly(function: Callable[..., Any], nth: int, when: str) -> Callable[..., Any]:
    """Return the function, which kills the process at its nth call."""
    calls = 0

    def wrapped(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = function(*args, **named)
        if calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return wrapped


def run(source: Path, destination: Path, model: Fake) -> None:
    local._model = lambda _device, _weights, _engine: model  # type: ignore[assignment]
    local.run(Job(source=str(source), destination=str(destination)), workers=0)


def state(destination: Path, model: Fake) -> dict[str, Any]:
    rows = list(Ledger(str(destination)).parts())
    return {
        "rows": sorted((row.unit, str(row.status), row.digest) for row in rows),
        "files": sorted(name for name in files(destination) if not name.startswith("ledger/")),
        "asked": len(model.scales),
    }


def main(archive: Path, folder: Path) -> None:
    model = Fake()
    run(archive, folder / "whole", model)
    print(json.dumps({"point": "none", **state(folder / "whole", model)}), flush=True)
    for number, (module, name, nth, when) in enumerate(POINTS):
        destination = folder / str(number)
        child = os.fork()
        if child == 0:
            owner = sys.modules[module]
            setattr(owner, name, deadly(getattr(owner, name), nth, when))
            run(archive, destination, Fake())
            os._exit(0)
        _, status = os.waitpid(child, 0)
        published = len(list(destination.glob("series/*/*/unit.json")))
        again = Fake()
        run(archive, destination, again)
        said = {"point": f"{module}.{name} {nth} {when}", "killed": os.WIFSIGNALED(status), "published": published, **state(destination, again)}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
