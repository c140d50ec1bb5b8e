"""What is asked of the record and written into it. Every method is one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import anyio
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from ..errors import RequestError
from ..models import Adjustment, Begun, Breaker, Cost, Event, Failure, Headway, Image, Job, JobState, Offer, Spending, Waiting
from . import codecs
from .library import Library, add_images, newest_first, some_images
from .schema import batches, breakers, deleted, events, images, jobs, ledger, pauses, unfinished
from .trouble import in_our_words

_PAGE = 500


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Which unfinished jobs an owner holds, and which of them somebody wants to end."""

    jobs: tuple[str, ...]
    cancel_requested: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Held:
    """An unfinished job of another owner, and its last sign of life."""

    job_id: str
    owner: str | None
    lease_until: datetime | None


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
class Budget:
    """How money is looked after when a job enters."""

    check: Callable[[Spending], None]
    """Raises when there is not enough; then nothing is written."""
    day: datetime
    """When the day began."""
    month: datetime


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


Judge = Callable[[Breaker], Breaker | None]
"""What becomes of a model's breaker; pure."""

_CHUNK = 100
"""Rows at a time, so that others are served in between."""

_BEGUN = timedelta(minutes=2)
"""As far back as limits look."""


class History:
    """The record. All times are UTC-aware, on the way in and out. `open_history` makes one.

    An owner is the name a server process gave itself. A job it holds has a lease, which it renews. Whether an owner that does not is gone, other processes judge
    by their own clocks; what one of them has claimed takes nothing more from its former owner.

    Raises:
        StorageError: from any method, when the database cannot be used.
    """

    def __init__(self, engine: AsyncEngine, place: str) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)
        self._place = place
        # One writer at a time is the most SQLite can do; waiting here is fair and immediate, waiting in SQLite is polling.
        self._turn = anyio.Lock()
        self.library = Library(self._read, self._write)

    async def close(self) -> None:
        """Lets go of the database. Closing twice does nothing."""
        with anyio.CancelScope(shield=True):
            await self._engine.dispose()

    # ------------------------------------------------------------------ jobs

    async def enter(
        self,
        job: Job,
        *,
        lease_until: datetime | None = None,
        fingerprint: str | None = None,
        idempotency_key: str | None = None,
        twin_before: datetime | None = None,
        promised: Cost | None = None,
        budget: Budget | None = None,
    ) -> Job:
        """The job, now on disk; or an older one that is the same request, which is joined instead. Compare ids to tell.

        Args:
            fingerprint: what tells whether two requests of a principal are the same.
            idempotency_key: a second job of the principal with this key is the first one, whatever has become of it.
            twin_before: an unfinished job of the same fingerprint is joined when it is older than this, or when whoever asked for it has gone. None: never.
            promised: what is kept for the job while it is unfinished.

        Raises:
            RequestError: the key was used for another request (`idempotency_conflict`).
            LimitError: as `budget.check` says.
        """
        async with self._write() as connection:
            if idempotency_key is not None:
                mine = sa.select(jobs).where(jobs.c.principal == job.principal, jobs.c.idempotency_key == idempotency_key)
                if first := await _rows(connection, mine):
                    if first[0]["fingerprint"] != fingerprint:
                        raise RequestError(
                            f"The idempotency key {idempotency_key!r} belongs to job {first[0]['id']}, which asked for something else. Use a new key.",
                            code="idempotency_conflict",
                            details={"job_id": first[0]["id"]},
                        )
                    return (await _jobs(connection, mine))[0]
            if twin_before is not None and fingerprint is not None:
                left = ~jobs.c.attended | (jobs.c.created_at <= twin_before)
                twin = sa.select(jobs).where(unfinished, jobs.c.principal == job.principal, jobs.c.fingerprint == fingerprint, left)
                if found := await _jobs(connection, twin.order_by(jobs.c.created_at).limit(1)):
                    await connection.execute(sa.update(jobs).where(jobs.c.id == found[0].id).values(attended=True))
                    return found[0]
            if budget is not None:
                budget.check(await _spending(connection, job.principal, budget))
            entry = Entry(job=job, lease_until=lease_until, fingerprint=fingerprint, idempotency_key=idempotency_key, promised=promised)
            await connection.execute(sa.insert(jobs), entry.to_row())
        return job

    async def unattend(self, job_id: str) -> None:
        """Whoever asked for the job has gone; the same request would join it."""
        await self._change(unfinished & (jobs.c.id == job_id), attended=False)

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
        if principal is not None:
            query = query.where(jobs.c.principal == principal)
        if states is not None:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        async with self._read() as connection:
            return await _jobs(connection, newest_first(query, jobs, before).limit(limit))

    # ------------------------------------------------------------------ many at once

    async def enter_batch(self, order: Order, entries: Sequence[Entry], *, budget: Budget | None = None) -> list[str]:
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
                budget.check(await _spending(connection, order.principal, budget))
            if known:
                await connection.execute(sa.update(batches).where(batches.c.id == order.id).values(sheet=None))
            else:
                row = {"id": order.id, "principal": order.principal, "items": list(order.items), "created_at": order.created_at}
                await connection.execute(sa.insert(batches), row)
            for start in range(0, len(new), _CHUNK):
                await connection.execute(sa.insert(jobs), [entry.to_row() for entry in new[start : start + _CHUNK]])
        return [entry.job.id for entry in new]

    async def batch(self, batch_id: str) -> Order | None:
        """What the batch was asked for."""
        async with self._read() as connection:
            row = (await connection.execute(sa.select(batches).where(batches.c.id == batch_id))).mappings().one_or_none()
        return None if row is None else Order(**{**row, "items": tuple(row["items"])})

    async def batch_jobs(self, batch_id: str) -> list[Job]:
        """Every job that was entered for the batch, item by item, oldest first."""
        query = sa.select(jobs).where(jobs.c.batch_id == batch_id).order_by(jobs.c.position, jobs.c.created_at, jobs.c.id)
        found: list[Job] = []
        async with self._read() as connection:
            last = await connection.scalar(sa.select(sa.func.max(jobs.c.position)).where(jobs.c.batch_id == batch_id))
            for start in range(0, (last if last is not None else -1) + 1, _CHUNK):
                found += await _jobs(connection, query.where(jobs.c.position.between(start, start + _CHUNK - 1)))
        return found

    async def headway(self, batch_id: str) -> Headway:
        """How far the batch has come."""
        newest = sa.func.row_number().over(partition_by=jobs.c.position, order_by=(jobs.c.created_at.desc(), jobs.c.id.desc())).label("place")
        latest = sa.select(jobs.c.state, jobs.c.progress, newest).where(jobs.c.batch_id == batch_id).subquery()
        states = sa.select(latest.c.state, sa.func.count().label("number"), sa.func.sum(latest.c.progress).label("progress"))
        money = sa.select(ledger.c.currency, ledger.c.source, sa.func.sum(ledger.c.micros).label("micros"))
        money = money.where(ledger.c.job_id.in_(sa.select(jobs.c.id).where(jobs.c.batch_id == batch_id)))
        async with self._read() as connection:
            rows = (await connection.execute(states.where(latest.c.place == 1).group_by(latest.c.state))).all()
            sums = (await connection.execute(money.group_by(ledger.c.currency, ledger.c.source))).all()
        numbers = {JobState(row.state): row.number for row in rows}
        items = sum(numbers.values())
        ended = sum(number for state, number in numbers.items() if state.ended)
        under_way = sum(row.progress for row in rows if row.state == JobState.RUNNING)
        return Headway(
            items=items,
            succeeded=(succeeded := numbers.get(JobState.SUCCEEDED, 0)),
            failed=ended - succeeded,
            running=numbers.get(JobState.RUNNING, 0),
            progress=(ended + under_way) / items if items else 0.0,
            spent=_by_currency(sums),
            perhaps=_by_currency(row for row in sums if row.source == "possible"),
        )

    async def cancel_batch(self, batch_id: str, *, now: datetime) -> list[str]:
        """Ends every job of the batch that has not begun. For the others the wish is kept, and their ids are returned."""
        theirs = unfinished & (jobs.c.batch_id == batch_id)
        async with self._write() as connection:
            await connection.execute(sa.update(jobs).where(theirs, _in_line).values(_cancelled(now)))
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

    # ------------------------------------------------------------------ who works on them

    async def held_by_others(self, owner: str, *, dropped: Collection[str] = ()) -> list[Held]:
        """Every unfinished job that is not this owner's.

        Args:
            dropped: jobs of the owner that it has stopped to work on, which are seen as well.
        """
        columns = (jobs.c.id, jobs.c.owner, jobs.c.lease_until)
        theirs = jobs.c.owner.is_distinct_from(owner) | jobs.c.id.in_(dropped)
        async with self._read() as connection:
            rows = await connection.execute(sa.select(*columns).where(unfinished, theirs).order_by(jobs.c.created_at))
            return [Held(job_id=row.id, owner=row.owner, lease_until=row.lease_until) for row in rows]

    async def claim(self, owner: str, gone: Collection[Held], *, now: datetime, lease_until: datetime) -> list[Job]:
        """Those of these jobs that have shown no further sign of life, oldest first, now the owner's. No two owners ever get the same one.

        Jobs in line whose end was asked for are cancelled instead. One that was begun may have been paid for; that is for its new owner to find out.
        Nobody waits any more for what is claimed.
        """
        claimed: list[str] = []
        async with self._write() as connection:
            for held in gone:
                same = unfinished & (jobs.c.id == held.job_id)
                same &= jobs.c.owner.is_not_distinct_from(held.owner) & jobs.c.lease_until.is_not_distinct_from(held.lease_until)
                await connection.execute(sa.update(jobs).where(same, _in_line, jobs.c.cancel_requested).values(_cancelled(now)))
                taken = sa.update(jobs).where(same).values(owner=owner, lease_until=lease_until, attended=False).returning(jobs.c.id)
                claimed += await connection.scalars(taken)
            return await _jobs(connection, sa.select(jobs).where(jobs.c.id.in_(claimed)).order_by(jobs.c.created_at, jobs.c.id)) if claimed else []

    async def renew(self, owner: str, *, lease_until: datetime, dropped: Collection[str] = ()) -> Standing:
        """A sign of life for all unfinished jobs of the owner: says which are still its own.

        Args:
            dropped: jobs that it has stopped to work on, which get none.
        """
        statement = sa.update(jobs).where(unfinished, jobs.c.owner == owner, jobs.c.id.not_in(dropped)).values(lease_until=lease_until)
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

    async def admit(
        self,
        account: str,
        owner: str,
        decide: Callable[[Line], Collection[str]],
        *,
        now: datetime,
        trial: Callable[[Breaker], Breaker],
        depth: int | None = None,
    ) -> list[str]:
        """The ids of jobs of the account that are now the owner's to work on: running, and counted as attempts.

        Deciding and beginning are one step, so that processes that share the database never exceed a limit together.

        Args:
            decide: which of the waiting jobs to begin, from all that is known; pure.
            trial: the breaker of a model that failed, once a job is sent to try whether it works again; pure.
            depth: so many jobs of each principal are looked at, oldest first; None: all.
        """
        async with self._write() as connection:
            line = await _line(connection, account, now, depth)
            wanted = list(decide(line))
            if not wanted:
                return []
            begun: list[str] = []
            for index, job_id in enumerate(wanted):
                # Each a moment after the other, so that who was served last can be told among those that were begun together.
                started = _started(now + timedelta(microseconds=index))
                mine = unfinished & (jobs.c.id == job_id) & (jobs.c.owner == owner) & ~jobs.c.cancel_requested
                begun += await connection.scalars(sa.update(jobs).where(mine).values(started).returning(jobs.c.id))
            tried = {(job.provider, job.model) for job in line.waiting if job.job_id in begun}
            for breaker in line.breakers:
                if (breaker.provider, breaker.model) in tried and breaker.open_until is not None:
                    await _put_breaker(connection, trial(breaker))
        return begun

    async def line(self, account: str, *, now: datetime) -> Line:
        """What stands between the waiting jobs of the account and their service."""
        async with self._read() as connection:
            return await _line(connection, account, now)

    async def start(self, job_id: str, owner: str, *, now: datetime, counts: bool = True) -> bool:
        """Running, past the line: a job taken up holds its place at the service already.

        False: it is not the owner's, has ended, or is to be cancelled.

        Args:
            counts: as an attempt.
        """
        started = _started(now) if counts else {**_started(now), "attempts": jobs.c.attempts}
        return await self._change(_held(job_id, owner) & ~jobs.c.cancel_requested, **started)

    async def count_attempt(self, job_id: str, owner: str) -> bool:
        """One more attempt at a job that was started without counting. False: it is not the owner's any more."""
        return await self._change(_held(job_id, owner), attempts=jobs.c.attempts + 1)

    async def put_back(
        self,
        job_id: str,
        owner: str,
        message: str,
        *,
        offer: Offer | None = None,
        alternates: Sequence[Offer] = (),
        pause_until: datetime | None = None,
    ) -> bool:
        """In line again, since no service has accepted the job. False: it is not the owner's any more.

        Args:
            offer: who is to draw instead; None: the same service.
            alternates: who may after that, where there is an offer.
            pause_until: nothing of the job's present account is begun before.
        """
        changes: dict[str, Any] = {"state": JobState.QUEUED.value, "message": message, "tries": jobs.c.tries + 1, "attempts": jobs.c.attempts - 1}
        if offer is not None:
            changes |= {name: value for name, value in codecs.offer_to_json(offer).items() if name != "adjustments"}
            changes["adjustments"] = codecs.adjustments_to_json(offer.adjustments)
            changes["alternates"] = [codecs.offer_to_json(each) for each in alternates]
            changes["pictures"] = offer.request.count
        async with self._write() as connection:
            account = await connection.scalar(sa.select(jobs.c.account).where(_held(job_id, owner)))
            if account is None:
                return False
            if pause_until is not None:
                await connection.execute(sa.delete(pauses).where(pauses.c.account == account))
                await connection.execute(sa.insert(pauses), {"account": account, "until": pause_until})
            await connection.execute(sa.update(jobs).where(_held(job_id, owner)).values(changes))
        return True

    async def accepted(self, job_id: str, owner: str, task_id: str) -> bool:
        """The service's own id is on disk. False: the job is not the owner's any more."""
        return await self._change(_held(job_id, owner), task_id=task_id)

    async def progress(
        self, job_id: str, owner: str, fraction: float, message: str, *, now: datetime, preview_key: str | None = None
    ) -> Event | None:
        """The event that was appended; None when the job is not the owner's any more."""
        statement = (
            sa.update(jobs).where(_held(job_id, owner)).values(progress=fraction, message=message, events=jobs.c.events + 1).returning(jobs.c.events)
        )
        async with self._write() as connection:
            # The job's own row counts, so two writers wait for each other there and no number is left out.
            sequence = await connection.scalar(statement)
            if sequence is None:
                return None
            event = Event(job_id=job_id, sequence=sequence, at=now, progress=fraction, message=message, preview_key=preview_key)
            await connection.execute(sa.insert(events), asdict(event))
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
        judge: Judge | None = None,
    ) -> bool:
        """The end of a job, its images and its cost, all written or none. False, and nothing written: not the owner's, or ended before.

        One thing is stronger than an end without pictures: pictures. They are written whoever ended the job meanwhile, and the job has succeeded.

        Args:
            adjustments: takes the place of those recorded so far; None leaves them.
            judge: the breaker of the job's model as it is to be after this; None from it: the model is well.
        """
        if not state.ended:
            raise ValueError(f"a job cannot end as {state}")
        which = _held(job_id, owner)
        if images:
            empty = jobs.c.state.in_([JobState.FAILED.value, JobState.EXPIRED.value, JobState.CANCELLED.value])
            which |= (jobs.c.id == job_id) & empty & ~sa.exists().where(_images.c.job_id == job_id)
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
        statement = sa.update(jobs).where(which).values(ended).returning(jobs.c.principal, jobs.c.provider, jobs.c.model)
        async with self._write() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
            if row is None:
                return False
            if images:
                await add_images(connection, images)
            if cost is not None:
                await connection.execute(sa.delete(ledger).where(ledger.c.job_id == job_id))  # what an end without pictures was thought to cost
                entry = {"micros": cost.micros, "currency": cost.currency, "source": cost.source, "at": now}
                await connection.execute(sa.insert(ledger), {"job_id": job_id, **row, **entry})
            if judge is not None:
                await _judge(connection, row["provider"], row["model"], judge)
        return True

    async def judge(self, provider: str, model: str, judge: Judge) -> None:
        """Changes the model's breaker: to what `judge` makes of it, or to none."""
        async with self._write() as connection:
            await _judge(connection, provider, model, judge)

    async def breakers(self) -> list[Breaker]:
        """Of every model that failed the last time."""
        async with self._read() as connection:
            return [
                codecs.breaker_from_row(row) for row in await _rows(connection, sa.select(breakers).order_by(breakers.c.provider, breakers.c.model))
            ]

    async def latest_preview(self, job_id: str) -> str | None:
        """The key of the last picture of the work so far."""
        query = sa.select(events.c.preview_key).where(events.c.job_id == job_id, events.c.preview_key.is_not(None))
        async with self._read() as connection:
            key: str | None = await connection.scalar(query.order_by(events.c.sequence.desc()).limit(1))
        return key

    async def request_cancel(self, job_id: str, *, now: datetime) -> JobState | None:
        """The job's state afterwards; None when there is no such job.

        A job in line that nobody holds is cancelled at once. For any other the wish is kept, and its owner sees it at the next `renew`.
        """
        mine = unfinished & (jobs.c.id == job_id)
        async with self._write() as connection:
            await connection.execute(sa.update(jobs).where(mine, _in_line, jobs.c.owner.is_(None)).values(_cancelled(now)))
            await connection.execute(sa.update(jobs).where(mine).values(cancel_requested=True))
            state = await connection.scalar(sa.select(jobs.c.state).where(jobs.c.id == job_id))
        return None if state is None else JobState(state)

    # ------------------------------------------------------------------ images

    async def image(self, image_id: str) -> Image | None:
        """The image of that id, unless it is in the trash."""
        async with self._read() as connection:
            found = await some_images(connection, sa.select(images).where(images.c.id == image_id, ~deleted))
        return found[0] if found else None

    async def all_images(self, principal: str | None = None) -> AsyncIterator[Image]:
        """Every image of a principal, or of all (None), also in the trash, in no meaningful order. Images that appear meanwhile may or may not be among them."""
        query = sa.select(images).order_by(images.c.id).limit(_PAGE)
        if principal is not None:
            query = query.where(images.c.principal == principal)
        last = ""
        while True:
            async with self._read() as connection:
                page = await some_images(connection, query.where(images.c.id > last))
            for image in page:
                yield image
            if len(page) < _PAGE:
                return
            last = page[-1].id

    # ------------------------------------------------------------------ money

    async def spending(self, principal: str, budget: Budget) -> Spending:
        """What was spent and promised, by everybody and by the principal."""
        async with self._read() as connection:
            return await _spending(connection, principal, budget)

    async def seconds(self) -> dict[tuple[str, str], float]:
        """How long the jobs of each provider and model took lately, in the middle."""
        latest = sa.select(jobs.c.provider, jobs.c.model, jobs.c.begun_at, jobs.c.finished_at)
        latest = latest.where(jobs.c.state == JobState.SUCCEEDED.value, jobs.c.begun_at.is_not(None)).order_by(jobs.c.created_at.desc()).limit(200)
        times: dict[tuple[str, str], list[float]] = {}
        async with self._read() as connection:
            for row in await connection.execute(latest):
                times.setdefault((row.provider, row.model), []).append(max(0.0, (row.finished_at - row.begun_at).total_seconds()))
        return {model: median(seconds) for model, seconds in times.items()}

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


_in_line = jobs.c.state == JobState.QUEUED.value


def _held(job_id: str, owner: str) -> sa.ColumnElement[bool]:
    return unfinished & (jobs.c.id == job_id) & (jobs.c.owner == owner)


def _started(now: datetime) -> dict[str, Any]:
    moment = sa.bindparam("now", now, jobs.c.started_at.type)
    return {
        "state": JobState.RUNNING.value,
        "attempts": jobs.c.attempts + 1,
        "started_at": sa.func.coalesce(jobs.c.started_at, moment),
        "begun_at": moment,
    }


def _cancelled(now: datetime) -> dict[str, Any]:
    return {"state": JobState.CANCELLED.value, "cancel_requested": True, "finished_at": now, "lease_until": None}


def _by_currency(rows: Iterable[Any]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row in rows:
        sums[row.currency] = sums.get(row.currency, 0) + int(row.micros)
    return sums


async def _spending(connection: AsyncConnection, principal: str, budget: Budget) -> Spending:
    """Sums of the ledger, and of what is promised to unfinished jobs, which counts as spent today."""
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
    return Spending(**sums)


async def _line(connection: AsyncConnection, account: str, now: datetime, depth: int | None = None) -> Line:
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
    served = {}
    for principal in {job.principal for job in waiting}:
        last = sa.select(sa.func.max(jobs.c.begun_at)).where(jobs.c.account == account, jobs.c.principal == principal)
        if moment := await connection.scalar(last):
            served[principal] = moment
    running = sa.select(jobs.c.account, jobs.c.owner, sa.func.count().label("number")).where(unfinished, jobs.c.state == JobState.RUNNING.value)
    under_way = (await connection.execute(running.group_by(jobs.c.account, jobs.c.owner))).all()
    working: dict[str, int] = {}
    for row in under_way:
        if row.owner is not None:
            working[row.owner] = working.get(row.owner, 0) + row.number
    lately = sa.select(jobs.c.begun_at, jobs.c.pictures).where(jobs.c.account == account, jobs.c.begun_at > now - _BEGUN)
    failing = sa.select(breakers).where(breakers.c.provider.in_({job.provider for job in waiting}))
    return Line(
        waiting=waiting,
        served=served,
        running=sum(row.number for row in under_way if row.account == account),
        begun=tuple(Begun(at=row.begun_at, pictures=row.pictures) for row in await connection.execute(lately)),
        working=working,
        breakers=tuple(map(codecs.breaker_from_row, await _rows(connection, failing))),
        paused_until=await connection.scalar(sa.select(pauses.c.until).where(pauses.c.account == account)),
    )


async def _judge(connection: AsyncConnection, provider: str, model: str, judge: Judge) -> None:
    found = await _rows(connection, sa.select(breakers).where(breakers.c.provider == provider, breakers.c.model == model))
    before = codecs.breaker_from_row(found[0]) if found else None
    after = judge(before or Breaker(provider=provider, model=model))
    if after is None and before is not None:
        await connection.execute(sa.delete(breakers).where(breakers.c.provider == provider, breakers.c.model == model))
    elif after is not None and after != before:
        await _put_breaker(connection, after)


async def _put_breaker(connection: AsyncConnection, breaker: Breaker) -> None:
    await connection.execute(sa.delete(breakers).where(breakers.c.provider == breaker.provider, breakers.c.model == breaker.model))
    await connection.execute(sa.insert(breakers), asdict(breaker))


async def _rows(connection: AsyncConnection, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
    rows: Sequence[sa.RowMapping] = (await connection.execute(query)).mappings().all()
    return rows


async def _jobs(connection: AsyncConnection, query: sa.Select[Any]) -> list[Job]:
    rows = (await connection.execute(query)).mappings().all()
    if not rows:
        return []
    theirs = sa.select(images).where(images.c.job_id.in_([row["id"] for row in rows]), ~deleted).order_by(images.c.job_id, images.c.position)
    by_job: dict[str, list[Image]] = {}
    for image in await some_images(connection, theirs):
        by_job.setdefault(image.job_id, []).append(image)
    return [replace(codecs.job_from_row(row), images=tuple(by_job.get(row["id"], ()))) for row in rows]
