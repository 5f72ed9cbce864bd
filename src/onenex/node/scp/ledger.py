"""Group commit: one flush and one durable transaction for whatever arrived on all associations while the last one was under way."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from onenex.errors import NodeError
from onenex.node.records import Arrival, Outcome

log = logging.getLogger(__name__)

_MOST = 256
_LINGER_S = 0.005
"""How long a commit waits for company where the last one had some: many senders are faster for it, and a single one never waits."""
_Entry = tuple[Arrival, "Future[Outcome]"]


class Ledger:
    """Registers arrivals in a thread of its own.

    Parameters
    ----------
    register
        `Queue.register`.
    flush
        `Spool.flush`.
    """

    def __init__(self, register: Callable[[Sequence[Arrival]], list[Outcome]], flush: Callable[[Sequence[Path]], None]) -> None:
        self._register, self._flush = register, flush
        self._entries: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def enter(self, arrival: Arrival) -> Outcome:
        """Return what became of an arrival, once that is on the disk.

        Raises
        ------
        NodeError
            It could not be registered.
        """
        future: Future[Outcome] = Future()
        self._entries.put((arrival, future))
        return future.result()

    def close(self) -> None:
        """Finish what was entered, and end the thread."""
        self._entries.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open, has_company = True, False
        while is_open:
            batch = [self._entries.get()]
            if has_company:
                time.sleep(_LINGER_S)
            while len(batch) < _MOST and not self._entries.empty():
                batch.append(self._entries.get())
            is_open, has_company = None not in batch, len(batch) > 1
            entries = [one for one in batch if one is not None]
            if entries and not self._commit(entries) and len(entries) > 1:
                for one in entries:  # one of them must not take the others with it
                    self._commit([one])

    def _commit(self, entries: Sequence[_Entry]) -> bool:
        """Register a batch; False if it failed, and then a single one knows why."""
        try:
            self._flush([arrival.path for arrival, _ in entries])
            outcomes = self._register([arrival for arrival, _ in entries])
            if len(outcomes) != len(entries):
                raise NodeError(f"the queue answered {len(outcomes)} of {len(entries)} arrivals: this is a fault of OneNEX, report it")
        except Exception as error:  # whoever waits must learn it
            log.error("event=register-failed arrivals=%d error=%s", len(entries), type(error).__name__)
            if len(entries) == 1:
                entries[0][1].set_exception(error)
            return False
        for (_, future), outcome in zip(entries, outcomes, strict=True):
            future.set_result(outcome)
        return True
