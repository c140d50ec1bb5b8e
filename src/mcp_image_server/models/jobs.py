"""Requests under way or ended: what was changed, what came of them, what they cost, and whose turn it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from .images import Image
from .requests import ImageRequest


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """One thing we changed so that the request fits the model; every change reaches the caller as words."""

    field: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One picture as a service returned it, not yet checked or stored."""

    data: bytes = field(repr=False)
    seed: int | None = None
    revised_prompt: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Money in millionths of a currency unit, so that sums stay exact."""

    micros: int
    currency: str
    source: Literal["reported", "computed", "list_price", "possible"]
    """reported: the service named the amount; computed: from the usage it reported; list_price: from our table; possible: the list price of work
    that brought nothing and may have been billed all the same."""


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What was spent, and what is promised to jobs under way: currency to millionths, of everybody and of one principal."""

    day: Mapping[str, int] = field(default_factory=dict)
    month: Mapping[str, int] = field(default_factory=dict)
    principal_day: Mapping[str, int] = field(default_factory=dict)
    principal_month: Mapping[str, int] = field(default_factory=dict)
    jobs: int = 0
    """Of the principal, under way."""
    images: int = 0
    """That the principal asked for on that day."""


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What a service returned for one job."""

    images: tuple[Drawn, ...]
    cost: Cost | None = None
    request_id: str | None = None
    model: str | None = None
    """Who drew, where it was not the model that was asked."""
    adjustments: tuple[Adjustment, ...] = ()


class JobState(StrEnum):
    """How far a job has come: from queued to running to one of the ends. Back in line only while no service has accepted it."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Its deadline passed."""

    @property
    def ended(self) -> bool:
        """Nothing more becomes of it."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a job failed, in the words of `errors`."""

    code: str
    message: str
    retryable: bool = False
    may_have_been_billed: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Who would draw a request, as which request, and what it would cost."""

    request: ImageRequest
    """Fitted to the model."""
    provider: str
    model: str
    account: str
    adjustments: tuple[Adjustment, ...] = ()
    estimate: Cost | None = None
    """None: nothing is known."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A request under way or ended."""

    id: str
    principal: str
    state: JobState
    request: ImageRequest
    """Already fitted to the model."""
    provider: str
    model: str
    account: str = ""
    """Whose limits count."""
    store_url: str
    alternates: tuple[Offer, ...] = ()
    """Who may draw instead, in order, while nobody has accepted the work."""
    batch_id: str | None = None
    """The batch that it was entered with."""
    position: int | None = None
    """Which item of the batch it draws, from 0."""
    estimate: Cost | None = None
    """What it was expected to cost."""
    adjustments: tuple[Adjustment, ...] = ()
    progress: float = 0.0
    """0 to 1."""
    message: str = ""
    task_id: str | None = None
    """The service's own id, once it has accepted the work."""
    request_id: str | None = None
    """The service's own id of the call that ended the work, for its support desk."""
    attempts: int = 0
    """How often a server has begun to work on it."""
    tries: int = 0
    """How often it went back in line because its service surely had not taken it."""
    images: tuple[Image, ...] = ()
    failure: Failure | None = None
    cost: Cost | None = None
    owner: str | None = None
    """The server process that works on it."""
    created_at: datetime
    deadline: datetime | None = None
    """When it ends, whatever has come of it. None: it waits in line as long as it takes, and its time begins with its work."""
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def may_yet_come(self) -> bool:
        """It ended without pictures although a service had taken it: there, they may be had all the same."""
        lost = self.state in (JobState.FAILED, JobState.EXPIRED) and self.task_id is not None
        return lost and self.failure is not None and self.failure.may_have_been_billed


@dataclass(frozen=True, kw_only=True)
class Event:
    """One step of a job's progress; `sequence` counts from 1 within the job, without gaps."""

    job_id: str
    sequence: int
    at: datetime
    progress: float
    message: str
    preview_key: str | None = None
    """Where the store of the job has a picture of the work so far."""


@dataclass(frozen=True, kw_only=True)
class Headway:
    """How far a batch has come: its items by the latest job of each, and its money."""

    items: int
    succeeded: int = 0
    failed: int = 0
    """Ended without pictures."""
    running: int = 0
    progress: float = 0.0
    """0 to 1, over the whole."""
    spent: Mapping[str, int] = field(default_factory=dict)
    """Currency to millionths, as far as it is known, also for jobs that were entered anew since."""
    perhaps: Mapping[str, int] = field(default_factory=dict)
    """The part of it that may not have been billed."""

    @property
    def ended(self) -> bool:
        """Nothing is under way any more."""
        return self.succeeded + self.failed == self.items


@dataclass(frozen=True, kw_only=True)
class BatchSummary:
    """A batch as a whole, without its items."""

    id: str
    principal: str
    created_at: datetime
    headway: Headway

    @property
    def state(self) -> Literal["running", "succeeded", "incomplete"]:
        """In a word. `incomplete`: it has ended, and items are without pictures."""
        if not self.headway.ended:
            return "running"
        return "incomplete" if self.headway.failed else "succeeded"


ECONOMY = "/economy"
"""How an account's second line is called, in which jobs stand that may take a day: they hold nobody up, and nobody holds them up."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A job in the line of its account."""

    job_id: str
    principal: str
    owner: str | None
    """The server process that will begin it."""
    provider: str
    model: str
    pictures: int
    created_at: datetime
    batched: bool = False
    """Entered together with many."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """That a job of an account was begun, and how many pictures it asked for."""

    at: datetime
    pictures: int


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """A model that has failed several times in a row, or begins to."""

    provider: str
    model: str
    failures: int = 0
    """In a row."""
    openings: int = 0
    """How often in a row nothing was sent to it for a while."""
    open_until: datetime | None = None
    """Nothing is sent before; afterwards one job tries whether it works again."""
