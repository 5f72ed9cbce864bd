"""Batches drawn ahead of the training: in one thread, or in as many processes as keep a GPU busy; the order is always the same."""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from onenex.train.config import PhaseConfig
from onenex.train.dataset import Batch, Scan, draw_batch


class Draws(Dataset[Batch]):
    """The batches of one process as a sequence: all of its sub-batches of step `first`, then those of the next, …

    Parameters
    ----------
    first
        Step to begin at.
    rank, size
        Of the process: of every step it draws the sub-batches `rank`, `rank` + `size`, …
    """

    def __init__(self, scans: list[Scan], config: PhaseConfig, seed: int, *, first: int = 0, rank: int = 0, size: int = 1) -> None:
        self._scans, self._config, self._seed = scans, config, seed
        self._first, self._mine = first, range(rank, config.sub_batches, size)

    def __len__(self) -> int:
        return max(0, self._config.steps - self._first) * len(self._mine)

    def __getitem__(self, place: int) -> Batch:
        later, turn = divmod(place, len(self._mine))
        return draw_batch(self._scans, self._config, np.random.default_rng([self._seed, self._first + later, self._mine[turn]]))

    def steps(self) -> Iterator[list[Batch]]:
        """Yield the sub-batches of each step, drawn ahead by `PhaseConfig.workers` processes, or by a thread when that is 0."""
        batches = _by_processes(self, self._config.workers) if self._config.workers and len(self) else _by_a_thread(self)
        for _ in range(len(self) // len(self._mine)):
            yield list(itertools.islice(batches, len(self._mine)))


def _by_processes(draws: Draws, n_wanted: int) -> Iterator[Batch]:
    """Yield the batches as processes draw them, at most one a core.

    Processes, not threads: a third of the drawing is Python, which would keep the interpreter from the thread that feeds
    the GPU. Spawned, not forked: a fork of a process with threads, or with a GPU, may hang. Each holds a copy of the scans.
    """
    n_workers = max(1, min(n_wanted, _n_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    yield from DataLoader(
        draws,
        batch_size=None,
        num_workers=n_workers,
        multiprocessing_context="spawn",
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # else it draws from the global one
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _by_a_thread(draws: Draws) -> Iterator[Batch]:
    """Yield the batches as one thread draws them, a few ahead."""
    ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=4)

    def draw() -> None:
        try:
            for place in range(len(draws)):
                ready.put(draws[place])
        except BaseException as error:  # handed to the training thread, which raises it
            ready.put(error)

    threading.Thread(target=draw, daemon=True).start()
    for _ in range(len(draws)):
        item = ready.get()
        if isinstance(item, BaseException):
            raise item
        yield item
