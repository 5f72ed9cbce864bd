"""`onenex study create`: from a protocol to a study's folder, whole or not at all."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onenex import __version__
from onenex.errors import DataError, StudyError
from onenex.output import atomic_folder
from onenex.reader.design import plan
from onenex.reader.keeping.schema import FILE
from onenex.reader.keeping.tables import make_database
from onenex.reader.keeping.views import Facts, ReadingView
from onenex.reader.material import OpenCase, Tell, expected_bytes, open_case, prepare
from onenex.reader.planning.protocol_record import tables_of
from onenex.reader.protocol import Protocol, load_protocol
from onenex.reader.records import Presentation
from onenex.reader.seal import check_passphrase, make_plan, seal
from onenex.reader.store import Store
from onenex.web.passwords import hash_password, is_user_name

SEALED, PROTOCOL = "sealed.bin", "study.toml"
"""Names in the study's folder."""
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without those that look alike."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A protocol whose series were found."""

    protocol: Protocol
    cases: tuple[OpenCase, ...]
    presentations: tuple[Presentation, ...]

    @property
    def n_bytes(self) -> int:
        """Room that the images take."""
        return expected_bytes(self.cases, self.presentations)


@dataclass(frozen=True, kw_only=True)
class Created:
    """A new study."""

    passwords: Mapping[str, str]
    """Of readers and admin; kept nowhere else."""
    commitment: str
    notes: tuple[str, ...]
    """What may tell arms all the same."""
    checked: Checked


def check(protocol_file: Path, *, tell: Tell | None = None) -> Checked:
    """Read a protocol, find its series and draw a plan as `create` would (another one each time).

    Raises
    ------
    StudyError
        Something is wrong with the protocol or a series; the message says what.
    """
    return _opened(load_protocol(protocol_file), _seed(), tell)


def create(protocol_file: Path, folder: Path, passphrase: str, *, admin: str = "admin", tell: Tell | None = None) -> Created:
    """Make a study's folder.

    The order is drawn with a secret seed, not with that of `study.toml`: whoever has the protocol could draw it again otherwise.

    Parameters
    ----------
    folder
        Must not exist, or be empty.
    passphrase
        Opens the plan again; nothing else does.
    admin
        Who may unblind and sees progress; not a reader.
    tell
        Called with a word, the number of cases done, and that of all.

    Raises
    ------
    StudyError
        The protocol, a series, the passphrase or the admin's name is no good.
    DataError
        The folder exists, cannot be written to, or has no room.
    """
    check_passphrase(passphrase)
    if (folder / FILE).exists():
        raise DataError(f"{folder} holds a study already, which is never overwritten: choose another folder")
    protocol = load_protocol(protocol_file)
    if not is_user_name(admin) or admin in protocol.readers:
        raise StudyError(f"the admin cannot be called '{admin}': take 1 to 64 letters, digits and ._@-, and no reader's name")
    seed = _seed()
    checked = _opened(protocol, seed, tell)
    with atomic_folder(folder, expected_bytes=checked.n_bytes) as temporary:
        temporary.chmod(0o700)
        created = _fill(temporary, checked, (passphrase, seed), admin, tell)
        _copy(protocol_file, temporary / PROTOCOL)
    return created


def new_password() -> str:
    """Return a random password that people can type: 79 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))


def _opened(protocol: Protocol, seed: int, tell: Tell | None) -> Checked:
    cases: list[OpenCase] = []
    for case in protocol.cases:
        if tell is not None:
            tell("finding series", len(cases), len(protocol.cases))
        cases.append(open_case(case))
    return Checked(protocol=protocol, cases=tuple(cases), presentations=tuple(plan(protocol.model_copy(update={"seed": seed}))))


def _fill(folder: Path, checked: Checked, secret: tuple[str, int], admin: str, tell: Tell | None) -> Created:
    protocol, (passphrase, seed) = checked.protocol, secret
    prepared = prepare(checked.cases, checked.presentations, folder, tell=tell)
    sealed = make_plan(checked.presentations, protocol.cases, tables_of(protocol), seed)
    _write(folder / SEALED, seal(sealed, passphrase))
    facts = Facts(
        title=protocol.title,
        wash_out_days=protocol.wash_out_days,
        created_wall=time.time(),
        commitment=sealed.commitment,
        unblinded_wall=None,
        unblinded_by="",
    )
    make_database(folder, facts, readings(protocol), protocol.readers, shown=checked.presentations, pictures=prepared.images)
    store = Store(folder)
    try:
        store.log("created", version=__version__, commitment=sealed.commitment, presentations=len(checked.presentations))
        passwords = {name: new_password() for name in (*protocol.readers, admin)}
        for name, password in passwords.items():
            store.add_reader(name, hash_password(password), admin=name == admin)
    finally:
        store.close()
    (folder / FILE).chmod(0o600)
    return Created(passwords=passwords, commitment=sealed.commitment, notes=prepared.notes, checked=checked)


def readings(protocol: Protocol) -> list[ReadingView]:
    """Return what readers are asked, without the arms."""
    return [
        ReadingView(
            name=reading.name, kind=reading.kind, items=tuple(protocol.item(name) for name in reading.items), instructions=reading.instructions
        )
        for reading in protocol.readings
    ]


def _seed() -> int:
    return secrets.randbelow(2**63)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


def _copy(source: Path, target: Path) -> None:
    """Keep the protocol for the admin; the pages never show it, as it names arms and folders."""
    shutil.copyfile(source, target)
    target.chmod(0o600)
