"""Every file of a source, one after the other: a folder, an object store, a zip archive, or a manifest of any of them."""

from __future__ import annotations

import csv
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from onenex.batch import storage
from onenex.errors import DataError
from onenex.pairs.indexing.tree import Walk, entries

_COLUMN = "path"
_BATCH = 2000


class Listed(NamedTuple):
    """One file."""

    name: str
    """Local path or fsspec URL: `opener` opens it."""
    size: int
    stamp: str
    """Another one when the content has changed: its time, or what the store tells instead."""


def listed(source: str) -> Iterator[Listed]:
    """Yield the files of a source.

    Parameters
    ----------
    source
        A folder, a zip archive, a manifest (.csv or .parquet with a column `path`: files, folders, archives or URLs, relative to
        the manifest), or a single file; a local path or a URL that fsspec knows.

    Raises
    ------
    DataError
        Nothing is there, it cannot be read, or a manifest without that column.
    """
    if source.lower().endswith((".csv", ".parquet")):
        for name in _manifest(source):
            yield from _files(_beside(source, name))
        return
    yield from _files(source)


@contextmanager
def opener() -> Iterator[Callable[[str], IO[bytes]]]:
    """Yield a function that opens listed files for reading (OSError, DataError or BadZipFile if it cannot); an archive is opened once."""
    with ExitStack() as stack:
        archives: dict[str, zipfile.ZipFile] = {}

        def opened(name: str) -> IO[bytes]:
            if not name.startswith("zip://"):
                return plainly(name)
            member, _, archive = name.removeprefix("zip://").partition("::")
            if archive not in archives:
                archives[archive] = stack.enter_context(zipfile.ZipFile(stack.enter_context(plainly(archive))))
            return archives[archive].open(member)

        yield opened


def plainly(name: str) -> IO[bytes]:
    """Open a local file, or one that fsspec knows; no member of an archive.

    Raises
    ------
    OSError, DataError
        It cannot be opened.
    """
    path = storage.local_path(name)
    if path is not None:
        return path.open("rb")
    system, inner = storage.filesystem(name)
    stream: IO[bytes] = system.open(inner, "rb", block_size=1 << 16)
    return stream


def _files(source: str) -> Iterator[Listed]:
    path = storage.local_path(source)
    if path is None:
        if source.lower().endswith(".zip") and "::" not in source:
            yield from _members(source)
        else:
            yield from _remote(source)
        return
    if path.is_dir():
        root = os.fsencode(path)
        for entry in entries(path, Walk()):
            yield Listed(os.fsdecode(os.path.join(root, entry.path)), entry.size, str(entry.mtime_ns))  # noqa: PTH118 - names are bytes
    elif path.is_file() and zipfile.is_zipfile(path):
        yield from _members(str(path))
    elif path.is_file():
        status = path.stat()
        yield Listed(str(path), status.st_size, str(status.st_mtime_ns))
    else:
        raise DataError(f"{source} does not exist: give a folder, a zip archive, a manifest or a URL")


def _members(archive: str) -> Iterator[Listed]:
    try:
        with plainly(archive) as stream, zipfile.ZipFile(stream) as members:
            for one in members.infolist():
                if not one.is_dir() and not one.filename.rsplit("/", 1)[-1].startswith("._"):
                    yield Listed(f"zip://{one.filename}::{archive}", one.file_size, f"{one.CRC:08x}")
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{archive} cannot be opened as a zip archive ({error}): pack it again") from error


def _remote(source: str) -> Iterator[Listed]:
    system, root = storage.filesystem(source)
    try:
        if not system.exists(root):
            raise DataError(f"{source} does not exist: give a folder, a zip archive, a manifest or a URL")
        if system.isfile(root):
            yield _described(system, system.info(root))
            return
        for _, _, files in system.walk(root, detail=True):
            for name in sorted(files):
                if name and not name.startswith("._"):
                    yield _described(system, files[name])
    except OSError as error:
        raise DataError(f"{source} cannot be listed ({error}): check the address and who may read there") from error


def _described(system: Any, info: dict[str, Any]) -> Listed:
    stamp = next((str(info[key]) for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created") if info.get(key)), "")
    return Listed(str(system.unstrip_protocol(info["name"])), int(info.get("size") or 0), stamp)


def _beside(manifest: str, name: str) -> str:
    """Return where a line of a manifest points to."""
    if "://" in name or Path(name).is_absolute():
        return name
    return storage.join(manifest.rsplit("/", 1)[0], name) if "/" in manifest else name


def _manifest(source: str) -> Iterator[str]:
    try:
        with plainly(source) as stream:
            yield from (line for line in (_parquet(stream) if source.lower().endswith(".parquet") else _csv(stream)) if line)
    except KeyError:
        raise DataError(f"{source} has no column '{_COLUMN}': name the column that holds files or folders '{_COLUMN}'") from None
    except (OSError, ValueError, csv.Error) as error:  # ArrowInvalid is a ValueError
        raise DataError(f"{source} cannot be read as a manifest ({error}): give a CSV or Parquet file with a column '{_COLUMN}'") from error


def _csv(stream: IO[bytes]) -> Iterator[str]:
    for row in csv.DictReader(line.decode("utf-8-sig") for line in stream):
        yield (row[_COLUMN] or "").strip()


def _parquet(stream: IO[bytes]) -> Iterator[str]:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise DataError("a manifest in Parquet needs pyarrow: pip install 'onenex[cluster]'") from None
    file = parquet.ParquetFile(stream)
    if _COLUMN not in file.schema_arrow.names:
        raise KeyError(_COLUMN)
    for batch in file.iter_batches(_BATCH, columns=[_COLUMN]):
        yield from (str(one or "").strip() for one in batch.column(0).to_pylist())


def base_name(name: str) -> str:
    """Return the last part of a listed file's name, inside its archive where it is a member of one."""
    return (name.partition("::")[0] if name.startswith("zip://") else name).rsplit("/", 1)[-1]
