"""What the rooms of a reader study hand to each other: scales, presentations, answers, and what is left of them after unblinding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """How something is read."""

    RATING = "rating"
    """One series at a time, rated on absolute scales."""
    PREFERENCE = "preference"
    """Two series side by side, compared."""
    TASK = "task"
    """One series at a time, diagnosed."""


class Scale(StrEnum):
    """What an answer is."""

    GRADE = "grade"
    """One of ordered labels."""
    FINDING = "finding"
    """Present or absent, and how sure: one of ordered labels from surely absent to surely present."""
    TEXT = "text"
    """Words; not analysed."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question of a reading."""

    name: str
    """Letters, digits and `_`; unique in a study."""
    question: str
    scale: Scale
    labels: tuple[str, ...] = ()
    """From the lowest to the highest value; none for words."""
    first: int = 1
    """Value of the first label; the next has one more."""
    higher_is_better: bool | None = None
    """None where neither is (a grade of disease)."""
    cut: int | None = None
    """Of a finding: this value and higher ones count as present, for sensitivity and specificity."""
    where: tuple[str, ...] = ("",)
    """Places that are asked for one by one, e.g. disc levels; one nameless place by default."""
    explained: str = ""
    """What the labels mean, for the reader."""
    required: bool = True
    source: str = ""
    """Publication of the scale."""

    @property
    def values(self) -> range:
        """What may be answered; empty for words."""
        return range(self.first, self.first + len(self.labels))


@dataclass(frozen=True, kw_only=True)
class Case:
    """One patient's series of the same anatomy, one for each arm."""

    name: str
    """As the protocol calls it; readers never see it."""
    patient: str
    """Whose it is: cases of one patient are one cluster."""
    series: Mapping[str, str]
    """Arm → folder or file of its series."""
    is_training: bool = False
    truth: Mapping[str, int] = field(default_factory=dict)
    """`item` or `item@place` → the right value, where known: one of the scale's values; of a finding 0 (absent) or 1 (present)."""


@dataclass(frozen=True, kw_only=True)
class Presentation:
    """One thing shown to one reader once, with what it really is: the sealed part of the plan."""

    key: str
    """Random, 32 hex digits: all that browser, address bar, database and files know of it."""
    reader: str
    reading: str
    """Name of the reading in the protocol."""
    session: int
    """1-based."""
    position: int
    """0-based within the session of this reader; training cases come first."""
    case: str
    arms: tuple[str, ...]
    """What is shown, from left to right: one, or two side by side."""
    repeat: int = 0
    """0 for the first time, 1 for the hidden repeat of the same."""
    is_training: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a reader said of one presentation."""

    presentation: str
    """Its key."""
    item: str
    where: str
    """Place; empty where an item has only one."""
    value: int | None
    """None for words."""
    text: str = ""
    saved_wall: float = 0.0
    """Seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer after unblinding: what the analysis works on, one row of its CSV."""

    reader: str
    reading: str
    kind: Kind
    session: int
    position: int
    case: str
    patient: str
    arms: tuple[str, ...]
    """One, or left and right."""
    repeat: int
    item: str
    where: str
    value: int
    """Of a preference: positive when the second (right) of `arms` is preferred, negative for the first, 0 for neither."""
    seconds: float
    """How long the presentation was on screen in all, s."""
    truth: int | None = None
