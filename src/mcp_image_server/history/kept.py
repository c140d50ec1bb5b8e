"""Styles and templates that people keep in the record, because no folder is common to all servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from .library import Transaction
from .schema import library_entries as kept

EVERYBODY = ""
"""Under whom what is everybody's stands; no principal is called so."""


class Kept:
    """What is known of styles and templates: whose they are, their kind and key, and what a file of their own would hold.

    Args:
        read: one snapshot of the database.
        write: one transaction.
    """

    def __init__(self, read: Transaction, write: Transaction) -> None:
        self._read = read
        self._write = write

    async def seen_by(self, principal: str) -> list[tuple[str, str, str, Mapping[str, Any]]]:
        """Of everybody's, and then the principal's own: whose it is, kind, key and entry."""
        query = sa.select(kept.c.principal, kept.c.kind, kept.c.key, kept.c.entry).where(kept.c.principal.in_({EVERYBODY, principal}))
        async with self._read() as connection:
            return [tuple(row) for row in await connection.execute(query.order_by(kept.c.principal, kept.c.kind, kept.c.key))]

    async def put(self, principal: str, kind: str, key: str, entry: Mapping[str, Any], *, most: int) -> bool | None:
        """Whether it is new. None, and nothing written: the principal has `most` of that kind already."""
        theirs = (kept.c.principal == principal) & (kept.c.kind == kind)
        async with self._write() as connection:
            if (await connection.execute(sa.update(kept).where(theirs, kept.c.key == key).values(entry=entry))).rowcount:
                return False
            if (await connection.scalar(sa.select(sa.func.count()).where(theirs)) or 0) >= most:
                return None
            await connection.execute(sa.insert(kept), {"principal": principal, "kind": kind, "key": key, "entry": entry})
        return True

    async def remove(self, principal: str, kind: str, key: str) -> bool:
        """Whether there was one."""
        mine = sa.delete(kept).where(kept.c.principal == principal, kept.c.kind == kind, kept.c.key == key)
        async with self._write() as connection:
            return (await connection.execute(mine)).rowcount > 0
