"""A reading's questions as blocks of a page: rows with one answer each, and how they look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from onenex.reader.keeping.views import Kept
from onenex.reader.records import Item, Scale

_MATRIX_WORD, _MATRIX_COLUMNS = 10, 6
"""A table's columns are narrow: words of at most so many letters fit, and so many columns."""
_ROW_LABEL, _ROW_COLUMNS = 13, 5
"""Likewise of options side by side."""
_NO_ANSWER = Kept(item="", where="", value=None, text="", version=0, saved_wall=0.0)


@dataclass(frozen=True, kw_only=True)
class Option:
    """One possible answer."""

    value: int
    key: str
    """Digit that chooses it; empty where the scale has more than nine or ten."""
    label: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One question at one place, with its answer."""

    item: str
    where: str
    name: str
    """Unique on the page."""
    label: str
    spoken: str
    """Its label where nothing else is heard."""
    required: bool
    chosen: int | None
    text: str
    version: int
    """Of the answer; 0 for none."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Rows that are drawn together."""

    look: str
    """`matrix` (a table), `row` (options side by side), `list` (one below the other) or `text`."""
    question: str
    """Heading of a table; empty where each row is a question of its own."""
    explained: str
    options: tuple[Option, ...]
    rows: tuple[Row, ...]


def blocks(items: Sequence[Item], kept: Sequence[Kept]) -> list[Block]:
    """Return the blocks of a page.

    Parameters
    ----------
    items
        What is asked, in order. Findings that follow each other share a table.
    kept
        What was answered so far.
    """
    answers = {(one.item, one.where): one for one in kept}
    found: list[Block] = []
    for (is_finding, labels, explained), group in groupby(items, lambda item: (item.scale is Scale.FINDING, item.labels, item.explained)):
        together = list(group)
        if is_finding and len(together) > 1 and _fits_matrix(labels):
            rows = [row for item in together for row in _rows(item, answers, with_question=True)]
            found.append(Block(look="matrix", question="", explained=explained, options=_options(together[0]), rows=tuple(rows)))
        else:
            found.extend(_block(item, answers) for item in together)
    return found


def _block(item: Item, answers: Mapping[tuple[str, str], Kept]) -> Block:
    """Return one item's block."""
    many = len(item.where) > 1
    look = _look(item)
    rows = tuple(_rows(item, answers, with_question=look != "matrix"))
    question = item.question if look == "matrix" and many else ""
    return Block(look=look, question=question, explained=item.explained, options=_options(item), rows=rows)


def _look(item: Item) -> str:
    if item.scale is Scale.TEXT:
        return "text"
    if len(item.where) > 1 and _fits_matrix(item.labels):
        return "matrix"
    return "row" if len(item.labels) <= _ROW_COLUMNS and all(len(label) <= _ROW_LABEL for label in item.labels) else "list"


def _fits_matrix(labels: Sequence[str]) -> bool:
    return len(labels) <= _MATRIX_COLUMNS and all(len(word) <= _MATRIX_WORD for label in labels for word in label.split())


def _rows(item: Item, answers: Mapping[tuple[str, str], Kept], *, with_question: bool) -> list[Row]:
    rows = []
    for number, where in enumerate(item.where):
        answer = answers.get((item.name, where), _NO_ANSWER)
        spoken = f"{item.question} {where}".strip()
        rows.append(
            Row(
                item=item.name,
                where=where,
                name=f"{item.name}-{number}",
                label=spoken if with_question or not where else where,
                spoken=spoken,
                required=item.required,
                chosen=answer.value,
                text=answer.text,
                version=answer.version,
            )
        )
    return rows


def _options(item: Item) -> tuple[Option, ...]:
    """Return an item's options: a digit is the value itself where all values are digits, otherwise it counts from 1."""
    values = list(item.values)
    are_digits = bool(values) and values[0] >= 0 and values[-1] <= 9
    options = []
    for place, (value, label) in enumerate(zip(values, item.labels, strict=True), 1):
        key = str(value if are_digits else place) if are_digits or len(values) <= 9 else ""
        options.append(Option(value=value, key=key, label=label.removeprefix(f"{key}:").strip() if key else label))
    return tuple(options)
