"""How the server is: whether it can take work, and how much it has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .errors import ImageServerError
from .policy.breaker import is_open
from .policy.breaker import words as breaker_words
from .workshop import Workshop

if TYPE_CHECKING:
    from .history import Load
    from .models import Breaker


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the server, looked at."""

    name: str
    ok: bool
    vital: bool
    """Without it the server is of no use."""
    words: str


@dataclass(frozen=True, kw_only=True)
class Burden:
    """The work under way in all processes that share the database."""

    loads: tuple[Load, ...]
    breakers: tuple[Breaker, ...]
    """Of every model that failed the last time."""
    at: datetime


async def look(workshop: Workshop) -> tuple[Part, ...]:
    """Every part, looked at now. Nothing is sent to a service: what is known of them is what their last jobs showed."""
    database = await _vital("database", lambda: burden(workshop))
    store = await _vital("store", lambda: workshop.store(workshop.save_url).ready())
    return (database, store, await _engine(workshop, database=database.ok), await _providers(workshop, database=database.ok))


async def burden(workshop: Workshop) -> Burden:
    """How much work there is.

    Raises:
        StorageError: the database cannot be used.
    """
    history = await workshop.history()
    return Burden(loads=tuple(await history.load()), breakers=tuple(await history.breakers()), at=datetime.now(UTC))


async def _vital(name: str, trial: Callable[[], Awaitable[Any]]) -> Part:
    try:
        await trial()
    except ImageServerError as error:
        return Part(name=name, ok=False, vital=True, words=error.message)
    return Part(name=name, ok=True, vital=True, words="works")


async def _engine(workshop: Workshop, *, database: bool) -> Part:
    at_work = database and (await workshop.jobs()).at_work
    return Part(name="engine", ok=at_work, vital=True, words="looks after jobs" if at_work else "Jobs are not looked after here just now.")


async def _providers(workshop: Workshop, *, database: bool) -> Part:
    """Never vital: a service that fails does so for every server, and a balancer that took all of them away would make one failure out of two."""
    configuration = workshop.configuration
    now = datetime.now(UTC)
    found = await (await workshop.history()).breakers() if database else []
    troubles = [breaker_words(breaker, now) for breaker in found if is_open(breaker, now) and breaker.provider in configuration.providers]
    troubles += [f"{name}: {words}" for name, words in configuration.broken.items()]
    return Part(name="providers", ok=not troubles, vital=False, words="; ".join(troubles) or ", ".join(configuration.providers))
