"""A batch on one machine: processes of one thread each, a few units ahead, none of them able to take the run with it."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path

from onenex.batch import storage
from onenex.batch.job import Job, Outcome, Tell, prepared, record, weights_hash
from onenex.batch.process import process, undone
from onenex.batch.unit import Row, Status, Unit
from onenex.errors import DataError
from onenex.pairs.workers import end_with_parent, one_thread_each
from onenex.work import Denoiser

_AHEAD = 2
"""Units a worker that are under way or wait."""


def run(job: Job, *, workers: int | None = None, tell: Tell | None = None) -> Outcome:
    """Do all units of a source that aren't done yet.

    Killed at any instant, it leaves whole results or none, and the next run goes on from there.

    Parameters
    ----------
    workers
        Processes; 0 = this one; None = one for each core that this process may use, and half as many more where files come or go
        over a network (memory:// is seen by this process alone: 0).
    tell
        Told how far it is.

    Raises
    ------
    DataError
        The source cannot be listed; the destination cannot be written to, was made otherwise, or is in use.
    """
    started = time.monotonic()
    private = storage.is_of_this_process(job.source) or storage.is_of_this_process(job.destination)
    if workers is None:
        workers = 0 if private else math.ceil(job.workers_a_core * len(os.sched_getaffinity(0)))
    if workers < 0 or (workers and private):
        raise DataError(f"{workers} worker processes: " + ("memory:// is seen by this process alone: give 0" if private else "give 0 or more"))
    with prepared(job, workers=workers, tell=tell) as (units, n_units):
        outcome = record(_rows(units, job, workers), job, tell=tell, n_units=n_units)
    outcome.seconds = time.monotonic() - started
    return outcome


def _rows(units: Iterator[Unit], job: Job, workers: int) -> Iterator[Row]:
    """Yield rows as units end."""
    if workers == 0:
        yield from (_do(job, unit) for unit in units)
        return
    with one_thread_each():
        while suspects := (yield from _until_broken(units, job, workers)):
            while suspects:
                first, suspects = suspects[:1], suspects[1:]
                if (yield from _until_broken(iter(first), job, 1)):
                    yield _died(first[0], job)


def _until_broken(units: Iterator[Unit], job: Job, workers: int) -> Generator[Row, None, list[Unit]]:
    """Yield rows until the units end or a process dies; return the units that were in its pool then: one of them may be the reason."""
    with _pool(job, workers) as pool:
        running: dict[Future[Row], Unit] = {}
        lost: list[Unit] = []
        while not lost:
            for unit in islice(units, _AHEAD * workers - len(running)):
                try:
                    running[pool.submit(_do, job, unit)] = unit
                except BrokenProcessPool:
                    lost.append(unit)
                    break
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                unit = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    lost.append(unit)
        return [*lost, *running.values()] if lost else []


@contextmanager
def _pool(job: Job, workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool; its processes end with the block, at once if that ends early, and with this process, however that ends."""
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        storage.sweep(job.destination)


def _begin() -> None:
    """Prepare a worker: Ctrl-C is the parent's business, and whoever loses its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _do(job: Job, unit: Unit) -> Row:
    return process(unit, job.destination, job.options, _model(job.device, job.weights, job.options.engine), access=job.access)


@cache
def _model(device: str, weights: Path | None, engine: str) -> Denoiser:
    """Load the model, once a process."""
    from onenex.model import load

    return load(device, weights, engine=engine)


def _died(unit: Unit, job: Job) -> Row:
    """Return the row of a unit that takes its process with it."""
    reason = "its worker process died twice, perhaps for want of memory: try it again with fewer workers, or on a larger machine"
    return undone(unit, Status.FAILED, reason, weights=weights_hash(job.weights), options=job.options)
