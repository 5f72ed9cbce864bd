"""Slices side by side: one thread a slice keeps two cores busier than two threads inside each convolution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

PIXELS_AT_ONCE = 2**20
"""Most pixels of slices in work at the same time. Chosen, not measured: 16 slices of 256 × 256, or one of 1024 × 1024."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def slices_at_once(n_slices: int, n_pixels: int, n_threads: int) -> int:
    """Return how many slices of `n_pixels` to work on together: no more than threads or slices, nor than memory should hold; at least 1."""
    return max(1, min(n_slices, n_threads, PIXELS_AT_ONCE // n_pixels))


def in_order(function: Callable[[Item], Result], items: Iterable[Item], n_at_once: int) -> Iterator[Result]:
    """Yield function(item) for each item, in order, `n_at_once` of them worked on together.

    Torch's threads are shared out meanwhile: every slice gets an equal part, at least one. Everything a slice needs must
    be its own; gradients are off in new threads only where the function says so.
    """
    if n_at_once == 1:
        yield from map(function, items)
        return
    with _shared_out(n_at_once), ThreadPoolExecutor(n_at_once, thread_name_prefix="onenex-slice") as pool:
        try:
            yield from pool.map(function, items)
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _shared_out(n_parts: int) -> Iterator[None]:
    """Give threads that start inside an equal part of torch's threads; this thread gets its own back in the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // n_parts))
    try:
        yield
    finally:
        torch.set_num_threads(before)
