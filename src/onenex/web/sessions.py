"""Sessions as signed cookies, and tokens against forged forms.

The server keeps no table of sessions: a restart doesn't end them; a new password, a reboot or eight hours do.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from onenex.errors import AccessError

SESSION_S = 8 * 3600.0
"""A session ends so many seconds after login: a shift."""
_MOST_ENDED = 10_000


@dataclass(frozen=True, kw_only=True)
class Session:
    """Somebody who is logged in."""

    user: str
    nonce: str
    """Random, of this session alone."""
    ends: float
    """On the clock given to `Sessions`."""


class Sessions:
    """Makes and reads the signed cookies.

    Parameters
    ----------
    key_file
        Made at first use, readable by the server's user alone.
    now
        A clock that wall-clock changes don't move, seconds.
    boot
        What tells one run of that clock from the next.
    """

    def __init__(self, key_file: Path, now: Callable[[], float], boot: str) -> None:
        self._key, self._now, self._boot = _key(key_file), now, boot
        self._ended: OrderedDict[str, None] = OrderedDict()

    def start(self, user: str, hashed: str) -> str:
        """Return the cookie of a new session; `hashed` is the user's line, whose change ends the session."""
        body = json.dumps([user, secrets.token_hex(16), self._now() + SESSION_S])
        payload = base64.urlsafe_b64encode(body.encode()).decode()
        return f"{payload}.{self._mac('session', payload, hashed)}"

    def read(self, cookie: str, users: Mapping[str, str]) -> Session | None:
        """Return the session of a cookie; None for one that is forged, over, or of somebody who may no longer."""
        payload, _, mac = cookie.partition(".")
        try:
            user, nonce, ends = json.loads(base64.urlsafe_b64decode(payload))
            hashed = users[user]
            genuine = hmac.compare_digest(mac, self._mac("session", payload, hashed))
        except (ValueError, KeyError, TypeError):
            return None
        if not genuine or nonce in self._ended or self._now() >= ends:
            return None
        return Session(user=user, nonce=nonce, ends=ends)

    def end(self, session: Session) -> None:
        """Refuse this session from now on."""
        self._ended[session.nonce] = None
        while len(self._ended) > _MOST_ENDED:
            self._ended.popitem(last=False)

    def token(self, nonce: str) -> str:
        """Return what a form of this session must hold."""
        return self._mac("form", nonce)

    def token_fits(self, token: str, nonce: str) -> bool:
        """Whether a form came from a page that we made for this session."""
        return bool(nonce) and hmac.compare_digest(token.encode(), self.token(nonce).encode())

    def _mac(self, *parts: str) -> str:
        message = json.dumps([self._boot, *parts]).encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


def _key(path: Path) -> bytes:
    """Return the key in a file, making it first where there is none; two processes that start at once agree."""
    try:
        if not path.exists():
            fresh = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
                file.flush()
                os.fsync(descriptor)
            try:
                os.link(fresh, path)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        key = path.read_bytes()
    except OSError as error:
        raise AccessError(f"{path} cannot be made or read ({error.strerror}): let the server own its folder") from error
    if len(key) < 32:
        raise AccessError(f"{path} is damaged: delete it, and everybody logs in again")
    return key
