"""Who did what when, without saying about whom: a chained audit trail, hashes in the place of UIDs, logs as JSON lines."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import logging
import os
import secrets
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from onenex.errors import NodeError

_FIRST = "0" * 64
_TAIL_BYTES = 65_536
_KEY_BYTES = 32


class _Key:
    """The process's key: a random one, which nobody can undo, until the node's folder is known."""

    value = secrets.token_bytes(_KEY_BYTES)


def use_key(folder: Path) -> None:
    """Read the key of the node's UID hashes, `audit.key`, and make it at first use. Opening the queue does this.

    Raises
    ------
    NodeError
        The file isn't ours.
    """
    path = folder / "audit.key"
    if not path.exists():
        temporary = folder / f".audit.key-{secrets.token_hex(8)}"
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was faster
            path.hardlink_to(temporary)
        temporary.unlink()
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise NodeError(f"{path} is damaged ({len(key)} bytes, not {_KEY_BYTES}): restore it, or delete it and hashes begin anew")
    _Key.value = key


def uid_hash(uid: str) -> str:
    """Return 16 hexadecimal digits that stand for a UID in logs and audit trail; without `audit.key` nobody finds the UID from them."""
    return hmac.new(_Key.value, uid.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:16]


class Audit:
    """The audit trail, `audit.jsonl`: JSON lines, each with the SHA-256 of the line before it. Any number of processes may write.

    A change to a line, or one missing in the middle, shows. Lines missing at the end do not: compare `verify`'s number with a copy elsewhere.

    Parameters
    ----------
    folder
        `node.folder`.

    Raises
    ------
    NodeError
        It cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder.absolute() / "audit.jsonl"
        self._lock = threading.Lock()
        try:
            use_key(self.path.parent)
        except OSError as error:
            raise NodeError(f"{self.path.parent} cannot be used ({error.strerror}): may the node write there?") from error

    def write(self, event: str, **fields: Any) -> None:
        """Add a line; it is on the disk on return. UIDs go in as `uid_hash`, names and ids of patients never.

        Raises
        ------
        NodeError
            It cannot be written.
        """
        try:
            with self._lock, os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                last, ended = _last_line(file)
                torn = not ended or (last != b"" and _parsed(last) is None)
                record: dict[str, Any] = {"time": _iso(time.time()), "event": event, **fields}
                if torn:
                    record["after_torn"] = True
                record["previous"] = hashlib.sha256(last).hexdigest() if last else _FIRST
                line = (json.dumps(record, ensure_ascii=True, default=str) + "\n").encode("ascii")
                _write_all(file, line if ended else b"\n" + line)
                os.fsync(file.fileno())
        except OSError as error:
            raise NodeError(f"{self.path} cannot be written ({error.strerror}): is its disk full?") from error

    def verify(self) -> int:
        """Return the number of lines, all of them chained. (One that a power cut tore is counted if the next one says so.)

        Raises
        ------
        NodeError
            The chain is broken; the message names the line.
        """
        if not self.path.exists():
            return 0
        previous, torn, n_lines = b"", False, 0
        with self.path.open("rb") as file:
            for n_lines, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return n_lines - 1
                record = _parsed(line)
                if record is None and torn:
                    raise NodeError(f"{self.path}, line {n_lines}: not JSON; somebody changed it, compare it with a copy")
                if record is not None and (record.get("previous") != _digest(previous) or (torn and not record.get("after_torn"))):
                    raise NodeError(f"{self.path}, line {n_lines}: not chained to the one before; somebody changed one of them, compare with a copy")
                previous, torn = line.removesuffix(b"\n"), record is None
        if torn:
            raise NodeError(f"{self.path}, line {n_lines}: not JSON; somebody changed it, compare it with a copy")
        return n_lines


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest() if line else _FIRST


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _last_line(file: BinaryIO | Any) -> tuple[bytes, bool]:
    """Return the file's last line without its end, and whether it has one (a crash may have torn it)."""
    end = file.seek(0, os.SEEK_END)
    start, tail = end, b""
    while start > 0 and b"\n" not in tail.removesuffix(b"\n"):
        start = max(0, start - _TAIL_BYTES)
        file.seek(start)
        tail = _read_all(file, end - start)
    return tail.removesuffix(b"\n").rpartition(b"\n")[2], not tail or tail.endswith(b"\n")


def _read_all(file: BinaryIO | Any, n_bytes: int) -> bytes:
    parts = []
    while n_bytes > 0 and (part := file.read(n_bytes)):
        parts.append(part)
        n_bytes -= len(part)
    return b"".join(parts)


def _write_all(file: BinaryIO | Any, data: bytes) -> None:
    while data:
        data = data[file.write(data) :]


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class _JsonLines(logging.Formatter):
    """One JSON object a record. Of an exception, its type and where it was; its message only where OneNEX wrote it."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": _iso(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
            fields["where"] = [f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in traceback.extract_tb(record.exc_info[2])]
        return json.dumps(fields, ensure_ascii=True)


def json_logging(level: int | str = logging.INFO) -> None:
    """Send this process's logs to stderr as JSON lines; pynetdicom's only from warning up, as its lower ones show data sets."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("pynetdicom").setLevel(max(logging.WARNING, logging.getLogger().level))
