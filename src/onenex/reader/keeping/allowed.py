"""Which answers a question allows."""

from __future__ import annotations

from collections.abc import Iterable

from onenex.reader.keeping.refusals import Improper
from onenex.reader.keeping.views import Kept, ReadingView
from onenex.reader.records import Scale

LONGEST_TEXT = 2_000
"""Characters of a written answer or remark."""


def check_answer(reading: ReadingView, item: str, where: str, value: int | None, text: str) -> None:
    """Return if the question allows the answer.

    Raises
    ------
    Improper
        No such question or place, a value that is not on the scale, too long a text, or one with control characters.
    """
    asked = reading.item(item)
    if asked is None:
        raise Improper("this presentation does not ask that")
    if where not in asked.where:
        raise Improper(f"{asked.name} is not asked of that place: {', '.join(asked.where) or 'it has none'}")
    if asked.scale is Scale.TEXT:
        if value is not None:
            raise Improper(f"{asked.name} is answered in words, without a value")
    elif isinstance(value, bool) or value not in asked.values:
        raise Improper(f"{asked.name} is answered with {asked.values.start} to {asked.values.stop - 1}")
    if len(text) > LONGEST_TEXT:
        raise Improper(f"at most {LONGEST_TEXT} characters fit; these are {len(text)}")
    if any(ord(letter) < 32 and letter not in "\n\r\t" for letter in text):
        raise Improper("the text holds control characters: write it again")


def missing(reading: ReadingView, found: Iterable[Kept]) -> None:
    """Return if every required question is answered.

    Raises
    ------
    Improper
        One is not; the message names all that are left.
    """
    answered = {(one.item, one.where) for one in found if one.value is not None or one.text.strip()}
    left = [
        f"{item.name} ({where})" if where else item.name
        for item in reading.items
        for where in item.where
        if item.required and (item.name, where) not in answered
    ]
    if left:
        raise Improper(f"not answered yet: {', '.join(left)}")
