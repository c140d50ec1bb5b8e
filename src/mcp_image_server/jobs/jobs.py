"""Which process works on which job, when; and what is written before and after."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Literal

import anyio
from anyio.abc import TaskGroup

from ..errors import ImageServerError, NotFoundError, ProviderError, StorageError
from ..models import Adjustment, Cost, Failure, Generated, Image, ImageRequest, Job, JobState, Model
from ..providers.base import Provider, Resumable
from ..store import Store
from .work import adopt, copy_out, cost_of, keep

if TYPE_CHECKING:
    from ..history import History

log = logging.getLogger(__name__)

Watch = Callable[[Job], Awaitable[None]]
"""Is told the job as it stands, whenever it has moved and every few seconds besides."""

MAX_ATTEMPTS = 3
"""A job that has brought down its server this often is not tried again."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds."""

    lease: float = 30.0
    """How long a job belongs to its server after the last sign of life."""
    heartbeat: float = 2.0
    """Between signs of life; also how soon another process's wish to cancel is seen."""
    glance: float = 1.0
    """Between looks at a job that another process works on."""
    murmur: float = 5.0
    """A watcher hears at least this often."""
    grace: float = 20.0
    """How long a closing server waits for calls that are being paid for."""


@dataclass
class _UnderWay:
    scope: anyio.CancelScope
    paying: bool = False
    """A call that costs money has been made and cannot be made again."""
    reason: Literal["cancelled", "closing"] | None = None

    def stop(self, reason: Literal["cancelled", "closing"]) -> None:
        self.reason = self.reason or reason
        self.scope.cancel()


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    state: JobState
    images: tuple[Image, ...] = ()
    failure: Failure | None = None
    cost: Cost | None = None
    request_id: str | None = None
    adjustments: tuple[Adjustment, ...] = ()


class Jobs:
    """The jobs of this server process.

    Args:
        tasks: lives as long as the server; every job is a task in it.
        provider: the provider of that name, or None where this server has none.
        open_store: the store at that URL.
        rescue_url: where pictures go when their own store cannot take them.
        timeout: seconds a job may run, asked when it starts.
        slots: jobs this process works on at once.
    """

    def __init__(
        self,
        history: History,
        tasks: TaskGroup,
        *,
        provider: Callable[[str], Provider | None],
        model: Callable[[str, str], Model],
        open_store: Callable[[str], Store],
        rescue_url: str,
        timeout: Callable[[], float],
        slots: int,
        timing: Timing | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._history = history
        self._tasks = tasks
        self._provider = provider
        self._model = model
        self._open_store = open_store
        self._rescue_url = rescue_url
        self._timeout = timeout
        self._slots = anyio.CapacityLimiter(slots)
        self._provider_slots: dict[str, anyio.CapacityLimiter] = {}
        self._timing = timing or Timing()
        self._clock = clock
        self._under_way: dict[str, _UnderWay] = {}
        self._moved: dict[str, anyio.Event] = {}
        self._previews: dict[str, bytes] = {}

    # ------------------------------------------------------------------ what callers do

    async def submit(
        self, principal: str, request: ImageRequest, *, provider: str, model: Model, store_url: str, adjustments: tuple[Adjustment, ...] = ()
    ) -> Job:
        """A new job, on disk and under way."""
        if request.seed is None and model.seed and model.seed_is_free:
            request = replace(request, seed=secrets.randbelow(2**31))
        now = self._clock()
        job = Job(
            id=secrets.token_hex(8),
            principal=principal,
            state=JobState.QUEUED,
            request=request,
            provider=provider,
            model=model.id,
            store_url=store_url,
            adjustments=adjustments,
            message="waiting in line",
            owner=self.owner,
            created_at=now,
        )
        await self._history.add_job(job, lease_until=self._lease(now))
        self._begin(job)
        return job

    async def wait(self, job_id: str, seconds: float, watch: Watch | None = None) -> Job:
        """The job once it has ended, or as it stands when the seconds are over.

        Raises:
            NotFoundError: there is no such job.
        """
        deadline = monotonic() + seconds
        told: tuple[object, ...] = ()
        told_at = 0.0
        while True:
            moved = self._moved.setdefault(job_id, anyio.Event()) if job_id in self._under_way else anyio.Event()
            job = await self._history.job(job_id)
            if job is None:
                raise NotFoundError(f"There is no job {job_id!r}.", code="job_not_found", details={"job_id": job_id})
            standing = (job.state, job.progress, job.message)
            if watch is not None and (standing != told or monotonic() - told_at >= self._timing.murmur):
                await watch(job)
                told, told_at = standing, monotonic()
            left = deadline - monotonic()
            if job.state.ended or left <= 0:
                return job
            with anyio.move_on_after(min(left, self._timing.murmur if job_id in self._under_way else self._timing.glance)):
                await moved.wait()

    async def cancel(self, job_id: str) -> None:
        """Ask for the end of a job, wherever it runs. Jobs that have ended stay as they are."""
        await self._history.request_cancel(job_id, now=self._clock())
        if here := self._under_way.get(job_id):
            here.stop("cancelled")
        self._tell(job_id)

    def preview(self, job_id: str) -> bytes | None:
        """The latest picture of work that is under way here."""
        return self._previews.get(job_id)

    # ------------------------------------------------------------------ the life of this process

    async def look_after(self) -> None:
        """Sign of life for the jobs of this process, and taking up those whose process is gone, until cancelled."""
        last_sweep = float("-inf")
        while True:
            try:
                if self._under_way:
                    standing = await self._history.renew(self.owner, lease_until=self._lease(self._clock()))
                    for job_id in standing.cancel_requested:
                        if here := self._under_way.get(job_id):
                            here.stop("cancelled")
                if monotonic() - last_sweep >= self._timing.lease / 2:
                    last_sweep = monotonic()
                    await self.take_up()
            except StorageError as error:
                log.warning("Jobs cannot be looked after just now: %s", error.message)
            except Exception:  # whatever it is, the jobs under way here are worth more than a clean exit
                log.exception("Looking after the jobs broke; this is a bug.")
            await anyio.sleep(self._timing.heartbeat)

    async def take_up(self) -> list[str]:
        """The ids of unfinished jobs that nobody works on, now ours and under way."""
        now = self._clock()
        jobs = await self._history.claim(self.owner, now=now, lease_until=self._lease(now), limit=100)
        for job in jobs:
            log.info("Taking up job %s (%s, %s), left by another process.", job.id, job.provider, job.state)
            self._begin(job, taken_up=True)
        return [job.id for job in jobs]

    async def close(self) -> None:
        """End in order: paid calls may finish for a while, the rest is handed over to whoever comes next."""
        for here in list(self._under_way.values()):
            if not here.paying:
                here.stop("closing")
        with anyio.move_on_after(self._timing.grace):
            await self._quiet()
        for here in list(self._under_way.values()):
            here.stop("closing")
        await self._quiet()
        with suppress(StorageError):
            await self._history.release(self.owner)

    # ------------------------------------------------------------------ one job

    def _begin(self, job: Job, *, taken_up: bool = False) -> None:
        self._under_way[job.id] = _UnderWay(anyio.CancelScope())
        self._tasks.start_soon(self._run, job, taken_up)

    async def _run(self, job: Job, taken_up: bool) -> None:
        here = self._under_way[job.id]
        outcome: _Outcome | None = None
        try:
            try:
                with here.scope:
                    outcome = await self._work(job, here, taken_up)
            except StorageError:
                raise
            except Exception:
                log.exception("Job %s broke; this is a bug.", job.id)
                outcome = _failed(
                    "internal_error", "The server made a mistake while drawing; its log has the details.", may_have_been_billed=here.paying
                )
            with anyio.CancelScope(shield=True):
                await self._settle(job, outcome or self._stopped(job, here))
        except StorageError as error:
            log.error("Job %s cannot be recorded: %s It is taken up again when its lease runs out.", job.id, error.message)
        finally:
            del self._under_way[job.id]
            self._previews.pop(job.id, None)
            self._tell(job.id)

    async def _work(self, job: Job, here: _UnderWay, taken_up: bool) -> _Outcome | None:
        """Waits in line, then draws; None when somebody else has ended the job meanwhile."""
        async with self._line(job.provider), self._slots:
            if taken_up and (known := await self._known_of(job)):
                return known
            if not await self._history.start(job.id, self.owner, now=self._clock()):
                return None
            self._tell(job.id)
            return await self._attempt(job, here)

    async def _known_of(self, job: Job) -> _Outcome | None:
        """What is already certain about a job that another process left; None when it is to be worked on."""
        from ..history import keeps_inputs

        if job.state is JobState.QUEUED:
            return (
                None
                if keeps_inputs(job.request)
                else _failed("interrupted", "The server stopped before it came to this job; send its pictures again.")
            )
        provider = self._provider(job.provider)
        repeatable = provider is not None and provider.repeatable and keeps_inputs(job.request)
        if not repeatable and (images := await adopt(job, self._open_store(job.store_url), now=self._clock())):
            words = Adjustment(
                field="job", message="The server was restarted after the pictures were stored; what the service said about them is lost."
            )
            return _Outcome(state=JobState.SUCCEEDED, images=images, adjustments=(words,))
        if job.attempts >= MAX_ATTEMPTS:
            return _failed("interrupted", f"The server stopped {job.attempts} times while working on this job; it is not tried again.")
        if repeatable or (job.task_id is not None and isinstance(provider, Resumable)):
            return None
        return _failed(
            "interrupted",
            f"The server stopped while {job.provider} was drawing. The call may have been billed, so it is not repeated; ask again to draw anew.",
            may_have_been_billed=True,
        )

    async def _attempt(self, job: Job, here: _UnderWay) -> _Outcome:
        provider = self._provider(job.provider)
        if provider is None:
            return _failed("provider_unavailable", f"The provider {job.provider} is no longer configured; set its key and ask again.")
        store = self._open_store(job.store_url)
        model = self._model(job.provider, job.model)
        context = _JobContext(self, job.id)
        here.paying = not provider.repeatable
        try:
            await store.ready()
            with anyio.fail_after(self._timeout()):
                if job.task_id is not None and isinstance(provider, Resumable):
                    generated = await provider.resume(job.task_id, job.request, model, context)
                else:
                    generated = await provider.generate(job.request, model, context)
            return await self._keep(job, provider, model, generated, store)
        except TimeoutError:
            billed = not provider.repeatable
            words = f"{job.provider} did not finish within {self._timeout():g} s." + (" The call may have been billed." if billed else "")
            return _failed("timeout", words, retryable=True, may_have_been_billed=billed)
        except ImageServerError as error:
            return _Outcome(state=JobState.FAILED, failure=failure_of(error))

    async def _keep(self, job: Job, provider: Provider, model: Model, generated: Generated, store: Store) -> _Outcome:
        job = replace(job, model=generated.model or job.model)
        with anyio.CancelScope(shield=True):  # a picture that has been paid for is stored, whoever has lost patience
            kept = await keep(job, provider.catalogue, generated.images, [store, self._open_store(self._rescue_url)], now=self._clock())
        words = generated.adjustments + kept.adjustments
        cost = cost_of(generated, model)
        return _Outcome(state=JobState.SUCCEEDED, images=kept.images, cost=cost, request_id=generated.request_id, adjustments=words)

    def _stopped(self, job: Job, here: _UnderWay) -> _Outcome | None:
        """The end of a job whose work was broken off; None when somebody else is to go on with it."""
        if here.reason == "cancelled":
            words = "Cancelled." + (" The call may have been billed all the same." if here.paying else "")
            return _Outcome(state=JobState.CANCELLED, failure=Failure(code="cancelled", message=words, may_have_been_billed=here.paying))
        if here.reason == "closing" and here.paying:
            words = f"The server was closed while {job.provider} was drawing. The call may have been billed, so it is not repeated."
            return _failed("interrupted", words, may_have_been_billed=True)
        return None

    async def _settle(self, job: Job, outcome: _Outcome | None) -> None:
        if outcome is None:
            return
        import stamina

        copied = await copy_out(job, outcome.images, self._open_store)
        async for attempt in stamina.retry_context(on=StorageError, attempts=8, timeout=60):
            with attempt:
                recorded = await self._history.finish(
                    job.id,
                    self.owner,
                    outcome.state,
                    images=outcome.images,
                    failure=outcome.failure,
                    cost=outcome.cost,
                    request_id=outcome.request_id,
                    adjustments=job.adjustments + outcome.adjustments + copied,
                    now=self._clock(),
                )
        if not recorded:
            log.warning("Job %s had already ended or been taken over; its outcome here (%s) is not recorded.", job.id, outcome.state)

    # ------------------------------------------------------------------ small things

    def _line(self, provider: str) -> anyio.CapacityLimiter:
        """Where jobs of that provider wait for their turn."""
        if provider not in self._provider_slots:
            found = self._provider(provider)
            self._provider_slots[provider] = anyio.CapacityLimiter(found.limits.concurrent if found else 1)
        return self._provider_slots[provider]

    async def _quiet(self) -> None:
        """Returns once nothing is under way here."""
        while self._under_way:
            await self._moved.setdefault(next(iter(self._under_way)), anyio.Event()).wait()

    def _lease(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._timing.lease)

    def _tell(self, job_id: str) -> None:
        if moved := self._moved.pop(job_id, None):
            moved.set()

    async def _progress(self, job_id: str, fraction: float, words: str) -> None:
        await self._history.progress(job_id, self.owner, fraction, words, now=self._clock())
        self._tell(job_id)

    async def _accepted(self, job_id: str, task_id: str) -> None:
        await self._history.accepted(job_id, self.owner, task_id)
        if here := self._under_way.get(job_id):
            here.paying = False  # whoever takes the job up asks for this task, and pays nothing again


class _JobContext:
    """A provider's line to its job. Progress that comes faster than anybody reads is thinned out."""

    INTERVAL = 0.2
    """Seconds between progress records."""

    def __init__(self, jobs: Jobs, job_id: str) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._reported_at = float("-inf")
        self._fraction = 0.0

    async def report(self, fraction: float, words: str) -> None:
        self._fraction = max(self._fraction, min(max(fraction, 0.0), 1.0))
        if monotonic() - self._reported_at < self.INTERVAL:
            return
        self._reported_at = monotonic()
        await self._jobs._progress(self._job_id, self._fraction, words)  # noqa: SLF001 - one class in two parts

    async def accepted(self, task_id: str) -> None:
        await self._jobs._accepted(self._job_id, task_id)  # noqa: SLF001

    async def preview(self, data: bytes) -> None:
        self._jobs._previews[self._job_id] = data  # noqa: SLF001
        self._jobs._tell(self._job_id)  # noqa: SLF001


def failure_of(error: ImageServerError) -> Failure:
    """The failure that a job keeps of an error."""
    billed = isinstance(error, ProviderError) and error.may_have_been_billed
    return Failure(code=error.code, message=error.message, retryable=error.retryable, may_have_been_billed=billed, details=error.details)


def _failed(code: str, message: str, *, retryable: bool = False, may_have_been_billed: bool = False) -> _Outcome:
    failure = Failure(code=code, message=message, retryable=retryable, may_have_been_billed=may_have_been_billed)
    return _Outcome(state=JobState.FAILED, failure=failure)
