"""Who takes part in a study, which sessions are open, how far everybody is, and when it was unblinded."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Row, case, func, insert, select, update

from onenex.errors import StudyError
from onenex.reader.keeping.database import Database, last_link
from onenex.reader.keeping.refusals import Closed, NotYours
from onenex.reader.keeping.schema import answers, people, presentations, study
from onenex.reader.keeping.tables import facts_of
from onenex.reader.keeping.views import Facts, Progress, SessionView

DAY_S = 86_400.0


class Participation(Database):
    """The part of `onenex.reader.store.Store` that knows people and sessions."""

    def facts(self) -> Facts:
        """Return title, wash-out, commitment and whether it is unblinded."""
        with self.reading_from() as connection:
            return facts_of(connection)

    def is_unblinded(self) -> bool:
        """Whether the plan was opened; nothing can be answered any more."""
        return self.facts().unblinded_wall is not None

    def add_reader(self, name: str, password_hash: str, *, admin: bool = False) -> None:
        """Give somebody a password, or a new one; a new admin is added.

        Raises
        ------
        StudyError
            The study has no such reader, or the name is taken by a person of the other role.
        """
        with self.writing_to() as connection:
            known = connection.execute(select(people.c.is_admin).where(people.c.name == name)).scalar_one_or_none()
            if known is None and not admin:
                raise StudyError(f"the study has no reader {name}: its protocol names {', '.join(_reader_names(connection))}")
            if known is not None and known != admin:
                raise StudyError(f"{name} is {'an admin' if known else 'a reader'} of this study: choose another name")
            if known is None:
                connection.execute(insert(people).values(name=name, is_admin=True, password_hash=password_hash))
            connection.execute(update(people).where(people.c.name == name).values(password_hash=password_hash))
            self.note(connection, "password", name=name, admin=admin)

    def readers(self) -> Mapping[str, str]:
        """Return name → password hash of everybody who may log in, admins included."""
        with self.reading_from() as connection:
            return {row.name: row.password_hash for row in connection.execute(select(people)) if row.password_hash}

    def is_admin(self, name: str) -> bool:
        """Whether this is an admin: sees progress and may unblind, reads nothing."""
        with self.reading_from() as connection:
            return bool(connection.execute(select(people.c.is_admin).where(people.c.name == name)).scalar_one_or_none())

    def sessions(self, reader: str) -> list[SessionView]:
        """Return a reader's sessions in order; none for a stranger."""
        with self.reading_from() as connection:
            return self._sessions(connection, reader)

    def progress(self) -> list[Progress]:
        """Return how far every reader's session is; nothing in it tells arms."""
        table = presentations.c
        with self.reading_from() as connection:
            times = connection.execute(
                select(table.reader, table.session, func.sum(table.seconds), func.max(table.seen_wall)).group_by(table.reader, table.session)
            ).all()
            views = {reader: {one.session: one for one in self._sessions(connection, reader)} for reader in _reader_names(connection)}
        return [
            Progress(
                reader=reader,
                session=session,
                n=views[reader][session].n,
                n_done=views[reader][session].n_done,
                opens=views[reader][session].opens,
                seconds=seconds,
                last_wall=last,
            )
            for reader, session, seconds, last in times
        ]

    def finished(self) -> Mapping[str, float]:
        """Return key → reading time, s, of every finished presentation, as the chained log has it."""
        return {one.fields["presentation"]: one.fields["seconds"] for one in self.events() if one.event == "finished"}

    def admins(self) -> list[str]:
        """Return who may unblind, by name."""
        with self.reading_from() as connection:
            return list(connection.execute(select(people.c.name).where(people.c.is_admin).order_by(people.c.name)).scalars())

    def n_unfinished(self) -> int:
        """Return how many presentations are not finished, training apart."""
        with self.reading_from() as connection:
            return _n_unfinished(connection)

    def unblind(self, by: str, *, incomplete: bool = False, **fields: str) -> None:
        """Lock all answers for ever and write down who opened the plan, and when. Being unblinded already is no error; it is logged too.

        Parameters
        ----------
        by
            An admin.
        incomplete
            Go on although presentations are unfinished; logged.
        fields
            More for the log, e.g. the user of the machine.

        Raises
        ------
        StudyError
            `by` is no admin, or presentations are unfinished.
        """
        with self.writing_to() as connection:
            if not connection.execute(select(people.c.is_admin).where(people.c.name == by)).scalar_one_or_none():
                raise StudyError(f"{by} is no admin of this study and may not unblind it")
            if facts_of(connection).unblinded_wall is not None:
                self.note(connection, "opened again", by=by, **fields)
                return
            n_unfinished = _n_unfinished(connection)
            if n_unfinished and not incomplete:
                raise StudyError(f"{n_unfinished} presentations are unfinished: let the readers finish, or unblind with --incomplete for good")
            connection.execute(update(study).values(unblinded_wall=self.wall(), unblinded_by=by))
            n_answers, last = last_link(connection, answers)
            self.note(connection, "unblinded", by=by, unfinished=n_unfinished, answers=n_answers, last_answer=last, **fields)

    def _sessions(self, connection: Connection, reader: str) -> list[SessionView]:
        table, facts = presentations.c, facts_of(connection)
        rows = connection.execute(
            select(table.session, func.count(), func.count(table.finished_wall), func.max(table.finished_wall))
            .where(table.reader == reader)
            .group_by(table.session)
            .order_by(table.session)
        ).all()
        found: list[SessionView] = []
        opens: float | None = facts.created_wall
        for session, n, n_done, last in rows:
            waited = not found or (opens is not None and opens <= self.wall())
            found.append(SessionView(session=session, n=n, n_done=n_done, opens=opens, is_open=waited and facts.unblinded_wall is None))
            opens = last + facts.wash_out_days * DAY_S if n_done == n else None
        return found

    def _own(self, connection: Connection, reader: str, key: str, *, finished_too: bool = False) -> Row[tuple[object, ...]]:
        """Return a presentation's row if this reader may change it now."""
        row = connection.execute(select(presentations).where(presentations.c.key == key, presentations.c.reader == reader)).one_or_none()
        if row is None:
            raise NotYours("there is no such presentation")
        if facts_of(connection).unblinded_wall is not None:
            raise Closed("the study is unblinded: nothing can be answered any more")
        if row.finished_wall is not None and not finished_too:
            raise Closed("this presentation is finished: nothing in it can be changed any more")
        if not next(one for one in self._sessions(connection, reader) if one.session == row.session).is_open:
            raise Closed(f"session {row.session} is not open yet")
        return row


def _reader_names(connection: Connection) -> list[str]:
    return list(connection.execute(select(people.c.name).where(~people.c.is_admin).order_by(people.c.name)).scalars())


def _n_unfinished(connection: Connection) -> int:
    table = presentations.c
    unfinished = func.sum(case((table.finished_wall.is_(None) & ~table.is_training, 1), else_=0))
    return int(connection.execute(select(func.coalesce(unfinished, 0))).scalar_one())
