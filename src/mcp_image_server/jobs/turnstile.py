"""Who of those in line is let in, and what the others wait for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..models import ECONOMY, Job, Limits, Waiting
from ..net.client import load
from ..policy import breaker as breakers
from ..policy.line import Admission, admit, turns
from .attempt import Workplace

if TYPE_CHECKING:
    from ..history import History, Line


class Turnstile:
    """Where the lines of accounts end.

    Args:
        owner: this process, in the record.
        limits: what the account of that provider may have.
        timeout: seconds a job may take.
        slots: jobs each process works on at once.
        room: how many more of an account this process can work on just now.
    """

    def __init__(
        self,
        history: History,
        owner: str,
        place: Workplace,
        *,
        limits: Callable[[str], Limits],
        timeout: Callable[[], float],
        slots: int,
        room: Callable[[str], int],
    ) -> None:
        self._history = history
        self._owner = owner
        self._place = place
        self._clock = place.clock
        self._limits = limits
        self._timeout = timeout
        self._slots = slots
        self._room = room

    async def let_out(self, account: str, provider: str) -> tuple[Collection[str], float | None]:
        """The ids of this process's jobs that are begun now, as the account's limits allow; and the seconds until they allow more, where that is known."""
        if (service := self._place.provider(provider)) is not None and not service.repeatable:
            await load()  # a job that is stopped between its beginning and its first call may have been billed, as far as anybody can tell
        admission = Admission()

        def decide(line: Line) -> Collection[str]:
            nonlocal admission
            admission = self._admission(line, account, provider)
            return admission.jobs

        now = self._clock()
        begun = await self._history.admit(
            account,
            self._owner,
            decide,
            now=now,
            trial=lambda breaker: breakers.on_trial(breaker, now),
            depth=None if account.endswith(ECONOMY) else 4 * self._slots,
        )
        return begun, admission.again

    async def place_of(self, job: Job) -> str:
        """What a waiting job waits for."""
        now = self._clock()
        line = await self._history.line(job.account, now=now)
        order = [waiting.job_id for waiting in turns(line.waiting, line.served)]
        words = f"waiting in line for {job.provider}, number {order.index(job.id) + 1} of {len(order)}" if job.id in order else "waiting in line"
        if pause := self._pause(line, now):
            return f"{words}; {job.provider} asked to wait {pause:.0f} s"
        for breaker in line.breakers:
            if (breaker.provider, breaker.model) == (job.provider, job.model) and breakers.is_open(breaker, now):
                return f"{words}; {breakers.words(breaker, now)}"
        return words

    def _admission(self, line: Line, account: str, provider: str) -> Admission:
        now = self._clock()
        if pause := self._pause(line, now):
            return Admission(again=pause)
        order = turns(line.waiting, line.served)
        return admit(
            order,
            owner=self._owner,
            room=self._room(account),
            limits=_UNLIMITED if account.endswith(ECONOMY) else self._limits(provider),
            running=line.running,
            begun=line.begun,
            now=now,
            busy=[owner for owner, jobs in line.working.items() if jobs >= self._slots],
            shut=_shut(order, line, now),
        )

    def _pause(self, line: Line, now: datetime) -> float:
        """Seconds for which the account still rests. No pause is longer than a job may take; one that would be is the trace of a clock that was set back."""
        left = (line.paused_until - now).total_seconds() if line.paused_until is not None else 0.0
        return left if 0 < left <= self._timeout() else 0.0


_UNLIMITED = Limits(concurrent=10**6)
"""For work that its service does when it likes."""


def _shut(order: Sequence[Waiting], line: Line, now: datetime) -> set[str]:
    """Jobs whose model is left alone; when its time is over, all but the first, which tries."""
    shut: set[str] = set()
    for breaker in line.breakers:
        theirs = [job.job_id for job in order if (job.provider, job.model) == (breaker.provider, breaker.model)]
        if breakers.is_open(breaker, now):
            shut.update(theirs)
        elif breaker.open_until is not None:
            shut.update(theirs[1:])
    return shut
