"""The tables of `study.sqlite`, and how SQLite is opened so that an answer is on the disk when it is acknowledged.

Nothing in them tells arms: rows are kept in the order of their random keys, and images of a case differ in nothing but their keys.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from onenex import sqlite
from onenex.errors import StudyError

VERSION = 1
"""Of the tables. A study of a newer version is refused."""
FILE = "study.sqlite"
"""Name of the database in the study's folder."""

metadata = MetaData()

study = Table(
    "study",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("title", String, nullable=False),
    Column("wash_out_days", Float, nullable=False),
    Column("created_wall", Float, nullable=False),
    Column("commitment", String, nullable=False),
    Column("unblinded_wall", Float),
    Column("unblinded_by", String, nullable=False, default=""),
)
"""One row."""

readings = Table(
    "reading",
    metadata,
    Column("name", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("place", Integer, nullable=False),
    Column("items", JSON, nullable=False),
    Column("instructions", String, nullable=False, default=""),
)
"""What is asked, in the protocol's order: `items` are the fields of `onenex.reader.records.Item`."""

people = Table(
    "person",
    metadata,
    Column("name", String, primary_key=True),
    Column("password_hash", String, nullable=False, default=""),
    Column("is_admin", Boolean, nullable=False, default=False),
)

presentations = Table(
    "presentation",
    metadata,
    Column("key", String, primary_key=True),
    Column("reader", ForeignKey("person.name"), nullable=False),
    Column("reading", ForeignKey("reading.name"), nullable=False),
    Column("session", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("is_training", Boolean, nullable=False),
    Column("seconds", Float, nullable=False, default=0.0),
    Column("seen_wall", Float),
    Column("finished_wall", Float),
    UniqueConstraint("reader", "session", "position"),
    sqlite_with_rowid=False,
)

images = Table(
    "image",
    metadata,
    Column("token", String, primary_key=True),
    Column("presentation", ForeignKey("presentation.key"), nullable=False),
    Column("side", Integer, nullable=False),
    Column("n_slices", Integer, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("columns", Integer, nullable=False),
    Column("spacing_mm", JSON),
    Column("centre", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    UniqueConstraint("presentation", "side"),
    sqlite_with_rowid=False,
)

answers = Table(
    "answer",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("presentation", ForeignKey("presentation.key"), nullable=False),
    Column("item", String, nullable=False),
    Column("place", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("value", Integer),
    Column("text", String, nullable=False, default=""),
    Column("saved_wall", Float, nullable=False),
    Column("digest", String, nullable=False),
    UniqueConstraint("presentation", "item", "place", "version"),
    sqlite_autoincrement=True,
)
"""Every answer ever saved; of one question the highest version counts. `digest` chains each row to the one before."""

events = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("wall", Float, nullable=False),
    Column("event", String, nullable=False),
    Column("fields", JSON, nullable=False),
    Column("digest", String, nullable=False),
    Index("event_name", "event"),
    sqlite_autoincrement=True,
)
"""What happened, chained likewise."""

_TRIGGERS = tuple(
    f"CREATE TRIGGER {table.name}_no_{verb.lower()} BEFORE {verb} ON {table.name} BEGIN SELECT RAISE(ABORT, '{table.name}s are kept for ever'); END"
    for table in (answers, events)
    for verb in ("UPDATE", "DELETE")
)


def open_engine(folder: Path) -> Engine:
    """Open (or make) `study.sqlite` in a folder.

    Raises
    ------
    StudyError
        It was made by a newer OneNEX.
    """
    try:
        return sqlite.open_engine(folder / FILE, metadata, VERSION, _TRIGGERS)
    except sqlite.NewerVersion as error:
        raise StudyError(f"{folder} was made by a newer OneNEX (study version {error.version}, this one knows {VERSION}): update") from error
