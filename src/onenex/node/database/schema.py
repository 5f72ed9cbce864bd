"""The queue's tables, and how SQLite is opened so that a commit is on the disk when it returns."""

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
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

from onenex import sqlite
from onenex.errors import NodeError

VERSION = 1
"""Of the tables. A queue of a newer version is refused."""

metadata = MetaData()

node = Table(
    "node",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("boot_id", String, nullable=False),
    Column("offset_s", Float, nullable=False, default=0.0),
    Column("seen", Float, nullable=False, default=0.0),
    Column("paused", Boolean, nullable=False, default=False),
    Column("received_images", Integer, nullable=False, default=0),
    Column("forgotten_images", Integer, nullable=False, default=0),
)
"""One row. Times of all tables are node time, seconds: `clock.now() + offset_s`, which goes on through restarts of the machine."""

series = Table(
    "series",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_uid", String, nullable=False),
    Column("series_uid", String, nullable=False),
    Column("state", String, nullable=False),
    Column("pass_number", Integer, nullable=False, default=1),
    Column("n_images", Integer, nullable=False, default=0),
    Column("n_bytes", Integer, nullable=False, default=0),
    Column("n_derived", Integer, nullable=False, default=0),
    Column("offered", Integer),
    Column("calling_ae", String, nullable=False, default=""),
    Column("called_ae", String, nullable=False, default=""),
    Column("rule", String, nullable=False, default=""),
    Column("action", String, nullable=False, default=""),
    Column("destinations", JSON, nullable=False, default=list),
    Column("reason", String, nullable=False, default=""),
    Column("note", String, nullable=False, default=""),
    Column("result", String),
    Column("attempts", Integer, nullable=False, default=0),
    Column("owner", String),
    Column("lease", String),
    Column("lease_until", Float),
    Column("arrived_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
    Column("received_wall", Float, nullable=False),
    Column("changed_wall", Float, nullable=False),
    Column("details", JSON, nullable=False, default=dict),
    UniqueConstraint("study_uid", "series_uid"),
    Index("series_state", "state", "id"),
    sqlite_autoincrement=True,
)
"""`offered`: the images there when `close_quiet` last named it; 0 once late images came.
`result`: what became of this pass, `denoised` or `passed`; `note`: why.
Ids are never used twice: they name folders in the outbox."""

objects = Table(
    "object",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("series_id", ForeignKey("series.id"), nullable=False),
    Column("pass_number", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("sop_uid", String, nullable=False),
    Column("sop_class", String, nullable=False),
    Column("transfer_syntax", String, nullable=False),
    Column("path", String, nullable=False),
    Column("n_bytes", Integer, nullable=False, default=0),
    Column("digest", String, nullable=False, default=""),
    Index("object_original", "sop_uid", unique=True, sqlite_where=text("kind = 'original'")),
    Index("object_derived", "sop_uid", sqlite_where=text("kind = 'derived'")),
    Index("object_series", "series_id", "kind"),
    Index("object_path", "path", sqlite_where=text("kind = 'original'")),
)
"""Images: received ones and ours. Paths inside the node's folder are relative to it, so that it can be moved."""

deliveries = Table(
    "delivery",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("series_id", ForeignKey("series.id"), nullable=False),
    Column("pass_number", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("destination", String, nullable=False),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("n_lost", Integer, nullable=False, default=0),
    Column("error", String, nullable=False, default=""),
    Column("owner", String),
    Column("lease", String),
    Column("lease_until", Float),
    Column("made_at", Float, nullable=False),
    Column("due", Float, nullable=False, default=0.0),
    Column("first_try", Float),
    Column("asked_at", Float),
    Column("transaction_uid", String),
    Index("delivery_state", "state", "id"),
    Index("delivery_series", "series_id"),
    Index("delivery_transaction", "transaction_uid"),
    sqlite_autoincrement=True,
)

items = Table(
    "item",
    metadata,
    Column("delivery_id", ForeignKey("delivery.id"), primary_key=True),
    Column("object_id", ForeignKey("object.id"), primary_key=True),
    Column("sent", Boolean, nullable=False, default=False),
    Column("kept", Boolean, nullable=False, default=False),
    Index("item_object", "object_id"),
    sqlite_with_rowid=False,
)
"""What a delivery holds: stored at the peer, and promised to be kept there."""

announced = Table(
    "announced",
    metadata,
    Column("study_uid", String, primary_key=True),
    Column("series_uid", String, primary_key=True),
    Column("n_expected", Integer, nullable=False),
    Column("told_at", Float, nullable=False),
    Index("announced_told", "told_at"),
    sqlite_with_rowid=False,
)
"""By MPPS or instance availability, perhaps before the first image."""

early = Table(
    "early",
    metadata,
    Column("transaction_uid", String, primary_key=True),
    Column("kept", JSON, nullable=False),
    Column("lost", JSON, nullable=False),
    Column("told_at", Float, nullable=False),
)
"""Commitments that came before the sender had written down that it asked."""

forgotten_objects = Table(
    "forgotten_object",
    metadata,
    Column("uid_hash", LargeBinary, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""Tombstones: half of the SHA-256 of the UID, and of the digest (nothing for derived ones, which match any)."""

forgotten_series = Table(
    "forgotten_series",
    metadata,
    Column("uid_hash", LargeBinary, primary_key=True),
    Column("pass_number", Integer, nullable=False),
    sqlite_with_rowid=False,
)


def open_engine(folder: Path) -> Engine:
    """Open (or make) `queue.sqlite` in a folder.

    Raises
    ------
    NodeError
        It was made by a newer OneNEX.
    """
    try:
        return sqlite.open_engine(folder / "queue.sqlite", metadata, VERSION)
    except sqlite.NewerVersion as error:
        raise NodeError(
            f"{folder} was written by a newer OneNEX (queue version {error.version}, this one knows {VERSION}): update, or use another folder"
        ) from error
