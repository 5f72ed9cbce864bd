"""Every file below a folder with its size and time: nothing is opened, links are followed once, loops end."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger(__name__)

_SEPARATOR = os.fsencode(os.sep)


class Entry(NamedTuple):
    """One file."""

    path: bytes
    """Relative to the root, as the file system spells it."""
    size: int
    mtime_ns: int


@dataclass(kw_only=True)
class Walk:
    """What a walk met besides files; filled while `entries` is consumed."""

    n_links: int = 0
    """Links that lead nowhere, or to a folder that was visited already."""
    n_denied: int = 0
    """Folders and files that could not be looked at."""
    seen: set[tuple[int, int]] = field(default_factory=set)
    """(device, inode) of the folders visited."""


def entries(root: Path, walk: Walk, skip: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Entry]:
    """Yield the regular files below `root`, to any depth; those whose names start with "._" (macOS) are left out.

    Real folders come first and links to folders last, so that a file keeps its real path however the links point.

    Parameters
    ----------
    root
        A folder.
    walk
        Counts what cannot be yielded.
    skip
        (device, inode) of files that don't count: the index itself.
    """
    base = os.fsencode(root)
    waiting, links = [b""], list[bytes]()
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop()
        place = _SEPARATOR.join((base, folder)) if folder else base
        try:
            status = os.stat(place)  # noqa: PTH116 - names are bytes here
            if (status.st_dev, status.st_ino) in walk.seen:
                walk.n_links += 1
                continue
            walk.seen.add((status.st_dev, status.st_ino))
            with os.scandir(place) as found:
                children = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            logger.warning("folder cannot be read error=%s", type(error).__name__)
            walk.n_denied += 1
            continue
        for child in children:
            path = _SEPARATOR.join((folder, child.name)) if folder else child.name
            if _is(child, "folder"):
                (links if child.is_symlink() else waiting).append(path)
            elif not child.name.startswith(b"._"):
                yield from _file(child, path, walk, skip)
        links.sort(reverse=True)


def _is(child: os.DirEntry[bytes], what: str) -> bool:
    try:
        return child.is_dir() if what == "folder" else child.is_file()
    except OSError:
        return False


def _file(child: os.DirEntry[bytes], path: bytes, walk: Walk, skip: frozenset[tuple[int, int]]) -> Iterator[Entry]:
    try:
        status = child.stat()
    except OSError:  # gone meanwhile, a link to nowhere or to itself, a folder that may be listed but not entered
        walk.n_links += child.is_symlink()
        walk.n_denied += not child.is_symlink()
        return
    if _is(child, "file") and (status.st_dev, status.st_ino) not in skip:
        yield Entry(path, status.st_size, status.st_mtime_ns)
