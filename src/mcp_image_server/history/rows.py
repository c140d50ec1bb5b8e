"""Jobs as rows: written, read, and changed only by whoever may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..models import Cost, Image, Job, JobState
from . import codecs
from .library import some_images
from .schema import deleted, images, jobs, unfinished

in_line = jobs.c.state == JobState.QUEUED.value
"""Waiting, or to wait again."""

perhaps_billed: sa.ColumnElement[bool] = sa.func.coalesce(jobs.c.failure["may_have_been_billed"].as_boolean(), False)
"""It failed, and may have cost money all the same."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A job on its way into the record, and what is kept beside it."""

    job: Job
    lease_until: datetime | None = None
    fingerprint: str | None = None
    """What tells whether two requests of a principal are the same."""
    idempotency_key: str | None = None
    promised: Cost | None = None
    """What is kept for the job while it is unfinished."""

    def to_row(self) -> dict[str, Any]:
        """As columns."""
        return {
            **codecs.job_to_row(self.job),
            "lease_until": self.lease_until,
            "fingerprint": self.fingerprint,
            "idempotency_key": self.idempotency_key,
            "attended": True,
            "promised": self.promised.micros if self.promised else 0,
            "promised_currency": self.promised.currency if self.promised else "",
        }


def held_by(job_id: str, owner: str) -> sa.ColumnElement[bool]:
    """The unfinished job of that id, while it is the owner's."""
    return unfinished & (jobs.c.id == job_id) & (jobs.c.owner == owner)


def as_started(now: datetime) -> dict[str, Any]:
    """What changes when a job is begun."""
    moment = sa.bindparam("now", now, jobs.c.started_at.type)
    return {
        "state": JobState.RUNNING.value,
        "attempts": jobs.c.attempts + 1,
        "started_at": sa.func.coalesce(jobs.c.started_at, moment),
        "begun_at": moment,
    }


def as_cancelled(now: datetime) -> dict[str, Any]:
    """What changes when a job is cancelled that nobody works on."""
    return {"state": JobState.CANCELLED.value, "cancel_requested": True, "finished_at": now, "lease_until": None}


async def some_rows(connection: AsyncConnection, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
    """Every row of the query, by the names of its columns."""
    rows: Sequence[sa.RowMapping] = (await connection.execute(query)).mappings().all()
    return rows


async def some_jobs(connection: AsyncConnection, query: sa.Select[Any]) -> list[Job]:
    """The jobs of these rows, with their images in order."""
    rows = (await connection.execute(query)).mappings().all()
    if not rows:
        return []
    theirs = sa.select(images).where(images.c.job_id.in_([row["id"] for row in rows]), ~deleted).order_by(images.c.job_id, images.c.position)
    by_job: dict[str, list[Image]] = {}
    for image in await some_images(connection, theirs):
        by_job.setdefault(image.job_id, []).append(image)
    return [replace(codecs.job_from_row(row), images=tuple(by_job.get(row["id"], ()))) for row in rows]
