"""Hashes of the code that measures: figures that were kept are not taken over from other code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import onenex


def fingerprint(text: str, places: Sequence[str]) -> str:
    """Return 12 hex digits that change with `text` and with the code at `places`: files and folders of the package, from its root."""
    root = Path(onenex.__file__).parent
    digest = hashlib.sha256(text.encode())
    for name in places:
        place = root / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
