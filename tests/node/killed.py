"""Processes that work on a node's folder and kill themselves, kill -9, at a given point. Started by a fork server: quick, and without threads."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onenex.node import retention, worker
from onenex.node.audit import Audit
from onenex.node.config import NodeConfig
from onenex.node.database import clock
from onenex.node.database.spool import Spool
from onenex.node.queue import Queue
from onenex.node.worker import Worker
from tests.fake_model import FakeModel

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.node.killed", "onenex.dicom", "onenex.report.page"])


def in_a_process(shift_s: float, work: Callable[..., None], *arguments: Any) -> int | None:
    """Run a function of this module in a process whose node time is shifted, and return its exit status; -9 is kill -9."""
    process = _SERVER.Process(target=_shifted, args=(shift_s, work, *arguments))
    process.start()
    process.join(60)
    return process.exitcode


def _shifted(shift_s: float, work: Callable[..., None], *arguments: Any) -> None:
    now = clock.now
    clock.now = lambda: now() + shift_s
    work(*arguments)


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def _dying(owner: Any, name: str, after: bool) -> None:
    """Make a function kill its process before or after it does what it does."""
    plain = getattr(owner, name)

    def deadly(*arguments: Any, **keywords: Any) -> Any:
        if after:
            plain(*arguments, **keywords)
        die()

    setattr(owner, name, deadly)


WORKER_POINTS: dict[str, tuple[Any, str, bool]] = {
    "claimed": (Queue, "claim", True),
    "read": (worker, "link_sources", True),
    "before publishing": (worker, "publish", False),
    "while publishing": (Path, "rename", False),
    "published": (worker, "publish", True),
    "before handing over": (Queue, "finish", False),
    "handed over": (Queue, "finish", True),
}
RETENTION_POINTS: dict[str, tuple[Any, str, bool]] = {
    "audited": (Audit, "write", True),
    "before forgetting": (Queue, "forget", False),
    "forgotten": (Queue, "forget", True),
    "one file deleted": (Path, "unlink", True),
    "files deleted": (retention, "_delete", True),
    "result hidden": (Path, "rename", True),
}


def work(config: NodeConfig, point: str) -> None:
    """Denoise a series, and die at a point."""
    one = Worker(config=config, model=FakeModel(), pause_s=0.0)
    if point == "while publishing":
        publish = worker.publish

        def publishing(*arguments: Any) -> Any:
            _dying(*WORKER_POINTS[point])
            return publish(*arguments)

        worker.publish = publishing
    else:
        _dying(*WORKER_POINTS[point])
    one.once()


def tidy(config: NodeConfig, point: str) -> None:
    """Do a round of retention, and die at a point."""
    queue, spool, audit = Queue(config.node.folder), Spool(config.node.folder), Audit(config.node.folder)
    _dying(*RETENTION_POINTS[point])
    retention.keep_house(config, queue, spool, audit)


def hang(config: NodeConfig) -> None:
    """Take a series with a model that hangs."""

    class Hanging(FakeModel):
        def denoise(self, *_: Any, **__: Any) -> Any:
            time.sleep(60)

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what faulthandler has to say
    Worker(config=config, model=Hanging(), stalled_s=0.3).once()
