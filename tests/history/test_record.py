"""What is written into the record, who may write it, and what can be asked."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa

from mcp_image_server.errors import LimitError, RequestError
from mcp_image_server.history import Budget, Held, History, Line, Standing
from mcp_image_server.models import (
    Adjustment,
    AspectRatio,
    Begun,
    Breaker,
    Cost,
    Event,
    Failure,
    ImageFilter,
    ImageRequest,
    JobState,
    Offer,
    Spending,
    Waiting,
)

from .values import LATER, LATER_LEASE, LEASE, NOW, a_job, an_image

pytestmark = pytest.mark.anyio

USD = Cost(micros=40_000, currency="USD", source="reported")


# ---------------------------------------------------------------------- a job's life


async def test_a_job_comes_back_as_it_was_written(history: History, other: History) -> None:
    job = a_job(
        request=ImageRequest(prompt="狐狸 \0", shape=AspectRatio(width=16, height=9), seed=2**63, options={"a": [1, {"b": None}]}),
        adjustments=(Adjustment(field="size", message="made square"),),
        message="waiting in line",
    )
    await history.enter(job, lease_until=LEASE)
    assert await other.job("j1") == job
    assert await other.job("j2") is None


async def test_a_job_is_started_goes_on_and_succeeds(history: History) -> None:
    await history.enter(a_job(), lease_until=LEASE)
    assert await history.start("j1", "here", now=NOW)
    assert await history.accepted("j1", "here", "task-9")
    event = await history.progress("j1", "here", 0.5, "halfway", now=NOW)
    assert event == Event(job_id="j1", sequence=1, at=NOW, progress=0.5, message="halfway")
    running = a_job(state=JobState.RUNNING, attempts=1, task_id="task-9", progress=0.5, message="halfway", started_at=NOW)
    assert await history.job("j1") == running

    images = (an_image("j1-2"), an_image("j1-1"), an_image("j1-3", seed=None, revised_prompt=None, thumbnail_key=None, parents=()))
    adjustments = (Adjustment(field="count", message="three"),)
    assert await history.finish("j1", "here", JobState.SUCCEEDED, images=images, cost=USD, adjustments=adjustments, now=LATER)
    done = replace(running, state=JobState.SUCCEEDED, progress=1.0, images=images, cost=USD, adjustments=adjustments, finished_at=LATER)
    assert await history.job("j1") == done
    assert await history.jobs(None) == [done]
    assert await history.image("j1-1") == images[1]


async def test_a_failure_is_kept_and_adjustments_stay_when_none_are_given(history: History) -> None:
    job = a_job(adjustments=(Adjustment(field="size", message="made square"),))
    failure = Failure(code="refused", message="no", retryable=True, may_have_been_billed=True, details={"status": 400})
    await history.enter(job, lease_until=LEASE)
    assert await history.finish("j1", "here", JobState.FAILED, failure=failure, now=LATER)
    assert await history.job("j1") == replace(job, state=JobState.FAILED, failure=failure, finished_at=LATER)


async def test_a_job_ends_once(history: History) -> None:
    await history.enter(a_job(), lease_until=LEASE)
    assert await history.finish("j1", "here", JobState.SUCCEEDED, images=[an_image()], cost=USD, now=NOW)
    ended = await history.job("j1")
    assert not await history.finish("j1", "here", JobState.SUCCEEDED, images=[an_image("j1-2")], cost=USD, now=LATER)
    assert not await history.finish("j1", "here", JobState.FAILED, now=LATER)
    assert not await history.start("j1", "here", now=LATER)
    assert not await history.accepted("j1", "here", "task")
    assert await history.progress("j1", "here", 0.1, "late", now=LATER) is None
    assert await history.job("j1") == ended
    assert await history.spent(None, since=NOW) == {"USD": 40_000}


async def test_only_the_owner_writes(history: History) -> None:
    await history.enter(a_job(), lease_until=LEASE)
    assert not await history.start("j1", "there", now=NOW)
    assert not await history.accepted("j1", "there", "task")
    assert await history.progress("j1", "there", 0.1, "mine", now=NOW) is None
    assert not await history.finish("j1", "there", JobState.FAILED, now=NOW)
    assert await history.job("j1") == a_job()
    assert await history.events("j1") == []


async def test_an_end_that_cannot_be_written_whole_is_not_written_at_all(history: History) -> None:
    await history.enter(a_job(), lease_until=LEASE)
    with pytest.raises(sa.exc.IntegrityError):
        await history.finish("j1", "here", JobState.SUCCEEDED, images=[an_image("j1-1"), an_image("j1-1")], cost=USD, now=NOW)
    assert await history.job("j1") == a_job()
    assert await history.library.search(None) == []
    assert await history.spent(None, since=NOW) == {}
    assert await history.finish("j1", "here", JobState.SUCCEEDED, images=[an_image("j1-1")], cost=USD, now=NOW)


async def test_a_job_cannot_end_unfinished(history: History) -> None:
    with pytest.raises(ValueError, match="cannot end as running"):
        await history.finish("j1", "here", JobState.RUNNING, now=NOW)


async def test_words_that_no_database_takes_do_not_lose_the_job(history: History) -> None:
    await history.enter(a_job(), lease_until=LEASE)
    assert await history.finish("j1", "here", JobState.SUCCEEDED, images=[an_image(prompt="a\ud800\0b", revised_prompt="\udfff")], now=NOW)
    assert await history.library.search(None) == [an_image(prompt="a?b", revised_prompt="?")]


async def test_a_write_that_has_begun_is_written_though_the_caller_leaves(file_history: History, tmp_path: Path) -> None:
    history = file_history
    holder = sqlite3.connect(tmp_path / "history.sqlite3", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(history.enter, a_job())
        while not history._transactions.turn.locked():
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
        holder.execute("ROLLBACK")
    holder.close()
    assert await history.job("j1") == a_job()


async def test_a_write_that_has_not_begun_is_not_written_when_the_caller_leaves(history: History) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await history.enter(a_job())
    assert scope.cancelled_caught
    assert await history.jobs(None) == []


# ---------------------------------------------------------------------- events


async def test_events_have_no_gaps_whoever_writes_at_once(history: History, other: History) -> None:
    await history.enter(a_job(), lease_until=LEASE)

    async def report(each: History, number: int) -> None:
        await each.progress("j1", "here", number / 10, str(number), now=NOW)

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(report, history, number)
            tasks.start_soon(report, other, number)
    events = await history.events("j1")
    assert [event.sequence for event in events] == list(range(1, 21))
    assert sorted(event.message for event in events) == sorted(str(number) for number in range(10) for _ in "ab")
    assert await other.events("j1", after=18) == events[18:]
    job = await history.job("j1")
    assert job is not None
    assert (job.progress, job.message) == (events[-1].progress, events[-1].message)


# ---------------------------------------------------------------------- owners and leases


async def all_of(history: History, owner: str) -> list[Held]:
    return await history.held_by_others(owner)


async def test_a_job_is_claimed_only_as_it_was_seen(history: History, other: History) -> None:
    await history.enter(a_job("held"), lease_until=LEASE)
    await history.enter(a_job("free", owner=None, created_at=NOW + timedelta(seconds=1)))
    await history.enter(a_job("done", owner=None, state=JobState.SUCCEEDED))
    seen = await all_of(other, "there")
    assert seen == [Held(job_id="held", owner="here", lease_until=LEASE), Held(job_id="free", owner=None, lease_until=None)]
    await history.renew("here", lease_until=LATER_LEASE)
    assert [job.id for job in await other.claim("there", seen, now=LATER, lease_until=LATER_LEASE)] == ["free"]
    assert await other.claim("third", seen, now=LATER, lease_until=LATER_LEASE) == []
    assert [job.id for job in await other.claim("third", await all_of(other, "third"), now=LATER, lease_until=LATER_LEASE)] == ["held", "free"]


async def test_an_owner_does_not_see_its_own_jobs_among_others(history: History) -> None:
    await history.enter(a_job(), lease_until=LEASE)
    assert await all_of(history, "here") == []


async def test_a_job_claimed_by_another_process_is_lost_to_the_first_unless_it_has_the_pictures(history: History, other: History) -> None:
    await history.enter(a_job(), lease_until=LEASE)
    assert await history.start("j1", "here", now=NOW)
    claimed = await other.claim("there", await all_of(other, "there"), now=LATER, lease_until=LATER_LEASE)
    assert claimed == [a_job(state=JobState.RUNNING, owner="there", attempts=1, started_at=NOW)]
    assert await history.renew("here", lease_until=LATER_LEASE) == Standing(jobs=(), cancel_requested=())
    assert not await history.finish("j1", "here", JobState.FAILED, failure=Failure(code="interrupted", message="gone"), cost=USD, now=LATER)
    assert await other.start("j1", "there", now=LATER)
    job = await other.job("j1")
    assert job == a_job(state=JobState.RUNNING, owner="there", attempts=2, started_at=NOW)
    assert await history.finish("j1", "here", JobState.SUCCEEDED, images=[an_image()], now=LATER)
    assert not await other.finish("j1", "there", JobState.SUCCEEDED, images=[an_image()], now=LATER)
    assert not await other.finish("j1", "there", JobState.FAILED, failure=Failure(code="interrupted", message="gone"), cost=USD, now=LATER)
    job = await other.job("j1")
    assert job is not None
    assert (job.state, job.images, job.failure, job.cost) == (JobState.SUCCEEDED, (an_image(),), None, None)


async def test_many_processes_claim_each_job_once(history: History, other: History) -> None:
    for number in range(60):
        await history.enter(a_job(f"j{number:02}", owner=None))
    claimed: list[tuple[str, str]] = []
    seen = await all_of(history, "nobody")

    async def take(each: History, owner: str) -> None:
        jobs = await each.claim(owner, seen, now=NOW, lease_until=LEASE)
        claimed.extend((job.id, owner) for job in jobs)

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(take, history, f"here-{number}")
            tasks.start_soon(take, other, f"there-{number}")
    assert sorted(job_id for job_id, _ in claimed) == [f"j{number:02}" for number in range(60)]
    assert sorted(claimed) == sorted([(job.id, job.owner or "") for job in await history.jobs(None, limit=100)])


async def test_released_jobs_can_be_claimed_at_once(history: History, other: History) -> None:
    await history.enter(a_job("j1"), lease_until=LEASE)
    await history.enter(a_job("j2", owner="third"), lease_until=LEASE)
    await history.release("here")
    assert [held.job_id for held in await all_of(other, "there") if held.owner is None] == ["j1"]


# ---------------------------------------------------------------------- cancelling


async def test_a_job_that_nobody_holds_is_cancelled_at_once(history: History) -> None:
    await history.enter(a_job("free", owner=None))
    assert await history.request_cancel("free", now=NOW) is JobState.CANCELLED
    assert await history.job("free") == a_job("free", owner=None, state=JobState.CANCELLED, finished_at=NOW)


async def test_the_owner_of_a_job_hears_that_it_is_to_end(history: History, other: History) -> None:
    await history.enter(a_job("j1"), lease_until=LEASE)
    await history.enter(a_job("j2"), lease_until=LEASE)
    assert await history.start("j2", "here", now=NOW)
    assert await other.request_cancel("j1", now=NOW) is JobState.QUEUED
    assert await other.request_cancel("j2", now=NOW) is JobState.RUNNING
    assert await history.renew("here", lease_until=LEASE) == Standing(jobs=("j1", "j2"), cancel_requested=("j1", "j2"))
    assert not await history.start("j1", "here", now=NOW)
    assert await history.finish("j1", "here", JobState.CANCELLED, now=NOW)


async def test_what_was_to_end_when_its_owner_died_is_cancelled_and_not_taken_up(history: History, other: History) -> None:
    await history.enter(a_job(), lease_until=LEASE)
    await history.request_cancel("j1", now=NOW)
    assert await other.claim("there", await all_of(other, "there"), now=LATER, lease_until=LATER_LEASE) == []
    assert await other.job("j1") == a_job(state=JobState.CANCELLED, finished_at=LATER)


async def test_what_has_ended_or_never_was_is_not_cancelled(history: History) -> None:
    await history.enter(a_job(state=JobState.SUCCEEDED, owner=None))
    assert await history.request_cancel("j1", now=NOW) is JobState.SUCCEEDED
    assert await history.request_cancel("j2", now=NOW) is None


async def test_pictures_win_over_whoever_ended_the_job_meanwhile(history: History, other: History) -> None:
    for number in range(20):
        await history.enter(a_job(f"j{number:02}"), lease_until=LEASE)
    finished: dict[str, bool] = {}

    async def finish(job_id: str) -> None:
        finished[job_id] = await history.finish(job_id, "here", JobState.SUCCEEDED, images=[an_image(f"{job_id}-1")], cost=USD, now=LATER)

    async def end(job_id: str, state: JobState) -> None:
        await other.claim("there", [Held(job_id=job_id, owner="here", lease_until=LEASE)], now=LATER, lease_until=LATER_LEASE)
        await other.finish(job_id, "there", state, failure=Failure(code="interrupted", message="gone"), cost=USD, now=LATER)

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(finish, f"j{number:02}")
            tasks.start_soon(end, f"j{number:02}", (JobState.FAILED, JobState.EXPIRED)[number % 2])
    ended = await history.jobs(None)
    assert finished == {job.id: True for job in ended}
    assert {(job.state, len(job.images), job.failure) for job in ended} == {(JobState.SUCCEEDED, 1, None)}
    assert await history.spent(None, since=NOW) == {"USD": 20 * USD.micros}


# ---------------------------------------------------------------------- asking


async def some_images(history: History) -> None:
    """Five images of three jobs; those of one job were made at the same moment."""
    for number, (principal, provider, prompts) in enumerate(
        [("ann", "openai", ("A Fox", "100% fox_y")), ("bob", "hunyuan", ("ÜBER den Wolken", "狐狸")), ("ann", "openai", ("dog",))]
    ):
        job_id = f"j{number}"
        made = NOW + timedelta(seconds=number)
        await history.enter(a_job(job_id, principal=principal, provider=provider, created_at=made), lease_until=LEASE)
        images = [
            an_image(f"{job_id}-{index}", principal=principal, provider=provider, model=f"{provider}-1", prompt=prompt, created_at=made)
            for index, prompt in enumerate(prompts)
        ]
        await history.finish(job_id, "here", JobState.SUCCEEDED, images=images, cost=replace(USD, micros=number + 1), now=made)


async def test_images_are_found_newest_first(history: History) -> None:
    await some_images(history)
    assert [image.id for image in await history.library.search(None)] == ["j2-0", "j1-1", "j1-0", "j0-1", "j0-0"]
    assert [image.id for image in await history.library.search("ann")] == ["j2-0", "j0-1", "j0-0"]
    assert [image.id for image in await history.library.search("ann", limit=1)] == ["j2-0"]
    assert [image.id for image in await history.library.search(None, only=ImageFilter(provider="hunyuan"))] == ["j1-1", "j1-0"]
    assert [image.id for image in await history.library.search(None, only=ImageFilter(model="openai-1"))] == ["j2-0", "j0-1", "j0-0"]
    assert await history.library.search("eve") == []


async def test_pages_leave_nothing_out_even_among_images_of_one_moment(history: History) -> None:
    await some_images(history)
    seen: list[str] = []
    before: str | None = None
    while page := await history.library.search(None, limit=1, before=before):
        seen.append(page[0].id)
        before = page[0].id
    assert seen == ["j2-0", "j1-1", "j1-0", "j0-1", "j0-0"]
    assert await history.library.search(None, before="unknown") == []


async def test_jobs_are_listed_newest_first_by_state_and_page(history: History) -> None:
    await some_images(history)
    await history.enter(a_job("j3", principal="ann", created_at=NOW + timedelta(seconds=3)), lease_until=LEASE)
    assert [job.id for job in await history.jobs(None)] == ["j3", "j2", "j1", "j0"]
    assert [job.id for job in await history.jobs("ann")] == ["j3", "j2", "j0"]
    assert [job.id for job in await history.jobs("ann", states=[JobState.QUEUED, JobState.RUNNING])] == ["j3"]
    assert [job.id for job in await history.jobs("ann", states=[])] == []
    assert [job.id for job in await history.jobs(None, limit=2, before="j3")] == ["j2", "j1"]
    assert [[image.id for image in job.images] for job in await history.jobs(None)] == [[], ["j2-0"], ["j1-0", "j1-1"], ["j0-0", "j0-1"]]


async def test_all_images_are_all_images(history: History) -> None:
    await history.enter(a_job(), lease_until=LEASE)
    images = [an_image(f"j1-{number:04}") for number in range(1001)]
    await history.finish("j1", "here", JobState.SUCCEEDED, images=images, now=NOW)
    assert [image async for image in history.all_images()] == images
    assert [image async for image in history.all_images("eve")] == []


async def test_money_is_summed_by_currency_principal_and_day(history: History) -> None:
    await some_images(history)
    assert await history.spent(None, since=NOW) == {"USD": 6}
    assert await history.spent("ann", since=NOW) == {"USD": 4}
    assert await history.spent("ann", since=NOW + timedelta(seconds=1)) == {"USD": 3}
    assert await history.spent("eve", since=NOW) == {}


async def test_what_is_under_way_and_what_is_newest_is_found_without_reading_everything(file_history: History) -> None:
    statements = {
        "renew": "UPDATE jobs SET lease_until = 1 WHERE jobs.state IN ('queued', 'running') AND jobs.owner = 'here'",
        "jobs": "SELECT * FROM jobs WHERE principal = 'ann' ORDER BY created_at DESC, id DESC LIMIT 5",
        "all jobs": "SELECT * FROM jobs ORDER BY created_at DESC, id DESC LIMIT 5",
        "images": "SELECT * FROM images WHERE principal = 'ann' ORDER BY created_at DESC, id DESC LIMIT 5",
        "images of a job": "SELECT * FROM images WHERE job_id IN ('a', 'b') ORDER BY job_id, position",
    }
    async with file_history._read() as connection:
        for name, statement in statements.items():
            plan = " ".join(row.detail for row in await connection.execute(sa.text(f"EXPLAIN QUERY PLAN {statement}")))
            assert "USING INDEX" in plan, name
            assert "TEMP B-TREE" not in plan, name


# ---------------------------------------------------------------------- the same request, and money


async def test_a_key_makes_a_second_request_the_first_one_and_another_request_an_error(history: History) -> None:
    first = await history.enter(a_job("j1"), fingerprint="f1", idempotency_key="k")
    await history.finish("j1", "here", JobState.FAILED, now=NOW)
    again = await history.enter(a_job("j2"), fingerprint="f1", idempotency_key="k")
    assert (first.id, again.id, again.state) == ("j1", "j1", JobState.FAILED)
    with pytest.raises(RequestError, match="belongs to job j1, which asked for something else") as caught:
        await history.enter(a_job("j3"), fingerprint="f2", idempotency_key="k")
    assert caught.value.code == "idempotency_conflict"
    assert (await history.enter(a_job("j4", principal="ann"), fingerprint="f1", idempotency_key="k")).id == "j4"


async def test_a_twin_is_joined_when_its_caller_has_gone_or_it_is_old_enough_and_never_when_it_has_ended(history: History) -> None:
    async def enter(job_id: str, before: datetime | None, **changes: Any) -> str:
        return (await history.enter(a_job(job_id, **changes), fingerprint="f", twin_before=before)).id

    assert await enter("j1", NOW - timedelta(seconds=1)) == "j1"
    assert await enter("j2", NOW - timedelta(seconds=1)) == "j2"  # deliberate variants
    assert await enter("j3", None) == "j3"
    assert await enter("j4", NOW) == "j1"
    assert await enter("j5", NOW, principal="ann") == "j5"
    await history.unattend("j2")
    assert await enter("j6", NOW - timedelta(seconds=1)) == "j2"
    assert await enter("j7", NOW - timedelta(seconds=1)) == "j7"  # somebody waits for j2 again
    for job_id in ("j1", "j2", "j3", "j7"):
        await history.finish(job_id, "here", JobState.SUCCEEDED, images=[an_image(f"{job_id}-1")], now=NOW)
    assert await enter("j8", LATER) == "j8"


async def test_no_twin_is_joined_that_was_left_in_line_beyond_its_time(history: History) -> None:
    async def enter(job_id: str, **changes: Any) -> str:
        return (await history.enter(a_job(job_id, **changes), fingerprint="f", twin_before=LATER)).id

    assert await enter("j1", deadline=LATER) == "j1"
    assert await enter("j2", deadline=LATER) == "j2"
    assert await history.start("j2", "here", now=NOW)
    assert await enter("j3") == "j2"


async def test_promised_money_counts_until_the_job_ends_and_then_what_it_cost(history: History) -> None:
    seen: list[Spending] = []
    budget = Budget(check=seen.append, day=NOW - timedelta(hours=1), month=NOW - timedelta(days=2))
    promise = replace(USD, micros=100)
    await history.enter(a_job("j1"), promised=promise, budget=budget)
    await history.enter(a_job("j2", principal="ann"), promised=promise, budget=budget)
    await history.finish("j1", "here", JobState.SUCCEEDED, images=[an_image()], cost=replace(USD, micros=70), now=NOW - timedelta(days=1))
    await history.enter(a_job("j3"), budget=budget)
    assert seen == [
        Spending(),
        Spending(day={"USD": 100}, month={"USD": 100}),
        Spending(day={"USD": 100}, month={"USD": 170}, principal_day={}, principal_month={"USD": 70}),
    ]


async def test_a_job_that_the_budget_refuses_is_not_written(history: History) -> None:
    def refuse(spending: Spending) -> None:
        raise LimitError("no money")

    with pytest.raises(LimitError, match="no money"):
        await history.enter(a_job(), budget=Budget(check=refuse, day=NOW, month=NOW))
    assert await history.jobs(None) == []


# ---------------------------------------------------------------------- lines, pauses, breakers


async def test_deciding_and_beginning_are_one_step_for_all_processes(history: History, other: History) -> None:
    for number in range(40):
        await history.enter(a_job(f"j{number:02}", owner="there" if number % 2 else "here", account="a"), lease_until=LEASE)
    most = 0

    async def work(each: History, owner: str) -> None:
        left = 20

        def three_at_most(line: Line) -> list[str]:
            nonlocal most, left
            most, left = max(most, line.running), sum(job.owner == owner for job in line.waiting)
            return [job.job_id for job in line.waiting if job.owner == owner][: 3 - line.running]

        while left:
            begun = await each.admit("a", owner, three_at_most, now=NOW, trial=lambda breaker: breaker)
            await anyio.lowlevel.checkpoint()
            for job_id in begun:
                assert await each.finish(job_id, owner, JobState.CANCELLED, now=LATER)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work, history, "here")
        tasks.start_soon(work, other, "there")
    assert {job.state for job in await history.jobs(None)} == {JobState.CANCELLED}
    assert most <= 3


async def test_a_line_tells_all_that_limits_need(history: History) -> None:
    await history.enter(a_job("j1", account="a", principal="ann", request=ImageRequest(prompt="a fox", count=3)), lease_until=LEASE)
    await history.enter(a_job("j2", account="a", principal="ann"), lease_until=LEASE)
    await history.enter(a_job("j3", account="b", principal="ann"), lease_until=LEASE)
    assert await history.admit("a", "here", lambda line: ["j1"], now=NOW, trial=lambda breaker: breaker) == ["j1"]
    waiting = Waiting(job_id="j2", principal="ann", owner="here", provider="openai", model="gpt-image-2", pictures=1, created_at=NOW)
    assert await history.line("a", now=LATER) == Line(
        waiting=(waiting,),
        served={"ann": NOW},
        running=1,
        begun=(Begun(at=NOW, pictures=3),),
        working={"here": 1},
        breakers=(),
        paused_until=None,
    )


async def test_what_no_service_took_goes_back_in_line_perhaps_to_somebody_else(history: History) -> None:
    await history.enter(a_job(account="a"), lease_until=LEASE)
    await history.start("j1", "here", now=NOW)
    assert await history.put_back("j1", "here", "asked to wait", pause_until=LATER)
    job = await history.job("j1")
    assert job is not None
    assert (job.state, job.attempts, job.tries, job.message) == (JobState.QUEUED, 0, 1, "asked to wait")
    assert (await history.line("a", now=NOW)).paused_until == LATER
    offer = Offer(request=ImageRequest(prompt="a wolf", count=2), provider="doubao", model="seedream", account="b", estimate=USD)
    assert await history.put_back("j1", "here", "somebody else", offer=offer, alternates=[replace(offer, provider="third")])
    job = await history.job("j1")
    assert job is not None
    assert (job.provider, job.model, job.account, job.request, job.estimate) == ("doubao", "seedream", "b", offer.request, USD)
    assert job.alternates == (replace(offer, provider="third"),)
    assert not await history.put_back("j1", "there", "not mine")


async def test_a_breaker_is_kept_for_every_process_and_forgotten_when_the_model_is_well(history: History, other: History) -> None:
    def fail(breaker: Breaker) -> Breaker:
        return replace(breaker, failures=breaker.failures + 1, open_until=LATER)

    await history.judge("openai", "gpt-image-2", fail)
    await history.enter(a_job(account="a"), lease_until=LEASE)
    assert await history.finish("j1", "here", JobState.FAILED, judge=fail, now=NOW)
    assert await other.breakers() == [Breaker(provider="openai", model="gpt-image-2", failures=2, open_until=LATER)]
    await other.enter(a_job("j2", account="a"), lease_until=LEASE)
    tried = replace(fail(Breaker(provider="openai", model="gpt-image-2")), open_until=LATER_LEASE)
    await other.admit("a", "here", lambda line: ["j2"], now=LATER, trial=lambda breaker: tried)
    assert await history.breakers() == [tried]
    assert await history.finish("j2", "here", JobState.SUCCEEDED, images=[an_image("j2-1")], judge=lambda breaker: None, now=LATER)
    assert await other.breakers() == []


async def test_the_latest_preview_is_the_last_event_that_has_one(history: History) -> None:
    await history.enter(a_job(), lease_until=LEASE)
    for number, key in enumerate((None, "first", "second", None)):
        await history.progress("j1", "here", number / 10, "drawing", now=NOW, preview_key=key)
    assert await history.latest_preview("j1") == "second"
    assert await history.latest_preview("j2") is None


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
async def test_a_name_that_no_database_takes_breaks_nothing(history: History, name: str) -> None:
    assert await history.job(name) is None
    assert await history.library.search(name, name, only=ImageFilter(provider=name, tags=(name,))) == []
    job = a_job(principal=name, request=ImageRequest(prompt=name, options={"words": name}))
    first = await history.enter(job, idempotency_key=name)
    assert (await history.enter(replace(job, id="j2"), idempotency_key=name)).id == first.id
    assert [each.request for each in await history.jobs(name)] == [job.request]
