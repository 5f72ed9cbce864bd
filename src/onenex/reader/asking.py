"""What every verb of `onenex study` needs: the study, a secret that is not shown, and who asks."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from onenex.errors import StudyError
from onenex.reader.seal import check_passphrase
from onenex.reader.store import Store

PASSPHRASE = "ONENEX_STUDY_PASSPHRASE"
"""Environment variable that may hold the unblinding passphrase."""


@contextmanager
def open_study(folder: Path) -> Iterator[Store]:
    """Yield a study's store and close it.

    Raises
    ------
    StudyError
        The folder holds no study.
    """
    store = Store(folder)
    try:
        yield store
    finally:
        store.close()


def passphrase(file: Path | None, *, new: bool = False) -> str:
    """Return the unblinding passphrase: from a file, the environment, or asked for; never from the command line, which others can see.

    Raises
    ------
    StudyError
        There is none, it is typed differently the second time, or it is too short for a new study.
    """
    if file is not None:
        word = _line_of(file)
    elif os.environ.get(PASSPHRASE):
        word = os.environ[PASSPHRASE]
    elif not sys.stdin.isatty():
        raise StudyError(f"no unblinding passphrase: set {PASSPHRASE}, give --passphrase-file, or run this in a terminal")
    elif new:
        word = typed("Unblinding passphrase (without it nobody ever learns the arms): ", "the two passphrases differ: try again")
    else:
        word = getpass.getpass("Unblinding passphrase: ")
    if new:
        check_passphrase(word)
    return word


def _line_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{file} cannot be read ({error}): give a text file that holds the unblinding passphrase") from error


def typed(prompt: str, otherwise: str) -> str:
    """Ask for a secret twice; read one line where nobody types.

    Raises
    ------
    StudyError
        It is typed differently the second time: `otherwise`.
    """
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    word = getpass.getpass(prompt)
    if getpass.getpass("Again: ") != word:
        raise StudyError(otherwise)
    return word


def user_name() -> str:
    """Return who runs this command, for the log."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def when(wall: float) -> str:
    """Return a moment (seconds since 1970) for people, in this machine's time zone."""
    return datetime.fromtimestamp(wall).astimezone().isoformat(" ", "minutes")
