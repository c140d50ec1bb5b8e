"""Stops at bad moments: of the server while work is under way, of the database, of the person who waits."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import stamina
from anyio import to_thread

from mcp_image_server.errors import AuthError
from mcp_image_server.jobs.attempt import MAX_ATTEMPTS
from mcp_image_server.jobs.notes import Notes
from mcp_image_server.jobs.work import keep
from mcp_image_server.models import Generated, ImageRequest, Job, JobState, Model
from mcp_image_server.providers import Context
from mcp_image_server.store import open_store
from tests.easel import CATALOGUE, Easel, Gate, TaskEasel, draw

from .place import HASTY, PATIENCE, QUICK, Place, an_offer

pytestmark = pytest.mark.anyio


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@dataclass
class SlowTask(TaskEasel):
    """A task that is under way until the gate is opened."""

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        self.resumed.append(task_id)
        self.started.set()
        return await self.work(request, context)


def database(place: Place) -> sqlite3.Connection:
    return sqlite3.connect(place.folder / "data" / "history.sqlite3", timeout=10, isolation_level=None)


@asynccontextmanager
async def no_table(place: Place) -> AsyncIterator[None]:
    """The database cannot be used for a while."""

    def rename(name: str, other: str) -> None:
        with closing(database(place)) as connection:
            connection.execute(f"ALTER TABLE {name} RENAME TO {other}")

    await to_thread.run_sync(rename, "jobs", "hidden")  # the server may have to end a transaction first
    yield
    await to_thread.run_sync(rename, "hidden", "jobs")


async def test_servers_that_stop_in_order_never_use_up_a_job(place: Place) -> None:
    gate = Gate()
    for _ in range(MAX_ATTEMPTS + 1):
        easel = Easel(work=gate, repeatable=True)
        async with place.server(easel) as server:
            if not (jobs := await server.history.jobs(None)):
                jobs = [await server.submit()]
            await easel.started.wait()
    gate.opened.set()
    async with place.server(easel) as server:
        ended = await server.jobs.wait(jobs[0].id, PATIENCE)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 1)


async def test_to_ask_for_a_task_is_no_attempt_and_its_pictures_are(place: Place) -> None:
    gate = Gate()
    easel = SlowTask(work=gate)
    async with place.server(easel) as server:
        left = await server.die_with(task_id="task-9")
        await easel.started.wait()
        assert (await server.jobs.wait(left.id, 0)).attempts == 1
        gate.opened.set()
        ended = await server.jobs.wait(left.id, PATIENCE)
    assert (ended.state, ended.attempts) == (JobState.SUCCEEDED, 2)


async def test_a_task_whose_pictures_keep_bringing_the_server_down_is_given_up(place: Place) -> None:
    easel = TaskEasel()
    async with place.server(easel) as server:
        left = await server.die_with(task_id="task-9", attempts=MAX_ATTEMPTS)
        failure = (await server.jobs.wait(left.id, PATIENCE)).failure
    assert failure is not None
    assert (failure.code, failure.may_have_been_billed, easel.resumed) == ("interrupted", True, [])


async def test_a_task_of_which_some_pictures_were_stored_is_asked_for_all(place: Place) -> None:
    async def store_the_first(job: Job) -> None:
        await keep(job, CATALOGUE, draw(job.request).images[:1], [open_store(place.store)], now=place.now)

    easel = TaskEasel()
    async with place.server(easel) as server:
        left = await server.die_with(task_id="task-9", count=3, at_last=store_the_first)
        job = await server.jobs.wait(left.id, PATIENCE)
    assert (len(job.images), easel.resumed) == (3, ["task-9"])


async def test_what_a_service_has_taken_is_sent_to_nobody_else(place: Place) -> None:
    async def take_and_turn_away(request: ImageRequest, context: Context) -> Generated:
        await context.accepted("task-9")
        raise AuthError("The key was changed.", provider="easel", not_accepted=True)

    first, second = TaskEasel(work=take_and_turn_away), Easel(name="board")
    request = ImageRequest(prompt="a cat", seed=3)
    async with place.server(first, second) as server:
        other = an_offer(request, provider="board", account="board:account")
        job = await server.jobs.submit("local", an_offer(request), alternates=[other], store_url=place.store)
        assert (await server.jobs.wait(job.id, PATIENCE)).state is JobState.FAILED
    assert second.asked == []


class Unlucky(Easel):
    """Whoever looks at it before the work sees somebody else cancel the job."""

    place: Place

    @property
    def repeatable(self) -> bool:
        with closing(database(self.place)) as connection:
            connection.execute("UPDATE jobs SET cancel_requested = 1 WHERE state = 'running'")
        return True

    @repeatable.setter
    def repeatable(self, value: bool) -> None:
        pass


async def test_a_job_that_is_to_end_while_it_is_being_taken_up_ends(place: Place) -> None:
    easel = Unlucky()
    easel.place = place
    async with place.server(easel) as server:
        left = await server.die_with()
        assert (await server.jobs.wait(left.id, PATIENCE)).state is JobState.CANCELLED
    assert easel.asked == []


async def test_a_watcher_hears_every_few_seconds_although_the_same_is_said_again_and_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each word that is no news must not put off the next sign of life."""
    now = 0.0
    monkeypatch.setattr("mcp_image_server.jobs.jobs.monotonic", lambda: now)
    words = "The account's places are taken."
    heard: list[str] = []

    async def repeat(request: ImageRequest, context: Context) -> Generated:
        nonlocal now
        await context.report(0.0, words)
        while words not in heard:
            await anyio.sleep(0.01)
        await anyio.sleep(Notes.INTERVAL)  # what comes sooner is not passed on
        now, before = 59.9, len(heard)
        await context.report(0.0, words)
        await anyio.sleep(0.1)
        assert len(heard) == before
        now = 60.0
        with anyio.fail_after(PATIENCE):
            while len(heard) == before:
                await anyio.sleep(0.01)
        return draw(request)

    async def watch(job: Job) -> None:
        heard.append(job.message)

    async with place.server(Easel(work=repeat), timing=replace(QUICK, murmur=60)) as server:
        assert (await server.jobs.wait((await server.submit()).id, 1000, watch)).state is JobState.SUCCEEDED


async def test_words_that_cannot_be_written_cost_no_picture(place: Place) -> None:
    begun, go_on, said = anyio.Event(), anyio.Event(), anyio.Event()

    async def report(request: ImageRequest, context: Context) -> Generated:
        begun.set()
        await go_on.wait()
        await context.report(0.5, "half way")
        said.set()
        return draw(request)

    async with place.server(Easel(work=report)) as server:
        job = await server.submit()
        await begun.wait()
        async with no_table(place):
            go_on.set()
            with anyio.fail_after(PATIENCE):
                await said.wait()
        assert (await server.jobs.wait(job.id, PATIENCE)).state is JobState.SUCCEEDED


async def test_a_task_whose_id_cannot_be_written_is_waited_for_all_the_same(place: Place) -> None:
    begun, go_on, said = anyio.Event(), anyio.Event(), anyio.Event()

    async def accept(request: ImageRequest, context: Context) -> Generated:
        begun.set()
        await go_on.wait()
        await context.accepted("task-9")
        said.set()
        return draw(request)

    with stamina.set_testing(True, attempts=2):
        async with place.server(TaskEasel(work=accept), timing=HASTY) as server:  # the end may come before the table is back
            job = await server.submit()
            await begun.wait()
            async with no_table(place):
                go_on.set()
                with anyio.fail_after(PATIENCE):
                    await said.wait()
            stamina.set_testing(False)
            assert (await server.jobs.wait(job.id, PATIENCE)).state is JobState.SUCCEEDED


async def test_a_job_whose_end_could_not_be_written_is_taken_up_by_the_same_server(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Its picture is there, and is found."""
    begun, go_on = anyio.Event(), anyio.Event()

    async def work(request: ImageRequest, context: Context) -> Generated:
        begun.set()
        await go_on.wait()
        return draw(request)

    easel = Easel(work=work)
    with stamina.set_testing(True, attempts=1):
        async with place.server(easel, timing=HASTY) as server:
            job = await server.submit()
            await begun.wait()
            async with no_table(place):
                go_on.set()
                while f"Job {job.id} cannot be recorded" not in caplog.text:
                    await anyio.sleep(0.01)
            assert (await server.jobs.wait(job.id, PATIENCE)).state is JobState.SUCCEEDED
    assert len(easel.asked) == 1


async def test_a_job_submitted_to_a_closing_server_is_left_to_the_next(place: Place) -> None:
    gate = Gate()
    easel = Easel(work=gate)
    async with place.server(easel, timing=replace(QUICK, grace=PATIENCE)) as one:
        await one.submit("first")
        await easel.started.wait()
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.jobs.close)
                await anyio.lowlevel.checkpoint()
                late = await one.submit("late")
                gate.opened.set()
    async with place.server(Easel()) as other:
        assert (await other.jobs.wait(late.id, PATIENCE)).state is JobState.SUCCEEDED
