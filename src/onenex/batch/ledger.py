"""The run ledger: what became of every unit, in Parquet part files that are added, now and then merged, and never changed.

A part appears whole or not at all. A unit that was tried again has a row in several parts: the last one to end counts.
"""

from __future__ import annotations

import io
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
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
_MERGED = 200
"""Parts that become one: a run adds one every ten seconds."""


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
        pa = _arrow()[0]
        self._write("part", pa.Table.from_pylist([asdict(row) for row in rows], schema=_schema(pa)))

    def merge(self) -> None:
        """Put every 200 parts into one that holds the same rows. For the run that has the destination to itself; others may read meanwhile.

        Raises
        ------
        DataError
            A part is damaged, or the destination cannot be written to.
        """
        parts = [name for name in storage.names_in(self.folder, ".parquet") if name.startswith("part-")]
        for start in range(0, len(parts) - _MERGED + 1, _MERGED):
            some = parts[start : start + _MERGED]
            tables = [table for table in map(self._table, some) if table is not None]
            self._write("merged", _arrow()[0].concat_tables(tables, promote_options="default"))
            for name in some:  # killed here, rows are there twice: the same rows
                storage.remove(storage.join(self.folder, name))

    def parts(self) -> Iterator[Row]:
        """Yield every row of every part, in any order; those of a part that is being merged perhaps twice.

        Raises
        ------
        DataError
            A part is damaged.
        """
        read: set[str] = set()
        while names := [name for name in storage.names_in(self.folder, ".parquet") if name not in read]:
            read.update(names)  # what has gone since was merged into a part that the next look finds
            for name in names:
                file = self._open(name)
                if file is None:
                    continue
                try:
                    for batch in file.iter_batches(_BATCH):
                        yield from (Row(**{key: value for key, value in one.items() if key in _NAMES}) for one in batch.to_pylist())
                except (OSError, ValueError, TypeError) as error:
                    raise self._damaged(name, error) from error

    def rows(self) -> Iterator[Row]:
        """Yield the last row of every unit, by unit; memory does not grow with their number."""
        with self.remembered() as db:
            for values in db.execute(f"SELECT {', '.join(_NAMES)} FROM rows ORDER BY unit"):
                named = dict(zip(_NAMES, values, strict=True))
                yield Row(**(named | {name: datetime.fromtimestamp(named[name], UTC) for name in _TIMES}))

    def _open(self, name: str) -> Any:
        """Return a part as a Parquet file; None if it has gone."""
        content = storage.read_bytes(storage.join(self.folder, name))
        try:
            return None if content is None else _arrow()[1].ParquetFile(io.BytesIO(content))
        except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
            raise self._damaged(name, error) from error

    def _table(self, name: str) -> Any:
        """Return all rows of a part; None if it has gone."""
        file = self._open(name)
        try:
            return None if file is None else file.read()
        except (OSError, ValueError) as error:
            raise self._damaged(name, error) from error

    def _damaged(self, name: str, error: Exception) -> DataError:
        url = storage.join(self.folder, name)
        return DataError(f"{url} is no part of a ledger ({error}): restore it, or remove it to have its units done again")

    def _write(self, kind: str, table: Any) -> None:
        buffer = io.BytesIO()
        _arrow()[1].write_table(table, buffer, compression="zstd")
        name = f"{kind}-{time.time_ns():020d}-{secrets.token_hex(4)}.parquet"
        storage.write_bytes(storage.join(self.folder, name), buffer.getvalue())

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


def pending(units: Iterator[Unit], ledger: Ledger, options: str, weights: str, *, retry: bool = False) -> Generator[Unit, None, None]:
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
