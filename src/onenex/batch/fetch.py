"""The files of a unit in a folder: links to local ones, copies of all others."""

from __future__ import annotations

import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from onenex.batch import storage, web
from onenex.batch.listing import base_name, opener
from onenex.batch.unit import Access, Kind, Unit
from onenex.errors import DataError


def fetch(unit: Unit, folder: Path, access: Access | None = None) -> int:
    """Bring the files of a unit into a new folder, under their own names; return how many bytes they have.

    Files of the same name get folders of their own.

    Raises
    ------
    DataError
        A file has gone or cannot be read, the server refuses, or it sends less than it promised.
    """
    folder.mkdir()
    if unit.kind is Kind.DICOMWEB:
        return web.fetch(unit, folder, access)
    targets = _targets(unit.files, folder)
    with opener() as opened:
        for name, target in targets.items():
            local = storage.local_path(name)
            with _complaints(name):
                if local is not None:
                    local.stat()
                    target.symlink_to(local)
                else:
                    with opened(name) as stream, target.open("wb") as file:
                        shutil.copyfileobj(stream, file, 1 << 20)
    return sum(path.stat().st_size for path in targets.values())


def _targets(names: Sequence[str], folder: Path) -> dict[str, Path]:
    met: Counter[str] = Counter()
    targets = {}
    for name in names:
        last = base_name(name)
        home = folder / f"{met[last]:06d}" if met[last] else folder
        home.mkdir(exist_ok=True)
        targets[name] = home / last
        met[last] += 1
    return targets


@contextmanager
def _complaints(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, KeyError) as error:
        raise DataError(f"{name} cannot be read ({type(error).__name__}: {error}): check that it is still there") from error
