"""The run ledger: what became of every unit, in Parquet part files that are only ever added.

A part appears whole or not at all. A unit that was tried again has a row in several parts: the last one to end counts.
"""

from __future__ import annotations

import io
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from onenex.batch import storage
from onenex.batch.unit import Row, Status, Unit
from onenex.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "ledger"
_NAMES = tuple(one.name for one in fields(Row))
_WHOLE = ("slices", "bytes_in", "bytes_out")
_TIMES = ("started", "ended")
_BATCH = 2000
"""Rows in memory at a time."""


class Ledger:
    """The ledger of one destination (a folder or any fsspec URL). It holds no open file: it may travel between processes."""

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self.folder = storage.join(destination, FOLDER)

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows as a new part; nothing for no rows.

        Raises
        ------
        DataError
            pyarrow is not installed, or the destination cannot be written to.
        """
        if not rows:
            return
        pa, parquet = _arrow()
        buffer = io.BytesIO()
        parquet.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema=_schema(pa)), buffer, compression="zstd")
        name = f"part-{time.time_ns():020d}-{secrets.token_hex(4)}.parquet"
        storage.write_bytes(storage.join(self.folder, name), buffer.getvalue())

    def parts(self) -> Iterator[Row]:
        """Yield every row of every part, in the order in which parts were added.

        Raises
        ------
        DataError
            A part is damaged.
        """
        for name in storage.names_in(self.folder, ".parquet"):
            _, parquet = _arrow()
            url = storage.join(self.folder, name)
            content = storage.read_bytes(url)
            if content is None:
                continue
            try:
                for batch in parquet.ParquetFile(io.BytesIO(content)).iter_batches(_BATCH):
                    yield from (Row(**{key: value for key, value in one.items() if key in _NAMES}) for one in batch.to_pylist())
            except (OSError, ValueError, TypeError) as error:  # ArrowInvalid is a ValueError
                raise DataError(f"{url} is no part of a ledger ({error}): restore it, or remove it to have its units done again") from error

    def rows(self) -> Iterator[Row]:
        """Yield the last row of every unit, by unit; memory does not grow with their number."""
        with self.remembered() as db:
            for values in db.execute(f"SELECT {', '.join(_NAMES)} FROM rows ORDER BY unit"):
                named = dict(zip(_NAMES, values, strict=True))
                yield Row(**(named | {name: datetime.fromtimestamp(named[name], UTC) for name in _TIMES}))

    @contextmanager
    def remembered(self) -> Iterator[sqlite3.Connection]:
        """Yield the last row of every unit as a SQLite table `rows` in a temporary file; times in seconds since 1970."""
        with tempfile.NamedTemporaryFile(prefix="onenex-ledger-", suffix=".sqlite") as file, closing(sqlite3.connect(file.name)) as db:
            db.execute("PRAGMA journal_mode = OFF")
            db.execute("PRAGMA synchronous = OFF")
            db.execute(f"CREATE TABLE rows ({', '.join(_NAMES)}, PRIMARY KEY (unit)) WITHOUT ROWID")
            updates = ", ".join(f"{name} = excluded.{name}" for name in _NAMES if name != "unit")
            insert = (
                f"INSERT INTO rows VALUES ({', '.join('?' * len(_NAMES))}) ON CONFLICT (unit) DO UPDATE SET {updates} WHERE excluded.ended >= ended"
            )
            db.executemany(insert, (tuple(_storable(value) for value in asdict(row).values()) for row in self.parts()))
            db.commit()
            yield db


def pending(units: Iterator[Unit], ledger: Ledger, options: str, weights: str, *, retry: bool = False) -> Iterator[Unit]:
    """Yield the units that are still to be done: new ones, changed ones, those whose result has gone, and with `retry` failed ones.

    Parameters
    ----------
    options, weights
        Hashes; rows of others don't count.
    """
    from onenex.batch.publish import is_published

    with ledger.remembered() as db:
        for unit in units:
            found = db.execute("SELECT status, fingerprint FROM rows WHERE unit = ? AND options = ? AND weights = ?", (unit.id, options, weights))
            status, fingerprint = found.fetchone() or ("", "")
            if status == Status.FAILED and not retry:
                continue
            if status == Status.SKIPPED and fingerprint == unit.fingerprint:
                continue
            if status == Status.DENOISED and fingerprint == unit.fingerprint and is_published(ledger.destination, unit.id):
                continue
            yield unit


def _storable(value: Any) -> Any:
    return value.timestamp() if isinstance(value, datetime) else value


def _schema(pa: Any) -> pa.Schema:
    types = dict.fromkeys(_WHOLE, pa.int64()) | dict.fromkeys(_TIMES, pa.timestamp("us", tz="UTC")) | {"seconds": pa.float64()}
    return pa.schema([(name, types.get(name, pa.string())) for name in _NAMES])


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise DataError("the ledger needs pyarrow: pip install 'onenex[cluster]'") from None
    return pyarrow, pyarrow.parquet
