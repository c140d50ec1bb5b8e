"""What is asked of the record and written into it. Every method is one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import anyio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..models import Adjustment, Cost, Event, Failure, Image, Job, JobState
from . import codecs
from .schema import events, images, jobs, ledger, unfinished
from .trouble import in_our_words

_SEARCH_CHARS = 1000
"""What is searched for is cut here: SQLite takes patterns up to 50,000 bytes."""

_PAGE = 500


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Which unfinished jobs an owner holds, and which of them somebody wants to end."""

    jobs: tuple[str, ...]
    cancel_requested: tuple[str, ...]


class History:
    """The record. All times are UTC-aware, on the way in and out. `open_history` makes one.

    An owner is the name a server process gave itself. A job it holds has a lease; when that has run out, another process may claim the job,
    and nothing the former owner writes about it is taken any more.

    Raises:
        StorageError: from any method, when the database cannot be used.
    """

    def __init__(self, engine: AsyncEngine, place: str) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)
        self._place = place
        # One writer at a time is the most SQLite can do; waiting here is fair and immediate, waiting in SQLite is polling.
        self._turn = anyio.Lock()

    async def close(self) -> None:
        """Lets go of the database. Closing twice does nothing."""
        with anyio.CancelScope(shield=True):
            await self._engine.dispose()

    # ------------------------------------------------------------------ jobs

    async def add_job(self, job: Job, *, lease_until: datetime | None = None) -> None:
        """The job is on disk when this returns. The lease is its owner's, if it has one."""
        async with self._write() as connection:
            await connection.execute(sa.insert(jobs), {**codecs.job_to_row(job), "lease_until": lease_until})

    async def job(self, job_id: str) -> Job | None:
        """The job with its images in order. Its input images have lost their bytes."""
        async with self._read() as connection:
            found = await _jobs(connection, sa.select(jobs).where(jobs.c.id == job_id))
        return found[0] if found else None

    async def jobs(
        self, principal: str | None, *, states: Collection[JobState] | None = None, limit: int = 50, before: str | None = None
    ) -> list[Job]:
        """The jobs of a principal, or of all (None), newest first.

        Args:
            states: only those; None: all.
            before: the id of the last job seen; the ones after it in this order follow.
        """
        query = sa.select(jobs)
        if states is not None:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        async with self._read() as connection:
            return await _jobs(connection, _newest_first(query, jobs, principal, before).limit(limit))

    # ------------------------------------------------------------------ who works on them

    async def claim(self, owner: str, *, now: datetime, lease_until: datetime, limit: int) -> list[Job]:
        """Unfinished jobs that nobody holds, oldest first, now the owner's. No two owners ever get the same one.

        Among those, jobs whose end was asked for are cancelled instead. An owner's own jobs are never handed to it again.
        """
        free = unfinished & _abandoned(now) & jobs.c.owner.is_distinct_from(owner)
        wanted = sa.select(jobs.c.id).where(free).order_by(jobs.c.created_at, jobs.c.id).limit(limit).with_for_update(skip_locked=True)
        async with self._write() as connection:
            await connection.execute(sa.update(jobs).where(free, jobs.c.cancel_requested).values(_cancelled(now)))
            claimed = await connection.scalars(
                sa.update(jobs).where(jobs.c.id.in_(wanted.scalar_subquery())).values(owner=owner, lease_until=lease_until).returning(jobs.c.id)
            )
            ids = list(claimed)
            return await _jobs(connection, sa.select(jobs).where(jobs.c.id.in_(ids)).order_by(jobs.c.created_at, jobs.c.id)) if ids else []

    async def renew(self, owner: str, *, lease_until: datetime) -> Standing:
        """A sign of life for all unfinished jobs of the owner: says which are still its own."""
        statement = sa.update(jobs).where(unfinished, jobs.c.owner == owner).values(lease_until=lease_until)
        async with self._write() as connection:
            rows = (await connection.execute(statement.returning(jobs.c.id, jobs.c.cancel_requested))).all()
        return Standing(
            jobs=tuple(sorted(job_id for job_id, _ in rows)),
            cancel_requested=tuple(sorted(job_id for job_id, wanted in rows if wanted)),
        )

    async def release(self, owner: str) -> None:
        """The owner's unfinished jobs can be claimed at once."""
        async with self._write() as connection:
            await connection.execute(sa.update(jobs).where(unfinished, jobs.c.owner == owner).values(owner=None, lease_until=None))

    # ------------------------------------------------------------------ the life of one

    async def start(self, job_id: str, owner: str, *, now: datetime) -> bool:
        """Queued or taken up, now running, counted as an attempt. False: it is not the owner's, has ended, or is to be cancelled."""
        return await self._change(
            _held(job_id, owner) & ~jobs.c.cancel_requested,
            state=JobState.RUNNING.value,
            attempts=jobs.c.attempts + 1,
            started_at=sa.func.coalesce(jobs.c.started_at, sa.bindparam("now", now, jobs.c.started_at.type)),
        )

    async def accepted(self, job_id: str, owner: str, task_id: str) -> bool:
        """The service's own id is on disk. False: the job is not the owner's any more."""
        return await self._change(_held(job_id, owner), task_id=task_id)

    async def progress(self, job_id: str, owner: str, fraction: float, message: str, *, now: datetime) -> Event | None:
        """The event that was appended; None when the job is not the owner's any more."""
        statement = (
            sa.update(jobs).where(_held(job_id, owner)).values(progress=fraction, message=message, events=jobs.c.events + 1).returning(jobs.c.events)
        )
        async with self._write() as connection:
            # The job's own row counts, so two writers wait for each other there and no number is left out.
            sequence = await connection.scalar(statement)
            if sequence is None:
                return None
            event = Event(job_id=job_id, sequence=sequence, at=now, progress=fraction, message=message)
            await connection.execute(sa.insert(events), {"job_id": job_id, "sequence": sequence, "at": now, "progress": fraction, "message": message})
        return event

    async def events(self, job_id: str, after: int = 0) -> list[Event]:
        """The job's events whose sequence is greater, in order."""
        query = sa.select(events).where(events.c.job_id == job_id, events.c.sequence > after).order_by(events.c.sequence)
        async with self._read() as connection:
            return [codecs.event_from_row(row) for row in (await connection.execute(query)).mappings()]

    async def finish(
        self,
        job_id: str,
        owner: str,
        state: JobState,
        *,
        now: datetime,
        images: Sequence[Image] = (),
        failure: Failure | None = None,
        cost: Cost | None = None,
        request_id: str | None = None,
        adjustments: Sequence[Adjustment] | None = None,
    ) -> bool:
        """The end of a job, its images and its cost, all written or none. False, and nothing written: not the owner's, or ended before.

        Args:
            adjustments: takes the place of those recorded so far; None leaves them.
        """
        if not state.ended:
            raise ValueError(f"a job cannot end as {state}")
        ended: dict[str, Any] = {
            "state": state.value,
            "failure": codecs.failure_to_json(failure),
            "cost": codecs.cost_to_json(cost),
            "request_id": request_id,
            "lease_until": None,
            "finished_at": now,
        }
        if state is JobState.SUCCEEDED:
            ended["progress"] = 1.0
        if adjustments is not None:
            ended["adjustments"] = codecs.adjustments_to_json(adjustments)
        statement = sa.update(jobs).where(_held(job_id, owner)).values(ended).returning(jobs.c.principal, jobs.c.provider, jobs.c.model)
        async with self._write() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
            if row is None:
                return False
            if images:
                await connection.execute(sa.insert(_images), [codecs.image_to_row(image, position) for position, image in enumerate(images)])
            if cost is not None:
                entry = {"micros": cost.micros, "currency": cost.currency, "source": cost.source, "at": now}
                await connection.execute(sa.insert(ledger), {"job_id": job_id, **row, **entry})
        return True

    async def request_cancel(self, job_id: str, *, now: datetime) -> JobState | None:
        """The job's state afterwards; None when there is no such job.

        A job that nobody holds is cancelled at once. For any other the wish is kept, and its owner sees it at the next `renew`.
        """
        mine = unfinished & (jobs.c.id == job_id)
        async with self._write() as connection:
            await connection.execute(sa.update(jobs).where(mine, _abandoned(now)).values(_cancelled(now)))
            await connection.execute(sa.update(jobs).where(mine).values(cancel_requested=True))
            state = await connection.scalar(sa.select(jobs.c.state).where(jobs.c.id == job_id))
        return None if state is None else JobState(state)

    # ------------------------------------------------------------------ images

    async def image(self, image_id: str) -> Image | None:
        """The image of that id."""
        async with self._read() as connection:
            row = (await connection.execute(sa.select(images).where(images.c.id == image_id))).mappings().one_or_none()
        return None if row is None else codecs.image_from_row(row)

    async def images(
        self,
        principal: str | None,
        *,
        text: str = "",
        provider: str | None = None,
        model: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> list[Image]:
        """The images of a principal, or of all (None), newest first.

        Args:
            text: the prompt holds it, in capitals or not, in any script.
            before: the id of the last image seen; the ones after it in this order follow.
        """
        query = sa.select(images)
        if text:
            query = query.where(images.c.prompt_folded.contains(text.casefold()[:_SEARCH_CHARS], autoescape=True))
        if provider is not None:
            query = query.where(images.c.provider == provider)
        if model is not None:
            query = query.where(images.c.model == model)
        async with self._read() as connection:
            return await _some_images(connection, _newest_first(query, images, principal, before).limit(limit))

    async def all_images(self, principal: str | None = None) -> AsyncIterator[Image]:
        """Every image of a principal, or of all (None), in no meaningful order. Images that appear meanwhile may or may not be among them."""
        query = sa.select(images).order_by(images.c.id).limit(_PAGE)
        if principal is not None:
            query = query.where(images.c.principal == principal)
        last = ""
        while True:
            async with self._read() as connection:
                page = await _some_images(connection, query.where(images.c.id > last))
            for image in page:
                yield image
            if len(page) < _PAGE:
                return
            last = page[-1].id

    # ------------------------------------------------------------------ money

    async def spent(self, principal: str | None, *, since: datetime) -> dict[str, int]:
        """Millionths of each currency that a principal, or all (None), spent from that moment on."""
        query = sa.select(ledger.c.currency, sa.func.sum(ledger.c.micros)).where(ledger.c.at >= since).group_by(ledger.c.currency)
        if principal is not None:
            query = query.where(ledger.c.principal == principal)
        async with self._read() as connection:
            return {currency: int(micros) for currency, micros in await connection.execute(query)}

    # ------------------------------------------------------------------ transactions

    async def _change(self, which: sa.ColumnElement[bool], **values: Any) -> bool:
        async with self._write() as connection:
            return (await connection.execute(sa.update(jobs).where(which).values(values))).rowcount == 1

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[AsyncConnection]:
        """One snapshot. Shielded, like writing: breaking a statement off would cost the connection and save a millisecond."""
        with anyio.CancelScope(shield=True), in_our_words(self._place):
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def _write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed at the end. Shielded, so that whoever asked knows that it happened or did not."""
        async with self._turn:
            with anyio.CancelScope(shield=True), in_our_words(self._place):
                async with self._writer.begin() as connection:
                    yield connection


_images = images
"""The table, where a parameter has its name."""


def _held(job_id: str, owner: str) -> sa.ColumnElement[bool]:
    return unfinished & (jobs.c.id == job_id) & (jobs.c.owner == owner)


def _abandoned(now: datetime) -> sa.ColumnElement[bool]:
    return jobs.c.owner.is_(None) | (jobs.c.lease_until < now)


def _cancelled(now: datetime) -> dict[str, Any]:
    return {"state": JobState.CANCELLED.value, "cancel_requested": True, "finished_at": now, "lease_until": None}


def _newest_first(query: sa.Select[Any], table: sa.Table, principal: str | None, before: str | None) -> sa.Select[Any]:
    if principal is not None:
        query = query.where(table.c.principal == principal)
    if before is not None:
        last = table.alias("last")
        place = sa.tuple_(table.c.created_at, table.c.id)
        query = query.where(place < sa.select(last.c.created_at, last.c.id).where(last.c.id == before).scalar_subquery())
    return query.order_by(table.c.created_at.desc(), table.c.id.desc())


async def _jobs(connection: AsyncConnection, query: sa.Select[Any]) -> list[Job]:
    rows = (await connection.execute(query)).mappings().all()
    if not rows:
        return []
    theirs = sa.select(images).where(images.c.job_id.in_([row["id"] for row in rows])).order_by(images.c.job_id, images.c.position)
    by_job: dict[str, list[Image]] = {}
    for image in await _some_images(connection, theirs):
        by_job.setdefault(image.job_id, []).append(image)
    return [replace(codecs.job_from_row(row), images=tuple(by_job.get(row["id"], ()))) for row in rows]


async def _some_images(connection: AsyncConnection, query: sa.Select[Any]) -> list[Image]:
    return [codecs.image_from_row(row) for row in (await connection.execute(query)).mappings()]
