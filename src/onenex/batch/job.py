"""A batch as the user asks for it, and what came of it: the same on one machine and on many."""

from __future__ import annotations

import pickle
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from onenex.batch import storage, web
from onenex.batch.ledger import Ledger, pending
from onenex.batch.plan import plan
from onenex.batch.settings import options_hash, settle
from onenex.batch.unit import Access, Row, Unit
from onenex.errors import DataError
from onenex.options import Options

Tell = Callable[[str, int, int | None], None]
"""Called with (what is going on, units done, units to do or None)."""

_WORKERS_A_CORE = 1.5
"""Where files come or go over a network. Chosen, not measured: a unit's files come in a fraction of the time that it takes to compute."""
_FLUSH_ROWS, _FLUSH_S = 500, 10.0
"""Rows go to the ledger when there are so many, or so much time has passed; a kill loses none, they also lie with the results."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to do; it travels to other processes and machines, so its passwords do too."""

    source: str
    destination: str
    options: Options = field(default_factory=Options)
    device: str = "auto"
    weights: Path | None = None
    """None: the bundled ones."""
    access: Access | None = None
    limit: int | None = None
    """Units to work on at most."""
    retry: bool = False
    """Also try again what failed."""
    overwrite: bool = False
    """Do everything again if it was made otherwise."""

    @property
    def workers_a_core(self) -> float:
        """How many workers keep a core busy: more than one where some wait for a network while others compute."""
        local = all(storage.local_path(place) is not None for place in (self.source, self.destination)) and not web.is_query(self.source)
        return 1.0 if local else _WORKERS_A_CORE


@dataclass(kw_only=True)
class Outcome:
    """What a run did; what was done before doesn't count."""

    destination: str
    units: Counter[str] = field(default_factory=Counter)
    """Status → how many."""
    slices: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    busy_s: float = 0.0
    """Seconds of all units together."""
    seconds: float = 0.0
    """Of the run, planning included."""

    def add(self, row: Row) -> None:
        """Count a unit."""
        self.units[str(row.status)] += 1
        self.slices += row.slices
        self.bytes_in += row.bytes_in
        self.bytes_out += row.bytes_out
        self.busy_s += row.seconds

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "destination": self.destination,
            "units": {status: self.units[status] for status in ("denoised", "skipped", "failed")},
            "slices": self.slices,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "busy_s": round(self.busy_s, 3),
            "seconds": round(self.seconds, 3),
        }


@contextmanager
def prepared(job: Job, *, workers: int = 0, tell: Tell | None = None) -> Iterator[tuple[Iterator[Unit], int | None]]:
    """Yield the units that are still to be done and their number (None of a DICOMweb query: they come as the server names them).

    The destination is this run's alone as long as the block lasts, what a killed run left is swept, and settings are checked first.

    Parameters
    ----------
    workers
        Processes that look at files while planning.

    Raises
    ------
    DataError
        The source cannot be listed, the destination cannot be used, was made otherwise, or is in use.
    WeightsMismatch
        No such weights.
    """
    _check_apart(job.source, job.destination)
    home = storage.scratch_home(job.destination)
    index = home / "plan.sqlite" if storage.local_path(job.destination) is not None else None
    with storage.only_run(job.destination):
        storage.sweep(job.destination)
        Ledger(job.destination).merge()
        weights, options = weights_hash(job.weights), options_hash(job.options)
        settle(job.destination, job.options, weights, overwrite=job.overwrite)

        def looked(n_files: int) -> None:
            if tell is not None:
                tell(f"looking at files ({n_files})", 0, None)

        in_process = storage.is_of_this_process(job.source)
        units = plan(job.source, index=index, workers=0 if in_process else workers, access=job.access, progress=looked)
        with closing(units), closing(pending(units, Ledger(job.destination), options, weights, retry=job.retry)) as found:
            todo = islice(found, job.limit)  # a limited run leaves both in the middle
            if web.is_query(job.source):
                yield todo, None
                return
            with _spooled(todo) as (spooled, n_units):
                yield spooled, n_units


def record(rows: Iterable[Row], job: Job, *, tell: Tell | None = None, n_units: int | None = None) -> Outcome:
    """Add rows to the ledger as they come, some at a time, and the rest when they end or are interrupted; return what they add up to."""
    ledger, outcome, waiting = Ledger(job.destination), Outcome(destination=job.destination), list[Row]()
    started = flushed = time.monotonic()
    try:
        for row in rows:
            waiting.append(row)
            outcome.add(row)
            if len(waiting) >= _FLUSH_ROWS or time.monotonic() - flushed > _FLUSH_S:
                ledger.add(waiting)
                waiting, flushed = [], time.monotonic()
            if tell is not None:
                failed = outcome.units["failed"]
                tell(f"{outcome.slices} slices" + (f", {failed} failed" if failed else ""), outcome.units.total(), n_units)
    finally:
        ledger.add(waiting)
    outcome.seconds = time.monotonic() - started
    return outcome


def weights_hash(weights: Path | None) -> str:
    """Return the first 12 hex digits of the SHA-256 of a weights file, None being the bundled one, without loading it.

    Raises
    ------
    DataError
        No such file.
    """
    from onenex.model.weights import bundled_path, file_hash

    path = weights or bundled_path()
    try:
        return file_hash(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}): give a weights file") from error


def _check_apart(source: str, destination: str) -> None:
    """Refuse a destination inside the source, or the other way round: results would be planned as scans."""
    one, other = storage.local_path(source), storage.local_path(destination)
    if one is not None and other is not None:
        one, other = one.resolve(), other.resolve()
        nested = other.is_relative_to(one) or one.is_relative_to(other)
    else:
        nested = f"{destination.rstrip('/')}/".startswith(f"{source.rstrip('/')}/") or f"{source.rstrip('/')}/".startswith(
            f"{destination.rstrip('/')}/"
        )
    if nested:
        raise DataError(f"{destination} and {source} lie in each other: choose a destination elsewhere")
    if other is not None and other.exists() and not other.is_dir():
        raise DataError(f"{destination} is a file: choose a folder")


@contextmanager
def _spooled(units: Iterable[Unit]) -> Iterator[tuple[Iterator[Unit], int]]:
    """Write units to a temporary file, so that their number is known and memory isn't needed for them; yield them from there."""
    with tempfile.TemporaryFile(prefix="onenex-units-") as file:
        n_units = 0
        for unit in units:
            pickle.dump(unit, file)
            n_units += 1
        file.seek(0)
        yield (pickle.load(file) for _ in range(n_units)), n_units
