"""What happens between two steps: a job whose server is closed, or whose caller is gone, just then."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from mcp_image_server.errors import RateLimitedError
from mcp_image_server.history import History, open_history
from mcp_image_server.history.record import Held
from mcp_image_server.models import Cost, Generated, ImageRequest, Job, JobState, Limits
from mcp_image_server.providers import Context
from mcp_image_server.store import open_store
from tests.easel import Easel, Gate, TaskEasel, at_once

from .place import PATIENCE, QUICK, Place, Server, an_offer

pytestmark = pytest.mark.anyio

CALM = replace(QUICK, heartbeat=60)
"""Gives no sign of life while a test lasts."""
PATIENT = replace(QUICK, grace=PATIENCE)
"""Closes when what is paid for is done."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_a_job_whose_server_is_closed_at_once_is_drawn_and_never_said_to_be_lost(place: Place) -> None:
    for _ in range(5):
        async with place.server(Easel(), timing=PATIENT) as server:
            await server.submit()
    async with place.server(Easel()) as server:
        jobs = [await server.jobs.wait(job.id, PATIENCE) for job in await server.history.jobs(None)]
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 5


async def test_a_job_that_enters_while_its_server_is_closed_is_left_to_the_next(place: Place) -> None:
    gate = Gate()
    easel = Easel(work=gate)
    async with place.server(easel, timing=PATIENT) as server:
        await server.submit("first")
        await easel.started.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.jobs.close)
            await anyio.wait_all_tasks_blocked()
            late = await server.submit("late")
            gate.opened.set()
    async with place.server(Easel()) as server:
        assert (await server.jobs.wait(late.id, PATIENCE)).state is JobState.SUCCEEDED


async def test_a_server_that_is_closed_while_it_takes_up_a_job_hands_it_over(place: Place) -> None:
    record = await open_history(place.folder / "data")
    easel = Easel(work=Gate())
    async with place.server(easel) as server:
        await server.submit("first")
        await easel.started.wait()
        turn = server.history._transactions.turn
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks, turn:
                left = await Server(place, server.jobs, record).die_with(JobState.QUEUED)
                tasks.start_soon(server.jobs.take_up)
                while turn.statistics().tasks_waiting < 2:  # a sign of life, and the claim
                    await anyio.sleep(0.01)
                tasks.start_soon(server.jobs.close)
                await anyio.wait_all_tasks_blocked()
    async with place.server(Easel()) as server:
        assert (await server.jobs.wait(left.id, PATIENCE)).state is JobState.SUCCEEDED
    await record.close()


async def test_a_job_that_is_cancelled_ends_although_whoever_cancelled_it_loses_patience(place: Place) -> None:
    easel = Easel(work=Gate(), limits=Limits(concurrent=1))
    impatient = anyio.CancelScope()
    async with place.server(easel, timing=CALM) as server:
        await server.submit("first")
        await easel.started.wait()
        waiting = await server.submit("second")
        turn = server.history._transactions.turn

        async def cancel() -> None:
            with impatient:
                await server.jobs.cancel(waiting.id)

        async def lose_patience() -> None:
            async with turn:  # comes when the wish is written and the end is not
                impatient.cancel()

        async with anyio.create_task_group() as tasks, turn:
            tasks.start_soon(cancel)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(lose_patience)
            await anyio.wait_all_tasks_blocked()
        assert (await server.jobs.wait(waiting.id, PATIENCE)).state is JobState.CANCELLED


async def test_a_job_that_enters_while_another_is_being_cancelled_is_not_forgotten(place: Place) -> None:
    """This server hears of the wish at a sign of life; the new job is in no list of that one."""
    easel = Easel(work=Gate(), limits=Limits(concurrent=1))
    async with place.server(easel) as server, place.server(Easel(), timing=CALM) as other:
        first = await server.submit("first")
        await easel.started.wait()
        turn = server.history._transactions.turn
        for number in range(5):
            waiting = await server.submit(f"number {number}")
            await other.history.request_cancel(waiting.id, now=place.now)
            while (await other.jobs.wait(waiting.id, 0)).state is JobState.QUEUED:
                if turn.locked():
                    await server.submit(f"beside {number}")
        await server.jobs.cancel(first.id)
        easel.work = at_once
        ended = [await server.jobs.wait(job.id, PATIENCE) for job in await server.history.jobs(None, limit=1000)]
    assert {job.state for job in ended if job.request.prompt.startswith("beside")} == {JobState.SUCCEEDED}


async def test_what_a_service_has_taken_goes_to_nobody_else_and_is_asked_for_again(place: Place) -> None:
    cost = Cost(micros=40_000, currency="USD", source="list_price")

    async def taken_then_busy(request: ImageRequest, context: Context) -> Generated:
        await context.accepted("task-9")
        raise RateLimitedError("Too many looks.", provider="easel", status=429, not_accepted=True)

    first, second = TaskEasel(work=taken_then_busy), TaskEasel(name="board")
    offer = an_offer(ImageRequest(prompt="a cat"), estimate=cost)
    async with place.server(first, second) as server:
        other = replace(offer, provider="board", account="board:account")
        job = await server.jobs.submit("local", offer, alternates=[other], store_url=place.store)
        ended = await server.jobs.wait(job.id, PATIENCE)
    assert (ended.state, ended.provider, ended.failure) == (JobState.SUCCEEDED, "easel", None)
    assert (len(first.asked), first.resumed, second.asked, second.resumed) == (1, ["task-9"], [], [])


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
async def test_a_wish_to_cancel_outlives_the_server_that_was_to_hear_it(place: Place, state: JobState) -> None:
    easel = TaskEasel()

    async def wish(job: Job) -> None:
        await server.history.request_cancel(job.id, now=place.now)

    async with place.server(easel) as server:
        left = await server.die_with(state, task_id="task-9" if state is JobState.RUNNING else None, at_last=wish)
        ended = await server.jobs.wait(left.id, PATIENCE)
    billed = ended.failure is not None and ended.failure.may_have_been_billed
    assert (ended.state, billed) == (JobState.CANCELLED, state is JobState.RUNNING)
    assert (easel.asked, easel.resumed) == ([], [])


async def test_the_same_picture_drawn_by_two_servers_is_the_same_file(place: Place) -> None:
    """One seemed silent to the other, and both draw what costs nothing: whoever writes last, the record is right."""
    gates = Gate(), Gate()
    engines = [Easel(work=gate, repeatable=True) for gate in gates]
    async with place.server(engines[0], timing=CALM) as slow, place.server(engines[1], timing=replace(QUICK, lease=0.1)) as other:
        job = await slow.submit()
        await engines[1].started.wait()
        gates[1].opened.set()
        ended = await other.jobs.wait(job.id, PATIENCE)
        place.now += timedelta(minutes=1)
        gates[0].opened.set()
        while slow.jobs._here:
            await anyio.sleep(0.01)
        data = await open_store(place.store).get(ended.images[0].key)
    assert hashlib.sha256(data).hexdigest() == ended.images[0].sha256


async def test_a_server_without_work_leaves_the_record_in_peace(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    look = History.held_by_others

    async def counted(self: History, owner: str, *, dropped: Collection[str] = ()) -> list[Held]:
        nonlocal looks
        looks += 1
        return await look(self, owner, dropped=dropped)

    monkeypatch.setattr(History, "held_by_others", counted)
    async with place.server(Easel(), timing=replace(QUICK, heartbeat=0.01, sweep=60)) as server:
        job = await server.submit()
        await server.jobs.wait(job.id, PATIENCE)
        await anyio.sleep(0.1)  # the last sign of life of the job
        looks = 0
        await anyio.sleep(0.3)
    assert looks <= 2
