"""What an archive is cut into, and what became of each part: `Unit`, `Row`, `Access`. All travel between processes and machines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """How a unit is fetched."""

    DICOM = "dicom"
    NIFTI = "nifti"
    DICOMWEB = "dicomweb"


class Status(StrEnum):
    """How a unit ended."""

    DENOISED = "denoised"
    SKIPPED = "skipped"
    """By rule: it must not be denoised."""
    FAILED = "failed"
    """By accident: it may be tried again."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One series: what is fetched, denoised and published as a whole."""

    id: str
    """32 hex digits; the same for the same series wherever its files lie (NIfTI: for the same file at the same place)."""
    kind: Kind
    source: str
    """Where it is, for people: its folder, archive or DICOMweb address."""
    series: str
    """16 hex digits, a hash of the SeriesInstanceUID."""
    fingerprint: str
    """16 hex digits; another one means that the source has changed."""
    files: tuple[str, ...] = ()
    """Local paths or fsspec URLs; of a DICOMweb unit, none."""
    n_bytes: int = 0
    """Of all files; 0 when nobody knows before they are fetched."""
    n_instances: int | None = None
    """How many images a DICOMweb server promises; None when it doesn't say."""
    problem: str = ""
    """Why it is not even tried; "" when it is."""
    damaged: bool = False
    """Whether `problem` is damage (the unit has failed) rather than a rule (it is skipped)."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one unit: a row of the ledger."""

    unit: str
    source: str
    series: str
    """A hash, as in `Unit`."""
    fingerprint: str
    status: str
    """One of `Status`."""
    reason: str = ""
    """Why it was skipped or failed; of a denoised unit, why parts of it were skipped."""
    slices: int = 0
    """Denoised images."""
    seconds: float = 0.0
    """From the first byte fetched to the last byte written."""
    bytes_in: int = 0
    bytes_out: int = 0
    weights: str = ""
    """First 12 hex digits of the weights file's SHA-256."""
    options: str = ""
    """Hash of options and version, see `settings.options_hash`."""
    host: str = ""
    started: datetime
    ended: datetime
    digest: str = ""
    """SHA-256 of the denoised pixels, whatever the time they were made; "" unless denoised."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values; times in ISO 8601."""
        return asdict(self) | {"started": self.started.isoformat(), "ended": self.ended.isoformat()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Row:
        """Undo `as_json`; fields that this version doesn't know are left out.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is something else.
        """
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        times = {name: datetime.fromisoformat(values[name]) for name in ("started", "ended")}
        return cls(**(known | times))


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who asks a DICOMweb server: a user with a password, or a token; never printed, never written."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


def series_id(study_uid: str, series_uid: str) -> str:
    """Return the id of a DICOM series."""
    return _hash(16, "series", study_uid, series_uid)


def file_id(path: str) -> str:
    """Return the id of what has no UID: a NIfTI file, or a file that cannot be read."""
    return _hash(16, "file", path)


def series_hash(uid: str) -> str:
    """Return the hash of a SeriesInstanceUID (or of a path)."""
    return _hash(8, "uid", uid)


def fingerprint(parts: Iterable[str]) -> str:
    """Return the hash of what would change with the source: names and sizes, or the number of images."""
    return _hash(8, *parts)


def _hash(size: int, *parts: str) -> str:
    digest = hashlib.blake2b(digest_size=size)
    for part in parts:
        encoded = part.encode("utf-8", "surrogateescape")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()
