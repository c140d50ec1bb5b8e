"""Which process works on which job, when; and what is written before and after."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from .. import telemetry
from ..errors import NotFoundError, StorageError
from ..models import ECONOMY, Adjustment, Cost, Failure, Headway, ImageRequest, Job, JobState, Limits, Offer
from ..policy import breaker as breakers
from ..providers.base import Resumable, Stoppable
from ..store import preview_key
from .attempt import Outcome, Setback, Workplace, attempt, cancelled, failed, known_of, pause_until
from .entering import Part, entry_of, fingerprint, new_job
from .here import Here
from .measures import count_ended, refusals_counted, trace_end, traced
from .notes import Notes
from .owner import is_surely_gone, new_owner
from .turnstile import Turnstile
from .work import copy_out, keep_inputs

if TYPE_CHECKING:
    from ..history import Budget, Entry, Held, History, Order

log = logging.getLogger(__name__)

_ECONOMY_TIME = 26 * 3600.0
"""Seconds for work that its service may take a day for."""

Watch = Callable[[Job], Awaitable[None]]
"""Is told the job as it stands, whenever it has moved and every few seconds besides."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds."""

    lease: float = 30.0
    """How long a silent process keeps its jobs."""
    heartbeat: float = 1.0
    """Between signs of life; also how soon another process's wish to cancel is seen."""
    sweep: float = 5.0
    """Between looks for jobs whose process has gone."""
    glance: float = 1.0
    """Between looks at a job that another process works on."""
    queue: float = 0.5
    """Between looks at a line in which jobs wait for another process to end."""
    census: float = 0.1
    """Between looks at a batch."""
    murmur: float = 5.0
    """A watcher hears at least this often."""
    grace: float = 20.0
    """How long a closing server waits for calls that are being paid for."""
    farewell: float = 900.0
    """How long a service may take to stop what was cancelled."""
    last_look: float = 60.0
    """A task that another process left is asked for so long at least, whatever the clock says about its deadline."""


class Jobs:
    """The jobs of this server process.

    Args:
        tasks: lives as long as the server; every job under way is a task in it.
        place: what jobs are worked on with.
        limits: what the account of that provider may have.
        timeout: seconds a job may take, asked when it is submitted.
        slots: jobs this process works on at once.
    """

    def __init__(
        self,
        history: History,
        tasks: TaskGroup,
        *,
        place: Workplace,
        limits: Callable[[str], Limits],
        timeout: Callable[[], float],
        slots: int,
        timing: Timing | None = None,
    ) -> None:
        self.owner = new_owner()
        self._history = history
        self._tasks = tasks
        self._place = place
        self._clock = place.clock
        self._limits = limits
        self._timeout = timeout
        self._slots = slots
        self._timing = timing or Timing()
        self._here: dict[str, Here] = {}
        self._moved: dict[str, anyio.Event] = {}
        self._knock = anyio.Event()
        self._observed: dict[str, tuple[Held, float]] = {}
        self._doubtful: set[str] = set()
        """Jobs that were refused, and may stand in the record all the same."""
        self._dropped: set[str] = set()
        self._closing = False
        self._deciding = anyio.Lock()
        self._turnstile = Turnstile(history, self.owner, place, limits=limits, timeout=timeout, slots=slots, room=self._room)
        self._loops: TaskGroup | None = None
        self._stopped: anyio.Event | None = None
        self._looked_at = monotonic()

    # ------------------------------------------------------------------ what callers do

    async def submit(
        self,
        principal: str,
        offer: Offer,
        *,
        store_url: str,
        alternates: Sequence[Offer] = (),
        promised: Cost | None = None,
        budget: Budget | None = None,
        idempotency_key: str | None = None,
        join_after: float | None = None,
        asked: Offer | None = None,
    ) -> Job:
        """A job for the offer, on disk and in line; or an older one that is the same request.

        Args:
            alternates: who may draw instead while nobody has accepted the work.
            promised: money kept for it while it is unfinished.
            budget: what looks whether there is enough.
            join_after: seconds after which the same request joins an unfinished job; at once where its caller has gone. None: never.
            asked: by what the same request is told, where the offer has become another one each time.

        Raises:
            RequestError: the key was used for another request.
            LimitError: there is not enough money.
        """
        now = self._clock()
        timeout = self._time_for(offer.request)
        job = new_job(
            principal,
            (offer, *alternates),
            self._place.model,
            owner=self.owner,
            store_url=store_url,
            now=now,
            deadline=now + timedelta(seconds=timeout),
        )
        await keep_inputs(job.request, self._place.open_store(store_url))
        with refusals_counted(), self._perhaps_entered([job.id]):
            entered = await self._history.enter(
                job,
                lease_until=self._lease(now),
                fingerprint=fingerprint(asked or offer),
                idempotency_key=idempotency_key,
                twin_before=_before(now, join_after),
                promised=promised,
                budget=budget,
            )
        if entered.id == job.id and not self._closing:  # where it is, the job is for whoever comes next
            self._here[job.id] = Here(job, monotonic() + timeout, scene=telemetry.scene())
            self._knock.set()
        return entered

    async def foresee(
        self, principal: str, asked: Offer, *, budget: Budget | None = None, idempotency_key: str | None = None, join_after: float | None = None
    ) -> Job | None:
        """The older job that `submit` would give for this offer now; None: it would be a new one.

        Raises:
            RequestError: as `submit` does.
            LimitError: as `submit` does.
        """
        with refusals_counted():
            return await self._history.foresee(
                principal,
                fingerprint=fingerprint(asked),
                idempotency_key=idempotency_key,
                twin_before=_before(self._clock(), join_after),
                budget=budget,
            )

    async def submit_batch(self, order: Order, parts: Sequence[Part], *, store_url: str, budget: Budget | None = None) -> None:
        """Jobs for these items of a batch, on disk and in line, all at once. They have no deadline there, and their time begins with their work.

        Items that were entered before with the same number of tries are left as they are.

        Args:
            budget: what looks whether there is enough for all.

        Raises:
            LimitError: there is not enough money. Nothing was entered.
        """
        now = self._clock()
        lease = self._lease(now)

        def entry(index: int, part: Part) -> Entry:
            # Each a moment after the other, so that they are begun in the order of the batch.
            moment = now + timedelta(microseconds=index)
            return entry_of(order, part, self._place.model, owner=self.owner, store_url=store_url, now=moment, lease_until=lease)

        entries = await to_thread.run_sync(lambda: [entry(index, part) for index, part in enumerate(parts)])
        with refusals_counted(), self._perhaps_entered([each.job.id for each in entries]):
            entered = set(await self._history.batches.enter(order, entries, budget=budget))
        if not self._closing:
            self._here.update({each.job.id: Here(each.job, inf, scene=telemetry.scene()) for each in entries if each.job.id in entered})
            self._knock.set()

    @contextmanager
    def _perhaps_entered(self, job_ids: Sequence[str]) -> Iterator[None]:
        """A connection that breaks at the very end leaves open whether these jobs are in the record, and whoever asked for them hears that they are not."""
        try:
            yield
        except StorageError:
            self._doubtful.update(job_ids)
            raise

    async def _end_the_doubtful(self) -> None:
        words = "The database did not answer when the job was written down, so it was refused. Nothing was sent to a service; ask again."
        failure = Failure(code="storage_unavailable", message=words, retryable=True)
        for job_id in list(self._doubtful):
            await self._history.finish(job_id, self.owner, JobState.FAILED, now=self._clock(), failure=failure)
            self._doubtful.discard(job_id)

    async def wait_for_batch(self, batch_id: str, seconds: float, watch: Callable[[Headway], Awaitable[None]] | None = None) -> Headway:
        """How far the batch has come once it has ended, or when the seconds are over.

        Args:
            watch: is told whenever something has moved.
        """
        deadline = monotonic() + seconds
        told: Headway | None = None
        while True:
            headway = await self._history.batches.headway(batch_id)
            if watch is not None and headway != told:
                await watch(headway)
                told = headway
            if headway.ended or monotonic() >= deadline:
                return headway
            await anyio.sleep(min(self._timing.census, deadline - monotonic()))

    async def cancel_batch(self, batch_id: str) -> None:
        """Ask for the end of all jobs of a batch, wherever they run. Those that have ended stay as they are."""
        begun = await self._history.batches.cancel(batch_id, now=self._clock())
        for job_id in [job_id for job_id, here in self._here.items() if here.job.batch_id == batch_id and not here.begun and job_id not in begun]:
            job = self._here.pop(job_id).job
            telemetry.JOBS_ENDED.add(provider=job.provider, model=job.model, outcome="cancelled")
            self._tell(job_id)
        await self._cancel_here(begun)

    async def wait(self, job_id: str, seconds: float, watch: Watch | None = None) -> Job:
        """The job once it has ended, or as it stands when the seconds are over.

        Raises:
            NotFoundError: there is no such job.
        """
        deadline = monotonic() + seconds
        told: tuple[object, ...] = ()
        told_at = 0.0
        while True:
            moved = self._moved.setdefault(job_id, anyio.Event()) if job_id in self._here else anyio.Event()
            job = await self._history.job(job_id)
            if job is None:
                raise NotFoundError(f"There is no job {job_id!r}.", code="job_not_found", details={"job_id": job_id})
            standing = (job.state, job.progress, job.message)
            left = deadline - monotonic()
            murmurs = watch is not None and (standing != told or monotonic() - told_at >= self._timing.murmur)
            if job.state is JobState.QUEUED and (murmurs or left <= 0):
                job = replace(job, message=await self._turnstile.place_of(job))
            if watch is not None and murmurs:
                await watch(job)
                told, told_at = standing, monotonic()
            if job.state.ended or left <= 0:
                return job
            patience = min(left, self._timing.murmur if job_id in self._here else self._timing.glance)
            if watch is not None:
                patience = min(patience, told_at + self._timing.murmur - monotonic())
            with anyio.move_on_after(patience):
                await moved.wait()

    async def ask_again(self, job: Job) -> None:
        """Asks the service once more for work that it had taken, and that ended here without pictures all the same. It is paid for, so that costs nothing."""
        provider = self._place.provider(job.provider)
        if provider is None or provider.repeatable or not isinstance(provider, Resumable) or self._closing:
            return
        now, seconds = self._clock(), self._time_for(job.request)
        reopened = await self._history.reopen(job.id, self.owner, now=now, lease_until=self._lease(now), deadline=now + timedelta(seconds=seconds))
        if reopened is not None and not self._closing:  # else it is handed over with the rest
            log.info("%s is asked again for job %s.", job.provider, job.id)
            self._here[job.id] = here = Here(reopened, monotonic() + seconds, taken_up=True)
            self._begin(here)

    async def cancel(self, job_id: str) -> None:
        """Ask for the end of a job, wherever it runs. Jobs that have ended stay as they are."""
        await self._history.request_cancel(job_id, now=self._clock())
        await self._cancel_here([job_id])
        self._tell(job_id)

    async def leave(self, job_id: str) -> None:
        """Whoever asked for the job has gone: it goes on, and the same request joins it."""
        await self._history.unattend(job_id)

    async def preview(self, job: Job) -> bytes | None:
        """The latest picture of work under way, small; None when there is none."""
        if job.state is not JobState.RUNNING or not (key := await self._history.latest_preview(job.id)):
            return None
        with suppress(NotFoundError):  # the job has ended meanwhile
            return await self._place.open_store(job.store_url).get(key)
        return None

    # ------------------------------------------------------------------ the life of this process

    async def run(self) -> None:
        """Lets jobs out of line, gives signs of life, and takes up what other processes left, until cancelled."""
        self._stopped = anyio.Event()
        try:
            with telemetry.within(telemetry.Scene()):  # whatever the call is about that happened to come first
                async with anyio.create_task_group() as self._loops:
                    self._loops.start_soon(self._forever, self._begin_what_may)
                    self._loops.start_soon(self._forever, self._look_after)
        finally:
            self._stopped.set()

    @property
    def at_work(self) -> bool:
        """Jobs are looked after here: begun, and kept for as long as a lease lasts."""
        return not self._closing and monotonic() - self._looked_at < self._timing.lease

    async def _forever(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except StorageError as error:
                self._observed.clear()  # while the record cannot be reached, nobody else can give a sign of life there either
                log.warning("Jobs cannot be looked after just now: %s", error.message)
                await anyio.sleep(self._timing.queue)
            except Exception:  # whatever it is, the jobs under way here are worth more than a clean exit
                log.exception("Looking after the jobs broke; this is a bug.")
                await anyio.sleep(self._timing.queue)

    async def _look_after(self) -> None:
        await self._end_the_doubtful()
        if self._here:
            standing = await self._history.renew(self.owner, lease_until=self._lease(self._clock()), dropped=self._dropped)
            for job_id in [job_id for job_id, here in self._here.items() if not here.begun and job_id not in standing.jobs]:
                del self._here[job_id]  # another process took it while this one was asleep
            await self._cancel_here(standing.cancel_requested)
        await self.take_up()
        self._looked_at = monotonic()
        if self._here or self._observed or self._doubtful:
            await anyio.sleep(self._timing.heartbeat)
        else:
            with anyio.move_on_after(self._timing.sweep):
                await self._knock.wait()

    async def take_up(self) -> list[str]:
        """The ids of unfinished jobs whose process has gone, now ours.

        A process has gone when it handed its jobs over, when the machine says so, or when it has been silent for the time of a lease by this process's own clock;
        the times in the record tell nothing, since clocks differ and can be set.
        """
        now = monotonic()
        others = await self._history.held_by_others(self.owner, dropped=self._dropped)
        self._dropped &= {held.job_id for held in others}
        others = [held for held in others if self._is_for_us(held)]
        self._observed = {
            held.job_id: seen if (seen := self._observed.get(held.job_id)) is not None and seen[0] == held else (held, now) for held in others
        }
        gone = [
            held
            for held, since in self._observed.values()
            if held.job_id not in self._here  # what is under way here goes on here, whoever had taken it meanwhile
            and (held.owner is None or now - since >= self._timing.lease or is_surely_gone(held.owner))
        ]
        moment = self._clock()
        jobs = await self._history.claim(self.owner, gone, now=moment, lease_until=self._lease(moment)) if gone and not self._closing else []
        if self._closing:  # perhaps since a moment ago; then they are handed over with the rest
            return []
        self._dropped -= {job.id for job in jobs}
        for job in jobs:
            log.info("Taking up job %s (%s, %s), left by another process.", job.id, job.provider, job.state)
            left = min((job.deadline - moment).total_seconds(), self._time_for(job.request)) if job.deadline is not None else inf
            due = monotonic() + (max(left, self._timing.last_look) if job.task_id is not None else left)
            provider = self._place.provider(job.provider)
            paying = job.state is JobState.RUNNING and job.task_id is None and not (provider is not None and provider.repeatable)
            here = Here(job, due, taken_up=True, paying=paying)
            self._here[job.id] = here
            if job.state is JobState.RUNNING:
                self._begin(here)
        if jobs:  # else both loops would keep waking each other for ever
            self._knock.set()
        return [job.id for job in jobs]

    def _is_for_us(self, held: Held) -> bool:
        """Whether this server can go on with the job, or nobody else will: what the service of another one has taken is paid for, and only that one can fetch it."""
        if not held.provider or self._place.provider(held.provider) is not None or held.cancel_requested:
            return True
        created = held.created_at or self._clock()
        return self._clock() >= (held.deadline or created + timedelta(seconds=_ECONOMY_TIME))

    async def close(self) -> None:
        """End in order: paid calls may finish for a while, the rest is handed over to whoever comes next."""
        self._closing = True
        async with self._deciding:  # what is being let out of line just now is begun first, so that it can be put back
            for job_id in [job_id for job_id, here in self._here.items() if not here.begun]:
                del self._here[job_id]
        for here in list(self._here.values()):
            if not here.paying:
                here.stop("closing")
        with anyio.move_on_after(self._timing.grace):
            await self._quiet()
        for here in list(self._here.values()):
            here.stop("closing")
        await self._quiet()
        if self._loops is not None and self._stopped is not None:  # so that nobody touches the history once it is closed
            self._loops.cancel_scope.cancel()
            await self._stopped.wait()
        with suppress(StorageError):
            await self._end_the_doubtful()  # before others can take them for what is handed over
            await self._history.release(self.owner)

    # ------------------------------------------------------------------ the line

    async def _begin_what_may(self) -> None:
        """One look at the lines; returns when another look is worth while."""
        self._knock = anyio.Event()
        waiting = [here for here in self._here.values() if not here.begun]
        for here in [here for here in waiting if here.due <= monotonic()]:
            words = f"The job did not come out of line within its time. {await self._turnstile.place_of(here.job)}."
            await self._end_waiting(here, replace(failed("timeout", words, retryable=True), state=JobState.EXPIRED))
            waiting.remove(here)
        again = [self._timing.queue, *(here.due - monotonic() for here in waiting)]
        for account, provider in {here.job.account: here.job.provider for here in waiting}.items():
            again += await self._let_out(account, provider)
        with anyio.move_on_after(min(again) if any(not here.begun for here in self._here.values()) else None):
            await self._knock.wait()

    async def _let_out(self, account: str, provider: str) -> list[float]:
        """Begins what the account's limits allow; the seconds until they allow more, where that is known."""
        under_way = [here.job.account for here in self._here.values() if here.begun and not here.job.request.economy]
        if not account.endswith(ECONOMY) and (len(under_way) >= self._slots or under_way.count(account) >= self._limits(provider).concurrent):
            return []  # nothing can be begun before one of these ends, and its end is the next reason to look
        async with self._deciding:
            begun, again = await self._turnstile.let_out(account, provider)
            for job_id in begun:
                if here := self._here.get(job_id):
                    telemetry.QUEUE_SECONDS.observe(monotonic() - here.since, provider=here.job.provider)
                    self._begin(here)
        return [again] if again is not None else []

    def _room(self, account: str) -> int:
        if self._closing:
            return 0
        if account.endswith(ECONOMY):  # these only wait
            return 10**6
        return self._slots - sum(here.begun and not here.job.request.economy for here in self._here.values())

    def _time_for(self, request: ImageRequest) -> float:
        """Seconds that work on it may take."""
        return _ECONOMY_TIME if request.economy else self._timeout()

    # ------------------------------------------------------------------ one job

    def _begin(self, here: Here) -> None:
        here.begun, here.scope = True, anyio.CancelScope()
        if here.reason is not None:
            here.scope.cancel()
        self._tasks.start_soon(self._work_on, here)

    async def _work_on(self, here: Here) -> None:
        job = here.job
        # Whoever asked may have gone; the trace goes on. Under a process that took the job up it is a new one, found by the job's id.
        now = replace(here.scene, job_id=job.id, principal=job.principal)
        with telemetry.within(now), telemetry.span(f"generate_content {job.model}", kind="client", attributes=traced(job)) as span:
            await self._work(here, span)

    async def _work(self, here: Here, span: telemetry.Span) -> None:
        job, begun = here.job, monotonic()
        result: Outcome | Setback | None = None
        try:
            try:
                assert here.scope is not None
                with here.scope:
                    result = await self._result(here)
                if result is None and here.reason == "cancelled":
                    service, task_id = self._place.provider(job.provider), here.job.task_id
                    if service is not None and task_id is not None and isinstance(service, Stoppable):
                        result = await self._farewell(here, service, task_id)
            except StorageError:
                raise
            except Exception:
                log.exception("Job %s broke; this is a bug.", job.id)
                words = "The server made a mistake while drawing; its log has the details."
                result = failed("internal_error", words, may_have_been_billed=here.may_have_been_billed)
            with anyio.CancelScope(shield=True):
                if isinstance(end := result or here.broken_off(), Setback):
                    span.note({"mcp_image.put_back": True})
                    await self._put_back(here, end)
                elif end is not None:
                    telemetry.JOB_SECONDS.observe(monotonic() - begun, provider=job.provider, outcome=end.word)
                    trace_end(span, end)
                    await self._settle(job, end)
        except StorageError as error:
            self._dropped.add(job.id)
            log.error("Job %s cannot be recorded: %s It is taken up again when its lease runs out.", job.id, error.message)
        finally:
            if (here.begun or self._closing) and self._here.get(job.id) is here:  # and not another one, since it was asked for again already
                del self._here[job.id]
            self._tell(job.id)
            self._knock.set()

    async def _result(self, here: Here) -> Outcome | Setback | None:
        """What becomes of the job; None when somebody else has ended it meanwhile."""
        job = here.job
        if here.taken_up:
            if known := await known_of(job, self._place):
                return known
            if job.state is JobState.RUNNING and not await self._history.start(job.id, self.owner, now=self._clock(), counts=job.task_id is None):
                here.stop("cancelled")  # if that is the reason: otherwise its end is not ours to record any more
                return None
        self._tell(job.id)
        return await attempt(
            job,
            self._place,
            Notes(here, self._history, self.owner, self._place, self._tell),
            seconds=here.due - monotonic() if here.due < inf else self._time_for(job.request),
        )

    async def _farewell(self, here: Here, service: Stoppable, task_id: str) -> Outcome | None:
        """What becomes of a job that was cancelled once its service has stopped; None where that goes on for others, or we are closed."""
        job = here.job
        here.stopping, here.reason, here.scope = True, None, anyio.CancelScope()
        with here.scope:
            if not await service.stop(task_id, lambda beginning: self._history.is_wanted(job.provider, beginning)):
                here.reason = "cancelled"
                return None
            notes = Notes(here, self._history, self.owner, self._place, self._tell)
            await notes.report(job.progress, "The service was asked to stop; what it has drawn by now is fetched.")
            outcome = await attempt(job, self._place, notes, seconds=self._timing.farewell)
            assert isinstance(outcome, Outcome)  # what a service has taken never goes back in line
            if outcome.images:
                late = Adjustment(field="job", message="It was drawn before the service could be asked to stop.")
                return replace(outcome, adjustments=(late, *outcome.adjustments))
            return replace(cancelled(may_have_been_billed=outcome.failure is not None and outcome.failure.may_have_been_billed), cost=outcome.cost)
        return None

    async def _put_back(self, here: Here, setback: Setback) -> None:
        job, offer, now = here.job, setback.offer, self._clock()
        log.info("Job %s goes back in line: %s", job.id, setback.words)
        async for attempting in _until_written():
            with attempting:
                if setback.failing:
                    await self._history.judge(job.provider, job.model, lambda breaker: breakers.after_failure(breaker, now))
                pause = pause_until(setback, now)
                if not await self._history.put_back(job.id, self.owner, setback.words, offer=offer, alternates=setback.alternates, pause_until=pause):
                    return
                telemetry.JOBS_PUT_BACK.add(provider=job.provider)
                # From here to the end of the work nothing waits: the job may be let out of line at any moment.
                again = replace(job, state=JobState.QUEUED, message=setback.words, tries=job.tries + 1)
                if offer is not None:
                    again = replace(again, **{field.name: getattr(offer, field.name) for field in fields(offer)}, alternates=setback.alternates)
                here.job, here.begun, here.taken_up, here.paying, here.scope, here.since = again, False, False, False, None, monotonic()
                return

    async def _cancel_here(self, job_ids: Collection[str]) -> None:
        for here in [self._here[job_id] for job_id in job_ids if job_id in self._here]:
            here.stop("cancelled")
            if not here.begun and isinstance(outcome := here.broken_off(), Outcome):
                await self._end_waiting(here, outcome)

    async def _end_waiting(self, here: Here, outcome: Outcome) -> None:
        self._here.pop(here.job.id, None)
        with anyio.CancelScope(shield=True):  # nobody else would end it, should whoever wants its end lose patience
            await self._settle(here.job, outcome)
        self._tell(here.job.id)

    async def _settle(self, job: Job, outcome: Outcome) -> None:
        copied = await copy_out(job, outcome.images, self._place.open_store)
        billed = outcome.failure is not None and outcome.failure.may_have_been_billed
        possible = replace(job.estimate, source="possible") if billed and job.estimate is not None and job.estimate.micros else None
        recorded = False
        async for attempting in _until_written():
            with attempting:
                recorded = await self._history.finish(
                    job.id,
                    self.owner,
                    outcome.state,
                    images=outcome.images,
                    failure=outcome.failure,
                    cost=outcome.cost or possible,
                    request_id=outcome.request_id,
                    adjustments=job.adjustments + outcome.adjustments + copied,
                    judge=outcome.judge(self._clock()),
                    now=self._clock(),
                )
        if recorded:
            count_ended(job, replace(outcome, cost=outcome.cost or possible))
        else:
            log.warning("Job %s had already ended or been taken over; its outcome here (%s) is not recorded.", job.id, outcome.state)
        with suppress(StorageError):
            await self._place.open_store(job.store_url).delete(preview_key(job.id))

    # ------------------------------------------------------------------ small things

    async def _quiet(self) -> None:
        """Returns once nothing is under way here."""
        while self._here:
            await self._moved.setdefault(next(iter(self._here)), anyio.Event()).wait()

    def _lease(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._timing.lease)

    def _tell(self, job_id: str) -> None:
        if moved := self._moved.pop(job_id, None):
            moved.set()


def _before(now: datetime, seconds: float | None) -> datetime | None:
    """The moment so long ago; None: never."""
    return None if seconds is None else now - timedelta(seconds=seconds)


def _until_written() -> AsyncIterator[AbstractContextManager[object]]:
    """Tries at something that has to be written, for a minute."""
    import stamina

    return stamina.retry_context(on=StorageError, attempts=8, timeout=60)
