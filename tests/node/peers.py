"""PACS that misbehave, each in its own way, and deliveries to send to them."""

import hashlib
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from onenex.node.config import NodeConfig
from onenex.node.database.spool import Spool, dataset_digest
from onenex.node.queue import Queue
from onenex.node.records import Arrival, Item, Route
from onenex.node.scu.store_scu import Link
from tests.dicom.make import make_series

PLAIN = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
Handler = Callable[[int, Any], int]
"""Number of the image (from 0) and pynetdicom's event → status."""


@dataclass(kw_only=True)
class Peer:
    """A storage SCP: what it was sent, and how."""

    port: int
    received: list[tuple[str, str, str]] = field(default_factory=list)
    """SOP Instance UID, transfer syntax, SHA-256 of the encoded data set; in the order in which they came."""
    associations: int = 0
    asked: list[Any] = field(default_factory=list)
    """Action information of each N-ACTION."""

    @property
    def digests(self) -> dict[str, str]:
        return {uid: digest for uid, _, digest in self.received}

    def link(self, timeout_s: float = 5.0, **more: Any) -> Link:
        return Link(calling_ae="ONENEX", called_ae="PACS", host="127.0.0.1", port=self.port, timeout_s=timeout_s, **more)


@contextmanager
def scp(
    answer: Handler = lambda number, event: 0,
    *,
    syntaxes: Sequence[str] = PLAIN,
    classes: Sequence[str] = (MRImageStorage,),
    commitment: Callable[[Any], tuple[int, Any]] | None = None,
    handlers: Sequence[Any] = (),
    tls: Any = None,
) -> Iterator[Peer]:
    """Run an SCP whose `answer` decides the status of each image, or does worse; `commitment` handles N-ACTION."""
    peer = Peer(port=0)

    def store(event: Any) -> int:
        number = len(peer.received)
        digest = hashlib.sha256(event.request.DataSet.getvalue()).hexdigest()
        peer.received.append((str(event.request.AffectedSOPInstanceUID), str(event.context.transfer_syntax), digest))
        return answer(number, event)

    def action(event: Any) -> tuple[int, Any]:
        peer.asked.append(event.action_information)
        assert commitment is not None
        return commitment(event)

    def accepted(event: Any) -> None:
        peer.associations += 1

    entity = AE("PACS")
    for sop_class in classes:
        entity.add_supported_context(sop_class, list(syntaxes))
    if commitment is not None:
        entity.add_supported_context(StorageCommitmentPushModel)
    own = [(evt.EVT_C_STORE, store), (evt.EVT_N_ACTION, action), (evt.EVT_ACCEPTED, accepted), *handlers]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=own, ssl_context=tls)
    assert server is not None
    peer.port = server.socket.getsockname()[1]
    try:
        yield peer
    finally:
        server.shutdown()


@contextmanager
def silent_port() -> Iterator[int]:
    """Accept connections and say nothing: a half-open peer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def items_of(paths: Sequence[Path]) -> list[Item]:
    """Return files as the queue would name them."""
    items = []
    for path in paths:
        meta = dcmread(path, stop_before_pixels=True).file_meta
        uids = (str(meta.MediaStorageSOPInstanceUID), str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
        items.append(Item(sop_uid=uids[0], sop_class=uids[1], transfer_syntax=uids[2], path=path))
    return items


def digests_of(items: Sequence[Item]) -> dict[str, str]:
    return {item.sop_uid: dataset_digest(item.path) for item in items}


def config_for(folder: Path, *destinations: dict[str, Any], **tables: Any) -> NodeConfig:
    """Return a configuration with times that suit tests."""
    sending = {"first_retry_s": 0.2, "longest_retry_s": 1.0, "timeout_s": 5.0, **tables.pop("sending", {})}
    node = {"folder": folder / "node", "lease_s": 20.0}
    return NodeConfig.model_validate({"node": node, "destinations": destinations, "sending": sending, **tables})


def dicom_destination(peer_port: int, name: str = "pacs", **more: Any) -> dict[str, Any]:
    return {"name": name, "ae_title": "PACS", "host": "127.0.0.1", "port": peer_port, "commitment": False, **more}


def stock(config: NodeConfig, folder: Path, n_images: int = 3, **make: Any) -> tuple[Queue, int, list[Item]]:
    """Put a series into the queue, to be passed on to every destination; return queue, series and items."""
    queue, spool = Queue(config.node.folder), Spool(config.node.folder)
    arrivals, items = [], []
    for item in items_of(make_series(folder / f"scans-{n_images}", n_images, **make)):
        header = dcmread(item.path, stop_before_pixels=True)
        digest = dataset_digest(item.path)
        uids = (str(header.StudyInstanceUID), str(header.SeriesInstanceUID))
        path = spool.place(spool.receive([item.path.read_bytes()]), *uids, item.sop_uid, digest)
        items.append(Item(sop_uid=item.sop_uid, sop_class=item.sop_class, transfer_syntax=item.transfer_syntax, path=path))
        size = path.stat().st_size
        arrivals.append(
            Arrival(
                sop_uid=item.sop_uid,
                sop_class=item.sop_class,
                transfer_syntax=item.transfer_syntax,
                study_uid=uids[0],
                series_uid=uids[1],
                path=path,
                n_bytes=size,
                digest=digest,
            )
        )
    queue.register(arrivals)
    series_id = queue.close_quiet(0.0, 0.0)[-1]
    names = tuple(one.name for one in config.destinations)
    assert queue.route(series_id, Route(rule="all", action="pass", destinations=names, originals="always"))
    return queue, series_id, items


@dataclass
class Web:
    """An HTTP server that answers POSTs as told."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)


@contextmanager
def web(answer: Callable[[int, bytes], tuple[int, Any]]) -> Iterator[Web]:
    """Run an HTTP server; `answer` gets number and body of each request and returns status and JSON."""
    seen = Web()

    class Requests(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.bodies.append(body)
            seen.headers.append(self.headers)
            status, content = answer(len(seen.bodies) - 1, body)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Requests) as server:
        seen.url = f"http://127.0.0.1:{server.server_port}/dicom-web"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()
