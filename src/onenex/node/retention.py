"""Retention: deletes what every destination has and keeps, once it's old or the folder too full, and what crashes left behind.

The order is: audit trail, queue, files. A crash in between leaves files that no row knows; `Queue.recover` and the next round delete them.
Results are hidden before the queue forgets their series, as `recover` would set them aside for good, and come back if it does not.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from onenex.node.audit import Audit, uid_hash
from onenex.node.config import NodeConfig
from onenex.node.database.spool import Spool
from onenex.node.outbox import remove
from onenex.node.queue import Queue
from onenex.node.records import DeliveryState, SeriesView, State

logger = logging.getLogger(__name__)

DAY_S = 86_400.0
STALE_S = 60.0
"""Age of what dead processes left in `incoming/`."""

_RESULT = re.compile(r"([0-9]+)-[0-9]+")
_LEAVING = re.compile(r"\.leaving-(([0-9]+)-[0-9]+)")
_STAGING = re.compile(r"\.([0-9]+)-[0-9]+-.+")
_DONE = (State.VERIFIED, State.PASSED_THROUGH)


def keep_house(config: NodeConfig, queue: Queue, spool: Spool, audit: Audit) -> int:
    """Delete what retention allows and what crashes left behind; return how many series were forgotten."""
    spool.sweep(STALE_S)
    sweep_outbox(queue, spool)
    sweep_empty(spool)
    n_forgotten = sum(forget(one, queue, spool, audit) for one in queue.forgettable(config.retention.days * DAY_S))
    if config.retention.high_water_gb is not None:
        n_forgotten += _below(config.retention.high_water_gb * 1e9, queue, spool, audit)
    if n_forgotten:
        logger.info("series forgotten n_series=%d", n_forgotten)
    return n_forgotten


def forget(series_id: int, queue: Queue, spool: Spool, audit: Audit) -> bool:
    """Delete a series, if all of it is verified; whether it was."""
    view = queue.one(series_id)
    if view is None or not _is_safe(view):
        return False
    audit.write("forgetting", series=series_id, series_hash=uid_hash(view.series_uid), images=view.n_images, derived=view.n_derived)
    leaving = [_renamed(folder, f".leaving-{folder.name}") for folder in spool.outboxes.glob(f"{series_id}-*")]
    files = queue.forget(series_id)
    if not files:
        for folder in leaving:
            _renamed(folder, folder.name.removeprefix(".leaving-"))
        return False
    _delete(files, spool)
    for folder in leaving:
        shutil.rmtree(folder, ignore_errors=True)
    for folder in spool.thumbnails.glob(f"{series_id}-*"):
        shutil.rmtree(folder, ignore_errors=True)
    return True


def sweep_outbox(queue: Queue, spool: Spool) -> int:
    """Delete results of forgotten series, and what workers left that were killed; return how many folders."""
    n_swept = 0
    for folder in sorted(spool.outboxes.iterdir()):
        result, staging, leaving = (pattern.fullmatch(folder.name) for pattern in (_RESULT, _STAGING, _LEAVING))
        if leaving is not None and queue.one(int(leaving[2])) is not None:  # the crash came before the queue forgot it
            _renamed(folder, leaving[1])
            continue
        if result is not None and queue.one(int(result[1])) is None:
            remove(folder)
        elif (staging is not None and not _is_at_work(queue.one(int(staging[1])))) or leaving is not None or folder.name.startswith(".gone-"):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            continue
        n_swept += 1
    return n_swept


def sweep_empty(spool: Spool) -> None:
    """Delete folders of studies and series that have long been empty, as crashes leave them: their names are UIDs of patients."""
    for folder in (*spool.instances.glob("*/*"), *spool.instances.iterdir()):
        with contextlib.suppress(OSError):  # not empty, or gone
            if time.time() - folder.stat().st_mtime >= STALE_S:
                folder.rmdir()


def held_bytes(folder: Path) -> int:
    """Return what the files below a folder take on the disk."""
    total, pending = 0, [folder]
    while pending:
        with contextlib.suppress(FileNotFoundError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                else:
                    with contextlib.suppress(FileNotFoundError):
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def _below(limit_bytes: float, queue: Queue, spool: Spool, audit: Audit) -> int:
    """Forget verified series early, oldest first, until the folder holds no more than the limit.

    What no destination was ever to get stays its whole time: nobody has promised to keep it.
    """
    held, n_forgotten = held_bytes(spool.folder), 0
    for series_id in queue.forgettable(0.0) if held > limit_bytes else ():
        view = queue.one(series_id)
        if view is None or not view.deliveries:
            continue
        before = _series_bytes(series_id, queue, spool)
        if forget(series_id, queue, spool, audit):
            held, n_forgotten = held - before, n_forgotten + 1
        if held <= limit_bytes:
            break
    if held > limit_bytes:
        logger.warning("folder above its high water and nothing verified is left held_mb=%d limit_mb=%d", held // 10**6, limit_bytes // 10**6)
    return n_forgotten


def _series_bytes(series_id: int, queue: Queue, spool: Spool) -> int:
    outboxes = sum(held_bytes(folder) for folder in spool.outboxes.glob(f"{series_id}-*"))
    return outboxes + sum(path.stat().st_blocks * 512 for path in queue.files(series_id) if path.is_file())


def _is_safe(view: SeriesView) -> bool:
    """Whether nothing of a series is on its way; the queue asks itself the same."""
    return view.state in _DONE and all(one.state is DeliveryState.VERIFIED for one in view.deliveries)


def _renamed(folder: Path, name: str) -> Path:
    return folder.rename(folder.with_name(name))


def _is_at_work(view: SeriesView | None) -> bool:
    return view is not None and view.state is State.CLAIMED


def _delete(files: Iterable[Path], spool: Spool) -> None:
    """Delete files of the node, and the folders of series and study that this leaves empty."""
    folders = set()
    for path in files:
        path = Path(os.path.abspath(path))  # noqa: PTH100, PLW2901 (resolve would follow links; ".." must not lead out)
        if not (path.is_relative_to(spool.instances) or path.is_relative_to(spool.outboxes)):
            logger.error("a file outside the node's folders was not deleted")
            continue
        path.unlink(missing_ok=True)
        if path.is_relative_to(spool.instances):
            folders.add(path.parent)
    for folder in folders:
        for place in (folder, folder.parent):
            with contextlib.suppress(OSError):  # not empty: the receiver put something there
                place.rmdir()
