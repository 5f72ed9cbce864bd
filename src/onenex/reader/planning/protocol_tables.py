"""The tables of a study's protocol, key by key, each checked on its own."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetPydanticSchema, field_validator, model_validator
from pydantic_core import core_schema

from onenex.reader.records import Case, Item, Kind, Scale

Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""Of a reader, arm or case: letters, digits, dot, underscore, hyphen."""
Word = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_]+$")]
"""Of a reading or item, which are joined by a dot."""
Text = Annotated[str, Field(min_length=1, max_length=200)]
"""Shown to people."""
CASE_KEYS = ("name", "patient", "training", "truth")
"""Keys of a case that are no arms."""
MOST_LABELS = 11
"""Grades of a scale that a page can still show side by side."""


class Strict(BaseModel):
    """A table of the file: an unknown key is a mistake, and nothing changes once it's read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def twice(names: tuple[str, ...]) -> str:
    """Return the names that are there more than once, for a message; empty if none."""
    return ", ".join(dict.fromkeys(name for name in names if names.count(name) > 1))


class ItemTable(Strict):
    """`[[items]]`: an item of the study's own."""

    name: Word
    question: Text
    scale: Scale = Scale.GRADE
    labels: tuple[Annotated[str, Field(min_length=1, max_length=60)], ...] = Field(default=(), max_length=MOST_LABELS)
    first: int = Field(default=1, ge=-10, le=10)
    higher_is_better: bool | None = None
    cut: int | None = None
    where: tuple[Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^@]+$")], ...] = ()
    explained: str = Field(default="", max_length=1000)
    required: bool = True
    source: str = Field(default="", max_length=500)

    @model_validator(mode="after")
    def _makes_sense(self) -> ItemTable:
        if twice(self.labels) or twice(self.where):
            raise ValueError(f"labels and places must differ: {twice(self.labels) or twice(self.where)} is there twice")
        if self.scale is Scale.TEXT:
            if self.labels or self.cut is not None or self.higher_is_better is not None:
                raise ValueError("scale 'text' is words: take out labels, cut and higher_is_better")
        elif len(self.labels) < 2:
            raise ValueError("labels: give at least two, from the lowest to the highest value (or scale = 'text')")
        if self.scale is Scale.GRADE and self.cut is not None:
            raise ValueError("cut is for scale 'finding': take it out, or change scale")
        if self.scale is Scale.FINDING:
            highest = self.first + len(self.labels) - 1
            if self.cut is None or not self.first < self.cut <= highest:
                raise ValueError(f"a finding needs cut, the lowest value that counts as present: {self.first + 1} … {highest}")
            if self.higher_is_better is not None:
                raise ValueError("a finding is neither better nor worse: take out higher_is_better")
        return self


class CaseTable(Strict):
    """`[[cases]]`: one patient's series; every key beside name, patient, training and truth is an arm."""

    name: Name
    patient: Text
    training: bool = False
    truth: dict[str, int] = Field(default_factory=dict)
    series: dict[str, Text]

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        if "series" in table:
            raise ValueError("name each series by its arm, not by 'series'")
        return {key: value for key, value in table.items() if key in CASE_KEYS} | {
            "series": {key: value for key, value in table.items() if key not in CASE_KEYS}
        }

    @field_validator("series")
    @classmethod
    def _differ(cls, value: dict[str, str]) -> dict[str, str]:
        if twice(tuple(value.values())):
            raise ValueError(f"two arms have the same series ({twice(tuple(value.values()))}): give each its own")
        return value


def _record(table: type[Strict], make: Any) -> GetPydanticSchema:
    return GetPydanticSchema(lambda _source, handler: core_schema.no_info_after_validator_function(make, handler(table)))


def _item(table: ItemTable) -> Item:
    values = {field.name: getattr(table, field.name) for field in fields(Item)}
    return Item(**(values | {"where": table.where or ("",)}))


def _case(table: CaseTable) -> Case:
    return Case(name=table.name, patient=table.patient, series=table.series, is_training=table.training, truth=table.truth)


ItemField = Annotated[Item, _record(ItemTable, _item)]
"""An `[[items]]` table that becomes the record which all rooms share."""
CaseField = Annotated[Case, _record(CaseTable, _case)]
"""A `[[cases]]` table that becomes the record which all rooms share."""


class Reading(Strict):
    """`[[readings]]`: something that every reader does with every case."""

    name: Word
    """Unique in the study; readers may see it."""
    kind: Kind
    """`rating` and `task`: one series at a time. `preference`: two side by side."""
    arms: tuple[Name, ...] = ()
    """Which are shown, one at a time; by default all. Empty for a preference."""
    pairs: tuple[tuple[Name, Name], ...] = ()
    """Which are compared, for a preference; what is left and what is right is drawn by lot."""
    items: tuple[Word, ...] = Field(min_length=1)
    """What is asked: built-in items, or the study's own."""
    instructions: str = Field(default="", max_length=2000)
    """Shown to readers before they begin."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Reading:
        if twice(self.items) or twice(self.arms):
            raise ValueError(f"{twice(self.items) or twice(self.arms)} is named twice: once is enough")
        if self.kind is not Kind.PREFERENCE:
            if self.pairs:
                raise ValueError(f"pairs is for kind 'preference', not '{self.kind}': give arms instead")
            return self
        if self.arms:
            raise ValueError('arms is not for kind \'preference\': say what to compare by pairs = [["denoised", "reference"]]')
        if not self.pairs:
            raise ValueError('a preference needs pairs: add pairs = [["denoised", "reference"]], with your arms')
        if any(left == right for left, right in self.pairs):
            raise ValueError("a pair compares an arm with itself: name two arms")
        if twice(tuple(" with ".join(sorted(pair)) for pair in self.pairs)):
            raise ValueError(
                f"pairs: {twice(tuple(' with '.join(sorted(pair)) for pair in self.pairs))} is there twice (sides are drawn by lot anyway)"
            )
        return self

    @property
    def shown(self) -> tuple[tuple[str, ...], ...]:
        """What is shown of a case, one after the other: single arms, or pairs in the protocol's order."""
        return self.pairs or tuple((arm,) for arm in self.arms)

    @property
    def needs(self) -> frozenset[str]:
        """Arms that a case must have for it."""
        return frozenset(arm for arms in self.shown for arm in arms)


class AnalysisTable(Strict):
    """`[analysis]`: what will be tested, set before anybody reads."""

    test: Name
    """The arm on trial, e.g. denoised."""
    control: Name
    """What it must not be inferior to, e.g. reference."""
    comparator: Name | None = None
    """A third arm, e.g. fast, which test should be better than."""
    primary: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_]+\.[A-Za-z0-9_]+$")
    """`reading.item` of the primary endpoint; without, nothing is tested for non-inferiority."""
    margin: float | None = Field(default=None, gt=0)
    """Non-inferiority: by how many grades test may be worse than control. Together with primary."""
    alpha: float = Field(default=0.025, gt=0, lt=0.5)
    """One-sided."""
    equivalence_margin: float | None = Field(default=None, gt=0)
    """Two one-sided tests: by how many grades test and control may differ either way."""
    bootstrap: int = Field(default=4000, ge=200, le=1_000_000)
    """Resamples of patients behind every interval."""

    @model_validator(mode="after")
    def _makes_sense(self) -> AnalysisTable:
        if len({self.test, self.control, self.comparator}) < 3:
            raise ValueError("test, control and comparator must be different arms")
        if (self.primary is None) != (self.margin is None):
            raise ValueError("give primary and margin together: the item to be tested, and how many grades worse is still acceptable")
        if self.equivalence_margin is not None and self.primary is None:
            raise ValueError("equivalence_margin needs primary, the item to be tested")
        return self

    @property
    def primary_parts(self) -> tuple[str, str] | None:
        """Reading and item of the primary endpoint."""
        if self.primary is None:
            return None
        reading, item = self.primary.split(".")
        return reading, item
