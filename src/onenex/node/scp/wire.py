"""pynetdicom's acceptor, made fit for years beside strangers.

What is different, and why:

- it sleeps until something happens; pynetdicom polls a thousand times a second in two threads per association;
- a PDU may claim 4 GB; here it may not be longer than what was agreed on, and it must arrive within the idle time;
- data sets go to an `Intake` (memory, then disk) instead of memory alone; a command set or a queue of requests has an end;
- the TLS handshake happens in the caller's own thread with a time-out, so that a silent caller stops nobody else;
- a caller from an unknown address is cut before a byte of his is read; connections without an association are counted, too;
- timers don't see jumps of the wall clock; no exception escapes a thread, and none of its text (it may quote patients) is logged.

Source: PS3.8 9 (upper layer), PS3.7 6.3 (messages); written against pynetdicom 3.0.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import select
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pydicom.config
from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.timer import Timer
from pynetdicom.transport import AssociationSocket

log = logging.getLogger(__name__)

WAKE_S = 0.25
"""How long a thread sleeps at most before it looks at its timers."""
_COMMAND_BYTES = 65_536
_WAITING_MESSAGES = 4
_NEWS_BITS = 1


@contextlib.contextmanager
def quiet_and_unrestricted() -> Iterator[None]:
    """Set what pynetdicom and pydicom keep per process: every storage class is accepted, nothing is logged or warned about by them."""
    loggers = [logging.getLogger(name) for name in ("pynetdicom", "pydicom")]
    before = ([one.level for one in loggers], _config.LOG_HANDLER_LEVEL, _config.UNRESTRICTED_STORAGE_SERVICE)
    reading = pydicom.config.settings.reading_validation_mode
    for one in loggers:
        one.setLevel(logging.CRITICAL + 1)
    _config.LOG_HANDLER_LEVEL, _config.UNRESTRICTED_STORAGE_SERVICE = "none", True
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pydicom|pynetdicom")
            yield
    finally:
        for one, level in zip(loggers, before[0], strict=True):
            one.setLevel(level)
        _, _config.LOG_HANDLER_LEVEL, _config.UNRESTRICTED_STORAGE_SERVICE = before
        pydicom.config.settings.reading_validation_mode = reading


class SteadyTimer(Timer):
    """A timer on the monotonic clock."""

    @property
    def remaining(self) -> float:
        """Seconds left; 1 if it never ends."""
        if self.timeout is None:
            return 1.0
        if self._start_time is None:
            return self.timeout
        return self.timeout - ((self._end_time or time.monotonic()) - self._start_time)

    def start(self) -> None:
        """Start anew."""
        self._start_time, self._end_time = time.monotonic(), None

    def stop(self) -> None:
        """Stop."""
        self._end_time = time.monotonic()


class Socket(AssociationSocket):
    """A caller's connection, read in large pieces, with a longest PDU and a longest time for it."""

    def __init__(self, association: Association, connection: socket.socket, longest_pdu: int, patience_s: float) -> None:
        connection.settimeout(patience_s)
        super().__init__(association, client_socket=connection)
        self._longest_pdu, self._patience_s = longest_pdu, patience_s

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes, fewer if the caller hangs up.

        Raises
        ------
        OSError
            More than any PDU may have, or too slow.
        """
        if nr_bytes > self._longest_pdu:
            raise OSError("the PDU is longer than agreed on")
        connection = self.socket
        if connection is None:
            raise OSError("the connection is closed")
        received = bytearray(nr_bytes)
        view, n_read, deadline = memoryview(received), 0, time.monotonic() + self._patience_s
        while n_read < nr_bytes:
            count = connection.recv_into(view[n_read:])
            if not count:
                return bytearray(view[:n_read])
            n_read += count
            if n_read < nr_bytes and time.monotonic() > deadline:
                raise TimeoutError("the PDU takes too long")
        return received

    def wait(self, also: int) -> None:
        """Sleep until there is something to read here or on the descriptor `also`, or `WAKE_S` have passed."""
        connection = self.socket
        if connection is None:
            time.sleep(0.001)
        elif not _pending(connection):
            poll = select.poll()
            for one in (connection.fileno(), also):
                if one >= 0:
                    poll.register(one, select.POLLIN)
            poll.poll(WAKE_S * 1000)
        with contextlib.suppress(OSError):
            os.eventfd_read(also)

    @property
    def ready(self) -> bool:
        """Whether there is something to read, or the caller hung up."""
        connection = self.socket
        if connection is None or not self._is_connected or connection.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        return _pending(connection) or bool(poll.poll(0))


def _pending(connection: socket.socket) -> bool:
    """Whether TLS has decrypted bytes that poll doesn't see."""
    return isinstance(connection, ssl.SSLSocket) and bool(connection.pending())


class Announcing(queue.Queue[Any]):
    """A queue that says when something is put in."""

    def __init__(self, announce: Callable[[], None]) -> None:
        super().__init__()
        self._announce = announce

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put something in."""
        super().put(item, block, timeout)
        self._announce()


class Provider(DULServiceProvider):
    """The upper layer of one association, driven by events; `announce` is called when it has something for the association."""

    def __init__(self, association: Association, announce: Callable[[], None]) -> None:
        super().__init__(association)
        self.daemon = True
        self.to_user_queue = Announcing(announce)
        self._announce = announce
        self._idle_timer, self.artim_timer = SteadyTimer(60), SteadyTimer(30)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._wake_lock = threading.Lock()

    def wake(self) -> None:
        """Have the thread look at once."""
        with self._wake_lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, _NEWS_BITS)

    def send_pdu(self, primitive: Any) -> None:
        """Queue something to be sent."""
        super().send_pdu(primitive)
        self.wake()

    def kill_dul(self) -> None:
        """End the thread."""
        super().kill_dul()
        self.wake()

    def stop_dul(self) -> bool:
        """End the thread if the connection is closed; whether it was."""
        if self.state_machine.current_state == "Sta1":
            self.kill_dul()
            self.join()
            return True
        self.wake()
        return False

    def _process_recv_primitive(self) -> bool:
        if super()._process_recv_primitive():
            return True
        if not self._kill_thread and self.event_queue.empty() and self.state_machine.current_state not in ("Sta1", "Sta13"):
            if isinstance(self.socket, Socket):
                self.socket.wait(self._wake)
            return super()._process_recv_primitive()
        return False

    def run_reactor(self) -> None:
        """Run until the connection is closed; whatever happens stays in here."""
        try:
            super().run_reactor()
        except Exception as error:
            log.warning("event=protocol-error error=%s", type(error).__name__)
            self.assoc._kill = True
            if self.socket is not None:
                self.socket._shutdown_socket()
        finally:
            with self._wake_lock:
                os.close(self._wake)
                self._wake = -1
            self.to_user_queue.put(None)  # type: ignore[arg-type]  # whoever still waits gets no request


class Messages(DIMSEServiceProvider):
    """Puts messages together: data sets in an `Intake`, everything else within limits."""

    def __init__(self, association: Association, intake: Callable[[], BytesIO], announce: Callable[[], None]) -> None:
        super().__init__(association)
        self._intake = intake
        self.msg_queue = Announcing(announce)

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take the fragments of one PDU."""
        if self.message is None:
            self.message = DIMSEMessage()
            self.message.data_set = self._intake()
        message = self.message
        try:
            super().receive_primitive(primitive)
        except Exception as error:
            self._give_up(type(error).__name__)
            return
        if self.message is not None and message.encoded_command_set.tell() > _COMMAND_BYTES:
            self._give_up("command set too long")
        elif getattr(message.data_set, "is_large", False) and not isinstance(message, C_STORE_RQ):
            self._give_up("data set too long")
        while self.msg_queue.qsize() >= _WAITING_MESSAGES and not self.assoc._kill:
            time.sleep(0.002)

    def _give_up(self, reason: str) -> None:
        log.warning("event=message-refused reason=%s", reason.replace(" ", "-"))
        self.message = None
        self.dul.event_queue.put("Evt19")
