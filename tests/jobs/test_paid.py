"""What has been paid for, or may have been, when something goes wrong just then: it is found again, it is billed, and nobody pays for it twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
import stamina

from mcp_image_server.errors import AuthError, BadReplyError, ProviderError, RefusedError, StorageError, TimedOutError, UnavailableError
from mcp_image_server.jobs import work
from mcp_image_server.models import Cost, Drawn, Generated, ImageRequest, Job, JobState, Model
from mcp_image_server.providers import Context
from mcp_image_server.store import open_store
from tests.easel import Easel, Gate, TaskEasel

from .place import PATIENCE, QUICK, Place, Server, an_offer

pytestmark = pytest.mark.anyio

PRICE = Cost(micros=40_000, currency="USD", source="list_price")
POSSIBLE = replace(PRICE, source="possible")
PAID = Cost(micros=70_000, currency="USD", source="reported")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def ended(server: Server, *, estimate: Cost | None = PRICE, count: int = 1) -> Job:
    offer = an_offer(ImageRequest(prompt="a cat", count=count), estimate=estimate)
    job = await server.jobs.submit("local", offer, store_url=server.place.store)
    return await server.jobs.wait(job.id, PATIENCE)


@pytest.mark.parametrize(
    "error",
    [
        AuthError("The key was changed.", provider="easel", status=401, not_accepted=True),
        ProviderError("No such task.", provider="easel", status=404, not_accepted=True),
        BadReplyError("A web page.", provider="easel", status=200),
        ZeroDivisionError("a bug"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_a_service_has_taken_may_have_been_billed_when_a_look_at_it_fails(place: Place, error: Exception) -> None:
    """What goes wrong with the look says nothing about the work."""

    async def taken(request: ImageRequest, context: Context) -> Generated:
        await context.accepted("task-9")
        raise error

    async with place.server(TaskEasel(work=taken)) as server:
        job = await ended(server)
    assert job.failure is not None
    assert (job.state, job.failure.may_have_been_billed, job.cost) == (JobState.FAILED, True, POSSIBLE)


@dataclass
class Overloaded(TaskEasel):
    """Whoever asks for its tasks hears twice that it has too much to do."""

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        done = await super().resume(task_id, request, model, context)
        if len(self.resumed) < 3:
            raise UnavailableError("The place of the pictures does not answer.", provider="easel", status=503, may_have_been_billed=True)
        return done


async def test_what_a_service_has_taken_is_asked_for_until_it_can_be_had(place: Place) -> None:
    async def taken(request: ImageRequest, context: Context) -> Generated:
        await context.accepted("task-9")
        raise UnavailableError("It was not done after 600 seconds.", provider="easel", may_have_been_billed=True)

    easel = Overloaded(work=taken)
    async with place.server(easel) as server:
        job = await ended(server)
    assert (job.state, len(job.images), len(easel.asked), easel.resumed) == (JobState.SUCCEEDED, 1, 1, ["task-9"] * 3)


async def test_it_is_not_asked_for_longer_than_whoever_wants_it_said_nor_when_the_service_says_that_it_is_over(place: Place) -> None:
    async def failed(request: ImageRequest, context: Context) -> Generated:
        await context.accepted("task-9")
        if request.polling:
            raise TimedOutError("It was not done after 3 seconds.", provider="easel", may_have_been_billed=True)
        raise UnavailableError("The task failed.", provider="easel", status=200)

    easel = TaskEasel(work=failed)
    async with place.server(easel) as server:
        jobs = [await server.submit(), await server.submit(polling={"attempts": 3})]
        states = [(await server.jobs.wait(job.id, PATIENCE)).state for job in jobs]
    assert (states, easel.resumed) == ([JobState.FAILED] * 2, [])


LATE = TimedOutError("It was not done after 3 seconds.", provider="easel", may_have_been_billed=True)


async def impatient(request: ImageRequest, context: Context) -> Generated:
    """A service takes the work, and whoever wants it does not wait for long."""
    await context.accepted("task-9")
    raise LATE


async def test_a_picture_that_was_not_waited_for_is_had_by_asking_again_and_costs_nothing_more(place: Place) -> None:
    easel = TaskEasel(work=impatient)
    async with place.server(easel) as server, place.server(easel) as other:
        lost = await ended(server)
        assert lost.failure is not None
        assert (lost.state, lost.failure.code, lost.may_yet_come, lost.cost) == (JobState.FAILED, "timeout", True, POSSIBLE)
        assert lost.failure.message.startswith(LATE.message)
        assert "get_job" in lost.failure.message
        async with anyio.create_task_group() as both:  # only one of them asks
            both.start_soon(server.jobs.ask_again, lost)
            both.start_soon(other.jobs.ask_again, lost)
        found = await other.jobs.wait(lost.id, PATIENCE)
        assert (found.state, found.failure, len(found.images), found.cost, found.may_yet_come) == (JobState.SUCCEEDED, None, 1, POSSIBLE, False)
        assert (len(easel.asked), easel.resumed) == (1, ["task-9"])
        assert await server.history.spent(None, since=place.now - timedelta(days=1)) == {"USD": PRICE.micros}
        await server.jobs.ask_again(found)
        assert (await server.jobs.wait(lost.id, PATIENCE)).attempts == found.attempts


class Slow(TaskEasel):
    """One that is never done with a task."""

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        self.resumed.append(task_id)
        await anyio.sleep_forever()
        raise AssertionError


async def test_who_asks_again_while_the_end_is_still_tidied_up_is_heard(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    store = type(open_store(place.store))
    tidied, delete = anyio.Event(), store.delete

    async def later(self: Any, key: str) -> None:
        await tidied.wait()
        await delete(self, key)

    monkeypatch.setattr(store, "delete", later)
    async with place.server(Slow(work=impatient)) as server:
        lost = await ended(server)
        await server.jobs.ask_again(lost)
        tidied.set()
        await anyio.wait_all_tasks_blocked()
        assert (await server.jobs.wait(lost.id, 0)).state is JobState.RUNNING
        await server.jobs.cancel(lost.id)
        assert (await server.jobs.wait(lost.id, PATIENCE)).state is JobState.CANCELLED


async def test_what_was_asked_for_again_survives_the_server(place: Place) -> None:
    async with place.server(Slow(work=impatient)) as server:
        lost = await ended(server)
        await server.jobs.ask_again(lost)
        assert (await server.jobs.wait(lost.id, 0)).state is JobState.RUNNING
    async with place.server(TaskEasel()) as server:
        assert (await server.jobs.wait(lost.id, PATIENCE)).state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    "end",
    [RefusedError("Unsafe.", provider="easel"), ProviderError("Out of memory.", provider="easel", status=200)],
    ids=["refused", "failed"],
)
async def test_nothing_is_asked_for_again_that_the_service_has_answered(place: Place, end: ProviderError) -> None:
    async def taken(request: ImageRequest, context: Context) -> Generated:
        await context.accepted("task-9")
        raise end

    easel = TaskEasel(work=taken)
    async with place.server(easel) as server:
        job = await ended(server)
        assert not job.may_yet_come
        await server.jobs.ask_again(job)
        assert (await server.jobs.wait(job.id, 0)).state is JobState.FAILED
    assert easel.resumed == []


async def test_a_task_that_the_service_itself_says_has_failed_was_not_billed(place: Place) -> None:
    async def taken(request: ImageRequest, context: Context) -> Generated:
        await context.accepted("task-9")
        raise ProviderError("The task failed: out of memory.", provider="easel", status=200)

    async with place.server(TaskEasel(work=taken)) as server:
        job = await ended(server)
    assert job.failure is not None
    assert (job.state, job.failure.may_have_been_billed, job.cost) == (JobState.FAILED, False, None)


async def test_what_the_service_says_it_cost_is_in_the_ledger_although_nothing_of_it_is_a_picture(place: Place) -> None:
    async def nonsense(request: ImageRequest, context: Context) -> Generated:
        return Generated(images=(Drawn(data=b"<html>hello</html>"),), cost=PAID)

    async with place.server(Easel(work=nonsense)) as server:
        job = await ended(server, estimate=None)
        assert (job.state, job.cost) == (JobState.FAILED, PAID)
        assert await server.history.spent("local", since=place.now.replace(year=2000)) == {"USD": PAID.micros}


async def test_the_id_of_a_task_is_written_although_the_server_is_closed_just_then(place: Place) -> None:
    """The service has taken the work: whoever is next asks for it instead of losing it."""
    begun, go_on = anyio.Event(), anyio.Event()

    async def accept(request: ImageRequest, context: Context) -> Generated:
        begun.set()
        await go_on.wait()
        await context.accepted("task-9")
        await anyio.sleep_forever()
        raise AssertionError

    easel = TaskEasel(work=accept)
    async with place.server(easel, timing=replace(QUICK, grace=0.1, heartbeat=60)) as server:
        job = await server.submit()
        await begun.wait()
        turn = server.history._transactions.turn
        async with anyio.create_task_group() as tasks, turn:
            go_on.set()
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(server.jobs.close)
            await anyio.sleep(0.2)  # the grace is over, and the id still waits to be written
    async with place.server(easel) as server:
        done = await server.jobs.wait(job.id, PATIENCE)
    assert (done.state, done.task_id, easel.resumed) == (JobState.SUCCEEDED, "task-9", ["task-9"])


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
async def test_what_another_server_has_begun_is_left_to_one_that_knows_its_service(place: Place, state: JobState) -> None:
    """Two editors share a folder, and only one has the key: the other must not end what was paid for."""
    async with place.server(Easel(name="another")) as stranger:
        left = await stranger.die_with(state, task_id="task-9" if state is JobState.RUNNING else None)
        assert await stranger.jobs.take_up() == []
        async with place.server(TaskEasel()) as knows:
            assert (await knows.jobs.wait(left.id, PATIENCE)).state is JobState.SUCCEEDED


@pytest.mark.long
async def test_what_nobody_knows_the_service_of_ends_with_its_time_or_when_somebody_wishes(place: Place) -> None:
    async with place.server(Easel(name="another")) as stranger:
        left = await stranger.die_with(task_id="task-9")
        await stranger.jobs.cancel(left.id)
        wished = await stranger.jobs.wait(left.id, PATIENCE)
    place.folder /= "late"
    async with place.server(Easel(name="another")) as stranger:
        left = await stranger.die_with(task_id="task-9")
        place.now += timedelta(days=2)
        late = await stranger.jobs.wait(left.id, PATIENCE)
    for job in (wished, late):
        assert (job.state, job.failure and job.failure.may_have_been_billed) == (JobState.FAILED, True)


@dataclass
class Unlucky(TaskEasel):
    """Whoever asks for its tasks hears that there are none."""

    async def resume(self, task_id: str, request: ImageRequest, model: Model, context: Context) -> Generated:
        self.resumed.append(task_id)
        await self.work(request, context)
        raise ProviderError("The task has been fetched already.", provider="easel", status=404, not_accepted=True)


@pytest.mark.long
async def test_pictures_are_recorded_although_another_server_has_taken_the_job_over(place: Place) -> None:
    """One was silent for a while and comes back with the pictures; the other gets none from the service."""
    first, second = Gate(), Gate()

    async def take(request: ImageRequest, context: Context) -> Generated:
        await context.accepted("task-9")
        return await first(request, context)

    slow_easel, other_easel = TaskEasel(work=take), Unlucky(work=second)
    calm = replace(QUICK, heartbeat=60)
    async with place.server(slow_easel, timing=calm) as slow, place.server(other_easel, timing=calm) as other:
        job = await slow.submit()
        while (await slow.jobs.wait(job.id, 0)).task_id is None:
            await anyio.sleep(0.01)
        other.jobs._timing = replace(calm, lease=0)
        await other.jobs.take_up()  # or its own look does
        while not other_easel.resumed:
            await anyio.sleep(0.01)
        other.jobs._timing = calm
        first.opened.set()
        while slow.jobs._here:
            await anyio.sleep(0.01)
        second.opened.set()
        while other.jobs._here:
            await anyio.sleep(0.01)
        done = await other.jobs.wait(job.id, PATIENCE)
    assert (done.state, len(done.images)) == (JobState.SUCCEEDED, 1)


async def test_pictures_that_were_stored_are_not_lost_with_those_for_which_there_was_no_room(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full after two of three, and no other store takes the third."""
    put = work.write_picture

    async def full(job: Job, index: int, *rest: object) -> object:
        if index == 2:
            raise StorageError("The disk is full.")
        return await put(job, index, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(work, "write_picture", full)
    async with place.server(Easel()) as server:
        with stamina.set_testing(True, attempts=2):
            job = await ended(server, count=3)
        kept = [await open_store(image.store_url).size(image.key) for image in job.images]
    assert (job.state, [image.id for image in job.images]) == (JobState.SUCCEEDED, [f"{job.id}-1", f"{job.id}-2"])
    assert None not in kept
    assert [each.message for each in job.adjustments if each.field == "images"] == ["Picture 3 of 3 is lost: The disk is full."]


@pytest.mark.parametrize("closed", [False, True], ids=["the server goes on", "the server is closed just then"])
async def test_a_job_whose_entry_was_not_confirmed_is_not_drawn_behind_the_back_of_whoever_was_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    easel = Easel()
    async with place.server(easel) as server:
        enter = server.history.enter

        async def cut_off(job: Job, **more: Any) -> Job:
            await enter(job, **more)
            raise StorageError("The connection broke while it was told that all is written.")

        with monkeypatch.context() as broken:
            broken.setattr(server.history, "enter", cut_off)
            with pytest.raises(StorageError):
                await server.submit()
        (job,) = await server.history.jobs(None)
        if closed:
            await server.jobs.close()
        ended = await server.jobs.wait(job.id, 0 if closed else PATIENCE)
        assert ended.failure is not None
        assert (ended.state, ended.failure.code, ended.failure.may_have_been_billed) == (JobState.FAILED, "storage_unavailable", False)
    assert easel.asked == []
