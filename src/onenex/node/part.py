"""One part of the node as a process of its own: `python -m onenex.node.part NAME node.toml`.

It ends when it's told to (SIGTERM, SIGINT), and when the supervisor dies: its standard input is a pipe that then closes.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from onenex.errors import OneNexError
from onenex.node.audit import json_logging
from onenex.node.config import NodeConfig, load_config

logger = logging.getLogger(__name__)

PARTS = {
    "receive": "onenex.node.receive",
    "clerk": "onenex.node.clerk",
    "worker": "onenex.node.worker",
    "send": "onenex.node.send",
    "status": "onenex.node.status",
}
"""Name → module with `run(config, stop)`, which blocks until `stop` is set."""

Run = Callable[[NodeConfig, threading.Event], None]


def main(name: str, config_path: Path) -> int:
    """Run a part until it's stopped; return the exit status: 0, or 1 after an error."""
    json_logging(logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_until_parent_dies, args=(stop,), daemon=True, name="parent").start()
    try:
        run: Run = import_module(PARTS[name]).run
        run(load_config(config_path), stop)
    except OneNexError as error:
        logger.error("part failed part=%s reason=%s", name, error)
        return 1
    except Exception:  # its text may quote headers: the log's formatter writes only its type and where it was
        logger.exception("part failed part=%s", name)
        return 1
    return 0


def _until_parent_dies(stop: threading.Event) -> None:
    """Wait for the end of standard input, then stop; a part that won't is ended for good."""
    while os.read(0, 4096):
        pass
    stop.set()
    threading.Event().wait(20)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
