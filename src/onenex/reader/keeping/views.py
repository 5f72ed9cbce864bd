"""What the study's database tells the pages and the command line: nothing here knows an arm, a case or a patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onenex.reader.records import Item, Kind


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Shape and first window of one image file, the same for all arms of a case."""

    n_slices: int
    rows: int
    columns: int
    spacing_mm: tuple[float, float, float] | None
    """Between slices, rows, columns; None when the sources do not say."""
    window: tuple[int, int]
    """(centre, width) that the viewer starts with, in the unit of the file: 0 … 65,535."""

    @property
    def n_bytes(self) -> int:
        """Size of the file: 16-bit little-endian numbers, slices × rows × columns, no header."""
        return 2 * self.n_slices * self.rows * self.columns


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image file of one presentation."""

    token: str
    """Random, 32 hex digits: the file is `images/<token>.bin`."""
    stack: Stack


@dataclass(frozen=True, kw_only=True)
class ReadingView:
    """What is asked in one reading."""

    name: str
    kind: Kind
    items: tuple[Item, ...]
    instructions: str = ""
    """For the reader, before the first presentation."""

    def item(self, name: str) -> Item | None:
        """Return the item of that name, if the reading asks it."""
        return next((item for item in self.items if item.name == name), None)


@dataclass(frozen=True, kw_only=True)
class SessionView:
    """One reader's session."""

    session: int
    n: int
    """Presentations in it, training included."""
    n_done: int
    opens: float | None
    """Seconds since 1970 from which it may be read; None while the session before is not finished."""
    is_open: bool
    """Whether it may be read now: the wash-out is over and the study not unblinded. A finished session stays open."""

    @property
    def done(self) -> bool:
        """Whether everything in it is finished."""
        return self.n_done == self.n


@dataclass(frozen=True, kw_only=True)
class Queued:
    """One presentation in a session's list."""

    key: str
    reading: str
    position: int
    n_images: int
    done: bool
    is_training: bool
    """Readers may know: training is not analysed."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One presentation with what is needed to show it."""

    key: str
    reader: str
    """Whose it is: ask before showing it to anybody."""
    reading: ReadingView
    session: int
    position: int
    images: tuple[Image, ...]
    """From left to right."""
    done: bool
    is_training: bool
    seconds: float
    """How long it was on screen so far."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The newest answer to one question, with its version."""

    item: str
    where: str
    value: int | None
    text: str
    version: int
    """1 for the first answer; what `Store.save` must be given to change it."""
    saved_wall: float


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far one reader's session is."""

    reader: str
    session: int
    n: int
    n_done: int
    opens: float | None
    seconds: float
    """On screen in all."""
    last_wall: float | None
    """When something of it was last on screen or answered, seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of the study's log."""

    number: int
    wall: float
    """Seconds since 1970."""
    event: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What everybody may know of a study."""

    title: str
    wash_out_days: float
    created_wall: float
    commitment: str
    """SHA-256 of the sealed plan, hexadecimal (`onenex.reader.seal`)."""
    unblinded_wall: float | None
    unblinded_by: str
