"""What runs inside the cluster: a desk beside the driver, a feed that takes units from it, and actors that denoise them.

Texts travel between them, never images: {"kind", "text"}, a `unit` to do or the ledger's `row` of one that is done, as JSON,
or an `error` that ends the run, since no other unit would fare better.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onenex import __version__
from onenex.batch import Kind, Row, Status, Unit, process
from onenex.batch.job import Job
from onenex.batch.process import undone
from onenex.errors import ModelError, OneNexError

UNIT, ROW, ERROR = "unit", "row", "error"
Batch = dict[str, Sequence[str]]
MOST_TRIES = 5
"""A unit whose worker dies is begun so many times. Machines that are lost count too, hence not fewer."""
_PAUSES_S = (0.0, 1.0, 5.0, 25.0)
"""Before a unit is tried, and tried again when storage or network failed."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What an actor is told. The weights don't travel: it loads its machine's own, and they must be the driver's."""

    job: Job
    weights_hash: str
    device: str
    threads: int
    version: str = __version__


class Desk:
    """An actor on the driver's machine: hands out units, and counts how often each one under way was begun. It goes with the driver."""

    def __init__(self) -> None:
        self._units: asyncio.Queue[str] = asyncio.Queue()
        self._begun: Counter[str] = Counter()

    async def put(self, texts: list[str]) -> None:
        """Lay down units; "" after the last one."""
        for text in texts:
            self._units.put_nowait(text)

    async def take(self) -> list[str]:
        """Return what lies there, once anything does."""
        texts = [await self._units.get()]
        while not self._units.empty():
            texts.append(self._units.get_nowait())
        return texts

    async def begin(self, unit: str) -> int:
        """Return how often the unit has been begun, this time included."""
        self._begun[unit] += 1
        return self._begun[unit]

    async def end(self, unit: str) -> None:
        """Forget a unit that has its row."""
        self._begun.pop(unit, None)


def feed(_: Batch, desk: Any) -> Iterator[Batch]:
    """Yield the units of the desk, one a batch, until the last one."""
    import ray

    while True:
        for text in ray.get(desk.take.remote()):
            if not text:
                return
            yield _one(UNIT, text)


class Denoise:
    """An actor: loads the weights once, then does one unit after the other.

    Ray starts an actor that died anew, here or elsewhere, and gives it the units that the dead one had. One that takes its
    workers with it `MOST_TRIES` times is written down as failed.
    """

    def __init__(self, told: Told, desk: Any) -> None:
        import torch

        from onenex.model import load

        torch.set_num_threads(told.threads)
        self._told, self._desk, self._problem = told, desk, ""
        try:
            self._model = load(told.device, told.job.weights, engine=told.job.options.engine)
            _check(told, self._model.weights_hash)
        except OneNexError as error:
            self._problem = f"{socket.gethostname()}: {error}"

    def __call__(self, batch: Batch) -> Batch:
        """Do a batch of one."""
        if self._problem:
            return _one(ERROR, self._problem)
        try:
            return _one(ROW, json.dumps(self._do(unit_of(str(batch["text"][0]))).as_json()))
        except OneNexError as error:  # the destination cannot be written to
            return _one(ERROR, f"{socket.gethostname()}: {error}")

    def _do(self, unit: Unit) -> Row:
        import ray

        if ray.get(self._desk.begin.remote(unit.id)) > MOST_TRIES:
            row = _failed(unit, self._told, f"its worker died {MOST_TRIES} times, perhaps for want of memory: give workers more, and try it again")
        else:
            row = self._attempt(unit)
        self._desk.end.remote(unit.id)
        return row

    def _attempt(self, unit: Unit) -> Row:
        """Do a unit; a network that stumbles is asked again, and a fault of ours in one unit does not take the others with it."""
        job, reason = self._told.job, ""
        for pause_s in _PAUSES_S:
            time.sleep(pause_s)
            try:
                return process(unit, job.destination, job.options, self._model, access=job.access)
            except OneNexError:
                raise
            except OSError as error:
                reason = f"{type(error).__name__} {error.errno or ''} at {_where(error)}: try it again when storage and network work"
            except Exception as error:
                return _failed(unit, self._told, f"unexpected {type(error).__name__} at {_where(error)}: please report it")
        return _failed(unit, self._told, reason)


def text_of(unit: Unit) -> str:
    """Return a unit as it travels."""
    return json.dumps(asdict(unit))


def unit_of(text: str) -> Unit:
    """Undo `text_of`."""
    values: dict[str, Any] = json.loads(text)
    return Unit(**(values | {"kind": Kind(values["kind"]), "files": tuple(values["files"])}))


def row_of(text: str) -> Row:
    """Return a row that has travelled."""
    return Row.from_json(json.loads(text))


def _failed(unit: Unit, told: Told, reason: str) -> Row:
    return undone(unit, Status.FAILED, reason, weights=told.weights_hash, options=told.job.options)


def _where(error: Exception) -> str:
    """Return file and line that raised, without the message: that may quote a header."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def _check(told: Told, weights_hash: str) -> None:
    """Refuse a machine whose results would differ from the others'."""
    if __version__ != told.version:
        raise ModelError(f"OneNEX {__version__} is installed, and {told.version} where the run was started: install the same on every machine")
    if weights_hash != told.weights_hash:
        raise ModelError(f"the weights are {weights_hash}, and {told.weights_hash} where the run was started: give every machine the same file")


def _one(kind: str, text: str) -> Batch:
    return {"kind": [kind], "text": [text]}
