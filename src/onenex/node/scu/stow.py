"""STOW-RS: objects stored over HTTP, each as it lies in its file.

Source: PS3.18 10.5 (Store transaction), 8.6 (multipart/related), annex I.2 (the answer's references and failures).
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from onenex.errors import NodeError
from onenex.node.config import Destination
from onenex.node.records import Item
from onenex.node.scu.store_scu import SLOWEST_BYTES_PER_S, Answer, Convert, PeerUnavailable, file_problem

logger = logging.getLogger(__name__)

BYTES_PER_REQUEST = 32_000_000
"""A request holds at most so many bytes, but at least one object."""
_JSON = "application/dicom+json"
_LONGEST_ANSWER = 16_000_000
_CHUNK = 1 << 18
_SYNTAX_REFUSED = 0xC122
"""Failure reason: referenced transfer syntax not supported (PS3.18 Table I.2-2)."""

_Judged = tuple[Answer, int | None]
"""With the failure reason."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A DICOMweb server."""

    url: str
    """The part before /studies."""
    timeout_s: float
    auth: tuple[str, str] | None = None
    token: str | None = None
    tls: ssl.SSLContext | None = None
    """None: the system's authorities."""


def server_of(destination: Destination, timeout_s: float, tls: ssl.SSLContext | None) -> Server:
    """Return the server of a destination, with its password or token read afresh.

    Raises
    ------
    NodeError
        The password or token cannot be read.
    """
    auth = (destination.user, _secret(destination.password_file)) if destination.user and destination.password_file else None
    token = _secret(destination.token_file) if destination.token_file else None
    return Server(url=(destination.url or "").rstrip("/"), timeout_s=timeout_s, auth=auth, token=token, tls=tls)


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NodeError(f"{path} cannot be read ({type(error).__name__}): it should hold the password or token of this destination") from error


def store(server: Server, items: Iterable[Item], convert: Convert) -> Iterator[Answer]:
    """Send objects in requests of limited size and yield what the server says about each.

    Each goes as it lies in its file; one whose transfer syntax the server refuses goes again, decoded.

    Raises
    ------
    PeerUnavailable
        The server cannot be reached, has no room, or does not want us: nothing is known about the objects that have no answer.
    """
    headers = {"Accept": _JSON} | ({"Authorization": f"Bearer {server.token}"} if server.token else {})
    verify = server.tls if server.tls is not None else ssl.create_default_context()
    with httpx.Client(timeout=server.timeout_s, auth=server.auth, headers=headers, verify=verify, trust_env=False) as client:
        for batch in _batches(items):
            problems = {item.sop_uid: file_problem(item) for item in batch}
            yield from (Answer(item=item, stored=False, reason=problems[item.sop_uid]) for item in batch if problems[item.sop_uid])
            sound = [item for item in batch if not problems[item.sop_uid]]
            for answer, code in _post(client, server, sound) if sound else ():
                yield _decoded(client, server, answer.item, convert) if code == _SYNTAX_REFUSED else answer


def _decoded(client: httpx.Client, server: Server, item: Item, convert: Convert) -> Answer:
    """Send an object again whose transfer syntax the server does not take."""
    try:
        path = convert(item.path, ExplicitVRLittleEndian)
    except NodeError as error:
        return Answer(item=item, stored=False, reason=f"the server does not take its transfer syntax, and {error}")
    try:
        answers = list(_post(client, server, [replace(item, path=path, transfer_syntax=ExplicitVRLittleEndian)]))
    finally:
        path.unlink(missing_ok=True)
    return replace(answers[0][0], item=item)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    n_bytes = 0
    for item in items:
        size = _size(item)
        if batch and n_bytes + size > BYTES_PER_REQUEST:
            yield batch
            batch, n_bytes = [], 0
        batch.append(item)
        n_bytes += size
    if batch:
        yield batch


def _size(item: Item) -> int:
    with contextlib.suppress(OSError):  # `file_problem` reports it
        return item.path.stat().st_size
    return 0


def _post(client: httpx.Client, server: Server, batch: Sequence[Item]) -> Iterator[_Judged]:
    """Send one request and judge its answer."""
    boundary = secrets.token_hex(24)
    n_bytes = _length(batch, boundary)
    headers = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}', "Content-Length": str(n_bytes)}
    timeout = httpx.Timeout(server.timeout_s, read=server.timeout_s + n_bytes / SLOWEST_BYTES_PER_S)
    try:
        with client.stream("POST", f"{server.url}/studies", content=_body(batch, boundary), headers=headers, timeout=timeout) as response:
            body = _limited(response)
    except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
        raise PeerUnavailable(f"{server.url} does not answer ({type(error).__name__}): check that it runs, its address and certificate") from error
    if response.status_code in (200, 202, 409):
        yield from _judge(_parse(body, server), batch)
    elif response.status_code not in (400, 413, 415):
        hint = "check user and password_file, or token_file" if response.status_code in (401, 403) else "see its log"
        raise PeerUnavailable(f"{server.url} answers HTTP {response.status_code}: {hint}")
    elif len(batch) == 1:
        yield Answer(item=batch[0], stored=False, reason=f"refused (HTTP {response.status_code})"), None
    else:
        for item in batch:
            yield from _post(client, server, [item])


def _limited(response: httpx.Response) -> bytes:
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > _LONGEST_ANSWER:
            raise PeerUnavailable(f"the answer is longer than {_LONGEST_ANSWER} bytes: is the url that of DICOMweb?")
    return bytes(body)


def _head(boundary: str) -> bytes:
    return f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()


def _tail(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode()


def _length(batch: Sequence[Item], boundary: str) -> int:
    return sum(len(_head(boundary)) + _size(item) + 2 for item in batch) + len(_tail(boundary))


def _body(batch: Sequence[Item], boundary: str) -> Iterator[bytes]:
    for item in batch:
        yield _head(boundary)
        with item.path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        yield b"\r\n"
    yield _tail(boundary)


def _parse(body: bytes, server: Server) -> Dataset:
    """Read the answer (Table I.2-1)."""
    try:
        return Dataset.from_json(body.decode("utf-8"))
    except Exception as error:  # the server's words may be anything
        raise PeerUnavailable(f"{server.url} answers no {_JSON} ({type(error).__name__}): is the url that of DICOMweb?") from error


def _judge(answer: Dataset, batch: Sequence[Item]) -> Iterator[_Judged]:
    """Yield an answer for every object: stored only if the server names it as stored."""
    stored = _by_uid(answer.get("ReferencedSOPSequence"))
    failed = _by_uid(answer.get("FailedSOPSequence"))
    full = False
    for item in batch:
        code: int | None = None
        if item.sop_uid in failed:
            code = _code(failed[item.sop_uid], "FailureReason")
            full = full or (code is not None and 0xA700 <= code < 0xA800)
            judged = Answer(item=item, stored=False, reason="refused" + _in_hex("failure", code), duplicate=code == 0x0111)
        elif item.sop_uid in stored:
            judged = Answer(item=item, stored=True, reason=_in_hex("warning", _code(stored[item.sop_uid], "WarningReason")).strip())
        else:
            judged = Answer(item=item, stored=False, reason="not named in the server's answer")
        yield judged, code
    if full:
        raise PeerUnavailable("the server is out of resources: free some room there")


def _code(item: Dataset, keyword: str) -> int | None:
    value = item.get(keyword)
    return value if isinstance(value, int) else None


def _in_hex(what: str, code: int | None) -> str:
    return "" if code is None else f" ({what} {code:04X})"


def _by_uid(sequence: Any) -> Mapping[str, Dataset]:
    return {str(one.get("ReferencedSOPInstanceUID", "")): one for one in sequence or ()}
