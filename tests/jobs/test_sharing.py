"""Limits, lines and setbacks: what an account may have, whose turn it is, and where work goes that nobody took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from mcp_image_server.errors import AuthError, ProviderError, RateLimitedError, RefusedError, TimedOutError, UnavailableError
from mcp_image_server.models import Cost, Failure, Generated, ImageRequest, Job, JobState, Limits
from mcp_image_server.policy.breaker import TRIP
from mcp_image_server.providers import Context
from tests.easel import Easel, Gate, TaskEasel, at_once, draw

from .place import PATIENCE, QUICK, Place, an_offer

pytestmark = pytest.mark.anyio


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def failing(*errors: ProviderError) -> Callable[[ImageRequest, Context], Awaitable[Generated]]:
    """Work that fails with each of these in turn, and then draws."""
    left = list(errors)

    async def work(request: ImageRequest, context: Context) -> Generated:
        if left:
            raise left.pop(0)
        return draw(request)

    return work


def busy(after: float = 0.0) -> RateLimitedError:
    return RateLimitedError("Too many.", provider="easel", status=429, retry_after=after, not_accepted=True)


DOWN = UnavailableError("Down.", provider="easel", status=500)


@pytest.mark.long
async def test_five_principals_share_a_service_fairly_and_never_exceed_its_limit(place: Place) -> None:
    names = [f"principal {number}" for number in range(5)]
    all_here = anyio.Event()
    order: list[str] = []

    async def note(request: ImageRequest, context: Context) -> Generated:
        order.append(request.prompt)
        await all_here.wait()
        return draw(request)

    easel = Easel(work=note, limits=Limits(concurrent=4))
    async with place.server(easel, slots=16, timeout=600, timing=replace(QUICK, heartbeat=5, murmur=5, queue=1)) as server:
        # Each comes with all its wishes at once: without turns the first would be served whole before the last.
        jobs = [await server.submit(name, principal=name, seed=number) for name in names for number in range(100)]
        all_here.set()
        ended = [await server.jobs.wait(job.id, 300) for job in jobs]
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    assert easel.most_at_work == 4
    shares = Counter(order[:480])  # until then everybody still waits for something
    assert max(shares.values()) - min(shares.values()) <= 0.1 * 480 / 5, shares


async def test_two_processes_together_keep_to_a_limit_of_one_and_the_line(place: Place) -> None:
    at_work, most = 0, 0

    async def alone(request: ImageRequest, context: Context) -> Generated:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await anyio.sleep(0.01)
        at_work -= 1
        return draw(request)

    one_at_a_time = Limits(concurrent=1)
    async with place.server(Easel(work=alone, limits=one_at_a_time)) as one, place.server(Easel(work=alone, limits=one_at_a_time)) as other:
        jobs = [(server, await server.submit(f"cat {number}")) for number in range(6) for server in (one, other)]
        ended = [await server.jobs.wait(job.id, PATIENCE) for server, job in jobs]
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    assert most == 1


async def test_a_waiting_job_says_its_place_in_line(place: Place) -> None:
    gate = Gate()
    easel = Easel(work=gate, limits=Limits(concurrent=1))
    async with place.server(easel) as server, place.server(Easel()) as other:
        await server.submit("first")
        await easel.started.wait()
        waiting = [await server.submit(f"number {number}") for number in range(3)]
        assert [(await server.jobs.wait(job.id, 0)).message for job in waiting] == [
            f"waiting in line for easel, number {number} of 3" for number in (1, 2, 3)
        ]
        assert (await other.jobs.wait(waiting[2].id, 0)).message == "waiting in line for easel, number 3 of 3"
        gate.opened.set()
        assert (await server.jobs.wait(waiting[2].id, PATIENCE)).state is JobState.SUCCEEDED


async def test_a_job_that_does_not_come_out_of_line_in_time_expires_and_nothing_was_called(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("mcp_image_server.jobs.jobs.monotonic", lambda: now)
    easel = Easel(work=Gate(), limits=Limits(concurrent=1))
    async with place.server(easel, timeout=0.2) as server:
        first = await server.submit("first")
        await easel.started.wait()
        second = await server.submit("second")
        now = 0.2
        ended = [await server.jobs.wait(job.id, PATIENCE) for job in (first, second)]
    assert [job.state for job in ended] == [JobState.EXPIRED, JobState.EXPIRED]
    failures = [job.failure for job in ended]
    assert [failure and (failure.code, failure.may_have_been_billed) for failure in failures] == [("timeout", True), ("timeout", False)]
    assert len(easel.asked) == 1


# ---------------------------------------------------------------------- setbacks


async def test_what_the_service_surely_did_not_take_is_asked_again_and_the_account_rests_meanwhile(place: Place) -> None:
    easel = Easel(work=failing(busy(), busy()), limits=Limits(concurrent=1))
    async with place.server(easel) as server:
        job = await server.submit()
        await easel.started.wait()
        assert (await server.jobs.wait(job.id, 0)).state in (JobState.QUEUED, JobState.RUNNING)
        place.now = place.now.replace(minute=5)  # the pause is over
        while (ended := await server.jobs.wait(job.id, 0.05)).state is not JobState.SUCCEEDED:
            place.now = place.now.replace(second=place.now.second + 1)
    assert len(easel.asked) == 3
    assert (ended.tries, ended.attempts) == (2, 1)


async def test_a_service_that_asks_for_more_time_than_the_job_has_ends_it_at_once(place: Place) -> None:
    easel = Easel(work=failing(busy(3600)))
    async with place.server(easel) as server:
        job = await server.jobs.wait((await server.submit()).id, PATIENCE)
    assert job.failure is not None
    assert (job.failure.code, job.failure.details["retry_after"]) == ("rate_limited", 3600)


@pytest.mark.parametrize(
    "error",
    [
        DOWN,
        UnavailableError("The answer did not come.", provider="easel", may_have_been_billed=True, not_accepted=True),
        RefusedError("No.", provider="easel", status=400, not_accepted=True),
        AuthError("Wrong key.", provider="easel", status=401, not_accepted=True),
    ],
    ids=["perhaps accepted", "perhaps billed", "refused", "no use"],
)
async def test_nothing_else_is_asked_again(place: Place, error: ProviderError) -> None:
    easel = Easel(work=failing(error))
    async with place.server(easel) as server:
        job = await server.jobs.wait((await server.submit()).id, PATIENCE)
    assert job.state is JobState.FAILED
    assert len(easel.asked) == 1


async def test_somebody_else_draws_only_when_allowed_only_when_nobody_took_it_and_it_is_said(place: Place) -> None:
    first, second = Easel(work=failing(AuthError("Wrong key.", provider="easel", not_accepted=True))), Easel(name="board")
    request = ImageRequest(prompt="a cat", seed=3)
    async with place.server(first, second) as server:
        other = an_offer(request, provider="board", account="board:account", estimate=Cost(micros=5, currency="USD", source="list_price"))
        job = await server.jobs.submit("local", an_offer(request), alternates=[other], store_url=place.store)
        ended = await server.jobs.wait(job.id, PATIENCE)
    assert (ended.state, ended.provider, len(first.asked), len(second.asked)) == (JobState.SUCCEEDED, "board", 1, 1)
    assert ended.images[0].provider == "board"
    assert [adjustment.message for adjustment in ended.adjustments] == [
        "easel/easel-1 could not take it (auth: Wrong key.) and board/easel-1 draws instead, as allowed."
    ]


@pytest.mark.parametrize("error", [DOWN, RefusedError("No.", provider="easel", not_accepted=True)], ids=["perhaps accepted", "refused"])
async def test_nobody_else_draws_what_may_have_been_accepted_or_was_refused(place: Place, error: ProviderError) -> None:
    first, second = Easel(work=failing(error)), Easel(name="board")
    request = ImageRequest(prompt="a cat", seed=3)
    async with place.server(first, second) as server:
        other = an_offer(request, provider="board", account="board:account")
        job = await server.jobs.submit("local", an_offer(request), alternates=[other], store_url=place.store)
        assert (await server.jobs.wait(job.id, PATIENCE)).state is JobState.FAILED
    assert second.asked == []


async def test_a_model_that_keeps_failing_is_left_alone_and_then_tried_by_one_job(place: Place) -> None:
    easel = Easel(work=failing(*[DOWN] * TRIP))
    async with place.server(easel) as server, place.server(easel) as other:
        for number in range(TRIP):
            await server.jobs.wait((await server.submit(f"cat {number}")).id, PATIENCE)
        gate = Gate()
        easel.work = gate
        waiting = [await each.submit(f"dog {number}") for number, each in enumerate((server, other, server))]
        await anyio.sleep(0.1)
        assert len(easel.asked) == TRIP
        assert "left alone" in (await server.jobs.wait(waiting[0].id, 0)).message
        place.now = place.now.replace(minute=1)
        while len(easel.asked) == TRIP:
            await anyio.sleep(0.01)
        await anyio.sleep(0.1)
        assert len(easel.asked) == TRIP + 1
        gate.opened.set()
        assert [(await other.jobs.wait(job.id, PATIENCE)).state for job in waiting] == [JobState.SUCCEEDED] * 3
        assert await other.history.breakers() == []


@pytest.mark.parametrize(("polling", "shut"), [({"interval": 0.1, "attempts": 2}, 0), ({}, 1)])
async def test_only_the_time_that_the_provider_gives_its_service_tells_whether_that_fails(place: Place, polling: dict[str, float], shut: int) -> None:
    late = TimedOutError("Not done after 0.2 seconds.", provider="easel", may_have_been_billed=True)
    async with place.server(Easel(work=failing(*[late] * TRIP))) as server:
        for number in range(TRIP):
            job = await server.submit(f"cat {number}", polling=polling)
            assert (await server.jobs.wait(job.id, PATIENCE)).failure == Failure(
                code="timeout", message=late.message, retryable=True, may_have_been_billed=True, details=late.details
            )
        assert len(await server.history.breakers()) == shut


# ---------------------------------------------------------------------- one request, one job


async def test_the_same_request_joins_a_job_whose_caller_has_gone(place: Place) -> None:
    gate = Gate()
    easel = Easel(work=gate)
    offer = an_offer(ImageRequest(prompt="a cat"))

    async def submit(server: object, **changes: object) -> Job:
        return await server.jobs.submit("local", offer, store_url=place.store, join_after=3, **changes)  # type: ignore[attr-defined,no-any-return]

    async with place.server(easel) as one, place.server(Easel(work=gate)) as other:
        first = await submit(one)
        variant = await submit(one)
        assert variant.id != first.id
        await one.jobs.leave(first.id)
        assert (await submit(other)).id == first.id
        place.now = place.now.replace(second=4)
        assert (await submit(other)).id == first.id
        assert (await one.jobs.submit("local", offer, store_url=place.store, join_after=None)).id not in (first.id, variant.id)
        gate.opened.set()
        await one.jobs.wait(first.id, PATIENCE)
        await one.jobs.wait(variant.id, PATIENCE)
    assert len(easel.asked) == 3


async def test_a_picture_that_comes_after_another_process_gave_the_job_up_is_recorded_all_the_same(place: Place) -> None:
    gate = Gate()
    easel = Easel(work=gate)
    asleep = replace(QUICK, heartbeat=60)
    async with place.server(easel, timing=asleep) as one, place.server(Easel(), timing=replace(QUICK, lease=0.1)) as other:
        job = await one.submit()
        await easel.started.wait()
        given_up = await other.jobs.wait(job.id, PATIENCE)
        assert given_up.failure is not None
        assert (given_up.state, given_up.failure.code) == (JobState.FAILED, "interrupted")
        gate.opened.set()
        while (late := await other.jobs.wait(job.id, 0.05)).state is not JobState.SUCCEEDED:
            pass
    assert (len(late.images), late.failure) == (1, None)


async def test_what_may_have_been_billed_is_booked_at_its_list_price(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_image_server.jobs.jobs.monotonic", lambda: 0.0)  # none of its time passes before its work begins
    cost = Cost(micros=40_000, currency="USD", source="list_price")
    async with place.server(Easel(work=Gate()), timeout=0.5) as server:
        job = await server.jobs.submit("local", an_offer(ImageRequest(prompt="a cat"), estimate=cost), store_url=place.store)
        ended = await server.jobs.wait(job.id, PATIENCE)
        assert ended.cost == replace(cost, source="possible")
        assert await server.history.spent("local", since=job.created_at) == {"USD": 40_000}


async def test_any_process_can_look_at_a_preview_and_none_is_left_behind(place: Place) -> None:
    gate = Gate()

    async def show(request: ImageRequest, context: Context) -> Generated:
        await context.preview(draw(request).images[0].data)
        return await gate(request, context)

    easel = Easel(work=show)
    async with place.server(easel) as one, place.server(Easel()) as other:
        job = await one.submit()
        while not (look := await other.jobs.preview(await other.jobs.wait(job.id, 0))):
            await anyio.sleep(0.01)
        assert look[8:12] == b"WEBP"
        assert next(event.preview_key for event in await other.history.events(job.id)) == f".previews/{job.id}.webp"
        gate.opened.set()
        ended = await one.jobs.wait(job.id, PATIENCE)
        assert await other.jobs.preview(ended) is None
    assert list(place.folder.rglob(".previews/*")) == []


async def test_a_task_left_by_another_process_is_asked_for_although_its_deadline_has_passed(place: Place) -> None:
    easel = TaskEasel(work=at_once)
    async with place.server(easel, timeout=30) as server:
        left = await server.die_with(task_id="task-9")
        place.now = place.now.replace(hour=5)
        assert (await server.jobs.wait(left.id, PATIENCE)).state is JobState.SUCCEEDED
    assert easel.resumed == ["task-9"]
