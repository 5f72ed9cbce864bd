"""What the parts of the node hand each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """Where a series is."""

    RECEIVED = "received"
    """Images come in."""
    COMPLETE = "complete"
    """No more are expected; a rule decided, originals are on their way, and denoising waits for a worker."""
    CLAIMED = "claimed"
    """A worker has it."""
    DENOISED = "denoised"
    """The derived series lies in the outbox."""
    SENT = "sent"
    """Every destination has everything."""
    VERIFIED = "verified"
    """And every destination that gives such promises has promised to keep it."""
    PASSED_THROUGH = "passed-through"
    """Not denoised, for a reason; its originals went on."""
    FAILED = "failed"
    """Denoising failed or a delivery was given up: a person must look; `retry` starts again."""


class DeliveryState(StrEnum):
    """Where one series' way to one destination is."""

    WAITING = "waiting"
    """Not before the denoised series is there (`originals = "with-result"`)."""
    PENDING = "pending"
    CLAIMED = "claimed"
    SENT = "sent"
    """Stored; a commitment was asked for and hasn't come yet."""
    VERIFIED = "verified"
    FAILED = "failed"


class Kind(StrEnum):
    """What a delivery holds."""

    ORIGINAL = "original"
    DERIVED = "derived"


class Outcome(StrEnum):
    """What became of an arrival."""

    NEW = "new"
    AGAIN = "again"
    """The same bytes as before: acknowledged, kept once."""
    CONFLICT = "conflict"
    """The same SOP Instance UID with other bytes: refused, the first stays."""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One object on its way in: its bytes are on the disk already."""

    sop_uid: str
    sop_class: str
    transfer_syntax: str
    study_uid: str
    series_uid: str
    path: Path
    """Where it lies, inside the spool."""
    n_bytes: int
    digest: str
    """SHA-256 of the encoded data set (without preamble and file meta), hexadecimal."""
    calling_ae: str = ""
    called_ae: str = ""
    address: str = ""


@dataclass(frozen=True, kw_only=True)
class Route:
    """What a rule made of a series."""

    rule: str
    action: str
    """`denoise`, `pass` or `refuse`."""
    destinations: tuple[str, ...]
    originals: str
    """`always`, `with-result` or `never`."""
    reason: str = ""
    """Why it isn't denoised."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A series to be denoised, on lease."""

    series_id: int
    pass_number: int
    """1 for the first; late images start another."""
    study_uid: str
    series_uid: str
    rule: str
    destinations: tuple[str, ...]
    files: tuple[Path, ...]
    """Every original of this pass and those before."""
    attempt: int
    """1 for the first."""
    owner: str
    calling_ae: str = ""
    called_ae: str = ""
    lease: str = ""
    """Made by the queue: tells this claim from every other."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One object to be sent."""

    sop_uid: str
    sop_class: str
    transfer_syntax: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One series' way to one destination, on lease."""

    delivery_id: int
    series_id: int
    kind: Kind
    destination: str
    items: tuple[Item, ...]
    """Those that are not sent yet."""
    attempts: int
    """Made before this one."""
    first_try_s: float
    """Seconds since the first attempt; 0 at the first."""
    owner: str
    lease: str = ""
    """Made by the queue: tells this claim from every other."""


@dataclass(frozen=True, kw_only=True)
class SeriesView:
    """A series as the status page and `onenex node status` show it."""

    series_id: int
    study_uid: str
    series_uid: str
    state: State
    pass_number: int
    n_images: int
    n_expected: int | None
    n_derived: int
    calling_ae: str
    rule: str
    reason: str
    attempts: int
    received_wall: float
    """Seconds since 1970 of the first image; likewise the next."""
    changed_wall: float
    deliveries: tuple[DeliveryView, ...]
    called_ae: str = ""


@dataclass(frozen=True, kw_only=True)
class DeliveryView:
    """A delivery as shown."""

    delivery_id: int
    kind: Kind
    destination: str
    state: DeliveryState
    n_items: int
    n_sent: int
    n_verified: int
    attempts: int
    error: str
