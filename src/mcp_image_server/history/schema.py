"""The tables, in words that SQLite and PostgreSQL share.

`HEAD` is the last migration; the migrations, not this module, make and change a database. A test holds the two together.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

HEAD = "0007"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(TypeDecorator[datetime]):
    """A point in time as microseconds since 1970 UTC: exact, sortable, and the same in every database."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Into the database."""
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Out of the database."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class Name(TypeDecorator[str]):
    """Short text from outside or from us, such as an id. Half a surrogate pair and NUL, which databases refuse, become `?` and nothing."""

    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Into the database."""
        return None if value is None else value.replace("\0", "").encode("utf-8", "replace").decode()


class Words(Name):
    """Text of any length, made fit for a database in the same way."""

    impl = sa.Text
    cache_ok = True


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", Name, primary_key=True),
    sa.Column("principal", Name, nullable=False),
    sa.Column("state", Name, nullable=False),
    sa.Column("provider", Name, nullable=False),
    sa.Column("model", Name, nullable=False),
    sa.Column("account", Name, nullable=False),
    sa.Column("store_url", Name, nullable=False),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("pictures", sa.Integer, nullable=False),  # how many were asked for
    sa.Column("alternates", sa.JSON, nullable=False),
    sa.Column("fingerprint", Name),  # the same for two requests that ask for the same
    sa.Column("idempotency_key", Name),
    sa.Column("attended", sa.Boolean, nullable=False),  # whoever asked may still be waiting
    sa.Column("estimate", sa.JSON(none_as_null=True)),
    sa.Column("promised", sa.BigInteger, nullable=False),  # millionths of the next column's currency that are kept for it while it is unfinished
    sa.Column("promised_currency", Name, nullable=False),
    sa.Column("adjustments", sa.JSON, nullable=False),
    sa.Column("progress", sa.Float, nullable=False),
    sa.Column("message", Words, nullable=False),
    sa.Column("events", sa.Integer, nullable=False),  # how many there are: the next one's sequence is this plus one
    sa.Column("task_id", Name),
    sa.Column("request_id", Name),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("failure", sa.JSON(none_as_null=True)),
    sa.Column("cost", sa.JSON(none_as_null=True)),
    sa.Column("owner", Name),
    sa.Column("lease_until", Moment),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("deadline", Moment),
    sa.Column("started_at", Moment),
    sa.Column("begun_at", Moment),  # the last time it was let out of line
    sa.Column("finished_at", Moment),
    sa.Column("batch_id", Name),
    sa.Column("position", sa.Integer),  # which item of the batch
    # Newest first, of one principal or of all.
    sa.Index(None, "principal", "created_at", "id"),
    sa.Index(None, "created_at", "id"),
    # Who was served when, and what was begun within the last minute.
    sa.Index(None, "account", "principal", "begun_at"),
    sa.Index(None, "account", "begun_at"),
    sa.Index(None, "principal", "idempotency_key", unique=True),
    sa.Index(None, "batch_id", "position"),
)

# Jobs that were entered together.
batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", Name, primary_key=True),
    sa.Column("principal", Name, nullable=False),
    sa.Column("items", sa.JSON, nullable=False),  # as they were asked for
    sa.Column("sheet", Name),  # the image that shows them all, once they have ended
    sa.Column("created_at", Moment, nullable=False),
    # Newest first, of one principal or of all.
    sa.Index(None, "principal", "created_at", "id"),
    sa.Index(None, "created_at", "id"),
)

# Literals, not parameters: SQLite uses the index below only for a condition that it can see to be the same.
unfinished = jobs.c.state.in_((sa.literal_column("'queued'"), sa.literal_column("'running'")))

# What is under way is a handful among all that ever was: claims and heartbeats look at these rows alone.
sa.Index(
    "ix_jobs_unfinished",
    jobs.c.owner,
    jobs.c.created_at,
    sqlite_where=unfinished,
    postgresql_where=unfinished,
)

images = sa.Table(
    "images",
    metadata,
    sa.Column("id", Name, primary_key=True),
    sa.Column("job_id", sa.ForeignKey(jobs.c.id), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),  # the order within the job
    sa.Column("principal", Name, nullable=False),
    sa.Column("provider", Name, nullable=False),
    sa.Column("model", Name, nullable=False),
    sa.Column("prompt", Words, nullable=False),
    sa.Column("store_url", Name, nullable=False),
    sa.Column("key", Name, nullable=False),
    sa.Column("thumbnail_key", Name),
    sa.Column("media_type", Name, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", Name, nullable=False),
    sa.Column("thumbhash", Name, nullable=False),
    sa.Column("seed", Name),  # some services use all 64 bits, one more than a signed integer column has
    sa.Column("revised_prompt", Words),
    sa.Column("parents", sa.JSON, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("title", Words, nullable=False),
    sa.Column("favourite", sa.Boolean, nullable=False),
    sa.Column("deleted_at", Moment),
    sa.Column("team", Name),  # with whom it is shared
    sa.Index(None, "job_id", "position", unique=True),
    sa.Index(None, "principal", "created_at", "id"),
    sa.Index(None, "created_at", "id"),
)

deleted = images.c.deleted_at.is_not(None)

# What is in the trash is a handful, too.
sa.Index("ix_images_deleted", images.c.deleted_at, sqlite_where=deleted, postgresql_where=deleted)

shared = images.c.team.is_not(None)

sa.Index("ix_images_shared", images.c.team, images.c.created_at, images.c.id, sqlite_where=shared, postgresql_where=shared)

image_tags = sa.Table(
    "image_tags",
    metadata,
    sa.Column("image_id", sa.ForeignKey(images.c.id), primary_key=True),
    sa.Column("tag", Words, primary_key=True),
    sa.Index(None, "tag", "image_id"),
)

# What was made from what, to be read from both ends. A parent may be gone.
image_parents = sa.Table(
    "image_parents",
    metadata,
    sa.Column("image_id", sa.ForeignKey(images.c.id), primary_key=True),
    sa.Column("parent_id", Name, primary_key=True),
    sa.Index(None, "parent_id", "image_id"),
)

# The words by which an image is found, with spaces between them. `number` grows with each image, so that the newest are read first without sorting;
# `id` would not do, and SQLite may renumber the rows of a table that has no number of its own, behind the back of its index.
image_words = sa.Table(
    "image_words",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("image_id", sa.ForeignKey(images.c.id), nullable=False),
    sa.Column("words", Words, nullable=False),
    sa.Index(None, "image_id", unique=True),
)

# Over the words: in SQLite a table of its own, which triggers keep; in PostgreSQL an index. The migration makes both.
image_index = sa.table("image_index", sa.column("rowid"), sa.column("image_index"))

events = sa.Table(
    "events",
    metadata,
    sa.Column("job_id", sa.ForeignKey(jobs.c.id), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("progress", sa.Float, nullable=False),
    sa.Column("message", Words, nullable=False),
    sa.Column("preview_key", Name),
)

breakers = sa.Table(
    "breakers",
    metadata,
    sa.Column("provider", Name, primary_key=True),
    sa.Column("model", Name, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("openings", sa.Integer, nullable=False),
    sa.Column("open_until", Moment),
)

# An account whose service asked us to wait.
pauses = sa.Table(
    "pauses",
    metadata,
    sa.Column("account", Name, primary_key=True),
    sa.Column("until", Moment, nullable=False),
)

ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("job_id", sa.ForeignKey(jobs.c.id), primary_key=True),
    sa.Column("principal", Name, nullable=False),
    sa.Column("provider", Name, nullable=False),
    sa.Column("model", Name, nullable=False),
    sa.Column("micros", sa.BigInteger, nullable=False),
    sa.Column("currency", Name, nullable=False),
    sa.Column("source", Name, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Index(None, "principal", "at"),
    sa.Index(None, "at"),
)

# Pictures on their way in; their bytes lie in the store.
uploads = sa.Table(
    "uploads",
    metadata,
    sa.Column("id", Name, primary_key=True),
    sa.Column("principal", Name, nullable=False),
    sa.Column("name", Words, nullable=False),
    sa.Column("proof", Name, nullable=False),
    sa.Column("length", sa.BigInteger),
    sa.Column("store_url", Name, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Column("pieces", sa.JSON, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("holder", Name),  # whoever sends; another name is another sender
    sa.Column("held_until", Moment),
    sa.Column("image_id", Name),
    sa.Index(None, "principal", "expires_at"),
    sa.Index(None, "expires_at"),
)

# Styles and templates that principals keep, where many servers share the database; '' is everybody.
library_entries = sa.Table(
    "library_entries",
    metadata,
    sa.Column("principal", Name, primary_key=True),
    sa.Column("kind", Name, primary_key=True),
    sa.Column("key", Name, primary_key=True),
    sa.Column("entry", sa.JSON, nullable=False),  # as a file would have it
)

# How many requests a principal has made in a minute and in the one before, where many servers share the database.
windows = sa.Table(
    "windows",
    metadata,
    sa.Column("principal", Name, primary_key=True),
    sa.Column("minute", sa.BigInteger, nullable=False),  # since 1970
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("before", sa.Integer, nullable=False),
)
