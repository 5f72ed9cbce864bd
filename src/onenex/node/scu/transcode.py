"""Decodes objects for a peer that does not take their transfer syntax, in a child process of its own.

A damaged object may crash a codec or claim to unpack to anything: the child has a limit on memory and time, and only it dies.
"""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from onenex.errors import NodeError
from onenex.node.database.spool import Spool

SECONDS_PER_OBJECT = 120.0
"""How long the decoding of one object may take."""
_MEMORY_FACTOR, _MEMORY_BASE = 6, 2 << 30
"""Address space of the child: so many times the decoded size that is allowed, and what Python and the codecs map."""
_SWAPPED = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
"""Value representations whose bytes come in words of so many bytes (PS3.5 7.3)."""


class Transcoder:
    """Starts the child when it is first needed; leaving the block ends it. One thread at a time."""

    def __init__(self, spool: Spool, decoded_bytes: int) -> None:
        self._spool, self._decoded_bytes = spool, decoded_bytes
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def convert(self, source: Path, transfer_syntax: str) -> Path:
        """Decode a file into Explicit or Implicit VR Little Endian; the caller deletes the file that it gets.

        Raises
        ------
        NodeError
            It cannot be decoded; the message says why, without any of its contents.
        """
        target = self._spool.receive(())
        try:
            reply = self._ask({"source": str(source), "target": str(target), "syntax": transfer_syntax, "limit": self._decoded_bytes})
        except (OSError, NodeError) as error:
            self._stop()
            target.unlink(missing_ok=True)
            raise NodeError(f"decoding it failed ({error})") from error
        if reply:
            target.unlink(missing_ok=True)
            raise NodeError(f"it cannot be decoded ({reply})")
        return target

    def _ask(self, request: dict[str, object]) -> str:
        """Hand the child a request and return its complaint, empty when all went well."""
        child = self._started()
        stdin, stdout = _pipe(child.stdin), _pipe(child.stdout)
        stdin.write(json.dumps(request) + "\n")
        stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(SECONDS_PER_OBJECT):
                raise NodeError(f"it took longer than {SECONDS_PER_OBJECT:.0f} s")
        line = stdout.readline()
        if not line:
            raise NodeError(f"the decoder died with {child.wait(timeout=10)}")
        return str(json.loads(line))

    def _started(self) -> subprocess.Popen[str]:
        if self._child is None or self._child.poll() is not None:
            self._stop()
            command = [sys.executable, "-m", "onenex.node.scu.transcode", str(_MEMORY_FACTOR * self._decoded_bytes + _MEMORY_BASE)]
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return self._child

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                _close(pipe)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise NodeError("the decoder has no pipe")
    return pipe


def _close(pipe: IO[str] | None) -> None:
    try:
        if pipe is not None:
            pipe.close()
    except OSError:
        pass  # what was buffered for a child that is dead


def convert(source: Path, target: Path, transfer_syntax: str, decoded_bytes: int) -> None:
    """Write `source`, decoded to a native little-endian transfer syntax, to `target`; all UIDs stay.

    Raises
    ------
    ValueError
        Its pixels are larger than `decoded_bytes`, or cannot be decoded.
    """
    from pydicom import dcmread, dcmwrite
    from pydicom.uid import UID, ExplicitVRBigEndian

    dataset = dcmread(source)
    old, new = dataset.file_meta.TransferSyntaxUID, UID(transfer_syntax)
    if old.is_encapsulated:
        bits = int(dataset.get("BitsAllocated") or 8) * int(dataset.get("SamplesPerPixel") or 1) * int(dataset.get("NumberOfFrames") or 1)
        if bits * int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0) > 8 * decoded_bytes:
            raise ValueError("decoded it would be larger than limits.decoded_mb")
        dataset.decompress(generate_instance_uid=False)
    elif old == ExplicitVRBigEndian:
        _swap(dataset)
    dataset.file_meta.TransferSyntaxUID = new
    dcmwrite(target, dataset, implicit_vr=new.is_implicit_VR, little_endian=True, enforce_file_format=True)


def _swap(dataset: object) -> None:
    """Turn the words of a big-endian data set, which pydicom leaves as they are."""
    import numpy as np
    from pydicom.dataset import Dataset

    if not isinstance(dataset, Dataset):
        return
    for element in dataset.iterall():
        width = _SWAPPED.get(str(element.VR))
        if width is None or not isinstance(element.value, bytes):
            continue
        if element.keyword == "PixelData" and int(dataset.get("BitsAllocated") or 16) > 16:
            raise ValueError("big-endian pixels of more than 16 bits are ambiguous")
        element.value = np.frombuffer(element.value, f">u{width}").astype(f"<u{width}").tobytes()


def main() -> None:
    """Serve requests, one JSON object a line, until stdin ends; the argument is the limit of memory in bytes."""
    import resource

    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        try:
            convert(Path(request["source"]), Path(request["target"]), request["syntax"], request["limit"])
            complaint = ""
        except Exception as error:  # codecs raise anything, and their messages may hold values of the data set
            complaint = str(error) if type(error) is ValueError and "limits." in str(error) else type(error).__name__
        replies.write(json.dumps(complaint) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
