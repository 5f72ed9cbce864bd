"""Keyed hashes in place of what names a patient, and the salt behind them, which stays apart from what is built."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from pathlib import Path

from onenex.errors import DataError

log = logging.getLogger(__name__)

SALT_BYTES = 32
_LENGTH = 24
"""Hexadecimal digits of a hash: 96 bits, a collision among a million scans has a chance below 1e-16."""


def default_salt() -> Path:
    """Return where the salt lies unless the user says otherwise: among the user's settings, never with the data."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.environ.get("APPDATA")
    return (Path(home) if home else Path.home() / ".config") / "onenex" / "pairs-salt"


def load_salt(path: Path | None, built: Path) -> bytes:
    """Read the salt, made of `os.urandom` when there is none yet, readable by its owner only.

    Parameters
    ----------
    path
        The salt's file; None = `default_salt()`. Keep it: with another one the same patients get other hashes. Whoever has it
        and guesses a patient's number can find that patient's rows, so it must never go where the built folder goes.
    built
        The built folder.

    Raises
    ------
    DataError
        The file would lie in the built folder, holds no salt, or cannot be read or made.
    """
    path = path or default_salt()
    if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(built)):
        raise DataError(f"the salt {path} would lie in the built folder and travel with it: put it elsewhere (--salt FILE)")
    try:
        if not path.exists():
            _make(path)
        text = path.read_text(encoding="ascii").strip()
        if os.name == "posix" and path.stat().st_mode & 0o077:
            log.warning("event=salt_open_to_others advice='chmod 600'")
        salt = bytes.fromhex(text)
    except (OSError, ValueError) as error:
        raise DataError(f"the salt {path} cannot be read or made ({error}): give the file of the first build, or a new one (--salt FILE)") from error
    if len(salt) < SALT_BYTES:
        raise DataError(
            f"the salt {path} has {len(salt)} bytes, {SALT_BYTES} are needed: give the file of the first build, or a new one (--salt FILE)"
        )
    return salt


def _make(path: Path) -> None:
    """Write a new salt, whole or not at all; one that another process made meanwhile stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(os.urandom(SALT_BYTES).hex() + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(partial, path)
        except FileExistsError:
            return
        log.info("event=salt_made advice='keep it, and keep it apart from what is built'")
    finally:
        partial.unlink(missing_ok=True)


def keyed_hash(salt: bytes, what: str, *parts: str) -> str:
    """Return 24 hexadecimal digits that stand for something, the same with the same salt.

    HMAC-SHA256 (RFC 2104), so that nobody without the salt can try out patient numbers.

    Parameters
    ----------
    what
        "patient", "study", "series", "scan" …: the same text gives another hash as something else.
    parts
        What identifies it; ("ab", "c") and ("a", "bc") differ. Spaces around a part and the padding of DICOM (PS3.5 6.2) don't count.

    Raises
    ------
    DataError
        All parts are empty: everything unnamed would become one.
    """
    clean = [part.strip(" \0\t\r\n") for part in parts]
    if not any(clean):
        raise DataError(f"a {what} without a name cannot be told from others: name it by its study or series")
    message = b"".join(len(part).to_bytes(8, "big") + part for part in (text.encode() for text in (what, *clean)))
    return hmac.new(salt, message, hashlib.sha256).hexdigest()[:_LENGTH]


def salt_check(salt: bytes) -> str:
    """Return what a manifest notes of its salt, so that another is noticed; it says nothing about the salt."""
    return keyed_hash(salt, "salt", "check")
