"""A unit's results in their place: a folder that is there whole or does not count.

On a local disk the folder is written elsewhere and renamed. Object stores have no folders to rename: there `unit.json`
is written last, and a folder without it does not count.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from onenex.batch import storage
from onenex.batch.unit import Row
from onenex.errors import DataError

FOLDER = "series"
NOTE = "unit.json"
"""The unit's row of the ledger, beside its results: a run killed between the two finds it here."""


def place_of(unit: str) -> tuple[str, str, str]:
    """Return where a unit's folder is below the destination: 256 folders share them, so that none grows too long."""
    return FOLDER, unit[:2], unit


def published(destination: str, unit: str) -> Row | None:
    """Return the row that lies with a unit's results; None when there are none, or only a part of them."""
    content = storage.read_bytes(storage.join(destination, *place_of(unit), NOTE))
    try:
        return None if content is None else Row.from_json(json.loads(content))
    except (ValueError, KeyError, TypeError):
        return None


def is_published(destination: str, unit: str) -> bool:
    """Whether a unit's results are there, whole."""
    return storage.is_file(storage.join(destination, *place_of(unit), NOTE))


def withdraw(destination: str, unit: str) -> None:
    """Remove a unit's results, made earlier of another source or in another way; the note goes first."""
    home, url = storage.local_path(destination), storage.join(destination, *place_of(unit))
    if home is not None:
        target = home.joinpath(*place_of(unit))
        if target.is_dir():
            with storage.scratch(destination) as folder:
                target.rename(folder / "old")
        return
    _clear(*storage.filesystem(url))


def publish(folder: Path, destination: str, row: Row) -> None:
    """Put a finished folder in its place, instead of an older one.

    Parameters
    ----------
    folder
        Of a `scratch` of this destination, its files flushed to the disk; it's gone afterwards where the destination is local.

    Raises
    ------
    DataError
        The destination cannot be written to.
    """
    note = json.dumps(row.as_json(), indent=1).encode()
    home = storage.local_path(destination)
    if home is None:
        _upload(folder, storage.join(destination, *place_of(row.unit)), note)
        return
    target = home.joinpath(*place_of(row.unit))
    storage.write_bytes(str(folder / NOTE), note)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _swap(folder, target)
    except OSError as error:
        raise DataError(f"cannot write {target} ({error.strerror or error}): choose a destination that you may write to") from error
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(folder: Path, target: Path) -> None:
    """Rename; where an older folder is in the way, it goes first. Whoever else does the same unit meanwhile makes the same."""
    for attempt in range(10):
        try:
            folder.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or attempt == 9:
                raise
            aside = folder.with_name(f"{folder.name}-old-{attempt}")
            try:
                target.rename(aside)
            except FileNotFoundError:
                continue
        else:
            return


def _upload(folder: Path, url: str, note: bytes) -> None:
    """Copy file by file, the note last; what an earlier, unfinished upload left goes first."""
    system, root = storage.filesystem(url)
    try:
        _clear(system, root)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = f"{root}/{path.relative_to(folder).as_posix()}"
                system.makedirs(name.rsplit("/", 1)[0], exist_ok=True)
                system.put_file(str(path), name)
        system.pipe_file(f"{root}/{NOTE}", note)
    except OSError as error:
        raise DataError(f"cannot write {url} ({error}): check the address and who may write there") from error


def _clear(system: Any, root: str) -> None:
    if system.exists(f"{root}/{NOTE}"):
        system.rm_file(f"{root}/{NOTE}")
    if system.exists(root):
        system.rm(root, recursive=True)
