"""When a failing model is left alone, and for how long. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from ..models import Breaker

TRIP = 5
"""Failures in a row after which nothing is sent for a while. Only those count for which the service itself is to blame."""

PAUSES = tuple(timedelta(seconds=seconds) for seconds in (30, 60, 120, 240, 480, 600))
"""How long nothing is sent: the first time, the second time in a row …, and from then on."""

LONGEST_PAUSE = PAUSES[-1]

TRIAL = timedelta(minutes=2)
"""How long one job may try alone whether a model works again before another may."""


def after_failure(breaker: Breaker, now: datetime) -> Breaker:
    """The breaker when the model has failed once more: open from the fifth time in a row, for longer each time that a trial fails too.

    Jobs that were under way when it opened, and fail as well, tell nothing new.
    """
    failures = breaker.failures + 1
    if failures < TRIP or (failures > TRIP and is_open(breaker, now)):
        return replace(breaker, failures=failures)
    pause = PAUSES[min(breaker.openings, len(PAUSES) - 1)]
    return replace(breaker, failures=failures, openings=breaker.openings + 1, open_until=now + pause)


def is_open(breaker: Breaker, now: datetime) -> bool:
    """Whether nothing is sent to the model now. A clock that was set back keeps nothing shut for longer than the longest pause."""
    return breaker.open_until is not None and now < breaker.open_until <= now + LONGEST_PAUSE


def on_trial(breaker: Breaker, now: datetime) -> Breaker:
    """The breaker while one job tries whether the model works again: one more failure is enough to open it."""
    return replace(breaker, failures=TRIP - 1, open_until=now + TRIAL)


def words(breaker: Breaker, now: datetime) -> str:
    """What to tell about a model that is left alone."""
    wait = (breaker.open_until - now).total_seconds() if breaker.open_until is not None else 0
    return f"{breaker.provider}/{breaker.model} has failed several times in a row, so it is left alone; it is tried again in {wait:.0f} s"
