"""The supervisor: starts the node's parts, starts those again that die, and stops all of them together."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from onenex.errors import NodeError
from onenex.node.config import NodeConfig, load_config

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
"""Before a part that died is started again; doubled each time it dies young, up to `longest_pause_s`."""
YOUNG_S = 60.0
GRACE_S = 30.0
"""What a part has to end in when it's told to; then it's killed, which loses nothing."""
TICK_S = 0.2


@dataclass(kw_only=True)
class _Child:
    """One part, running or about to."""

    part: str
    name: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    due: float = field(default=0.0)


def serve(config_path: Path, stop: threading.Event) -> None:
    """Run the whole node until `stop` is set.

    Raises
    ------
    NodeError
        The configuration is wrong, the folder cannot be used, or another node uses it.
    """
    config = load_config(config_path)
    with _alone(config.node.folder):
        children = _children(config)
        logger.info("node started parts=%d ae=%s port=%d", len(children), config.node.ae_title, config.node.port)
        try:
            while not stop.wait(TICK_S):
                for child in children:
                    _tend(child, config_path, config.node.longest_pause_s)
        finally:
            _stop(children)
            logger.info("node stopped")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: two nodes in one folder would fight over it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "node.lock").open("a")
    except OSError as error:
        raise NodeError(f"{folder} cannot be used ({error.strerror}): make it, and let the node's user write to it") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NodeError(f"another node runs in {folder}: stop it, or give this one a folder of its own") from None
        yield


def _children(config: NodeConfig) -> list[_Child]:
    """List the processes that there should be."""
    threads = config.node.threads or max(1, (os.cpu_count() or 1) // config.node.workers)
    single = {"OMP_NUM_THREADS": "1"}
    found = [_Child(part=part, name=part, environment=single) for part in ("clerk", "receive", "send", "status")]
    workers = [_Child(part="worker", name=f"worker {n + 1}", environment={"OMP_NUM_THREADS": str(threads)}) for n in range(config.node.workers)]
    return found + workers


def _tend(child: _Child, config_path: Path, longest_pause_s: float) -> None:
    """Start a part that isn't running and whose time has come."""
    now = time.monotonic()
    if child.process is None:
        if now >= child.due:
            child.process = _started(child, config_path)
            child.started = now
        return
    status = child.process.poll()
    if status is None:
        return
    _close(child.process)
    child.pause_s = FIRST_PAUSE_S if now - child.started > YOUNG_S else min(2 * child.pause_s, longest_pause_s)
    child.process, child.due = None, now + child.pause_s
    logger.error("part died part=%s status=%d again_in_s=%.1f", child.name, status, child.pause_s)


def _started(child: _Child, config_path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "onenex.node.part", child.part, str(config_path.resolve())]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, **child.environment})
    logger.info("part started part=%s pid=%d", child.name, process.pid)
    return process


def _stop(children: list[_Child]) -> None:
    """Tell every part to end, and end those that don't."""
    running = [child.process for child in children if child.process is not None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + GRACE_S
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _close(process)


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
