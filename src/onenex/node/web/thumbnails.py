"""Small pictures of a series before and after denoising: drawn when somebody looks, kept in `thumbnails/`, never many at once."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

LONGEST_S = 40.0
"""Drawing one series is given up after so long."""
KEPT_BYTES = 200 * 2**20
"""Of all pictures; beyond it the oldest go."""

_NAME = re.compile(r"^(before|after)-[0-9]\.png$")
_FOLDER = re.compile(r"^([0-9]+)-[0-9]+-(before|both)$")
_FAILED = "No pictures: they could not be drawn. The images may be damaged, or too large."
_BUSY = "Pictures of other series are being drawn. Load this page again in a moment."


@dataclass(frozen=True, kw_only=True)
class Row:
    """One slice."""

    label: str
    """"Image 7 of 20"."""
    window: str
    """Level and width, the same before and after."""
    from_header: bool
    """Whether the window is the header's, else it is from percentiles of the original."""
    before: str
    """File name."""
    after: str
    """Empty while there is nothing denoised."""
    width: int
    """As shown, in pixels; likewise the next."""
    height: int


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What there is to show of a series."""

    key: str
    """Changes when the pictures do."""
    rows: tuple[Row, ...] = ()
    problem: str = ""
    """Why there is nothing, in words for people."""


class Thumbnails:
    """Draws and keeps pictures; one series at a time, each in a process of its own (`onenex.node.web.pictures`)."""

    def __init__(self, folder: Path, *, longest_s: float = LONGEST_S) -> None:
        self._folder, self._longest_s = folder / "thumbnails", longest_s
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._drawing = threading.Lock()

    def of(self, series_id: int, pass_number: int, before: Sequence[Path], after: Sequence[Path]) -> Pictures:
        """Return a series' pictures, drawing them where that wasn't done yet.

        Parameters
        ----------
        before
            Its original files, in order.
        after
            Its denoised files, in order; empty where there are none (yet).
        """
        key = f"{series_id}-{pass_number}-{'both' if after else 'before'}"
        found = self._kept(key)
        if found is not None:
            return found
        if not self._drawing.acquire(timeout=self._longest_s):
            return Pictures(key=key, problem=_BUSY)
        try:
            return self._kept(key) or self._draw(key, before, after)
        finally:
            self._drawing.release()

    def file(self, key: str, name: str) -> Path | None:
        """Return a PNG file that was drawn; None where there is none of that name."""
        if not _FOLDER.match(key) or not _NAME.match(name):
            return None
        path = self._folder / key / name
        return path if path.is_file() else None

    def prune(self, is_known: Callable[[int], bool]) -> int:
        """Delete the pictures of series that the node has forgotten, and the oldest while there are too many.

        Parameters
        ----------
        is_known
            Whether the queue still has a series.

        Returns
        -------
        int
            Series whose pictures went.
        """
        kept: list[tuple[float, int, Path]] = []
        gone = 0
        for folder in self._folder.iterdir():
            parts = _FOLDER.match(folder.name)
            if parts is None and folder.name.startswith(".") and self._drawing.locked():
                continue
            if parts is None or not is_known(int(parts[1])):
                shutil.rmtree(folder, ignore_errors=True)
                gone += 1
                continue
            kept.append((folder.stat().st_mtime, sum(file.stat().st_size for file in folder.iterdir()), folder))
        total = sum(size for _, size, _ in kept)
        for _, size, folder in sorted(kept):
            if total <= KEPT_BYTES:
                break
            shutil.rmtree(folder, ignore_errors=True)
            total, gone = total - size, gone + 1
        return gone

    def _kept(self, key: str) -> Pictures | None:
        try:
            found = json.loads((self._folder / key / "pictures.json").read_text(encoding="utf-8"))
            return Pictures(key=key, rows=tuple(Row(**{"after": "", **row}) for row in found["rows"]), problem=found["problem"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _draw(self, key: str, before: Sequence[Path], after: Sequence[Path]) -> Pictures:
        """Draw into a hidden folder and rename it; failure is kept too, so that it isn't tried at every look."""
        making = self._folder / f".{key}-{secrets.token_hex(4)}"
        making.mkdir(mode=0o700)
        request = {"before": [str(path) for path in before], "after": [str(path) for path in after], "folder": str(making)}
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        try:
            done = subprocess.run(
                [sys.executable, "-m", "onenex.node.web.pictures"],
                input=json.dumps(request).encode(),
                env=environment,
                timeout=self._longest_s,
                check=False,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            failed = done.returncode != 0
        except subprocess.TimeoutExpired:
            failed = True
        if failed:
            logger.warning("pictures could not be drawn key=%s", key)
            (making / "pictures.json").write_text(json.dumps({"rows": [], "problem": _FAILED}), encoding="utf-8")
        target = self._folder / key
        shutil.rmtree(target, ignore_errors=True)
        making.rename(target)
        if key.endswith("-both"):
            shutil.rmtree(self._folder / f"{key.removesuffix('both')}before", ignore_errors=True)
        return self._kept(key) or Pictures(key=key, problem=_FAILED)
