"""Local folders and everything fsspec knows, behind a few functions; and scratch folders that a killed process cannot leave for long."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from onenex.errors import DataError
from onenex.output import atomic_file

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

HIDDEN = ".onenex-batch"
"""Folder inside a local destination for what is under way."""


def local_path(url: str) -> Path | None:
    """Return the path of a plain path or file:// URL, absolute; None for anything else."""
    if "://" not in url:
        return Path(os.path.abspath(Path(url).expanduser()))  # noqa: PTH100 - links stay as they are
    parts = urlsplit(url)
    return Path(os.path.abspath(unquote(parts.path))) if parts.scheme in ("file", "local") else None  # noqa: PTH100


def is_of_this_process(url: str) -> bool:
    """Whether other processes cannot see it (memory://)."""
    return url.startswith("memory://")


def filesystem(url: str) -> tuple[AbstractFileSystem, str]:
    """Return the fsspec file system of a URL and the path in it.

    Raises
    ------
    DataError
        fsspec, or the package that it needs for this protocol, is not installed; or the URL makes no sense.
    """
    try:
        import fsspec
    except ModuleNotFoundError:
        raise DataError(f"{url} needs fsspec: pip install 'onenex[cluster]'") from None
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise DataError(f"{url} cannot be opened: {error}") from error
    return system, str(path)


def join(url: str, *names: str) -> str:
    """Return the URL or path of something below a folder."""
    return "/".join((url.rstrip("/"), *names))


def read_bytes(url: str) -> bytes | None:
    """Return a whole file; None when there is none."""
    path = local_path(url)
    try:
        if path is not None:
            return path.read_bytes()
        system, name = filesystem(url)
        content: bytes = system.cat_file(name)
        return content
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_bytes(url: str, content: bytes) -> None:
    """Write a whole file at once: nobody ever sees half of it (object stores promise that by themselves).

    Raises
    ------
    DataError
        A local folder that cannot be written to, or a full disk.
    """
    path = local_path(url)
    if path is not None:
        with atomic_file(path) as partial:
            partial.write_bytes(content)
        return
    system, name = filesystem(url)
    system.pipe_file(name, content)


def remove(url: str) -> None:
    """Remove a file; nothing where there is none."""
    path = local_path(url)
    try:
        if path is not None:
            path.unlink()
        else:
            system, name = filesystem(url)
            system.rm_file(name)
    except (FileNotFoundError, NotADirectoryError):
        pass


def names_in(url: str, suffix: str) -> list[str]:
    """Return the names of the files of a folder that end with `suffix`, sorted; none when there is no folder."""
    path = local_path(url)
    try:
        if path is not None:
            found = [one.name for one in path.iterdir()]
        else:
            system, folder = filesystem(url)
            system.invalidate_cache(folder)
            found = [str(name).rsplit("/", 1)[-1] for name in system.ls(folder, detail=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in found if name.endswith(suffix) and not name.startswith("."))


def scratch_home(destination: str) -> Path:
    """Return the folder for what is under way: on the destination's own disk where it is local, else among temporary files."""
    path = local_path(destination)
    if path is not None:
        return path / HIDDEN
    return Path(tempfile.gettempdir()) / f"onenex-batch-{hashlib.sha256(destination.encode()).hexdigest()[:12]}"


@contextmanager
def scratch(destination: str) -> Iterator[Path]:
    """Yield an empty folder that disappears with the block, or, after a kill, with the next `sweep`."""
    home = scratch_home(destination)
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(4)}.part"
    with _held(folder.with_suffix(".lock"), wait=True):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(destination: str) -> int:
    """Remove what killed processes left behind; what a living one holds, here or on another machine, stays. Return how many folders went."""
    home, n_swept = scratch_home(destination), 0
    for folder in home.glob("*.part") if home.is_dir() else ():
        with _held(folder.with_suffix(".lock"), wait=False) as held:
            if held:
                shutil.rmtree(folder, ignore_errors=True)
                n_swept += 1
    for lock in home.glob("*.lock") if home.is_dir() else ():
        with _held(lock, wait=False):
            pass
    return n_swept


@contextmanager
def only_run(destination: str) -> Iterator[None]:
    """Keep a second run on this destination out as long as the block lasts (on one machine, or a shared disk with locks).

    Raises
    ------
    DataError
        Another run is under way.
    """
    home = scratch_home(destination)
    home.mkdir(parents=True, exist_ok=True)
    with _held(home / "run.lock", wait=False) as held:
        if not held:
            raise DataError(f"another run is under way in {destination}: wait until it ends, or stop it")
        yield


@contextmanager
def _held(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock file, which goes with the block; the kernel lets go of it when the process dies. Yield whether it is held."""
    descriptor = _locked(path, wait)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            path.unlink(missing_ok=True)
            os.close(descriptor)


def _locked(path: Path, wait: bool) -> int | None:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        os.close(descriptor)  # it was removed by whoever held it before: make it anew


def is_file(url: str) -> bool:
    """Whether there is a file."""
    path = local_path(url)
    if path is not None:
        return path.is_file()
    system, name = filesystem(url)
    found: Any = system.exists(name)
    return bool(found)
