"""What a ledger adds up to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from onenex.batch.ledger import Ledger
from onenex.batch.settings import settled
from onenex.errors import DataError

_MOST_REASONS = 8


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The state of a destination: the last row of every unit, counted."""

    destination: str
    units: dict[str, int]
    """Status → how many."""
    slices: int
    bytes_in: int
    bytes_out: int
    busy_s: float
    """Seconds of all units together, whatever ran at the same time."""
    hosts: dict[str, int]
    """Machine → units."""
    reasons: tuple[tuple[str, str, int], ...]
    """(status, reason, units), the most frequent first."""
    started: datetime
    ended: datetime
    version: str
    weights: str
    mode: str

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"started": self.started.isoformat(), "ended": self.ended.isoformat(), "reasons": [list(one) for one in self.reasons]}

    def lines(self) -> Iterator[str]:
        """Yield what people read."""
        yield f"archive   {self.destination}"
        yield f"made by   OneNEX {self.version}, weights {self.weights}, mode {self.mode}"
        yield "units     " + ", ".join(f"{n} {status}" for status, n in self.units.items())
        per_slice = f", {1000 * self.busy_s / self.slices:.0f} ms each" if self.slices else ""
        yield f"slices    {self.slices}{per_slice}"
        yield f"data      {self.bytes_in / 1e6:.1f} MB read, {self.bytes_out / 1e6:.1f} MB written"
        yield f"machines  {', '.join(f'{host} ({n})' for host, n in self.hosts.items())}"
        yield f"from      {self.started:%Y-%m-%d %H:%M} to {self.ended:%Y-%m-%d %H:%M} UTC"
        for status, reason, n in self.reasons:
            yield f"{status:9} {n} × {reason}"


def summarise(destination: str) -> Summary:
    """Count the ledger of a destination; memory does not grow with it.

    Raises
    ------
    DataError
        There is no ledger, or a damaged one.
    """
    ledger, made = Ledger(destination), settled(destination) or {}
    with ledger.remembered() as db:
        status = dict(db.execute("SELECT status, count(*) FROM rows GROUP BY status"))
        if not status:
            raise DataError(f"{destination} holds no ledger: give the destination of `onenex batch`, or wait until its first units are done")
        totals = "sum(slices), sum(bytes_in), sum(bytes_out), sum(seconds), min(started), max(ended)"
        slices, bytes_in, bytes_out, busy_s, started, ended = db.execute(f"SELECT {totals} FROM rows").fetchone()
        hosts = dict(db.execute("SELECT host, count(*) AS n FROM rows GROUP BY host ORDER BY n DESC, host"))
        reasons = db.execute(
            "SELECT status, reason, count(*) AS n FROM rows WHERE status <> 'denoised' GROUP BY status, reason ORDER BY n DESC, reason LIMIT ?",
            (_MOST_REASONS,),
        ).fetchall()
    return Summary(
        destination=destination,
        units={name: status.get(name, 0) for name in ("denoised", "skipped", "failed")},
        slices=slices,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        busy_s=round(busy_s, 3),
        hosts=hosts,
        reasons=tuple((str(one), str(reason), int(n)) for one, reason, n in reasons),
        started=datetime.fromtimestamp(started, UTC),
        ended=datetime.fromtimestamp(ended, UTC),
        version=str(made.get("version", "?")),
        weights=str(made.get("weights", "?")),
        mode=str(made.get("options", {}).get("mode", "?")),
    )
