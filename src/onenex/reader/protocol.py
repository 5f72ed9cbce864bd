"""`study.toml`: all that a hospital decides about its reader study, checked before anybody reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from onenex.errors import StudyError
from onenex.reader.items import BUILT_IN
from onenex.reader.planning.protocol_cases import read_cases
from onenex.reader.planning.protocol_checks import check
from onenex.reader.planning.protocol_tables import AnalysisTable, CaseField, ItemField, Name, Reading, Strict, Text
from onenex.reader.records import Case, Item, Kind
from onenex.toml_file import problem_of, read_toml

if TYPE_CHECKING:
    pass

__all__ = ["AnalysisTable", "Protocol", "Reading", "example", "load_protocol"]


class Protocol(Strict):
    """All of `study.toml`."""

    title: Text
    """Shown to readers: say nothing of the arms."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Of orders, sides and repeats in simulations. `onenex study create` takes a secret one instead: who has the file could draw the plan again."""
    readers: tuple[Name, ...] = Field(min_length=1, max_length=100)
    """By which they log in."""
    arms: tuple[Name, ...] = Field(min_length=2, max_length=12)
    """What is compared."""
    sessions: int = Field(default=1, ge=1, le=12)
    """A case's arms are spread over them."""
    wash_out_days: float = Field(default=14.0, ge=0, le=365)
    """Between the end of one session of a reader and the start of the next."""
    repeats: float = Field(default=0.1, ge=0, le=0.5)
    """Share of a reading's presentations that are shown a second time, hidden."""
    readings: tuple[Reading, ...] = Field(min_length=1)
    """What readers do."""
    items: tuple[ItemField, ...] = ()
    """The study's own, beside the built-in ones."""
    cases: tuple[CaseField, ...] = Field(min_length=1)
    """Whose series are read. Paths are absolute once loaded from a file."""
    cases_file: Path | None = None
    """The table that the cases were read from, absolute; None if they are in the file itself."""
    analysis: AnalysisTable
    """What will be tested."""

    @model_validator(mode="before")
    @classmethod
    def _all_arms(cls, tables: Any) -> Any:
        """Give every reading that names no arms all of them."""
        if not isinstance(tables, dict) or not isinstance(tables.get("readings"), list | tuple):
            return tables
        arms = tables.get("arms")
        every = [arm for index, arm in enumerate(arms) if arm not in arms[:index]] if isinstance(arms, list | tuple) else []
        readings = [
            {**one, "arms": every} if isinstance(one, dict) and one.get("kind") != Kind.PREFERENCE and not one.get("arms") else one
            for one in tables["readings"]
        ]
        return {**tables, "readings": readings}

    @field_validator("items")
    @classmethod
    def _own(cls, value: tuple[Item, ...]) -> tuple[Item, ...]:
        taken = [item.name for item in value if item.name in BUILT_IN]
        if taken:
            raise ValueError(f"{', '.join(taken)} is built in: use that one, or choose another name")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Protocol:
        check(self)
        return self

    def item(self, name: str) -> Item:
        """Return an item, of the study's own or built in.

        Raises
        ------
        StudyError
            There is none of this name.
        """
        for item in (*self.items, *BUILT_IN.values()):
            if item.name == name:
                return item
        raise StudyError(f"there is no item '{name}' in this study: see [[items]], or the built-in ones")

    def reading(self, name: str) -> Reading:
        """Return a reading.

        Raises
        ------
        StudyError
            There is none of this name.
        """
        for reading in self.readings:
            if reading.name == name:
                return reading
        raise StudyError(f"there is no reading '{name}' in this study: see [[readings]]")

    def case(self, name: str) -> Case:
        """Return a case.

        Raises
        ------
        StudyError
            There is none of this name.
        """
        for case in self.cases:
            if case.name == name:
                return case
        raise StudyError(f"there is no case '{name}' in this study: see its cases")

    @property
    def read_cases(self) -> tuple[Case, ...]:
        """Cases that count: without those for training."""
        return tuple(case for case in self.cases if not case.is_training)


def load_protocol(path: Path) -> Protocol:
    """Read and check `study.toml`; paths in it are relative to the file, those in its `cases_file` to that.

    Raises
    ------
    StudyError
        It cannot be read, is no TOML, or says something that makes no sense; the message names table and key.
    """
    path = Path(path)
    tables = read_toml(path, StudyError, "give the study's protocol; `onenex study example` prints one")
    try:
        return Protocol.model_validate(read_cases(tables, path.resolve().parent))
    except ValidationError as error:
        problems = dict.fromkeys(f"{_place(one['loc'])}: {problem_of(one)}" for one in error.errors())
        raise StudyError(f"{path}: {'; '.join(problems)}") from error
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error


def example() -> str:
    """Return a protocol with everything in it explained, which only lacks a hospital's own cases."""
    return Path(__file__).with_name("example.toml").read_text(encoding="utf-8")


_TABLES = ("readings", "items", "cases")


def _place(parts: Sequence[int | str]) -> str:
    """Return where in the file something is wrong, as the file itself would say it."""
    if not parts:
        return "the whole"
    if parts[0] in _TABLES and len(parts) > 1 and isinstance(parts[1], int):
        table, keys = f"[[{parts[0]}]] number {parts[1] + 1}", parts[2:]
        keys = keys[1:] if parts[0] == "cases" and keys[:1] == ("series",) and len(keys) > 1 else keys
    elif parts[0] == "analysis":
        table, keys = "[analysis]", parts[1:]
    else:
        table, keys = "", parts
    return " ".join([table, ".".join(str(part + 1) if isinstance(part, int) else part for part in keys)]).strip()
