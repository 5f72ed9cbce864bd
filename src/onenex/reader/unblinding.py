"""The end of blindness: the sealed plan is opened, compared with what was promised, and joined to the answers."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from onenex.errors import StudyError
from onenex.reader.create import SEALED
from onenex.reader.keeping.schema import presentations
from onenex.reader.keeping.tables import newest_answers
from onenex.reader.protocol import Protocol
from onenex.reader.records import Response
from onenex.reader.seal import Plan, unseal
from onenex.reader.store import Store


def open_plan(store: Store, passphrase: str) -> Plan:
    """Return the sealed plan of a study, if it is the one that the study was made with. A wrong passphrase is logged.

    Raises
    ------
    StudyError
        The passphrase is wrong, or sealed plan, commitment and database do not belong together.
    """
    path = store.folder / SEALED
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StudyError(f"{path} cannot be read ({error.strerror}): bring back the last copy of the folder") from error
    try:
        plan = unseal(data, passphrase)
    except StudyError:
        store.log("unsealing failed")
        raise
    created = next((one.fields["commitment"] for one in store.events() if one.event == "created"), None)
    if not plan.commitment == store.facts().commitment == created:
        raise StudyError(f"{path} is not the plan that this study was made with: bring back the last copy of the folder")
    if _planned(plan) != _kept(store):
        raise StudyError(f"{store.folder} and its sealed plan do not name the same presentations: somebody changed the database, compare with a copy")
    return plan


def unblind(store: Store, passphrase: str, by: str, *, incomplete: bool = False, **fields: str) -> Plan:
    """Open the plan and lock all answers for ever.

    Parameters
    ----------
    by
        An admin.
    incomplete
        Go on although presentations are unfinished.
    fields
        More for the log.

    Raises
    ------
    StudyError
        As `open_plan`, `Database.verify` and `Store.unblind`.
    """
    plan = open_plan(store, passphrase)
    store.verify()
    store.unblind(by, incomplete=incomplete, **fields)
    return plan


def responses(store: Store, plan: Plan, protocol: Protocol) -> list[Response]:
    """Return what was answered, by reader, session, position and item: finished presentations only, no training, no words.

    Raises
    ------
    StudyError
        The study is not unblinded, or somebody changed its answers.
    """
    if not store.is_unblinded():
        raise StudyError("the study is still blinded: `onenex study unblind` ends that, for good")
    store.verify()
    cases = {case.name: case for case in plan.cases}
    finished = store.finished()
    found: list[Response] = []
    with store.reading_from() as connection:
        kept = {one.key: newest_answers(connection, one.key) for one in plan.presentations if one.key in finished and not one.is_training}
    for one in sorted(plan.presentations, key=lambda each: (each.reader, each.session, each.position)):
        case, kind = cases[one.case], protocol.reading(one.reading).kind
        found += [
            Response(
                reader=one.reader,
                reading=one.reading,
                kind=kind,
                session=one.session,
                position=one.position,
                case=one.case,
                patient=case.patient,
                arms=one.arms,
                repeat=one.repeat,
                item=answer.item,
                where=answer.where,
                value=answer.value,
                seconds=finished[one.key],
                truth=case.truth.get(f"{answer.item}@{answer.where}" if answer.where else answer.item),
            )
            for answer in kept.get(one.key, ())
            if answer.value is not None
        ]
    return found


def _planned(plan: Plan) -> Sequence[tuple[object, ...]]:
    return sorted((one.key, one.reader, one.reading, one.session, one.position, one.is_training) for one in plan.presentations)


def _kept(store: Store) -> Sequence[tuple[object, ...]]:
    table = presentations.c
    columns = (table.key, table.reader, table.reading, table.session, table.position, table.is_training)
    with store.reading_from() as connection:
        return sorted(tuple(row) for row in connection.execute(select(*columns)))
