"""One try at a job: what is certain before it, the call to the service, and what follows from how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, Protocol

import anyio

from ..errors import BadReplyError, ImageServerError, ProviderError, RateLimitedError, RefusedError, StorageError, TimedOutError, UnavailableError
from ..models import Adjustment, Breaker, Cost, Failure, Generated, Image, Job, JobState, Model, Offer, Price
from ..policy.breaker import after_failure
from ..providers.base import Context, Provider, Resumable
from ..store import Store
from .work import PLAIN, Labelling, adopt, cost_of, keep, with_inputs

MAX_ATTEMPTS = 3
"""A job that has brought down its server this often is not tried again. To ask for a task that a service has taken is no attempt, its pictures are."""


_ASKED_AGAIN = 5
"""How often work that was taken is asked for once more; it takes a minute and more."""

_ASK_ONCE_MORE = "Waiting for this job again (get_job with wait_seconds) asks the service for what it has drawn; that costs nothing more."


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What a try at a job needs.

    Args:
        provider: the provider of that name, or None where this server has none.
        model: the facts about that provider's model.
        price: what the operator says that model costs, where anything.
        open_store: the store at that URL.
        rescue_url: where pictures go when their own store cannot take them.
        retries: how often a job goes back in line.
        setback: seconds it waits there the first time; each further time four times as long.
        labelling: what is written into pictures.
    """

    provider: Callable[[str], Provider | None]
    model: Callable[[str, str], Model]
    price: Callable[[str, str], Price | None]
    open_store: Callable[[str], Store]
    rescue_url: str
    retries: Callable[[], int]
    setback: float
    clock: Callable[[], datetime]
    labelling: Callable[[], Labelling] = lambda: PLAIN


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended."""

    state: JobState
    images: tuple[Image, ...] = ()
    failure: Failure | None = None
    cost: Cost | None = None
    request_id: str | None = None
    adjustments: tuple[Adjustment, ...] = ()
    model_is: Literal["well", "failing"] | None = None
    """What it says about the service's health; None: nothing."""

    @property
    def word(self) -> str:
        """What became of it, in a word: `succeeded`, or the code of the failure."""
        return self.failure.code if self.failure is not None else self.state.value

    def judge(self, now: datetime) -> Callable[[Breaker], Breaker | None] | None:
        """What becomes of the model's breaker."""
        if self.model_is is None:
            return None
        return lambda breaker: None if self.model_is == "well" else after_failure(breaker, now)


@dataclass(frozen=True, kw_only=True)
class Setback:
    """The service surely did not take the job, so it goes back in line."""

    words: str
    pause: float = 0.0
    """Seconds for which nothing more of the account is begun."""
    offer: Offer | None = None
    """Who draws instead."""
    alternates: tuple[Offer, ...] = ()
    failing: bool = False
    """The service was out of order."""


async def known_of(job: Job, place: Workplace) -> Outcome | None:
    """What is already certain about a job that another process left; None when it is to be worked on."""
    if job.state is JobState.QUEUED:
        return None
    provider = place.provider(job.provider)
    repeatable = provider is not None and provider.repeatable
    resumable = job.task_id is not None and isinstance(provider, Resumable)
    given_up = job.attempts >= MAX_ATTEMPTS
    images = () if repeatable else await adopt(job, [place.open_store(job.store_url), place.open_store(place.rescue_url)], now=place.clock())
    # Where only some of them had been stored, the service is asked for all of them once more.
    if images and (len(images) == job.request.count or not resumable or given_up):
        restarted = Adjustment(
            field="job", message="The server was restarted after the pictures were stored; what the service said about them is lost."
        )
        cost = job.estimate and replace(job.estimate, source="list_price")
        return Outcome(state=JobState.SUCCEEDED, images=images, cost=cost, adjustments=(restarted,))
    if given_up:
        billed = not repeatable
        words = f"The server stopped {job.attempts} times while working on this job; it is not tried again."
        return failed("interrupted", words, may_have_been_billed=billed)
    if repeatable or resumable:
        return None
    return failed(
        "interrupted",
        f"The server stopped while {job.provider} was drawing. The call may have been billed, so it is not repeated; ask again to draw anew.",
        may_have_been_billed=True,
    )


class Record(Context, Protocol):
    """What is noted of a job while it is worked on, beside what its provider says."""

    @property
    def task_id(self) -> str | None:
        """The service's id for the work, as soon as it has given one."""
        ...

    def paying(self, paying: bool) -> None:
        """A call is made that costs money and cannot be made again, or it is not."""
        ...

    async def drawn(self) -> None:
        """A task that was asked for is done, and its pictures are looked at: counts as an attempt."""
        ...


async def attempt(job: Job, place: Workplace, record: Record, *, seconds: float) -> Outcome | Setback:
    """The job's end, or that it goes back in line.

    Args:
        seconds: until its deadline.
    """
    provider = place.provider(job.provider)
    if provider is None:
        return failed("provider_unavailable", f"The provider {job.provider} is no longer configured; set its key and ask again.")
    if seconds <= 0:
        billed = job.task_id is not None
        return replace(failed("timeout", "The job's deadline had passed.", retryable=True, may_have_been_billed=billed), state=JobState.EXPIRED)
    store = place.open_store(job.store_url)
    model = place.model(job.provider, job.model)
    try:
        if job.task_id is None:  # what a service has taken is fetched, even if it has to be saved elsewhere
            await store.ready()
            job = await with_inputs(job, store)
        record.paying(not provider.repeatable and job.task_id is None)
        with anyio.fail_after(seconds):
            generated = await _drawn(job, provider, model, record, place)
        return await _keep(job, provider, model, generated, store, place)
    except TimeoutError:
        billed = not provider.repeatable
        words = f"{job.provider} did not finish before the job's deadline." + (" The call may have been billed." if billed else "")
        words += f" {_ASK_ONCE_MORE}" if billed and record.task_id is not None else ""
        return replace(failed("timeout", words, retryable=True, may_have_been_billed=billed), state=JobState.EXPIRED, model_is="failing")
    except ImageServerError as error:
        if record.task_id is None and (back := setback_of(job, error, seconds=seconds, place=place)):
            return back
        failure = failure_of(error)
        if record.task_id is not None and _is_about_the_look(error):  # we have stopped looking; the service goes on drawing
            failure = replace(failure, may_have_been_billed=True, message=f"{failure.message} {_ASK_ONCE_MORE}")
        return Outcome(state=JobState.FAILED, failure=failure, model_is=_health(error, job))


async def _drawn(job: Job, provider: Provider, model: Model, record: Record, place: Workplace) -> Generated:
    """What the service returns. Work that it has taken is paid for, so it is asked for again when the service, or the place of the pictures, does not answer."""
    asked = 0
    while True:
        try:
            if (task_id := record.task_id) is None or not isinstance(provider, Resumable):
                return await provider.generate(job.request, model, record)
            generated = await provider.resume(task_id, job.request, model, record)
            await record.drawn()
            return generated
        except (UnavailableError, RateLimitedError) as error:
            if record.task_id is None or provider.repeatable or not isinstance(provider, Resumable) or asked == _ASKED_AGAIN:
                raise
            if isinstance(error, TimedOutError) or error.status == 200:  # somebody's bound on waiting; the service's last word
                raise
            await record.report(job.progress, f"{error.message} The work is paid for, so it is asked for again.")
            await anyio.sleep(max(place.setback * 2**asked, error.retry_after or 0.0))
            asked += 1


def setback_of(job: Job, error: ImageServerError, *, seconds: float, place: Workplace) -> Setback | None:
    """Where the job goes on after this error; None where it does not.

    Only what the service surely did not accept is sent again: to somebody else who was allowed to take it, or to the same service when it asked us to wait.
    """
    if not isinstance(error, ProviderError) or not error.not_accepted or error.may_have_been_billed:
        return None
    failing = isinstance(error, UnavailableError)
    if job.alternates and not isinstance(error, RefusedError):
        offer, *rest = job.alternates
        words = f"{job.provider}/{job.model} could not take it ({error.code}: {error.message}) and {offer.provider}/{offer.model} draws instead, as allowed."
        offer = replace(offer, adjustments=(*job.adjustments, Adjustment(field="provider", message=words), *offer.adjustments))
        return Setback(words=f"{job.provider} could not take it; {offer.provider} is asked.", offer=offer, alternates=tuple(rest), failing=failing)
    if not error.retryable or job.tries >= place.retries():
        return None
    pause = max(error.retry_after or 0.0, place.setback * 4**job.tries)
    if pause >= seconds:
        return None
    return Setback(words=f"{job.provider} asked to wait ({error.code}); it is asked again in {pause:.0f} s", pause=pause, failing=failing)


async def _keep(job: Job, provider: Provider, model: Model, generated: Generated, store: Store, place: Workplace) -> Outcome:
    drawn = replace(job, model=generated.model or job.model)
    with anyio.CancelScope(shield=True):  # a picture that has been paid for is stored, whoever has lost patience
        cost = cost_of(job, generated, model, place.price(job.provider, job.model))
        try:
            stores = [store, place.open_store(place.rescue_url)]
            kept = await keep(
                drawn, provider.catalogue, generated.images, stores, now=place.clock(), labelling=place.labelling(), patience=place.setback
            )
        except BadReplyError as error:
            return Outcome(
                state=JobState.FAILED, failure=failure_of(error), cost=generated.cost, request_id=generated.request_id, model_is=_health(error, job)
            )
        except StorageError as error:
            failure = replace(failure_of(error), message=f"The pictures are lost: {error.message}", may_have_been_billed=not provider.repeatable)
            return Outcome(state=JobState.FAILED, failure=failure, cost=cost, request_id=generated.request_id, model_is="well")
    return Outcome(
        state=JobState.SUCCEEDED,
        images=kept.images,
        cost=cost,
        request_id=generated.request_id,
        adjustments=generated.adjustments + kept.adjustments,
        model_is="well",
    )


def _is_about_the_look(error: ImageServerError) -> bool:
    """Whether work that a service has taken goes on all the same: it is the question after it that failed, or the reading of the answer."""
    if error.retryable or isinstance(error, StorageError | BadReplyError):
        return True
    return isinstance(error, ProviderError) and error.not_accepted


def _health(error: ImageServerError, job: Job) -> Literal["well", "failing"] | None:
    if isinstance(error, TimedOutError) and job.request.polling:
        return None  # whoever asked set the time, and may have set it short
    if isinstance(error, UnavailableError):
        return "failing"
    return "well" if isinstance(error, RefusedError | BadReplyError) else None


def failure_of(error: ImageServerError) -> Failure:
    """The failure that a job keeps of an error."""
    billed = isinstance(error, ProviderError) and error.may_have_been_billed
    return Failure(code=error.code, message=error.message, retryable=error.retryable, may_have_been_billed=billed, details=error.details)


def failed(code: str, message: str, *, retryable: bool = False, may_have_been_billed: bool = False) -> Outcome:
    """An end without pictures, for a reason of our own."""
    failure = Failure(code=code, message=message, retryable=retryable, may_have_been_billed=may_have_been_billed)
    return Outcome(state=JobState.FAILED, failure=failure)


def cancelled(*, may_have_been_billed: bool) -> Outcome:
    """An end that somebody asked for."""
    words = "Cancelled." + (" The call may have been billed all the same." if may_have_been_billed else "")
    return Outcome(state=JobState.CANCELLED, failure=Failure(code="cancelled", message=words, may_have_been_billed=may_have_been_billed))


def pause_until(setback: Setback, now: datetime) -> datetime | None:
    """Until when nothing more of the account is begun."""
    return now + timedelta(seconds=setback.pause) if setback.pause else None
