"""How a built folder of pairs is read: `pairs.parquet`, one row a slice pair, and packed images that stay on the disk until they are drawn.

`onenex.pairs.manifest` writes the rows, `onenex.pairs.packing.shards` the images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onenex.errors import DataError
from onenex.series import FloatImages

MANIFEST = "pairs.parquet"
FORMAT_KEY, VERSION_KEY = b"onenex.format", b"onenex.format_version"
FORMAT, VERSION = b"slice pairs", 1
"""Raised when older readers would misread a file; a column more is no reason."""

_OF_A_SCAN = ("id", "kind", "split", "patient", "shard", "shard_sha256", "organ", "vendor", "model", "field_strength_T", "sequence", "plane", "nex",
    "reference_nex", "acceleration", "n_repeats", "rows", "columns", "echo_time_ms", "repetition_time_ms", "inversion_time_ms", "flip_angle_deg",
    "row_spacing_mm", "slice_thickness_mm", "source", "licence", "note")  # fmt: skip
_OF_A_SLICE = ("slice", "index", "scales", "fast_repeats", "reference_repeats", "accepted")
_ONE_A_SCAN = ("kind", "split", "patient", "shard", "rows", "columns", "n_repeats")
"""What all rows of a scan must agree on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """Images of one scan in a shard: a `.npy` file of uint16 (entry, image, row, column)."""

    shard: Path
    sha256: str
    index: NDArray[np.int32]
    """(slice,), which entry of the shard a slice is."""
    scales: NDArray[np.float32]
    """(slice, image), by what the stored integers are multiplied."""
    which: tuple[int, ...]
    """Which images of an entry are to be used, in this order."""

    def __len__(self) -> int:
        return len(self.index)

    def read(self, number: int) -> FloatImages:
        """Read slice `number` (counted among those accepted) from the disk: (image, row, column), unit of the source.

        Raises
        ------
        DataError
            The shard is missing, damaged or too short.
        """
        entry = int(self.index[number])
        try:
            # Opened for every slice: maps that stay open would need a file handle each, and their pages count as memory.
            stored = np.load(self.shard, mmap_mode="r", allow_pickle=False)
            images = np.asarray(stored[entry, list(self.which)], dtype=np.float32)
        except (OSError, EOFError, ValueError, IndexError) as error:
            raise DataError(f"{self.shard}: entry {entry} cannot be read ({error}): `onenex pairs check` says what else is amiss") from error
        return images * self.scales[number, list(self.which), None, None]


class Group(NamedTuple):
    """The accepted rows of one scan."""

    common: dict[str, Any]
    """Columns that describe the scan, of its first row."""
    stored: Stored


def read_table(folder: Path, columns: Sequence[str] | None = None) -> Any:
    """Return the manifest as a `pyarrow.Table`; of the `columns` asked for, those it has.

    Raises
    ------
    DataError
        pyarrow is missing, or the manifest is missing, damaged, of another format or of a newer version.
    """
    parquet = pyarrow_parquet()
    path = folder / MANIFEST
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            _check_version(path, schema.metadata or {})
            there = None if columns is None else [name for name in columns if name in schema.names]
            return file.read(columns=there, use_threads=False)  # it's small; every thread would keep memory of its own
    except FileNotFoundError:
        raise DataError(f"no {MANIFEST} in {folder}: give the folder that `onenex pairs build` made") from None
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise DataError(f"{path} cannot be read ({error}): build the folder again, or fetch {MANIFEST} from where it was built") from error


def pyarrow_parquet() -> Any:
    """Return the module `pyarrow.parquet`.

    Raises
    ------
    DataError
        It isn't installed.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DataError("built folders need pyarrow: pip install 'onenex[train]'") from error
    return parquet


def _check_version(path: Path, metadata: dict[bytes, bytes]) -> None:
    version = metadata.get(VERSION_KEY, b"")
    if metadata.get(FORMAT_KEY) != FORMAT or not version.isdigit():
        raise DataError(f"{path} is no manifest of OneNEX: give the folder that `onenex pairs build` made")
    if int(version) > VERSION:
        raise DataError(f"{path} has format {int(version)}, this OneNEX reads up to {VERSION}: update OneNEX")


def read_groups(folder: Path) -> Iterator[Group]:
    """Yield the scans of a built folder in the order of their first rows, accepted rows only.

    Raises
    ------
    DataError
        See `read_table`; or rows of one scan contradict each other.
    """
    import pyarrow as pa

    table = read_table(folder, (*_OF_A_SCAN, *_OF_A_SLICE))
    missing = [name for name in (*_OF_A_SLICE, *_ONE_A_SCAN, "id") if name not in table.column_names]
    if missing:
        raise DataError(f"{folder / MANIFEST}: no column {', '.join(missing)}: build the folder again")
    table = table.filter(table["accepted"])
    if not len(table):
        return
    ids = pa.array(table["id"].to_pylist()).dictionary_encode().indices.to_numpy()
    order = np.argsort(ids, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(ids[order])) + 1)
    _check_agreement(folder, table, ids, np.array([rows[0] for rows in members]))
    for shard in table["shard"].unique().to_pylist():
        if Path(shard).is_absolute() or ".." in Path(shard).parts:
            raise DataError(f"{folder / MANIFEST}: shard '{shard}' lies outside the folder: use no manifest that you don't trust")
    numbers, entries = (np.asarray(table[name].to_numpy(), dtype=np.int32) for name in ("slice", "index"))
    lists = {name: _Lists.of(table[name]) for name in ("scales", "fast_repeats", "reference_repeats")}
    described = table.select([name for name in _OF_A_SCAN if name in table.column_names])
    for rows in members:
        common = described.slice(int(rows[0]), 1).to_pylist()[0]
        which, kept = _usable(common, rows, numbers, lists)
        if not len(kept):
            continue
        stored = Stored(
            shard=folder / common["shard"],
            sha256=common["shard_sha256"],
            index=entries[kept],
            scales=np.stack([lists["scales"][row] for row in kept]).astype(np.float32),
            which=which,
        )
        yield Group(common, stored)


@dataclass(frozen=True)
class _Lists:
    """A column of lists, without a Python object for every row."""

    values: NDArray[Any]
    offsets: NDArray[np.int32]

    @classmethod
    def of(cls, column: Any) -> _Lists:
        joined = column.combine_chunks()
        return cls(joined.values.to_numpy(), joined.offsets.to_numpy())

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]


def _check_agreement(folder: Path, table: Any, ids: NDArray[np.int32], first: NDArray[np.int64]) -> None:
    """Refuse scans whose rows say different things about it; `first` is the first row of each scan, by its number in `ids`."""
    for name in _ONE_A_SCAN:
        codes = table[name].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
        different = np.flatnonzero(codes != codes[first][ids])
        if len(different):
            scan = table["id"][int(different[0])].as_py()
            raise DataError(f"{folder / MANIFEST}: rows of scan {scan} disagree on '{name}': build the folder again")


def _usable(
    common: dict[str, Any], rows: NDArray[np.int64], numbers: NDArray[np.int32], lists: dict[str, _Lists]
) -> tuple[tuple[int, ...], NDArray[np.int64]]:
    """Return which images of a scan may be used, and one row for each of its slices, in their order.

    Of repeats those count that accepted settings of *every* slice use; a scan with fewer than two of them has no row.
    """
    _, at = np.unique(numbers[rows], return_index=True)
    kept = rows[at]
    if common["kind"] != "repeats":
        return tuple(range(2 if common["kind"] in ("pairs", "synthetic") else 1)), kept
    everything = set(range(int(common["n_repeats"])))
    common_to_all = set(everything)
    for number in numbers[kept]:
        used: set[int] = set()
        for row in rows[numbers[rows] == number]:
            named = {int(repeat) for name in ("fast_repeats", "reference_repeats") for repeat in lists[name][row]}
            used |= named or everything
        common_to_all &= used
    which = tuple(sorted(common_to_all))
    return which, kept if len(which) > 1 else kept[:0]
