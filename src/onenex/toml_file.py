"""TOML files that people write: read, and what is wrong with them said so that it can be put right."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onenex.errors import OneNexError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def read_toml(path: Path, error: type[OneNexError], hint: str) -> dict[str, Any]:
    """Return a file's tables; a byte order mark is no mistake.

    Parameters
    ----------
    error
        What is raised.
    hint
        What to give instead of a file that cannot be read.

    Raises
    ------
    OneNexError
        Of the kind `error`: it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{path} cannot be read ({problem}): {hint}") from problem
    except tomllib.TOMLDecodeError as problem:
        raise error(f"{path} is no TOML: {problem}; correct that line") from problem


def problem_of(error: ErrorDetails) -> str:
    """Return what pydantic found wrong with one value, and what to do about it."""
    if error["type"] == "extra_forbidden":
        return "there is no such key: correct or delete it"
    if error["type"] == "missing":
        return "it is missing: add it"
    said, given = error["msg"].removeprefix("Value error, "), error["input"]
    return f"{said}, not {given!r}: correct it" if isinstance(given, str | int | float) else said
