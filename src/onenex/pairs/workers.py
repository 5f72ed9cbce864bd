"""Work handed to processes a few jobs ahead, and its results in order."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing.process import BaseProcess
from typing import TypeVar

from onenex.errors import DataError

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 2
"""Jobs a worker that wait or whose results wait."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
"""Read by OpenMP (torch), MKL, OpenBLAS (NumPy, SciPy) and ITK (ANTs, SimpleITK) when a process starts."""


def in_order(function: Callable[[T], R], jobs: Iterable[T], workers: int) -> Iterator[R]:
    """Yield `function(job)` for each job, in their order.

    Parameters
    ----------
    function
        Of a module, or a `partial` of one: it travels to other processes.
    jobs
        Taken only a few ahead of the results, so that memory stays bounded.
    workers
        Processes, started anew (spawn) so that no thread of this one is copied, with one thread each unless the environment says
        otherwise: more threads than cores wait for each other many times as long as they work. 0 = this process does it all.

    Raises
    ------
    DataError
        A negative number of workers, or one of them died.
    """
    if workers < 0:
        raise DataError(f"{workers} worker processes: give 0 (none but this one) or more")
    if workers == 0:
        yield from map(function, jobs)
        return
    waiting: deque[Future[R]] = deque()
    source = iter(jobs)
    with one_thread_each(), _pool(workers) as pool:
        try:
            waiting.extend(pool.submit(function, job) for job in islice(source, _AHEAD * workers))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(function, job) for job in islice(source, 1))
        except BrokenProcessPool:
            raise DataError("a worker process died, perhaps for want of memory: run again with fewer workers; what was done is kept") from None
        finally:
            for future in waiting:
                future.cancel()


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent)


def end_with_parent() -> None:
    """Let this process end when the one that started it is gone, killed perhaps; it would wait for work for ever."""
    threading.Thread(target=_end_after, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_after(parent: BaseProcess | None) -> None:
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let processes that start meanwhile have one thread each, where the environment doesn't say how many."""
    unsaid = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(unsaid, "1"))
    try:
        yield
    finally:
        for name in unsaid:
            os.environ.pop(name, None)
