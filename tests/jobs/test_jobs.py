"""The life of a job: on disk before the call, pictures before success, taken up after a crash, never paid twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from mcp_image_server.errors import NotFoundError, RefusedError
from mcp_image_server.jobs.work import image_id, keep
from mcp_image_server.models import Drawn, Generated, Image, ImageRequest, Job, JobState, Limits
from mcp_image_server.providers import Context
from mcp_image_server.store import folder_url, image_key, open_store
from tests.easel import CATALOGUE, Easel, Gate, TaskEasel, draw

from .place import HASTY, PATIENCE, QUICK, Place, dead_owner

pytestmark = pytest.mark.anyio

DEAD = dead_owner()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_a_job_ends_with_its_pictures_stored_and_recorded(place: Place) -> None:
    async with place.server(Easel()) as server:
        job = await server.jobs.wait((await server.submit(count=2, seed=5)).id, PATIENCE)
        store = open_store(place.store)
        assert job.state is JobState.SUCCEEDED
        assert [image.id for image in job.images] == [f"{job.id}-1", f"{job.id}-2"]
        assert [image.seed for image in job.images] == [5, 6]
        for image in job.images:
            assert len(await store.get(image.key)) == image.size_bytes
            assert (await store.get(image.thumbnail_key or ""))[8:12] == b"WEBP"
        assert await server.history.image(job.images[0].id) == job.images[0]


async def test_a_job_is_on_disk_before_its_service_is_called(place: Place) -> None:
    seen: list[Job | None] = []

    async def look(request: ImageRequest, context: Context) -> Generated:
        seen.extend(await server.history.jobs(None, limit=5))
        return draw(request)

    async with place.server(Easel(work=look)) as server:
        job = await server.submit()
        await server.jobs.wait(job.id, PATIENCE)
    (on_disk,) = seen
    assert on_disk is not None
    assert (on_disk.id, on_disk.state, on_disk.request) == (job.id, JobState.RUNNING, job.request)


async def test_a_missing_seed_is_chosen_once_and_recorded(place: Place) -> None:
    async with place.server(Easel()) as server:
        job = await server.jobs.wait((await server.submit()).id, PATIENCE)
    assert job.request.seed is not None
    assert job.images[0].seed == job.request.seed


async def test_waiting_ends_when_its_time_is_over_and_the_job_goes_on(place: Place) -> None:
    gate = Gate()
    easel = Easel(work=gate)
    async with place.server(easel) as server:
        job = await server.submit()
        await easel.started.wait()
        assert (await server.jobs.wait(job.id, 0.01)).state is JobState.RUNNING
        gate.opened.set()
        assert (await server.jobs.wait(job.id, PATIENCE)).state is JobState.SUCCEEDED
    assert len(easel.asked) == 1


async def test_a_watcher_hears_each_step_in_order(place: Place) -> None:
    heard: list[tuple[float, str]] = []

    async def watch(job: Job) -> None:
        heard.append((job.progress, str(job.state)))

    async with place.server(Easel()) as server:
        job = await server.submit()
        await server.jobs.wait(job.id, PATIENCE, watch)
    assert heard == sorted(heard)
    assert heard[-1][1] == "succeeded"


async def test_no_more_jobs_run_at_once_than_the_service_takes(place: Place) -> None:
    two = anyio.Event()

    async def in_company(request: ImageRequest, context: Context) -> Generated:
        if easel.at_work == 2:
            two.set()
        await two.wait()
        return draw(request)

    easel = Easel(work=in_company, limits=Limits(concurrent=2))
    async with place.server(easel) as server:
        jobs = [await server.submit(f"cat {number}") for number in range(8)]
        ended = [await server.jobs.wait(job.id, PATIENCE) for job in jobs]
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    assert easel.most_at_work == 2


async def test_a_refusal_becomes_the_jobs_failure_and_is_not_tried_again(place: Place) -> None:
    async def refuse(request: ImageRequest, context: Context) -> Generated:
        raise RefusedError("The service refused: violence.", provider="easel", status=400, request_id="r-1")

    easel = Easel(work=refuse)
    async with place.server(easel) as server:
        job = await server.jobs.wait((await server.submit()).id, PATIENCE)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert (job.failure.code, job.failure.message) == ("refused", "The service refused: violence.")
    assert job.failure.details == {"provider": "easel", "status": 400, "request_id": "r-1"}
    assert len(easel.asked) == 1


async def test_a_reply_that_is_no_picture_is_a_failure_that_may_have_been_billed(place: Place) -> None:
    async def nonsense(request: ImageRequest, context: Context) -> Generated:
        return Generated(images=(Drawn(data=b"<html>hello</html>"),))

    async with place.server(Easel(work=nonsense)) as server:
        job = await server.jobs.wait((await server.submit()).id, PATIENCE)
    assert job.failure is not None
    assert (job.failure.code, job.failure.may_have_been_billed) == ("bad_reply", True)
    assert "web page" in job.failure.message
    assert list(place.folder.glob("pictures/**/*.*")) == []


async def test_a_bug_in_a_provider_fails_the_job_and_leaves_the_server_alive(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async def break_down(request: ImageRequest, context: Context) -> Generated:
        raise ZeroDivisionError

    easel = Easel(work=break_down)
    async with place.server(easel) as server:
        job = await server.jobs.wait((await server.submit()).id, PATIENCE)
        assert job.failure is not None
        assert job.failure.code == "internal_error"
        easel.work = Easel().work
        assert (await server.jobs.wait((await server.submit()).id, PATIENCE)).state is JobState.SUCCEEDED
    assert "ZeroDivisionError" in caplog.text


async def test_a_job_past_its_time_fails_with_a_clear_word(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_image_server.jobs.jobs.monotonic", lambda: 0.0)  # none of its time passes before its work begins
    async with place.server(Easel(work=Gate()), timeout=0.5) as server:
        job = await server.jobs.wait((await server.submit()).id, PATIENCE)
    assert job.failure is not None
    assert (job.failure.code, job.failure.may_have_been_billed) == ("timeout", True)


async def test_cancelling_ends_a_running_job_and_one_in_line(place: Place) -> None:
    easel = Easel(work=Gate(), limits=Limits(concurrent=1))
    async with place.server(easel) as server:
        running = await server.submit()
        await easel.started.wait()
        waiting = await server.submit()
        for job in (waiting, running):
            await server.jobs.cancel(job.id)
            assert (await server.jobs.wait(job.id, PATIENCE)).state is JobState.CANCELLED
    assert len(easel.asked) == 1


async def test_another_process_can_cancel(place: Place) -> None:
    easel = Easel(work=Gate())
    async with place.server(easel) as one, place.server(Easel()) as other:
        job = await one.submit()
        await easel.started.wait()
        await other.jobs.cancel(job.id)
        assert (await other.jobs.wait(job.id, PATIENCE)).state is JobState.CANCELLED


async def test_a_job_that_does_not_exist_is_not_found(place: Place) -> None:
    async with place.server(Easel()) as server:
        with pytest.raises(NotFoundError, match="no job 'nope'"):
            await server.jobs.wait("nope", 0)


# ---------------------------------------------------------------------- after a crash


async def test_work_that_costs_nothing_is_done_again_under_the_same_names(place: Place) -> None:
    easel = Easel(repeatable=True)
    async with place.server(easel) as server:
        left = await server.die_with(count=2)
        job = await server.jobs.wait(left.id, PATIENCE)
    assert job.state is JobState.SUCCEEDED
    assert [image.id for image in job.images] == [image_id(left.id, 0), image_id(left.id, 1)]
    assert job.attempts == 2


async def test_a_call_that_may_have_been_billed_is_not_repeated(place: Place) -> None:
    easel = Easel()
    async with place.server(easel) as server:
        left = await server.die_with()
        job = await server.jobs.wait(left.id, PATIENCE)
    assert easel.asked == []
    assert job.failure is not None
    assert (job.state, job.failure.code, job.failure.may_have_been_billed) == (JobState.FAILED, "interrupted", True)


async def test_a_task_that_the_service_has_accepted_is_asked_for_not_submitted(place: Place) -> None:
    easel = TaskEasel()
    async with place.server(easel) as server:
        left = await server.die_with(task_id="task-9")
        job = await server.jobs.wait(left.id, PATIENCE)
    assert (easel.asked, easel.resumed) == ([], ["task-9"])
    assert job.state is JobState.SUCCEEDED


async def test_a_job_that_was_waiting_in_line_runs(place: Place) -> None:
    easel = Easel()
    async with place.server(easel) as server:
        left = await server.die_with(JobState.QUEUED)
        assert (await server.jobs.wait(left.id, PATIENCE)).state is JobState.SUCCEEDED
    assert len(easel.asked) == 1


async def test_pictures_stored_just_before_the_crash_are_adopted(place: Place) -> None:
    kept: list[Image] = []

    async def store(job: Job) -> None:
        kept.extend((await keep(job, CATALOGUE, draw(job.request).images, [open_store(place.store)], now=place.now)).images)

    easel = Easel()
    async with place.server(easel) as server:
        left = await server.die_with(count=2, at_last=store)
        job = await server.jobs.wait(left.id, PATIENCE)
    assert easel.asked == []
    assert job.state is JobState.SUCCEEDED
    assert [(image.key, image.sha256, image.size) for image in job.images] == [(image.key, image.sha256, image.size) for image in kept]


async def test_a_job_that_keeps_bringing_its_server_down_is_given_up(place: Place) -> None:
    easel = Easel(repeatable=True)
    async with place.server(easel) as server:
        left = await server.die_with(attempts=3)
        job = await server.jobs.wait(left.id, PATIENCE)
    assert easel.asked == []
    assert job.failure is not None
    assert job.failure.code == "interrupted"


@pytest.mark.parametrize("owner", [DEAD, "elsewhere:0:1:00"], ids=["ended", "silent"])
async def test_a_job_is_taken_up_when_its_process_has_ended_or_been_silent_whatever_the_clock_says(place: Place, owner: str) -> None:
    easel = Easel(repeatable=True)
    async with place.server(easel, timing=HASTY) as server:
        job = replace(await server.submit(), id="00112233aabbccdd", owner=owner)
        await server.history.enter(job, lease_until=place.now + timedelta(days=1))  # the clock was set back
        place.now -= timedelta(hours=1)
        assert (await server.jobs.wait(job.id, PATIENCE)).state is JobState.SUCCEEDED


async def test_a_clock_that_jumps_takes_no_job_from_a_living_process(place: Place) -> None:
    gate = Gate()
    first, second = Easel(work=gate), Easel()
    async with place.server(first) as one, place.server(second) as other:
        job = await one.submit()
        await first.started.wait()
        place.now += timedelta(hours=1)
        assert await other.jobs.take_up() == []
        gate.opened.set()
        assert (await other.jobs.wait(job.id, PATIENCE)).state is JobState.SUCCEEDED
    assert second.asked == []


async def test_a_second_server_leaves_the_first_ones_jobs_alone(place: Place) -> None:
    gate = Gate()
    first, second = Easel(work=gate, repeatable=True), Easel(repeatable=True)
    async with place.server(first) as one, place.server(second) as other:
        job = await one.submit()
        await first.started.wait()
        assert await other.jobs.take_up() == []
        gate.opened.set()
        assert (await other.jobs.wait(job.id, PATIENCE)).state is JobState.SUCCEEDED
    assert (len(first.asked), len(second.asked)) == (1, 0)


async def test_a_closing_server_hands_over_what_costs_nothing_at_once(place: Place) -> None:
    first = Easel(work=Gate(), repeatable=True)
    async with place.server(first) as one:
        job = await one.submit()
        await first.started.wait()
    async with place.server(Easel(repeatable=True)) as other:
        assert (await other.jobs.wait(job.id, PATIENCE)).state is JobState.SUCCEEDED


async def test_a_closing_server_lets_a_paid_call_finish(place: Place) -> None:
    async def soon(request: ImageRequest, context: Context) -> Generated:
        await anyio.sleep(0.05)
        return draw(request)

    easel = Easel(work=soon)
    async with place.server(easel, timing=replace(QUICK, grace=PATIENCE)) as one:
        job = await one.submit()
        await easel.started.wait()
    async with place.server(Easel()) as other:
        assert (await other.jobs.wait(job.id, 0)).state is JobState.SUCCEEDED


async def test_a_paid_call_that_outlasts_the_closing_server_says_so(place: Place) -> None:
    easel = Easel(work=Gate())
    async with place.server(easel) as one:
        job = await one.submit()
        await easel.started.wait()
    async with place.server(Easel()) as other:
        failure = (await other.jobs.wait(job.id, 0)).failure
    assert failure is not None
    assert (failure.code, failure.may_have_been_billed) == ("interrupted", True)


# ---------------------------------------------------------------------- the place fails


async def test_a_folder_that_cannot_be_written_is_found_out_before_anything_is_paid(place: Place) -> None:
    (place.folder / "pictures").write_text("a file where the folder should be")
    easel = Easel()
    async with place.server(easel) as server:
        job = await server.jobs.wait((await server.submit()).id, PATIENCE)
    assert easel.asked == []
    assert job.failure is not None
    assert job.failure.code == "storage_unavailable"
    assert "MCP_IMAGE_SAVE_DIR" in job.failure.message


async def test_a_paid_picture_whose_folder_breaks_meanwhile_is_saved_elsewhere(place: Place) -> None:
    async def break_folder(request: ImageRequest, context: Context) -> Generated:
        folder = place.folder / "pictures"
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        folder.rmdir()
        folder.write_text("in the way")
        return draw(request)

    async with place.server(Easel(work=break_folder)) as server:
        job = await server.jobs.wait((await server.submit()).id, PATIENCE)
    assert job.state is JobState.SUCCEEDED
    assert job.images[0].store_url == folder_url(place.folder / "rescued")
    assert [adjustment.field for adjustment in job.adjustments] == ["save_dir"]


def test_ids_name_their_job_and_files_name_their_id() -> None:
    assert image_id("00112233aabbccdd", 0) == "00112233aabbccdd-1"
    assert image_key("猫 1", "easel", "00112233aabbccdd-1", "image/jpeg") == "猫_1_easel_00112233aabbccdd-1.jpg"
