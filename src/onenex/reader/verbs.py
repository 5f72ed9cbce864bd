"""What `onenex study` does, verb by verb."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from onenex.errors import StudyError
from onenex.reader import create
from onenex.reader.asking import open_study, passphrase, typed, when
from onenex.reader.material import Tell
from onenex.reader.protocol import Protocol
from onenex.reader.protocol import example as example_protocol
from onenex.reader.records import Presentation
from onenex.web.passwords import hash_password, is_user_name

SHORTEST_PASSWORD = 8
"""Characters of a password that somebody chooses."""


def example() -> None:
    """Print a protocol to start from."""
    typer.echo(example_protocol(), nl=False)


def check(protocol: Path, *, tell: Tell | None = None) -> None:
    """Check a protocol and the series that it names, and print what readers would have to do.

    Raises
    ------
    StudyError
        Something is wrong; the message says what.
    """
    found = create.check(protocol, tell=tell)
    cases = found.protocol.cases
    typer.echo(
        f"{found.protocol.title}: {len(cases)} cases ({sum(case.is_training for case in cases)} for training), "
        f"{len({case.patient for case in cases})} patients, arms {', '.join(found.protocol.arms)}"
    )
    for line in _workload(found.protocol, found.presentations):
        typer.echo(line)
    typer.echo(f"images take {found.n_bytes / 1e9:.2f} GB")


def make(protocol: Path, folder: Path, *, admin: str, passphrase_file: Path | None, tell: Tell | None = None) -> None:
    """Make a study and print everybody's password, once.

    Raises
    ------
    StudyError, DataError
        As `onenex.reader.create.create`.
    """
    made = create.create(protocol, folder, passphrase(passphrase_file, new=True), admin=admin, tell=tell)
    typer.echo(f"study       {folder}")
    typer.echo(f"commitment  {made.commitment}")
    typer.echo("Passwords, kept nowhere else; give each to its owner alone:")
    for name, word in made.passwords.items():
        typer.echo(f"  {name:20} {word}{'  (admin)' if name == admin else ''}")
    for note in made.notes:
        typer.echo(f"note: {note}", err=True)


def reader(folder: Path, name: str, *, admin: bool) -> None:
    """Ask for a new password of a reader, or of an admin, who may be new.

    Raises
    ------
    StudyError
        The study has no such reader, or the password is too short.
    """
    if not is_user_name(name):
        raise StudyError(f"'{name}' is no user's name: 1 to 64 letters, digits and ._@-")
    with open_study(folder) as store:
        word = typed(f"Password of {name}: ", "the two passwords differ: try again")
        if len(word) < SHORTEST_PASSWORD:
            raise StudyError(f"a password needs at least {SHORTEST_PASSWORD} characters: choose another")
        store.add_reader(name, hash_password(word), admin=admin)
    typer.echo(f"{name} has a new password; whoever was logged in by the old one is out")


def serve(folder: Path, host: str, port: int, *, certificate: Path | None, key: Path | None) -> None:
    """Serve the pages until SIGTERM or Ctrl-C.

    Raises
    ------
    StudyError
        The folder holds no study, or the address cannot be used.
    """
    from onenex.reader import app

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    app.run(folder, stop, host=host, port=port, certificate=certificate, key=key)


def status(folder: Path, *, as_json: bool) -> None:
    """Print how far everybody is; arms stay hidden."""
    with open_study(folder) as store:
        facts, progress, n_rows = store.facts(), store.progress(), store.verify()
    if as_json:
        rows = [asdict(one) for one in progress]
        typer.echo(json.dumps({"title": facts.title, "commitment": facts.commitment, "unblinded": facts.unblinded_wall, "progress": rows}))
        return
    blind = "blinded" if facts.unblinded_wall is None else f"unblinded by {facts.unblinded_by} {when(facts.unblinded_wall)}"
    typer.echo(f"{facts.title}: {blind}; {n_rows} answers and events, unbroken; commitment {facts.commitment}")
    table = Table("reader", "session", "finished", "of", "minutes", "opens", "last seen", box=None)
    for one in progress:
        opens = "when the one before is finished" if one.opens is None else when(one.opens)
        last = "" if one.last_wall is None else when(one.last_wall)
        table.add_row(one.reader, str(one.session), str(one.n_done), str(one.n), f"{one.seconds / 60:.0f}", opens, last)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _workload(protocol: Protocol, presentations: tuple[Presentation, ...]) -> Iterator[str]:
    for name in protocol.readers:
        for session in range(1, protocol.sessions + 1):
            own = [one for one in presentations if (one.reader, one.session) == (name, session)]
            extra = f"{sum(one.is_training for one in own)} for training, {sum(one.repeat > 0 for one in own)} hidden repeats"
            yield f"{name}, session {session}: {len(own)} presentations ({extra})"
