"""Who may press a button on the status page: the password file, which the site owns."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from onenex.errors import NodeError
from onenex.web.passwords import NOBODY, hash_password, is_hash, is_user_name, password_matches

logger = logging.getLogger(__name__)


def password_line(user: str, password: str) -> str:
    """Return the line `user:hash` for the password file.

    Raises
    ------
    NodeError
        A name with anything but letters, digits and `._@-`, or a password that cannot be used.
    """
    if not is_user_name(user):
        raise NodeError(f"user name {user!r}: use 1 to 64 letters, digits and . _ @ -")
    return f"{user}:{hash_password(password)}"


def read_passwords(path: Path) -> dict[str, str]:
    """Return user → hash. Empty lines and lines that begin with `#` are left out.

    Raises
    ------
    NodeError
        The file cannot be read, or a line is no `user:hash`; the message names the line, not what it holds.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NodeError(f"password file {path} cannot be read ({type(error).__name__}): make it with 'onenex node password'") from error
    users: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        user, _, hashed = line.strip().partition(":")
        if not user or user.startswith("#"):
            continue
        if not is_user_name(user) or not is_hash(hashed):
            raise NodeError(f"password file {path}, line {number} is no 'user:hash': make it with 'onenex node password'")
        users[user] = hashed
    return users


class Passwords:
    """The password file, read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users = read_passwords(path)
        self._stamp = self._now_stamp()
        self._lock = threading.Lock()

    def users(self) -> Mapping[str, str]:
        """Return user → hash as the file says now; nobody while it cannot be read."""
        with self._lock:
            stamp = self._now_stamp()
            if stamp != self._stamp:
                try:
                    self._users = read_passwords(self._path)
                except NodeError as error:
                    logger.error("password file unusable, nobody may log in error=%s", error)
                    self._users = {}
                self._stamp = stamp
            return self._users

    def check(self, user: str, password: str) -> bool:
        """Whether this is the user's password; an unknown user takes as long as a known one."""
        users = self.users()
        known = users.get(user)
        matches = password_matches(password, known or next(iter(users.values()), NOBODY))
        return matches and known is not None

    def _now_stamp(self) -> tuple[int, int, int] | None:
        try:
            info = self._path.stat()
        except OSError:
            return None
        return info.st_mtime_ns, info.st_size, info.st_ino
