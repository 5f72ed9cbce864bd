"""What `onenex study` does once reading is over: unblind, analyse, export."""

from __future__ import annotations

from pathlib import Path

import typer

from onenex.errors import StudyError
from onenex.output import atomic_folder
from onenex.reader.asking import open_study, passphrase, user_name, when
from onenex.reader.planning.protocol_record import protocol_of
from onenex.reader.protocol import Protocol
from onenex.reader.records import Item, Response
from onenex.reader.seal import Plan
from onenex.reader.store import Store
from onenex.reader.unblinding import open_plan, responses
from onenex.reader.unblinding import unblind as end_blindness


def unblind(folder: Path, *, by: str | None, incomplete: bool, passphrase_file: Path | None) -> None:
    """Open the plan and lock all answers, for good.

    Raises
    ------
    StudyError
        Presentations are unfinished, `by` is no admin, the passphrase is wrong, or somebody changed the study.
    """
    with open_study(folder) as store:
        if by is None:
            if len(store.admins()) != 1:
                raise StudyError(f"who unblinds? Give --by: {', '.join(store.admins())}")
            by = store.admins()[0]
        end_blindness(store, passphrase(passphrase_file), by, incomplete=incomplete, user=user_name())
        typer.echo(f"unblinded by {by}: no answer can be given or changed any more; analyse with `onenex study analyse`")


def analyse(folder: Path, output: Path, *, passphrase_file: Path | None, seed: int) -> None:
    """Analyse an unblinded study as its sealed protocol says, and write the report.

    Raises
    ------
    StudyError, DataError
        The study is blinded, the passphrase is wrong, or the output cannot be written.
    """
    from onenex.reader import analysis, report

    with open_study(folder) as store:
        plan, protocol, found = _opened(store, passphrase_file)
        store.log("analysed", user=user_name())
        facts = _facts(store)
    result = analysis.analyse(found, protocol, seed=seed, presentations=plan.presentations)
    with atomic_folder(output) as temporary:
        report.write(result, temporary, facts=facts)
        _write_plan(plan, temporary)
    typer.echo(f"report  {output}")


def simulate(n_studies: int, seed: int) -> None:
    """Print how often the tests and intervals are wrong in simulated studies whose truth is known.

    Raises
    ------
    StudyError
        Somebody's promise isn't kept.
    """
    from onenex.reader import simulate as simulation

    found = simulation.run(n_studies, seed)
    typer.echo(found.text)
    if not found.passed:
        raise StudyError("a promise isn't kept: see the lines that fail, and report them")


def export(folder: Path, output: Path, *, passphrase_file: Path | None) -> None:
    """Write the answers of an unblinded study as CSV, for the R packages too, and the plan.

    Raises
    ------
    StudyError, DataError
        As `analyse`.
    """
    from onenex.reader.export import export as write

    with open_study(folder) as store:
        plan, protocol, found = _opened(store, passphrase_file)
        store.log("exported", user=user_name())
    with atomic_folder(output) as temporary:
        write(found, {item.name: item for item in _items(protocol)}, temporary)
        _write_plan(plan, temporary)
    typer.echo(f"{len(found)} answers  {output}")


def _facts(store: Store) -> dict[str, str]:
    """Return what a reader of the report asks first: what was fixed when, and who opened the plan when."""
    facts = store.facts()
    opened = f"{when(facts.unblinded_wall)} by {facts.unblinded_by}" if facts.unblinded_wall is not None else "no"
    return {
        "Study made, protocol and margins fixed": when(facts.created_wall),
        "Unblinded": opened,
        "Commitment (SHA-256 of plan.json)": facts.commitment,
        "Answers and events": f"{store.verify()}, each chained to the one before",
    }


def _opened(store: Store, passphrase_file: Path | None) -> tuple[Plan, Protocol, list[Response]]:
    if not store.is_unblinded():
        raise StudyError("the study is still blinded: `onenex study unblind` ends that, for good")
    plan = open_plan(store, passphrase(passphrase_file))
    protocol = protocol_of(plan.protocol)
    return plan, protocol, responses(store, plan, protocol)


def _items(protocol: Protocol) -> list[Item]:
    names = dict.fromkeys(name for reading in protocol.readings for name in reading.items)
    return [protocol.item(name) for name in names]


def _write_plan(plan: Plan, folder: Path) -> None:
    """Write the plan as it was sealed: `sha256sum` of it is the commitment."""
    (folder / "plan.json").write_bytes(plan.plain())
