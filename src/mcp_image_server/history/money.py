"""What was spent, what is promised, and who looks after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..models import JobState, Spending
from .rows import perhaps_billed
from .schema import jobs, ledger, unfinished


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How money is looked after when a job enters."""

    check: Callable[[Spending], None]
    """Raises when there is not enough; then nothing is written."""
    day: datetime
    """When the day began."""
    month: datetime


def by_currency(rows: Iterable[Any]) -> dict[str, int]:
    """Sums of the rows' `micros`, by their `currency`."""
    sums: dict[str, int] = {}
    for row in rows:
        sums[row.currency] = sums.get(row.currency, 0) + int(row.micros)
    return sums


async def spending_of(connection: AsyncConnection, principal: str, budget: Budget) -> Spending:
    """Sums of the ledger, and of what is promised to unfinished jobs, which counts as spent today; and how much the principal has asked for."""
    theirs, today = (ledger.c.principal == principal).label("theirs"), (ledger.c.at >= budget.day).label("today")
    spent = sa.select(ledger.c.currency, theirs, today, sa.func.sum(ledger.c.micros).label("micros")).where(ledger.c.at >= budget.month)
    promised = sa.select(
        jobs.c.promised_currency.label("currency"),
        (jobs.c.principal == principal).label("theirs"),
        sa.literal(True).label("today"),
        sa.func.sum(jobs.c.promised).label("micros"),
    ).where(unfinished, jobs.c.promised > 0)
    sums: dict[str, dict[str, int]] = {"day": {}, "month": {}, "principal_day": {}, "principal_month": {}}
    for query in (spent.group_by(ledger.c.currency, theirs, today), promised.group_by("currency", "theirs")):
        for row in await connection.execute(query):
            windows = ["month", *(["day"] if row.today else [])]
            for window in windows + [f"principal_{name}" for name in windows if row.theirs]:
                sums[window][row.currency] = sums[window].get(row.currency, 0) + int(row.micros)
    own = jobs.c.principal == principal
    under_way = await connection.scalar(sa.select(sa.func.count()).where(unfinished, own))
    failed = jobs.c.state.in_([state.value for state in (JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED)])
    wanted = ~failed | perhaps_billed  # else who cancels in time could draw without end
    asked = await connection.scalar(sa.select(sa.func.sum(jobs.c.pictures)).where(own, jobs.c.created_at >= budget.day, jobs.c.account != "", wanted))
    return Spending(**sums, jobs=under_way or 0, images=int(asked or 0))
