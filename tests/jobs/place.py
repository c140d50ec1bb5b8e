"""A folder with a history and a store, and servers on it, as several processes share them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio

from mcp_image_server.history import History, open_history
from mcp_image_server.jobs import Jobs, Timing, Workplace
from mcp_image_server.jobs.owner import new_owner
from mcp_image_server.models import ImageRequest, Job, JobState, Limits, Offer
from mcp_image_server.providers import Provider
from mcp_image_server.store import folder_url, open_store
from tests.easel import MODEL

QUICK = Timing(lease=60, heartbeat=0.05, sweep=0.05, glance=0.02, queue=0.02, murmur=0.5, grace=0.2)
"""Looks often, and takes nobody for dead who was only kept waiting by a busy machine."""
HASTY = replace(QUICK, lease=0.4)
"""Takes whoever was silent for a moment for dead."""
PATIENCE = 30.0
"""Seconds after which a test gives up; less than a lease, so that what is due at once did not wait for one."""


def an_offer(request: ImageRequest, **changes: Any) -> Offer:
    return replace(Offer(request=request, provider="easel", model=MODEL.id, account="easel:account"), **changes)


def dead_owner() -> str:
    """The name of a process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    machine, namespace, _, chance = new_owner().rsplit(":", 3)
    return f"{machine}:{namespace}:{process.pid}:{chance}"


@dataclass
class Place:
    """A folder with a history and a store, which several servers may share."""

    folder: Path
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    database: str | None = None
    """The URL of the record; None: a file in the folder."""

    def __post_init__(self) -> None:
        self.store = folder_url(self.folder / "pictures")

    def clock(self) -> datetime:
        self.now += timedelta(microseconds=1)
        return self.now

    @asynccontextmanager
    async def server(
        self, *providers: Provider, timing: Timing = QUICK, timeout: float = 30, slots: int = 8, retries: int = 3, busy_timeout: float = 10
    ) -> AsyncIterator[Server]:
        named = {provider.name: provider for provider in providers}
        history = await open_history(self.database or self.folder / "data", busy_timeout=busy_timeout)
        async with anyio.create_task_group() as tasks:
            place = Workplace(
                provider=named.get,
                model=lambda provider, name: MODEL,
                price=lambda provider, name: None,
                open_store=open_store,
                rescue_url=folder_url(self.folder / "rescued"),
                retries=lambda: retries,
                setback=0.02,
                clock=self.clock,
            )
            jobs = Jobs(
                history,
                tasks,
                place=place,
                limits=lambda name: named[name].limits if name in named else Limits(),
                timeout=lambda: timeout,
                slots=slots,
                timing=timing,
            )
            tasks.start_soon(jobs.run)
            try:
                yield Server(self, jobs, history)
            finally:
                with anyio.CancelScope(shield=True):
                    await jobs.close()
                tasks.cancel_scope.cancel()
        await history.close()


@dataclass
class Server:
    place: Place
    jobs: Jobs
    history: History

    async def submit(self, prompt: str = "a cat", principal: str = "local", **wishes: Any) -> Job:
        return await self.jobs.submit(principal, an_offer(ImageRequest(prompt=prompt, **wishes)), store_url=self.place.store)

    async def die_with(
        self,
        state: JobState = JobState.RUNNING,
        *,
        task_id: str | None = None,
        attempts: int = 1,
        at_last: Callable[[Job], Awaitable[object]] | None = None,
        **wishes: Any,
    ) -> Job:
        """A job as a killed server leaves it behind, after it did that at last."""
        ghost = new_owner()  # looks alive until all is written
        job = Job(
            id="00112233aabbccdd",
            principal="local",
            state=JobState.QUEUED,
            request=ImageRequest(prompt="a cat", seed=7, **wishes),
            provider="easel",
            model="easel-1",
            store_url=self.place.store,
            account="easel:account",
            owner=ghost,
            created_at=self.place.now,
        )
        await self.history.enter(job, lease_until=self.place.now + timedelta(seconds=30))
        if state is JobState.RUNNING:
            for _ in range(attempts):
                assert await self.history.start(job.id, ghost, now=self.place.now)
        if task_id:
            await self.history.accepted(job.id, ghost, task_id)
        if at_last is not None:
            await at_last(job)
        await self.history.release(ghost)
        return job
