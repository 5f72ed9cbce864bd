"""What `onenex node` does, verb by verb."""

from __future__ import annotations

import getpass
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from onenex.errors import NodeError
from onenex.node.audit import Audit, json_logging
from onenex.node.config import load_config
from onenex.node.queue import Queue
from onenex.node.records import SeriesView, State
from onenex.node.serve import serve as supervise
from onenex.node.web.login import password_line


def serve(config: Path) -> None:
    """Run the node until SIGTERM or Ctrl-C.

    Raises
    ------
    NodeError
        The configuration is wrong, or another node uses its folder.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    json_logging(logging.INFO)
    supervise(config, stop)


def status(config: Path, *, limit: int, as_json: bool) -> None:
    """Print counts by state, what waits, and the latest series; UIDs are not printed."""
    queue = _queue(config)
    views = queue.view(limit=limit)
    counts, totals = {str(state): n for state, n in queue.counts().items()}, dict(queue.totals())
    if as_json:
        typer.echo(json.dumps({"paused": queue.paused(), "counts": counts, "totals": totals, "series": [_row(view) for view in views]}))
        return
    typer.echo(("paused; " if queue.paused() else "") + (", ".join(f"{n} {state}" for state, n in counts.items() if n) or "no series"))
    table = Table("no.", "received", "state", "images", "derived", "from", "deliveries", "reason", box=None)
    for view in views:
        ways = ", ".join(f"{one.kind} to {one.destination}: {one.state} ({one.n_sent} of {one.n_items})" for one in view.deliveries)
        when = datetime.fromtimestamp(view.received_wall).astimezone().isoformat(" ", "seconds")
        table.add_row(
            str(view.series_id), when, str(view.state), str(view.n_images), str(view.n_derived), view.calling_ae, ways, view.reason
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def retry(config: Path, series: Sequence[int], *, every: bool) -> None:
    """Start failed series again.

    Raises
    ------
    NodeError
        No series is named, or one of them isn't there or hasn't failed.
    """
    queue = _queue(config)
    if every:
        series = [view.series_id for view in queue.view(state=State.FAILED, limit=1_000_000)]
    elif not series:
        raise NodeError("which series? Give their numbers as `onenex node status` prints them, or --all")
    audit, refused = Audit(_folder(config)), []
    for one in series:
        if queue.retry(one):
            audit.write("retry", series=one, by=_user())
        else:
            refused.append(one)
    typer.echo(f"{len(series) - len(refused)} series start again")
    if refused:
        raise NodeError(f"not failed, or not there: {', '.join(map(str, refused))}; see `onenex node status`")


def pause(config: Path, *, on: bool) -> None:
    """Stop denoising and sending, or go on."""
    _queue(config).pause(on)
    Audit(_folder(config)).write("paused" if on else "resumed", by=_user())
    typer.echo("paused: images are received, nothing is denoised or sent" if on else "resumed")


def password(user: str) -> None:
    """Print the line of a user for the status page's password file.

    Raises
    ------
    NodeError
        The name or the password cannot be used.
    """
    if sys.stdin.isatty():
        word = getpass.getpass(f"Password of {user}: ")
        if getpass.getpass("Again: ") != word:
            raise NodeError("the two passwords differ: try again")
    else:
        word = sys.stdin.readline().rstrip("\n")
    typer.echo(password_line(user, word))


def audit(config: Path) -> None:
    """Check the audit trail's chain.

    Raises
    ------
    NodeError
        It is broken.
    """
    typer.echo(f"{Audit(_folder(config)).verify()} events, unbroken")


def _row(view: SeriesView) -> dict[str, Any]:
    return {
        "number": view.series_id, "state": str(view.state), "pass": view.pass_number, "images": view.n_images, "derived": view.n_derived,
        "from": view.calling_ae, "rule": view.rule, "reason": view.reason, "received": view.received_wall,
        "deliveries": [
            {"kind": str(one.kind), "destination": one.destination, "state": str(one.state), "items": one.n_items, "sent": one.n_sent,
             "verified": one.n_verified, "attempts": one.attempts, "error": one.error}
            for one in view.deliveries
        ],
    }  # fmt: skip


def _folder(path: Path) -> Path:
    folder = load_config(path).node.folder
    if not (folder / "queue.sqlite").is_file():
        raise NodeError(f"{folder} holds no node's queue: has the node been started yet, and is this its configuration?")
    return folder


def _queue(path: Path) -> Queue:
    return Queue(_folder(path))


def _user() -> str:
    """Return who runs this command, for the audit trail."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
