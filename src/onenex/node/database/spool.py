"""Where the node's files lie, and how they get there without a power cut leaving half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from onenex.errors import NodeError
from onenex.node.database import clock

log = logging.getLogger(__name__)

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK)
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_CHECK_EVERY_BYTES = 64 * 2**20
HEAD_OF_FILE = 144
"""Bytes of a DICOM file up to the length of its meta group: preamble, "DICM", and that (PS3.10 7.1)."""
_FOLDERS = ("incoming", "instances", "outbox", "quarantine", "thumbnails")


class NoRoom(NodeError):
    """The disk is full, or fuller than `reserve_mb` allows: nothing was kept, the sender must try again."""


def safe_name(uid: str) -> str:
    """Return a file name for a UID, whatever a stranger wrote there: the UID itself if it is one, else `x` and 40 digits of its hash.

    Source
    ------
    PS3.5 9.1: digits and dots, at most 64; stricter than the standard only in that no component is empty.
    """
    if len(uid) <= 64 and _UID.fullmatch(uid):
        return uid
    return "x" + hashlib.sha256(uid.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def dataset_digest(path: Path) -> str:
    """Return the SHA-256 of a file's encoded data set: everything behind preamble and file meta.

    Raises
    ------
    NodeError
        It is no DICOM file.

    Source
    ------
    PS3.10 7.1: the first element of the meta group is its length.
    """
    with path.open("rb") as file:
        file.seek(dataset_start(file.read(HEAD_OF_FILE)))
        return hashlib.file_digest(file, "sha256").hexdigest()


def dataset_start(head: bytes) -> int:
    """Return where the data set of a file begins that begins with these `HEAD_OF_FILE` bytes.

    Raises
    ------
    NodeError
        It is no DICOM file.
    """
    if len(head) < HEAD_OF_FILE or head[128:140] != b"DICM\x02\x00\x00\x00UL\x04\x00":
        raise NodeError("this is no DICOM file: look at it, and delete it if nobody misses it")
    return HEAD_OF_FILE + int.from_bytes(head[140:HEAD_OF_FILE], "little")


class Spool:
    """The folders of a node.

    Parameters
    ----------
    folder
        `node.folder`; it and its parts are made, readable by this user alone.
    reserve_bytes
        Free space below which nothing more is received.

    Raises
    ------
    NodeError
        The folder cannot be made.
    """

    def __init__(self, folder: Path, reserve_bytes: int = 0) -> None:
        self.folder = folder.absolute()
        self.reserve_bytes = reserve_bytes
        self.incoming, self.instances, self.outboxes, self.quarantine, self.thumbnails = (self.folder / name for name in _FOLDERS)
        self._durable: set[Path] = set()
        self._lock = threading.Lock()
        try:
            for part in (self.incoming, self.instances, self.outboxes, self.quarantine, self.thumbnails):
                part.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync(self.folder)
        except OSError as error:
            raise NodeError(f"cannot make {self.folder} ({error.strerror}): give `folder` a place that the node may write to") from error

    def receive(self, parts: Iterable[bytes]) -> Path:
        """Write the bytes to a temporary file and return it once they are on the disk.

        Raises
        ------
        NoRoom
            The disk is full, or would be fuller than the reserve allows; nothing is left behind.
        NodeError
            The disk fails otherwise.
        """
        temporary = self.incoming / f"{_process(os.getpid())}-{secrets.token_hex(8)}.part"
        try:
            self._check_room()
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                unchecked = 0
                for part in parts:
                    file.write(part)
                    unchecked += len(part)
                    if unchecked > _CHECK_EVERY_BYTES:
                        self._check_room()
                        unchecked = 0
                file.flush()
                os.fsync(file.fileno())
        except BaseException as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise _explained(error, self.folder) from error
            raise
        return temporary

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < self.reserve_bytes:
            raise NoRoom(
                f"the disk of {self.folder} has {free / 1e6:.0f} MB left, less than the reserve of {self.reserve_bytes / 1e6:.0f} MB: free some"
            )

    def place(self, temporary: Path, study_uid: str, series_uid: str, sop_uid: str, digest: str, *, flush: bool = True) -> Path:
        """Move a received file to its place and return that, once it would survive a power cut there.

        The same data set already there is taken instead; another one under the same UID stays, and the newcomer gets a name of its own.

        Parameters
        ----------
        digest
            SHA-256 of the encoded data set, hexadecimal.
        flush
            False: the caller calls `flush` before he promises anything, for many files at once.

        Raises
        ------
        NoRoom
            The disk is full.
        NodeError
            The disk fails otherwise.
        """
        folder = self.instances / safe_name(study_uid) / safe_name(series_uid)
        name = safe_name(sop_uid)
        try:
            self._make(folder)
            for target in (folder / f"{name}.dcm", folder / f"{name}~{digest[:12]}.dcm", folder / f"{name}~{digest}.dcm"):
                if self._put(temporary, target) or _holds(target, digest):
                    temporary.unlink(missing_ok=True)
                    if flush:
                        sync(folder)
                    return target
        except OSError as error:
            raise _explained(error, self.folder) from error
        raise NodeError(f"{folder} holds damaged files in the place of an image: run `onenex node check`, move them away")

    def flush(self, paths: Iterable[Path]) -> None:
        """Make the names of placed files survive a power cut.

        Raises
        ------
        NoRoom
            The disk is full.
        NodeError
            The disk fails otherwise.
        """
        try:
            for folder in {path.parent for path in paths}:
                sync(folder)
        except OSError as error:
            raise _explained(error, self.folder) from error

    def _make(self, folder: Path) -> None:
        """Make a series' folder, durable up to `instances/`."""
        if folder in self._durable and folder.is_dir():
            return
        with self._lock:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync(folder.parent)
            sync(self.instances)
            self._durable.add(folder)

    def _put(self, temporary: Path, target: Path) -> bool:
        """Give a file its name unless that is taken."""
        try:
            target.hardlink_to(temporary)
        except FileExistsError:
            return False
        except FileNotFoundError:  # retention took the empty folder away
            self._durable.discard(target.parent)
            self._make(target.parent)
            target.hardlink_to(temporary)
        except OSError as error:
            if error.errno not in _NO_LINKS or target.exists():
                raise
            temporary.rename(target)
        return True

    def outbox(self, series_id: int, pass_number: int) -> Path:
        """Return where the result of one pass over a series goes; made by who writes it."""
        return self.outboxes / f"{series_id}-{pass_number}"

    def sweep(self, age_s: float) -> int:
        """Delete what dead processes left in `incoming/` at least `age_s` seconds ago; return how many files."""
        swept = 0
        for path in self.incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if not _alive(path.name) and abs(time.time() - path.stat().st_mtime) >= age_s:
                    path.unlink()
                    swept += 1
        if swept:
            log.info("event=swept files=%d", swept)
        return swept

    def stored(self) -> Iterator[Path]:
        """Yield every file in `instances/`."""
        yield from (path for path in self.instances.glob("*/*/*") if path.is_file())

    def set_aside(self, path: Path) -> Path:
        """Move a file that nobody can use to `quarantine/` and return where it lies now."""
        target = self.quarantine / f"{secrets.token_hex(4)}-{path.name}"
        path.rename(target)
        sync(self.quarantine)
        return target


def sync(folder: Path) -> None:
    """Flush a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _holds(target: Path, digest: str) -> bool:
    try:
        return dataset_digest(target) == digest
    except (NodeError, FileNotFoundError):
        return False


def _explained(error: OSError, folder: Path) -> NodeError:
    """Return the error that says what to do about a disk's."""
    if error.errno in _NO_SPACE:
        return NoRoom(f"the disk of {folder} is full: free some space; nothing was left behind")
    return NodeError(f"{folder} cannot be written to ({error.strerror}): see whether its disk is well")


def _process(pid: int) -> str:
    """Return what names a process once and for all: the machine's run, its number, when it started (proc(5), field 22)."""
    started = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    return f"{clock.boot_id()[:8]}-{pid}-{started}"


def _alive(name: str) -> bool:
    """Whether the process that named a temporary file still runs."""
    parts = name.split("-")
    if len(parts) != 4 or not parts[1].isdecimal():
        return False
    try:
        return _process(int(parts[1])) == "-".join(parts[:3])
    except OSError:
        return False
