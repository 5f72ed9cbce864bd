"""Rows to records, and a new study's first rows."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from onenex.reader.keeping.schema import answers, images, open_engine, people, presentations, readings, study
from onenex.reader.keeping.views import Facts, Image, Kept, ReadingView, Stack
from onenex.reader.records import Item, Kind, Presentation, Scale


def facts_of(connection: Connection) -> Facts:
    """Return the study's one row."""
    row = connection.execute(select(study)).one()
    return Facts(
        title=row.title,
        wash_out_days=row.wash_out_days,
        created_wall=row.created_wall,
        commitment=row.commitment,
        unblinded_wall=row.unblinded_wall,
        unblinded_by=row.unblinded_by,
    )


def readings_of(connection: Connection) -> dict[str, ReadingView]:
    """Return what is asked, in the protocol's order."""
    rows = connection.execute(select(readings).order_by(readings.c.place)).all()
    return {
        row.name: ReadingView(name=row.name, kind=Kind(row.kind), items=tuple(_item(one) for one in row.items), instructions=row.instructions)
        for row in rows
    }


def _item(fields: Mapping[str, Any]) -> Item:
    lists = {name: tuple(fields[name]) for name in ("labels", "where")}
    return Item(**{**fields, **lists, "scale": Scale(fields["scale"])})


def stack_of(row: Row[Any]) -> Stack:
    """Return what the `image` table says of a file."""
    spacing = None if row.spacing_mm is None else (row.spacing_mm[0], row.spacing_mm[1], row.spacing_mm[2])
    return Stack(n_slices=row.n_slices, rows=row.rows, columns=row.columns, spacing_mm=spacing, window=(row.centre, row.width))


def newest_answers(connection: Connection, key: str) -> list[Kept]:
    """Return the newest answer to each question of a presentation, in the order in which they were first answered."""
    first = select(answers.c.item, answers.c.place, func.max(answers.c.version).label("top"), func.min(answers.c.id).label("first"))
    newest = first.where(answers.c.presentation == key).group_by(answers.c.item, answers.c.place).subquery()
    same = (answers.c.item == newest.c.item) & (answers.c.place == newest.c.place) & (answers.c.version == newest.c.top)
    rows = connection.execute(select(answers).join(newest, same).where(answers.c.presentation == key).order_by(newest.c.first)).all()
    return [Kept(item=row.item, where=row.place, value=row.value, text=row.text, version=row.version, saved_wall=row.saved_wall) for row in rows]


def make_database(
    folder: Path,
    facts: Facts,
    asked: Sequence[ReadingView],
    reader_names: Sequence[str],
    *,
    shown: Sequence[Presentation],
    pictures: Mapping[str, Sequence[Image]],
) -> None:
    """Make `study.sqlite` in a folder: of the presentations only what readers may know.

    Parameters
    ----------
    reader_names
        Who reads; their passwords come later, by `Store.add_reader`.
    shown
        The whole plan; cases, arms and repeats stay out.
    pictures
        Key of a presentation → its images, from left to right.
    """
    engine = open_engine(folder)
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        _add_study(connection, facts, asked, reader_names)
        _add_presentations(connection, shown, pictures)
    engine.dispose()


def _add_study(connection: Connection, facts: Facts, asked: Sequence[ReadingView], reader_names: Sequence[str]) -> None:
    connection.execute(
        insert(study).values(id=1, title=facts.title, wash_out_days=facts.wash_out_days, created_wall=facts.created_wall, commitment=facts.commitment)
    )
    for place, reading in enumerate(asked):
        items = [asdict(item) for item in reading.items]
        values = {"name": reading.name, "kind": str(reading.kind), "place": place, "items": items, "instructions": reading.instructions}
        connection.execute(insert(readings).values(values))
    for name in reader_names:
        connection.execute(insert(people).values(name=name, is_admin=False, password_hash=""))


def _add_presentations(connection: Connection, shown: Sequence[Presentation], pictures: Mapping[str, Sequence[Image]]) -> None:
    """Write rows in an order that tells nothing."""
    for one in sorted(shown, key=lambda presentation: presentation.key):
        connection.execute(
            insert(presentations).values(
                key=one.key, reader=one.reader, reading=one.reading, session=one.session, position=one.position, is_training=one.is_training
            )
        )
    rows = [(image.token, key, side, image.stack) for key, sides in pictures.items() for side, image in enumerate(sides)]
    secrets.SystemRandom().shuffle(rows)
    for token, key, side, stack in rows:
        connection.execute(
            insert(images).values(
                token=token,
                presentation=key,
                side=side,
                n_slices=stack.n_slices,
                rows=stack.rows,
                columns=stack.columns,
                spacing_mm=stack.spacing_mm,
                centre=stack.window[0],
                width=stack.window[1],
            )
        )
