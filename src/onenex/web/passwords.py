"""Passwords as scrypt hashes, and a brake on guessing them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable

from onenex.errors import AccessError

TRIES, TRIES_WINDOW_S = 5, 300.0
"""Failed logins that one address may make within so many seconds."""
LONGEST_PASSWORD = 1024
"""Characters; longer ones are refused unread."""

_COST, _BLOCK, _LANES = 15, 8, 3
_ENCODED = re.compile(r"^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/=]{8,88})\$([A-Za-z0-9+/=]{24,88})$")
NOBODY = f"$scrypt$ln={_COST},r={_BLOCK},p={_LANES}${base64.b64encode(bytes(16)).decode()}${base64.b64encode(bytes(32)).decode()}"
"""A hash that no password has: checked for unknown users, so that they take as long as known ones."""
_USER = re.compile(r"^[A-Za-z0-9._@-]{1,64}$")
_MOST_ADDRESSES = 10_000


def hash_password(password: str, *, cost: int = _COST) -> str:
    """Return `$scrypt$ln=…,r=…,p=…$salt$hash`, the last two in base64.

    Parameters
    ----------
    password
        At least one character, at most `LONGEST_PASSWORD`.
    cost
        Binary logarithm of scrypt's N: 15 takes 32 MiB and some tenths of a second.

    Raises
    ------
    AccessError
        An empty or endless password.

    Source
    ------
    RFC 7914; parameters of OWASP's Password Storage Cheat Sheet (N = 2^15, r = 8, p = 3).
    """
    if not 1 <= len(password) <= LONGEST_PASSWORD:
        raise AccessError(f"a password has 1 to {LONGEST_PASSWORD} characters: choose another")
    salt = secrets.token_bytes(16)
    found = _scrypt(password, salt, (cost, _BLOCK, _LANES))
    return f"$scrypt$ln={cost},r={_BLOCK},p={_LANES}${_b64(salt)}${_b64(found)}"


def is_user_name(text: str) -> bool:
    """Whether this may be a user's name: 1 to 64 letters, digits and `._@-`."""
    return _USER.match(text) is not None


def is_hash(text: str) -> bool:
    """Whether this looks like a hash of `hash_password`."""
    return _ENCODED.match(text) is not None


def password_matches(password: str, hashed: str) -> bool:
    """Whether a password belongs to a hash of `hash_password`; False for a hash that makes no sense."""
    parts = _ENCODED.match(hashed)
    if parts is None or not 1 <= len(password) <= LONGEST_PASSWORD:
        return False
    cost, block, lanes = (int(parts[index]) for index in (1, 2, 3))
    try:
        salt, wanted = base64.b64decode(parts[4], validate=True), base64.b64decode(parts[5], validate=True)
        return hmac.compare_digest(_scrypt(password, salt, (cost, block, lanes)), wanted)
    except (ValueError, MemoryError, binascii.Error):
        return False


class Attempts:
    """Counts failed logins by address, so that guessing takes for ever."""

    def __init__(self, now: Callable[[], float], *, tries: int = TRIES, window_s: float = TRIES_WINDOW_S) -> None:
        self._now, self._tries, self._window_s = now, tries, window_s
        self._times: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, address: str) -> float:
        """Count a try and return 0, or return the seconds to wait before the next one is allowed."""
        now = self._now()
        with self._lock:
            times = [time for time in self._times.pop(address, []) if 0 <= now - time < self._window_s]
            self._times[address] = times
            if len(times) >= self._tries:
                return self._window_s - (now - times[0])
            times.append(now)
            while len(self._times) > _MOST_ADDRESSES:
                self._times.popitem(last=False)
        return 0.0

    def succeeded(self, address: str) -> None:
        """Forget what this address tried: its password was right."""
        with self._lock:
            self._times.pop(address, None)


def _scrypt(password: str, salt: bytes, parameters: tuple[int, int, int]) -> bytes:
    cost, block, lanes = parameters
    if cost > 20 or block * lanes > 256:
        raise ValueError("scrypt parameters beyond reason")
    n = 1 << cost
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=block, p=lanes, maxmem=256 * n * block + (1 << 20), dklen=32)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
