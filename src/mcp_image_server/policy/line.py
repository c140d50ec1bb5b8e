"""Whose job is begun next, and how many. Pure: it is handed a line and decides."""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from math import floor

from ..models import Begun, Limits, Waiting

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Admission:
    """Which jobs to begin now, and when to ask again."""

    jobs: tuple[str, ...] = ()
    again: float | None = None
    """Seconds until the limits allow more; None: not before something ends."""


def turns(waiting: Sequence[Waiting], served: Mapping[str, datetime]) -> list[Waiting]:
    """The line in the order in which it is begun: principals take turns, each with its oldest job first, and with those of batches last.

    Args:
        served: when a job of each principal was last begun; who was never served goes first, then who has waited longest.
    """
    theirs: dict[str, list[Waiting]] = {}
    for job in sorted(waiting, key=lambda job: (job.batched, job.created_at, job.job_id)):
        theirs.setdefault(job.principal, []).append(job)
    never = datetime.min.replace(tzinfo=UTC)
    rounds = zip_longest(*sorted(theirs.values(), key=lambda jobs: (served.get(jobs[0].principal, never), jobs[0].created_at, jobs[0].principal)))
    return [job for each in rounds for job in each if job is not None]


def admit(
    line: Sequence[Waiting],
    *,
    owner: str,
    room: int,
    limits: Limits,
    running: int,
    begun: Sequence[Begun],
    now: datetime,
    busy: Collection[str] = (),
    shut: Collection[str] = (),
) -> Admission:
    """Which of the owner's jobs to begin.

    A place in line that belongs to another process is left to that process, so the order holds across processes.

    Args:
        line: in the order of `turns`.
        owner: the process that asks.
        room: how many more jobs it can work on.
        running: jobs of the account that are under way, in whichever process.
        begun: what was begun lately.
        busy: processes that have no room themselves, whose jobs are passed over.
        shut: ids of jobs whose service is failing, which are passed over too.
    """
    free = limits.concurrent - running
    recent = sorted(begun, key=lambda each: each.at)
    chosen: list[str] = []
    for job in line:
        if free <= 0 or room <= len(chosen):
            break
        if job.job_id in shut or (job.owner != owner and (job.owner is None or job.owner in busy)):
            continue
        if wait := _wait(job, limits, recent, now):
            return Admission(jobs=tuple(chosen), again=wait)
        free -= 1
        insort(recent, Begun(at=now, pictures=job.pictures), key=lambda each: each.at)
        if job.owner == owner:
            chosen.append(job.job_id)
    return Admission(jobs=tuple(chosen))


def _wait(job: Waiting, limits: Limits, recent: Sequence[Begun], now: datetime) -> float:
    """Seconds until the account may begin this job; 0: now."""
    moments = [now]
    if limits.per_second:
        # At most so many within so long: one in 2 seconds for 0.5 a second, 3 in 1 second for 3.5.
        most, window = max(1, floor(limits.per_second)), timedelta(seconds=max(1.0, 1 / limits.per_second))
        within = [each for each in recent if _recent(now - each.at, window)]
        if len(within) >= most:
            moments.append(within[-most].at + window)
    if limits.images_per_minute:
        within = [each for each in recent if _recent(now - each.at, MINUTE)]
        # A job of more pictures than the minute has is begun alone: it would never be otherwise.
        room = limits.images_per_minute - min(job.pictures, limits.images_per_minute)
        drawn = sum(each.pictures for each in within)
        for each in within:
            if drawn <= room:
                break
            drawn -= each.pictures
            moments.append(each.at + MINUTE)
    return (max(moments) - now).total_seconds()


def _recent(age: timedelta, window: timedelta) -> bool:
    """Whether it counts.

    The clocks of two machines differ a little. What was begun further in the future is the trace of a clock that was set back, and would hold everything
    up until it comes.
    """
    return -window < age < window
