"""Slices of a scan: in memory, or read from a shard when they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Images(Protocol):
    """Slices by number, each (image, row, column), or (row, column) where a slice has one only. Arrays are such."""

    def __getitem__(self, number: int, /) -> Any:
        """Return one slice."""

    def __len__(self) -> int:
        """Return the number of slices."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lazy:
    """Slices that are read anew each time, so that nothing of them stays in memory."""

    n: int
    read: Callable[[int], Array]
    """Of things that can be pickled, for the processes that draw: a `partial` of a module's function, or a method."""
    content: str
    """Names what is read: other pixels, another text."""

    def __getitem__(self, number: int) -> Array:
        return self.read(int(number))

    def __len__(self) -> int:
        return self.n


def content(images: Images) -> str:
    """Return a text that is another for other images: a sum, or what the shard says of itself."""
    return images.content if isinstance(images, Lazy) else repr(float(np.asarray(images).sum(dtype=np.float64)))


def side_by_side(first: Images, second: Images) -> Images:
    """Return two images a slice, (2, row, column), of two times one."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.stack([first, second], axis=1)
    return Lazy(n=len(first), read=partial(_both, first, second), content=f"{content(first)} {content(second)}")


def alone(images: Images) -> Images:
    """Return (1, row, column) a slice of (row, column)."""
    if isinstance(images, np.ndarray):
        return images[:, None]
    return Lazy(n=len(images), read=partial(_alone, images), content=content(images))


def leading(images: Images, n: int) -> Images:
    """Return the first `n` images of each slice."""
    if isinstance(images, np.ndarray):
        return images[:, :n]
    return Lazy(n=len(images), read=partial(_leading, images, n), content=f"{content(images)} {n}")


def _both(first: Images, second: Images, number: int) -> Array:
    return np.stack([first[number], second[number]])


def _alone(images: Images, number: int) -> Array:
    return np.asarray(images[number][None])


def _leading(images: Images, n: int, number: int) -> Array:
    return np.asarray(images[number][:n])
