"""Jobs that are entered together, and found again by what was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..models import BatchSummary, Headway, Image, Job, JobState
from .library import Transaction, add_images, newest_first
from .money import Budget, by_currency, spending_of
from .rows import Entry, as_cancelled, in_line, some_jobs
from .schema import batches, jobs, ledger, unfinished

_CHUNK = 100
"""Rows at a time, so that others are served in between."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a batch was asked for, apart from its jobs."""

    id: str
    principal: str
    items: tuple[Mapping[str, Any], ...]
    """As JSON."""
    created_at: datetime
    sheet: str | None = None
    """The id of the image that shows all its pictures."""


class Batches:
    """What is asked of batches and done to them.

    Args:
        read: one snapshot of the database.
        write: one transaction.
    """

    def __init__(self, read: Transaction, write: Transaction) -> None:
        self._read = read
        self._write = write

    async def enter(self, order: Order, entries: Sequence[Entry], *, budget: Budget | None = None) -> list[str]:
        """The ids of the jobs that are now on disk: all whose key is new or, for want of money, none. A second call with the same keys enters nothing.

        Raises:
            LimitError: as `budget.check` says.
        """
        async with self._write() as connection:
            there = sa.select(jobs.c.idempotency_key).where(jobs.c.batch_id == order.id)
            known = set(await connection.scalars(there))
            new = [entry for entry in entries if entry.idempotency_key not in known]
            if not new:
                return []
            if budget is not None:
                budget.check(await spending_of(connection, order.principal, budget))
            if known:
                await connection.execute(sa.update(batches).where(batches.c.id == order.id).values(sheet=None))
            else:
                row = {"id": order.id, "principal": order.principal, "items": list(order.items), "created_at": order.created_at}
                await connection.execute(sa.insert(batches), row)
            for start in range(0, len(new), _CHUNK):
                await connection.execute(sa.insert(jobs), [entry.to_row() for entry in new[start : start + _CHUNK]])
        return [entry.job.id for entry in new]

    async def order(self, batch_id: str) -> Order | None:
        """What the batch was asked for."""
        async with self._read() as connection:
            row = (await connection.execute(sa.select(batches).where(batches.c.id == batch_id))).mappings().one_or_none()
        return None if row is None else Order(**{**row, "items": tuple(row["items"])})

    async def jobs(self, batch_id: str) -> list[Job]:
        """Every job that was entered for the batch, item by item, oldest first."""
        query = sa.select(jobs).where(jobs.c.batch_id == batch_id).order_by(jobs.c.position, jobs.c.created_at, jobs.c.id)
        found: list[Job] = []
        async with self._read() as connection:
            last = await connection.scalar(sa.select(sa.func.max(jobs.c.position)).where(jobs.c.batch_id == batch_id))
            for start in range(0, (last if last is not None else -1) + 1, _CHUNK):
                found += await some_jobs(connection, query.where(jobs.c.position.between(start, start + _CHUNK - 1)))
        return found

    async def headway(self, batch_id: str) -> Headway:
        """How far the batch has come."""
        async with self._read() as connection:
            return (await _headways(connection, [batch_id]))[batch_id]

    async def latest(self, principal: str | None, *, limit: int = 50, before: str | None = None) -> list[BatchSummary]:
        """The batches of a principal, or of all (None), newest first.

        Args:
            before: the id of the last batch seen; the ones after it in this order follow.
        """
        query = sa.select(batches.c.id, batches.c.principal, batches.c.created_at)  # not the items, of which there may be thousands
        if principal is not None:
            query = query.where(batches.c.principal == principal)
        async with self._read() as connection:
            rows = (await connection.execute(newest_first(query, batches, before, principal=principal).limit(limit))).all()
            headways = await _headways(connection, [row.id for row in rows])
        return [BatchSummary(id=row.id, principal=row.principal, created_at=row.created_at, headway=headways[row.id]) for row in rows]

    async def cancel(self, batch_id: str, *, now: datetime) -> list[str]:
        """Ends every job of the batch that has not begun. For the others the wish is kept, and their ids are returned."""
        theirs = unfinished & (jobs.c.batch_id == batch_id)
        async with self._write() as connection:
            await connection.execute(sa.update(jobs).where(theirs, in_line).values(as_cancelled(now)))
            return list(await connection.scalars(sa.update(jobs).where(theirs).values(cancel_requested=True).returning(jobs.c.id)))

    async def put_sheet(self, batch_id: str, job: Job, image: Image) -> bool:
        """Whether the image, with a job of its own that has ended, is now the sheet of the batch. False, and nothing written: it has one, or goes on."""
        ended = ~sa.exists().where(unfinished, jobs.c.batch_id == batch_id)
        mine = sa.update(batches).where(batches.c.id == batch_id, batches.c.sheet.is_(None), ended).values(sheet=image.id)
        async with self._write() as connection:
            if (await connection.execute(mine)).rowcount == 0:
                return False
            await connection.execute(sa.insert(jobs), Entry(job=job).to_row())
            await add_images(connection, [image])
        return True


async def _headways(connection: AsyncConnection, batch_ids: Sequence[str]) -> dict[str, Headway]:
    """How far each of these batches has come."""
    theirs = jobs.c.batch_id.in_(batch_ids)
    newest = sa.func.row_number().over(partition_by=(jobs.c.batch_id, jobs.c.position), order_by=(jobs.c.created_at.desc(), jobs.c.id.desc()))
    latest = sa.select(jobs.c.batch_id, jobs.c.state, jobs.c.progress, newest.label("place")).where(theirs).subquery()
    counted = sa.select(latest.c.batch_id, latest.c.state, sa.func.count().label("number"), sa.func.sum(latest.c.progress).label("progress"))
    billed = sa.select(jobs.c.batch_id, ledger.c.currency, ledger.c.source, sa.func.sum(ledger.c.micros).label("micros"))
    states: dict[str, list[sa.Row[Any]]] = {batch_id: [] for batch_id in batch_ids}
    sums: dict[str, list[sa.Row[Any]]] = {batch_id: [] for batch_id in batch_ids}
    for row in await connection.execute(counted.where(latest.c.place == 1).group_by(latest.c.batch_id, latest.c.state)):
        states[row.batch_id].append(row)
    billed = billed.join(jobs, jobs.c.id == ledger.c.job_id).where(theirs).group_by(jobs.c.batch_id, ledger.c.currency, ledger.c.source)
    for row in await connection.execute(billed):
        sums[row.batch_id].append(row)
    return {batch_id: _headway(states[batch_id], sums[batch_id]) for batch_id in batch_ids}


def _headway(states: Sequence[sa.Row[Any]], sums: Sequence[sa.Row[Any]]) -> Headway:
    """How far a batch has come, of its items counted by state, and its money by currency and source."""
    numbers = {JobState(row.state): row.number for row in states}
    items = sum(numbers.values())
    ended = sum(number for state, number in numbers.items() if state.ended)
    under_way = sum(row.progress for row in states if row.state == JobState.RUNNING)
    return Headway(
        items=items,
        succeeded=(succeeded := numbers.get(JobState.SUCCEEDED, 0)),
        failed=ended - succeeded,
        running=numbers.get(JobState.RUNNING, 0),
        progress=(ended + under_way) / items if items else 0.0,
        spent=by_currency(sums),
        perhaps=by_currency(row for row in sums if row.source == "possible"),
    )
