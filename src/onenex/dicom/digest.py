"""`pixels_digest`: one hash of the images of a derived series, whatever the time it was made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from onenex.dicom.files import read_full


def pixels_digest(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of SOPInstanceUID (0008,0018) and PixelData (7FE0,0010) of each file, by UID: 64 hex digits.

    Raises
    ------
    DecodeError
        A file has gone or cannot be parsed.
    """
    found = []
    for path in paths:
        dataset = read_full(path)
        found.append((str(dataset.SOPInstanceUID), hashlib.sha256(dataset.PixelData).hexdigest()))
    return hashlib.sha256("\n".join(f"{uid} {digest}" for uid, digest in sorted(found)).encode()).hexdigest()
