"""What is asked of the record and written into it. Every method is one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..errors import RequestError
from ..models import Adjustment, Breaker, Cost, Event, Failure, Image, Job, JobState, Offer, Spending
from . import codecs
from .batches import Batches
from .kept import Kept
from .library import Library, add_images, newest_first, some_images
from .line import Judge, Line, Load, judge_model, line_of, put_breaker
from .money import Budget, spending_of
from .rows import Entry, as_cancelled, as_started, held_by, in_line, perhaps_billed, some_jobs, some_rows
from .schema import breakers, deleted, events, images, jobs, ledger, pauses, unfinished
from .transactions import Transactions
from .uploads import Uploads
from .windows import Windows

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
    provider: str = field(default="", compare=False)
    """Empty: no service draws it."""
    created_at: datetime | None = field(default=None, compare=False)
    deadline: datetime | None = field(default=None, compare=False)
    cancel_requested: bool = field(default=False, compare=False)


class History:
    """The record. All times are UTC-aware, on the way in and out. `open_history` makes one.

    An owner is the name a server process gave itself. A job it holds has a lease, which it renews. Whether an owner that does not is gone, other processes judge
    by their own clocks; what one of them has claimed takes nothing more from its former owner.

    Raises:
        StorageError: from any method, when the database cannot be used.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._read = transactions.read
        self._write = transactions.decide
        self._note = transactions.note
        self.library = Library(transactions.read, transactions.decide)
        self.batches = Batches(transactions.read, transactions.decide)
        self.kept = Kept(transactions.read, transactions.decide)
        self.uploads = Uploads(transactions.read, transactions.decide, transactions.note)
        self.windows = Windows(transactions.note)

    async def close(self) -> None:
        """Lets go of the database. Closing twice does nothing."""
        await self._transactions.close()

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
            if older := await _same_request(connection, job.principal, fingerprint, idempotency_key, twin_before):
                await connection.execute(sa.update(jobs).where(jobs.c.id == older.id).values(attended=True))
                return older
            if budget is not None:
                budget.check(await spending_of(connection, job.principal, budget))
            entry = Entry(job=job, lease_until=lease_until, fingerprint=fingerprint, idempotency_key=idempotency_key, promised=promised)
            await connection.execute(sa.insert(jobs), entry.to_row())
        return job

    async def foresee(
        self,
        principal: str,
        *,
        fingerprint: str | None = None,
        idempotency_key: str | None = None,
        twin_before: datetime | None = None,
        budget: Budget | None = None,
    ) -> Job | None:
        """The older job that `enter` would give for such a request now; None: it would be a new one. Nothing is written.

        Raises:
            RequestError: as `enter` does.
            LimitError: as `enter` does.
        """
        async with self._read() as connection:
            older = await _same_request(connection, principal, fingerprint, idempotency_key, twin_before)
            if older is None and budget is not None:
                budget.check(await spending_of(connection, principal, budget))
        return older

    async def unattend(self, job_id: str) -> None:
        """Whoever asked for the job has gone; the same request would join it."""
        await self._change(unfinished & (jobs.c.id == job_id), attended=False)

    async def job(self, job_id: str) -> Job | None:
        """The job with its images in order. Its input images have lost their bytes."""
        async with self._read() as connection:
            found = await some_jobs(connection, sa.select(jobs).where(jobs.c.id == job_id))
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
            return await some_jobs(connection, newest_first(query, jobs, before, principal=principal).limit(limit))

    # ------------------------------------------------------------------ who works on them

    async def held_by_others(self, owner: str, *, dropped: Collection[str] = ()) -> list[Held]:
        """Every unfinished job that is not this owner's.

        Args:
            dropped: jobs of the owner that it has stopped to work on, which are seen as well.
        """
        service = sa.case((jobs.c.account == "", ""), else_=jobs.c.provider).label("provider")
        columns = (jobs.c.id.label("job_id"), jobs.c.owner, jobs.c.lease_until, service, jobs.c.created_at, jobs.c.deadline, jobs.c.cancel_requested)
        theirs = jobs.c.owner.is_distinct_from(owner) | jobs.c.id.in_(dropped)
        async with self._read() as connection:
            rows = await connection.execute(sa.select(*columns).where(unfinished, theirs).order_by(jobs.c.created_at))
            return [Held(**row) for row in rows.mappings()]

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
                await connection.execute(sa.update(jobs).where(same, in_line, jobs.c.cancel_requested).values(as_cancelled(now)))
                taken = sa.update(jobs).where(same).values(owner=owner, lease_until=lease_until, attended=False).returning(jobs.c.id)
                claimed += await connection.scalars(taken)
            return (
                await some_jobs(connection, sa.select(jobs).where(jobs.c.id.in_(claimed)).order_by(jobs.c.created_at, jobs.c.id)) if claimed else []
            )

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

    async def reopen(self, job_id: str, owner: str, *, now: datetime, lease_until: datetime, deadline: datetime) -> Job | None:
        """The job, running again and the owner's: one that ended without pictures although a service had taken it and may have billed it.

        None: it is none of those, or somebody else was quicker.
        """
        lost = jobs.c.state.in_((JobState.FAILED.value, JobState.EXPIRED.value)) & jobs.c.task_id.is_not(None) & perhaps_billed
        changes = {
            **as_started(now),
            "attempts": 0,
            "owner": owner,
            "lease_until": lease_until,
            "deadline": deadline,
            "failure": codecs.failure_to_json(None),
            "finished_at": None,
            "cancel_requested": False,
            "promised": 0,  # what it may have cost stands in the ledger, or will
        }
        async with self._write() as connection:
            if not await connection.scalar(sa.update(jobs).where(jobs.c.id == job_id, lost).values(changes).returning(jobs.c.id)):
                return None
            return (await some_jobs(connection, sa.select(jobs).where(jobs.c.id == job_id)))[0]

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
            line = await line_of(connection, account, now, depth)
            wanted = list(decide(line))
            if not wanted:
                return []
            begun: list[str] = []
            for index, job_id in enumerate(wanted):
                # Each a moment after the other, so that who was served last can be told among those that were begun together.
                started = as_started(now + timedelta(microseconds=index))
                mine = unfinished & (jobs.c.id == job_id) & (jobs.c.owner == owner) & ~jobs.c.cancel_requested
                begun += await connection.scalars(sa.update(jobs).where(mine).values(started).returning(jobs.c.id))
            tried = {(job.provider, job.model) for job in line.waiting if job.job_id in begun}
            for breaker in line.breakers:
                if (breaker.provider, breaker.model) in tried and breaker.open_until is not None:
                    await put_breaker(connection, trial(breaker))
        return begun

    async def load(self) -> list[Load]:
        """How many jobs are waiting and under way, in all processes."""
        columns = (jobs.c.provider, jobs.c.state)
        query = sa.select(*columns, sa.func.count().label("number"), sa.func.min(jobs.c.created_at).label("oldest")).where(unfinished)
        async with self._read() as connection:
            rows = (await connection.execute(query.group_by(*columns).order_by(*columns))).all()
        return [Load(provider=row.provider, state=JobState(row.state), jobs=row.number, oldest=row.oldest) for row in rows]

    async def line(self, account: str, *, now: datetime) -> Line:
        """What stands between the waiting jobs of the account and their service."""
        async with self._read() as connection:
            return await line_of(connection, account, now)

    async def start(self, job_id: str, owner: str, *, now: datetime, counts: bool = True) -> bool:
        """Running, past the line: a job taken up holds its place at the service already.

        False: it is not the owner's, has ended, or is to be cancelled.

        Args:
            counts: as an attempt.
        """
        started = as_started(now) if counts else {**as_started(now), "attempts": jobs.c.attempts}
        return await self._change(held_by(job_id, owner) & ~jobs.c.cancel_requested, **started)

    async def count_attempt(self, job_id: str, owner: str) -> bool:
        """One more attempt at a job that was started without counting. False: it is not the owner's any more."""
        return await self._change(held_by(job_id, owner), attempts=jobs.c.attempts + 1)

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
            account = await connection.scalar(sa.select(jobs.c.account).where(held_by(job_id, owner)))
            if account is None:
                return False
            if pause_until is not None:
                await connection.execute(sa.delete(pauses).where(pauses.c.account == account))
                await connection.execute(sa.insert(pauses), {"account": account, "until": pause_until})
            await connection.execute(sa.update(jobs).where(held_by(job_id, owner)).values(changes))
        return True

    async def accepted(self, job_id: str, owner: str, task_id: str) -> bool:
        """The service's own id is on disk. False: the job is not the owner's any more."""
        return await self._change(held_by(job_id, owner), task_id=task_id)

    async def is_wanted(self, provider: str, beginning: str) -> bool:
        """Whether a service's id that begins so belongs to an unfinished job of the provider whose end nobody has asked for."""
        theirs = (jobs.c.provider == provider) & jobs.c.task_id.startswith(beginning, autoescape=True)
        async with self._read() as connection:
            return bool(await connection.scalar(sa.select(sa.exists().where(unfinished, theirs, ~jobs.c.cancel_requested))))

    async def progress(
        self, job_id: str, owner: str, fraction: float, message: str, *, now: datetime, preview_key: str | None = None
    ) -> Event | None:
        """The event that was appended; None when the job is not the owner's any more."""
        statement = (
            sa.update(jobs)
            .where(held_by(job_id, owner))
            .values(progress=fraction, message=message, events=jobs.c.events + 1)
            .returning(jobs.c.events)
        )
        async with self._note() as connection:
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

        One thing is stronger than an end without pictures, and than whoever holds the job: pictures. They are written whoever ended it or took it over
        meanwhile, and the job has succeeded.

        Args:
            adjustments: takes the place of those recorded so far; None leaves them.
            judge: the breaker of the job's model as it is to be after this; None from it: the model is well.
        """
        if not state.ended:
            raise ValueError(f"a job cannot end as {state}")
        which = held_by(job_id, owner)
        if images:
            without = (jobs.c.state != JobState.SUCCEEDED.value) & ~sa.exists().where(_images.c.job_id == job_id)
            which |= (jobs.c.id == job_id) & without
        ended: dict[str, Any] = {
            "state": state.value,
            "failure": codecs.failure_to_json(failure),
            "request_id": request_id,
            "lease_until": None,
            "finished_at": now,
        }
        if cost is not None:  # else what an end without pictures was thought to cost is all that is known
            ended["cost"] = codecs.cost_to_json(cost)
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
                await judge_model(connection, row["provider"], row["model"], judge)
        return True

    async def judge(self, provider: str, model: str, judge: Judge) -> None:
        """Changes the model's breaker: to what `judge` makes of it, or to none."""
        async with self._write() as connection:
            await judge_model(connection, provider, model, judge)

    async def breakers(self) -> list[Breaker]:
        """Of every model that failed the last time."""
        async with self._read() as connection:
            return [
                codecs.breaker_from_row(row)
                for row in await some_rows(connection, sa.select(breakers).order_by(breakers.c.provider, breakers.c.model))
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
            await connection.execute(sa.update(jobs).where(mine, in_line, jobs.c.owner.is_(None)).values(as_cancelled(now)))
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
            return await spending_of(connection, principal, budget)

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
        async with self._note() as connection:
            return (await connection.execute(sa.update(jobs).where(which).values(values))).rowcount == 1


_images = images
"""The table, where a parameter has its name."""


async def _same_request(
    connection: AsyncConnection, principal: str, fingerprint: str | None, idempotency_key: str | None, twin_before: datetime | None
) -> Job | None:
    """The job that is the same request as `History.enter` understands it."""
    mine = sa.select(jobs).where(jobs.c.principal == principal)
    if idempotency_key is not None:
        keyed = mine.where(jobs.c.idempotency_key == idempotency_key)
        if first := await some_rows(connection, keyed):
            if first[0]["fingerprint"] != fingerprint:
                raise RequestError(
                    f"The idempotency key {idempotency_key!r} belongs to job {first[0]['id']}, which asked for something else. Use a new key.",
                    code="idempotency_conflict",
                    details={"job_id": first[0]["id"]},
                )
            return (await some_jobs(connection, keyed))[0]
    if twin_before is not None and fingerprint is not None:
        left = ~jobs.c.attended | (jobs.c.created_at <= twin_before)
        # What a crash left in line beyond its time will only expire; what was begun may have been paid for, and its end says so.
        alive = ~in_line | jobs.c.deadline.is_(None) | (jobs.c.deadline > twin_before)
        twin = mine.where(unfinished, jobs.c.fingerprint == fingerprint, left, alive).order_by(jobs.c.created_at).limit(1)
        return next(iter(await some_jobs(connection, twin)), None)
    return None
