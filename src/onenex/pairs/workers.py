"""Work handed to processes a few jobs ahead, and its results in order."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from onenex.errors import DataError

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 2
"""Jobs a worker that wait or whose results wait."""


def in_order(function: Callable[[T], R], jobs: Iterable[T], workers: int) -> Iterator[R]:
    """Yield `function(job)` for each job, in their order.

    Parameters
    ----------
    function
        Of a module, or a `partial` of one: it travels to other processes.
    jobs
        Taken only a few ahead of the results, so that memory stays bounded.
    workers
        Processes, started anew (spawn) so that no thread of this one is copied; 0 = this process does it all.

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
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
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
