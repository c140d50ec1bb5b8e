"""What stands between waiting jobs and their service: the line, the limits, and how the service is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..models import ECONOMY, Begun, Breaker, JobState, Waiting
from . import codecs
from .rows import some_rows
from .schema import breakers, jobs, pauses, unfinished

Judge = Callable[[Breaker], Breaker | None]
"""What becomes of a model's breaker; pure."""

_BEGUN = timedelta(minutes=2)
"""As far back as limits look."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """What stands between the waiting jobs of an account and their service."""

    waiting: tuple[Waiting, ...]
    served: Mapping[str, datetime]
    """When a job of each waiting principal was last begun here."""
    running: int
    begun: tuple[Begun, ...]
    """Within the last two minutes."""
    working: Mapping[str, int]
    """Jobs under way at any service, by process."""
    breakers: tuple[Breaker, ...]
    """Of the models waited for."""
    paused_until: datetime | None


@dataclass(frozen=True, kw_only=True)
class Load:
    """The unfinished jobs of a provider that are in one state."""

    provider: str
    state: JobState
    jobs: int
    oldest: datetime
    """When the first of them was asked for."""


async def line_of(connection: AsyncConnection, account: str, now: datetime, depth: int | None = None) -> Line:
    """What stands between the waiting jobs of the account and their service.

    Args:
        depth: so many jobs of each principal are looked at, oldest first; None: all.
    """
    queued = unfinished & (jobs.c.account == account) & (jobs.c.state == JobState.QUEUED.value) & ~jobs.c.cancel_requested
    columns = (jobs.c.id, jobs.c.principal, jobs.c.owner, jobs.c.provider, jobs.c.model, jobs.c.pictures, jobs.c.created_at, jobs.c.batch_id)
    query = sa.select(*columns).where(queued)
    if depth is not None:
        order = (jobs.c.batch_id.is_not(None), jobs.c.created_at, jobs.c.id)
        place = sa.func.row_number().over(partition_by=jobs.c.principal, order_by=order).label("place")
        first = query.add_columns(place).subquery()
        query = sa.select(*(first.c[column.name] for column in columns)).where(first.c.place <= depth)
    waiting = tuple(
        Waiting(
            job_id=row.id,
            principal=row.principal,
            owner=row.owner,
            provider=row.provider,
            model=row.model,
            pictures=row.pictures,
            created_at=row.created_at,
            batched=row.batch_id is not None,
        )
        for row in await connection.execute(query)
    )
    # Each principal's last turn is one step in an index; a group of all their jobs would be read in full.
    principals = sa.select(jobs.c.principal).where(queued).distinct().subquery()
    last = sa.select(sa.func.max(jobs.c.begun_at)).where(jobs.c.account == account, jobs.c.principal == principals.c.principal).scalar_subquery()
    served = {row.principal: row.last for row in await connection.execute(sa.select(principals.c.principal, last.label("last")))}
    running = sa.select(jobs.c.account, jobs.c.owner, sa.func.count().label("number")).where(unfinished, jobs.c.state == JobState.RUNNING.value)
    under_way = (await connection.execute(running.group_by(jobs.c.account, jobs.c.owner))).all()
    working: dict[str, int] = {}
    for row in under_way:
        if row.owner is not None and not row.account.endswith(ECONOMY):
            working[row.owner] = working.get(row.owner, 0) + row.number
    lately = sa.select(jobs.c.begun_at, jobs.c.pictures).where(jobs.c.account == account, jobs.c.begun_at > now - _BEGUN)
    failing = sa.select(breakers).where(breakers.c.provider.in_({job.provider for job in waiting}))
    return Line(
        waiting=waiting,
        served={principal: moment for principal, moment in served.items() if moment is not None},
        running=sum(row.number for row in under_way if row.account == account),
        begun=tuple(Begun(at=row.begun_at, pictures=row.pictures) for row in await connection.execute(lately)),
        working=working,
        breakers=tuple(map(codecs.breaker_from_row, await some_rows(connection, failing))),
        paused_until=await connection.scalar(sa.select(pauses.c.until).where(pauses.c.account == account)),
    )


async def judge_model(connection: AsyncConnection, provider: str, model: str, judge: Judge) -> None:
    """Changes the model's breaker to what `judge` makes of it, or to none."""
    found = await some_rows(connection, sa.select(breakers).where(breakers.c.provider == provider, breakers.c.model == model))
    before = codecs.breaker_from_row(found[0]) if found else None
    after = judge(before or Breaker(provider=provider, model=model))
    if after is None and before is not None:
        await connection.execute(sa.delete(breakers).where(breakers.c.provider == provider, breakers.c.model == model))
    elif after is not None and after != before:
        await put_breaker(connection, after)


async def put_breaker(connection: AsyncConnection, breaker: Breaker) -> None:
    """Writes the breaker in place of what there was."""
    await connection.execute(sa.delete(breakers).where(breakers.c.provider == breaker.provider, breakers.c.model == breaker.model))
    await connection.execute(sa.insert(breakers), asdict(breaker))
