"""The sealed plan: who sees what, under a passphrase that nobody has who reads, serves or backs up the study.

`sealed.bin` is a line that names the format, a line of JSON with the parameters, and the ciphertext. The key is scrypt of the passphrase
(RFC 7914), the cipher AES-256 in Galois/Counter Mode (NIST SP 800-38D), which also refuses every change, of the first two lines too.

The commitment is the SHA-256 of the plan as it was sealed. It is public from the start and says nothing, since the plan holds a random
number; once the plan is opened, anybody can see that it is the one from before the reading.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from onenex.errors import StudyError
from onenex.reader.records import Case, Presentation

SHORTEST_PASSPHRASE = 12
"""Characters."""
_FORMAT = b"OneNEX sealed plan 1"
_COST, _BLOCK, _LANES = 17, 8, 1
_HIGHEST_COST = 20


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is sealed: everything that would tell arms, and what was promised before the reading."""

    presentations: tuple[Presentation, ...]
    cases: tuple[Case, ...]
    protocol: Mapping[str, Any]
    """Its tables, as `onenex.reader.planning.protocol_record.tables_of` writes them: margins cannot be moved after the reading."""
    seed: int
    """What the order was really drawn with; the one in `study.toml` would tell it to everybody."""
    nonce: str
    """Random: without it the commitment could be guessed at."""

    def plain(self) -> bytes:
        """Return the plan as the text that is sealed and committed to."""
        return (json.dumps(asdict(self), sort_keys=True, indent=1, ensure_ascii=True) + "\n").encode("ascii")

    @property
    def commitment(self) -> str:
        """SHA-256 of `plain`, hexadecimal."""
        return hashlib.sha256(self.plain()).hexdigest()


def make_plan(presentations: Sequence[Presentation], cases: Sequence[Case], protocol: Mapping[str, Any], seed: int) -> Plan:
    """Return a plan that can be sealed."""
    return Plan(presentations=tuple(presentations), cases=tuple(cases), protocol=protocol, seed=seed, nonce=secrets.token_hex(32))


def check_passphrase(passphrase: str) -> None:
    """Return if a plan may be sealed with this.

    Raises
    ------
    StudyError
        It is too short.
    """
    if len(passphrase.strip()) < SHORTEST_PASSPHRASE:
        raise StudyError(f"the unblinding passphrase needs at least {SHORTEST_PASSPHRASE} characters: take some words that do not belong together")


def seal(plan: Plan, passphrase: str, *, cost: int = _COST) -> bytes:
    """Return the content of `sealed.bin`.

    Parameters
    ----------
    passphrase
        At least `SHORTEST_PASSPHRASE` characters.
    cost
        Binary logarithm of scrypt's N: 17 takes 128 MiB and half a second.

    Raises
    ------
    StudyError
        The passphrase is too short.
    """
    check_passphrase(passphrase)
    salt, nonce = secrets.token_bytes(32), secrets.token_bytes(12)
    head = {"kdf": "scrypt", "ln": cost, "r": _BLOCK, "p": _LANES, "salt": _b64(salt), "cipher": "AES-256-GCM", "nonce": _b64(nonce)}
    said = _FORMAT + b"\n" + json.dumps(head).encode("ascii") + b"\n"
    return said + AESGCM(_key(passphrase, salt, (cost, _BLOCK, _LANES))).encrypt(nonce, plan.plain(), said)


def unseal(data: bytes, passphrase: str) -> Plan:
    """Return the plan.

    Raises
    ------
    StudyError
        The passphrase is wrong, somebody changed the file, or it is no sealed plan.
    """
    name, _, rest = data.partition(b"\n")
    line, _, sealed = rest.partition(b"\n")
    if name != _FORMAT:
        raise StudyError("sealed.bin is no sealed plan of this version of OneNEX: bring back the one that `onenex study create` wrote")
    try:
        head = json.loads(line)
        cost = (int(head["ln"]), int(head["r"]), int(head["p"]))
        salt, nonce = base64.b64decode(head["salt"], validate=True), base64.b64decode(head["nonce"], validate=True)
        if not (10 <= cost[0] <= _HIGHEST_COST and cost[1:] == (_BLOCK, _LANES)):
            raise ValueError("parameters beyond reason")
        text = AESGCM(_key(passphrase, salt, cost)).decrypt(nonce, sealed, name + b"\n" + line + b"\n")
    except (InvalidTag, ValueError, KeyError, TypeError) as error:
        raise StudyError("the plan does not open: the passphrase is wrong, or somebody changed sealed.bin") from error
    return _plan(json.loads(text))


def _plan(fields: Mapping[str, Any]) -> Plan:
    return Plan(
        presentations=tuple(Presentation(**{**one, "arms": tuple(one["arms"])}) for one in fields["presentations"]),
        cases=tuple(Case(**one) for one in fields["cases"]),
        protocol=fields["protocol"],
        seed=fields["seed"],
        nonce=fields["nonce"],
    )


def _key(passphrase: str, salt: bytes, parameters: tuple[int, int, int]) -> bytes:
    cost, block, lanes = parameters
    n = 1 << cost
    return hashlib.scrypt(passphrase.strip().encode(), salt=salt, n=n, r=block, p=lanes, maxmem=256 * n * block + (1 << 20), dklen=32)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
