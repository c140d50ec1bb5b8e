"""Pictures on their way in: how far they are, and whose turn it is to send. The bytes lie in a store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..models.uploads import Upload
from .library import Transaction
from .schema import uploads


class Uploads:
    """What is known of uploads. One sender at a time holds one, by a name of its own; what another writes meanwhile is not taken.

    Args:
        read: one snapshot of the database.
        write: one transaction.
        note: one statement, complete in itself.
    """

    def __init__(self, read: Transaction, write: Transaction, note: Transaction) -> None:
        self._read = read
        self._write = write
        self._note = note

    async def begin(self, upload: Upload, *, most: int) -> bool:
        """Whether it is on record now. False: its principal has `most` on the way."""
        theirs = (uploads.c.principal == upload.principal) & uploads.c.image_id.is_(None) & (uploads.c.expires_at > upload.created_at)
        async with self._write() as connection:
            if (await connection.scalar(sa.select(sa.func.count()).where(theirs)) or 0) >= most:
                return False
            await connection.execute(sa.insert(uploads), {field.name: getattr(upload, field.name) for field in fields(Upload)})
        return True

    async def get(self, upload_id: str, *, now: datetime) -> Upload | None:
        """The upload of that id, unless its time is over."""
        async with self._read() as connection:
            return _one(await connection.execute(sa.select(uploads).where(uploads.c.id == upload_id, uploads.c.expires_at > now)))

    async def hold(self, upload_id: str, holder: str, *, now: datetime, until: datetime) -> Upload | None:
        """The upload, now held. None: somebody else holds it, or it is gone."""
        free = uploads.c.held_until.is_(None) | (uploads.c.held_until <= now)
        wanted = sa.update(uploads).where(uploads.c.id == upload_id, uploads.c.expires_at > now, free)
        async with self._note() as connection:
            return _one(await connection.execute(wanted.values(holder=holder, held_until=until).returning(*uploads.c)))

    async def write(self, upload: Upload, holder: str) -> bool:
        """Whether its pieces, its offset, its image and how long it is held are now as this says. False: another holds it by now, or it is gone."""
        changed = {name: getattr(upload, name) for name in ("pieces", "offset", "image_id", "held_until")}
        mine = sa.update(uploads).where(uploads.c.id == upload.id, uploads.c.holder == holder)
        async with self._note() as connection:
            return (await connection.execute(mine.values(changed))).rowcount > 0

    async def expired(self, *, now: datetime) -> list[Upload]:
        """Those whose time is over."""
        async with self._read() as connection:
            return [_upload(row) for row in (await connection.execute(sa.select(uploads).where(uploads.c.expires_at <= now))).mappings()]

    async def on_the_way(self, *, now: datetime) -> set[str]:
        """The ids of all that may still take bytes."""
        query = sa.select(uploads.c.id).where(uploads.c.image_id.is_(None), uploads.c.expires_at > now)
        async with self._read() as connection:
            return set(await connection.scalars(query))

    async def forget(self, ids: Collection[str]) -> None:
        """They are on record no more."""
        async with self._note() as connection:
            await connection.execute(sa.delete(uploads).where(uploads.c.id.in_(ids)))


def _one(found: sa.CursorResult[Any]) -> Upload | None:
    row = found.mappings().one_or_none()
    return None if row is None else _upload(row)


def _upload(row: sa.RowMapping) -> Upload:
    values: dict[str, Any] = {field.name: row[field.name] for field in fields(Upload)}
    pieces: Sequence[str] = values["pieces"]
    return Upload(**{**values, "pieces": tuple(pieces)})
