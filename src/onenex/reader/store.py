"""Readers, their sessions and their answers: all that the pages and the command line ask of a study's database."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import func, select, update

from onenex.reader.keeping.allowed import check_answer, missing
from onenex.reader.keeping.database import append, last_link
from onenex.reader.keeping.participation import Participation
from onenex.reader.keeping.refusals import Closed, NotYours, Outdated
from onenex.reader.keeping.schema import answers, images, presentations
from onenex.reader.keeping.tables import newest_answers, readings_of, stack_of
from onenex.reader.keeping.views import Image, Kept, Queued, ReadingView, Shown
from onenex.reader.records import Answer

MOST_SECONDS = 60.0
"""Reading time that one call may add."""
SLACK_S = 2.0
"""A browser may claim so much more than went by since it was last heard of."""


class Store(Participation):
    """One study, for any number of threads and processes at once. See `Database` for its parameters and errors."""

    def __init__(self, folder: Path, *, wall: Callable[[], float] = time.time) -> None:
        super().__init__(folder, wall=wall)
        with self.reading_from() as connection:
            self._readings = readings_of(connection)

    def readings(self) -> Mapping[str, ReadingView]:
        """Return what is asked, by the reading's name, in the protocol's order."""
        return self._readings

    def queue(self, reader: str, session: int) -> list[Queued]:
        """Return a session's presentations in the order in which they are read."""
        table = presentations.c
        with self.reading_from() as connection:
            counted = select(func.count()).where(images.c.presentation == table.key).scalar_subquery().label("n_images")
            wanted = select(presentations, counted).where(table.reader == reader, table.session == session).order_by(table.position)
            rows = connection.execute(wanted).all()
        return [
            Queued(
                key=row.key,
                reading=row.reading,
                position=row.position,
                n_images=row.n_images,
                done=row.finished_wall is not None,
                is_training=row.is_training,
            )
            for row in rows
        ]

    def shown(self, key: str) -> Shown | None:
        """Return a presentation; None if there is none. Compare its reader, and ask `may_read`, before anybody sees it."""
        with self.reading_from() as connection:
            row = connection.execute(select(presentations).where(presentations.c.key == key)).one_or_none()
            sides = connection.execute(select(images).where(images.c.presentation == key).order_by(images.c.side)).all()
        if row is None:
            return None
        return Shown(
            key=row.key,
            reader=row.reader,
            reading=self._readings[row.reading],
            session=row.session,
            position=row.position,
            images=tuple(Image(token=side.token, stack=stack_of(side)) for side in sides),
            done=row.finished_wall is not None,
            is_training=row.is_training,
            seconds=row.seconds,
        )

    def may_read(self, reader: str, key: str) -> None:
        """Return if this reader may read this presentation now.

        Raises
        ------
        NotYours
            There is no such presentation, or it is another reader's.
        Closed
            It is finished, its session is not open, or the study is unblinded.
        """
        with self.reading_from() as connection:
            self._own(connection, reader, key)

    def image(self, reader: str, token: str) -> Image | None:
        """Return an image that this reader may see now; None for every other, and for finished presentations."""
        with self.reading_from() as connection:
            row = connection.execute(select(images).where(images.c.token == token)).one_or_none()
            try:
                if row is None:
                    return None
                self._own(connection, reader, row.presentation)
            except (NotYours, Closed):
                return None
        return Image(token=row.token, stack=stack_of(row))

    def image_path(self, token: str) -> Path:
        """Return where an image's file is."""
        return self.folder / "images" / f"{token}.bin"

    def save(self, reader: str, key: str, item: str, where: str, value: int | None, text: str, version: int) -> int:
        """Keep an answer and return its version; it is on the disk on return. Nothing is ever overwritten.

        Parameters
        ----------
        where
            Place; empty where the item has only one.
        value
            On the item's scale; None for words.
        text
            Words; beside a value a remark. At most `allowed.LONGEST_TEXT` characters.
        version
            Of the answer that the page shows, 0 for none. The same answer sent twice is kept once.

        Raises
        ------
        NotYours, Closed
            As `may_read`.
        Improper
            The question does not allow the answer.
        Outdated
            The answer was changed elsewhere meanwhile; load it again.
        """
        with self.writing_to() as connection:
            row = self._own(connection, reader, key)
            check_answer(self._readings[row.reading], item, where, value, text)
            newest = next((one for one in newest_answers(connection, key) if (one.item, one.where) == (item, where)), None)
            at = newest.version if newest else 0
            if newest is not None and (newest.value, newest.text) == (value, text) and version in (at, at - 1):
                return at
            if version != at:
                raise Outdated("this answer was changed elsewhere meanwhile: load the page again and look")
            now = self.wall()
            append(connection, answers, presentation=key, item=item, place=where, version=at + 1, value=value, text=text, saved_wall=now)
            return at + 1

    def kept(self, key: str) -> list[Kept]:
        """Return the newest answer to each question of a presentation, with versions for the page."""
        with self.reading_from() as connection:
            return newest_answers(connection, key)

    def answers(self, key: str) -> list[Answer]:
        """Return the newest answer to each question of a presentation."""
        return [
            Answer(presentation=key, item=one.item, where=one.where, value=one.value, text=one.text, saved_wall=one.saved_wall)
            for one in self.kept(key)
        ]

    def finish(self, reader: str, key: str) -> None:
        """Close a presentation for good. Finishing it again does nothing.

        Raises
        ------
        NotYours, Closed
            As `may_read`.
        Improper
            A required answer is missing; the message names the questions.
        """
        with self.writing_to() as connection:
            row = self._own(connection, reader, key, finished_too=True)
            if row.finished_wall is not None:
                return
            found = newest_answers(connection, key)
            missing(self._readings[row.reading], found)
            now = self.wall()
            connection.execute(update(presentations).where(presentations.c.key == key).values(finished_wall=now, seen_wall=now))
            self.note(connection, "finished", presentation=key, reader=reader, seconds=row.seconds, last_answer=last_link(connection, answers)[1])

    def seconds(self, reader: str, key: str, seconds: float, event: str = "beat") -> float:
        """Add reading time and return the sum, s.

        Parameters
        ----------
        seconds
            How long the presentation was visible since the last call. At most `MOST_SECONDS`, and no more than went by, counts.
        event
            `opened`, with 0 s, when the page is loaded; goes into the log. Everything else (`beat`, `hidden`) only adds time.

        Raises
        ------
        NotYours, Closed
            As `may_read`.
        """
        with self.writing_to() as connection:
            row = self._own(connection, reader, key)
            now = self.wall()
            passed = MOST_SECONDS if row.seen_wall is None else max(0.0, now - row.seen_wall) + SLACK_S
            counted = min(max(0.0, seconds), MOST_SECONDS, passed) if math.isfinite(seconds) else 0.0
            total = float(row.seconds + counted)
            connection.execute(update(presentations).where(presentations.c.key == key).values(seconds=total, seen_wall=now))
            if event == "opened":
                self.note(connection, "opened", presentation=key, reader=reader)
            return total
