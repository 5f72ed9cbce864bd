"""One object on its way in: in memory while it is small, in a nameless file once it is not, never beyond its quota."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any

MEMORY_BYTES = 2**20
"""Of one object; what is beyond goes to the disk at once, so that memory is bounded by the number of associations."""
_CHUNK_BYTES = 2**20
_CHECK_EVERY_BYTES = 64 * 2**20


class Intake(BytesIO):
    """Collects the fragments of one data set; it takes the place of the BytesIO in which pynetdicom collects them.

    Never raises while it is fed: what went wrong is in `problem`, and the rest of the object is dropped.

    Parameters
    ----------
    folder
        On the disk that the object will stay on.
    limit_bytes
        The most that one object may have.
    reserve_bytes
        Free space that is left alone.
    """

    problem: str = ""
    """`too large` or `no room`; empty while all is well."""
    n_bytes: int = 0
    """Fed so far."""

    def __init__(self, folder: Path, limit_bytes: int, reserve_bytes: int) -> None:
        super().__init__()
        self._folder, self._limit_bytes, self._reserve_bytes = folder, limit_bytes, reserve_bytes
        self._hash = hashlib.sha256()
        self._file: IO[bytes] | None = None
        self._unchecked = 0

    @property
    def is_large(self) -> bool:
        """Whether it no longer is in memory as a whole."""
        return self.n_bytes > MEMORY_BYTES

    @property
    def digest(self) -> str:
        """SHA-256 of everything fed, hexadecimal."""
        return self._hash.hexdigest()

    def write(self, data: Any, /) -> int:
        """Take one fragment."""
        size = len(data)
        self.n_bytes += size
        if self.problem:
            return size
        if self.n_bytes > self._limit_bytes:
            self._drop("too large")
            return size
        self._hash.update(data)
        if not self.is_large:
            return super().write(data)
        try:
            self._write_to_disk(data)
        except OSError:
            self._drop("no room")
        return size

    def _write_to_disk(self, data: bytes) -> None:
        if self._file is None:
            self._unchecked = _CHECK_EVERY_BYTES
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by `_drop` or with this object
            weakref.finalize(self, self._file.close)
            self._file.write(self.getbuffer())
        self._unchecked += len(data)
        if self._unchecked >= _CHECK_EVERY_BYTES:
            self._unchecked = 0
            if shutil.disk_usage(self._folder).free < self._reserve_bytes:
                self._drop("no room")
                return
        self._file.write(data)

    def _drop(self, problem: str) -> None:
        self.problem = problem
        self.discard()

    def discard(self) -> None:
        """Free what it holds."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self.seek(0)
        self.truncate()

    def head(self, n_bytes: int) -> bytes:
        """Return at most the first `n_bytes`."""
        if self._file is None:
            return bytes(self.getbuffer()[:n_bytes])
        self._file.seek(0)
        return self._file.read(n_bytes)

    def parts(self) -> Iterator[bytes]:
        """Yield everything, in pieces of at most 1 MiB."""
        if self._file is None:
            yield self.getvalue()
            return
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK_BYTES):
            yield chunk
