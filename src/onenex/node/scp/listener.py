"""The listening socket and the associations that come from it."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable
from io import BytesIO
from typing import Any

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation, RequestHandler, ThreadedAssociationServer

from onenex.node.config import Limits
from onenex.node.scp.access import Access, Role
from onenex.node.scp.wire import WAKE_S, Messages, Provider, Socket

log = logging.getLogger(__name__)

_HANDSHAKE_S = 10.0
_LONGEST_REQUEST_BYTES = 131_072
"""An A-ASSOCIATE-RQ may be longer than the PDUs that it agrees on."""
_SPARE_CONNECTIONS = 16
"""On top of the associations, for those that are about to be rejected."""
_FAREWELL_S = 2.0
_REJECT_CALLING, _REJECT_CALLED, _REJECT_LIMIT = (1, 1, 3), (1, 1, 7), (2, 3, 2)
"""Result, source and reason (PS3.8 Table 9-21)."""


class _Checkpoint(threading.Event):
    """Where the association's thread waits between requests: until there is one, not for a millisecond.

    pynetdicom calls `wait` once per turn of its loop, and looks at its queues and timers behind it.
    """

    def __init__(self, has_news: Callable[[], bool]) -> None:
        super().__init__()
        self._has_news = has_news
        self._bell = threading.Event()

    def ring(self) -> None:
        """Have the thread look at once."""
        self._bell.set()

    def set(self) -> None:
        """Let the thread pass."""
        super().set()
        self._bell.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for news, at most `WAKE_S`."""
        passed = super().wait(timeout)
        if not self._has_news():
            self._bell.wait(WAKE_S)
        self._bell.clear()
        return passed


class Reception(Association):
    """One association that somebody else asked for."""

    def __init__(self, server: Server, connection: socket.socket, address: Any) -> None:
        super().__init__(server.ae, "acceptor")
        checkpoint = _Checkpoint(self._has_news)
        checkpoint.set()
        self._reactor_checkpoint = checkpoint
        self.dul = Provider(self, checkpoint.ring)
        self.dimse = Messages(self, server.intake, checkpoint.ring)
        self.acse_timeout, self.network_timeout = server.ae.acse_timeout, server.ae.network_timeout
        self._server: Server = server
        self.name = f"AcceptorThread@{id(self):x}"
        longest = max(server.limits.pdu_bytes, _LONGEST_REQUEST_BYTES) + 1024
        self.set_socket(Socket(self, connection, longest, server.limits.idle_s))
        self.requestor.address_info = AddressInformation.from_tuple(address)
        self._describe(server)
        for event, bound in server._handlers.items():
            for handler, arguments in bound if isinstance(bound, list) else [bound]:
                self.bind(event, handler, arguments)

    def _describe(self, server: Server) -> None:
        own, ae = self.acceptor, server.ae
        own.maximum_length, own.ae_title = ae.maximum_pdu_size, server.ae_title
        own.address_info = AddressInformation.from_tuple(server.server_address)
        own.implementation_class_uid, own.implementation_version_name = ae.implementation_class_uid, ae.implementation_version_name
        own.supported_contexts = list(server.contexts)

    def _has_news(self) -> bool:
        return self._kill or not (self.dimse.msg_queue.empty() and self.dul.to_user_queue.empty() and self.dul.is_alive())

    def _serve_request(self, msg: Any, context_id: int) -> None:
        """Serve one request after the other; pynetdicom has a thread of its own for each N-EVENT-REPORT, and for a thousand a thousand."""
        if threading.current_thread() is not self:
            self.dimse.msg_queue.put((context_id, msg))
        elif msg.is_valid_request:
            super()._serve_request(msg, context_id)
        else:  # pynetdicom would let the caller wait for an answer until somebody's patience ends
            log.warning("event=message-refused reason=no-valid-request")
            self.abort()

    def run(self) -> None:
        """Serve until the association ends; whatever happens stays in here."""
        try:
            super().run()
        except Exception as error:
            log.warning("event=association-failed error=%s", type(error).__name__)
        finally:
            self.dul.kill_dul()
            connection = self.dul.socket
            if connection is not None:
                connection._shutdown_socket()
            self._server.ended(self)


class _Handler(RequestHandler):
    """Turns a connection into an association."""

    server: Server

    def _create_association(self) -> Reception:
        return Reception(self.server, self.request, self.client_address)


class Server(ThreadedAssociationServer):
    """Listens, lets in who may come in, and counts.

    Parameters
    ----------
    ae
        The node's application entity with the presentation contexts besides storage.
    address
        Host and port; port 0 takes a free one.
    access
        Who may come in.
    limits
        How many, and how much each.
    intake
        Makes what collects a data set.
    handlers
        pynetdicom's event handlers.
    tls
        None: without.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        ae: ApplicationEntity,
        address: tuple[str, int],
        *,
        access: Access,
        limits: Limits,
        intake: Callable[[], BytesIO],
        handlers: list[Any],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.access, self.limits, self.intake = access, limits, intake
        self._tls = tls
        self._lock = threading.Lock()
        self._n_connections = 0
        self._admitted: set[Association] = set()
        bound = [(evt.EVT_REQUESTED, self._requested), *handlers]
        super().__init__(ae, address, access.ae_title, ae.supported_contexts, evt_handlers=bound, request_handler=_Handler)
        ae._servers.append(self)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether anybody may call from there, and there is room for another connection."""
        if not self.access.knows(client_address[0]):
            log.warning("event=connection-refused address=%s reason=unknown-address", client_address[0])
            return False
        with self._lock:
            if self._n_connections >= 2 * self.limits.associations + _SPARE_CONNECTIONS:
                log.warning("event=connection-refused address=%s reason=too-many", client_address[0])
                return False
            self._n_connections += 1
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands, and start the association; runs in a thread of its own."""
        started = False
        try:
            if self._tls is not None:
                request.settimeout(_HANDSHAKE_S)
                request = self._tls.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)
            started = True
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            log.warning("event=connection-refused address=%s reason=%s", client_address[0], reason)
        finally:
            if not started:
                self.shutdown_request(request)
                self._left()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log that a connection failed, not with what."""
        log.warning("event=connection-failed address=%s", client_address[0])

    def _left(self) -> None:
        with self._lock:
            self._n_connections -= 1

    def ended(self, association: Association) -> None:
        """Count an association that is over."""
        self._left()
        with self._lock:
            self._admitted.discard(association)

    def _requested(self, event: evt.Event) -> None:
        """Admit an association, or reject it with the reason that PS3.8 has for it."""
        association = event.assoc
        request: Any = association.requestor.primitive
        address = association.requestor.address
        calling, called = str(request.calling_ae_title).strip(), str(request.called_ae_title).strip()
        reject: tuple[int, int, int] | None = None
        if self.access.role(calling, address) is Role.NOBODY:
            reject = _REJECT_CALLING
        elif called != self.access.ae_title:
            reject = _REJECT_CALLED
        with self._lock:
            if reject is None and len(self._admitted) >= self.limits.associations:
                reject = _REJECT_LIMIT
            if reject is None:
                self._admitted.add(association)
        if reject is not None:
            log.warning("event=association-rejected calling_ae=%r address=%s result=%d source=%d reason=%d", calling, address, *reject)
            association.acse.send_reject(*reject)
            association.kill()

    def stop(self) -> None:
        """Take no more connections and abort what is going on; whatever was not acknowledged will be sent again."""
        self.shutdown()
        with self._lock:
            ongoing = list(self._admitted)
        for association in ongoing:
            association.abort(block=False)
        for association in ongoing:
            association.join(timeout=_FAREWELL_S)
