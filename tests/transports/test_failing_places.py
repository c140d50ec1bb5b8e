"""Places that fail under a running server: full disks, folders that may not be written, a database that somebody holds, a clock that is set.

Each is said in words that name the place and the setting; nothing is paid that could be known to be lost; what was paid is kept; and once the place is mended,
everything works again.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
import stamina
from starlette.requests import Request
from starlette.types import ASGIApp

from mcp_image_server.errors import RateLimitedError, StorageError
from mcp_image_server.jobs.work import keep
from mcp_image_server.models import Cost, Generated, ImageRequest, Job, JobState, Limits
from mcp_image_server.providers import Context
from mcp_image_server.store import folder_url, open_store
from tests.easel import CATALOGUE, Easel, Gate, TaskEasel, at_once, draw
from tests.fakes.openai import FakeOpenAI
from tests.jobs.place import PATIENCE, Place

from .server_process import COMMAND, Piped, until


def may_mount() -> bool:
    """Whether this user may have mounts of its own, which nobody else sees."""
    if sys.platform != "linux" or not all(map(shutil.which, ("unshare", "nsenter", "mount"))):
        return False
    return subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not may_mount(), reason="mounts of one's own are not allowed here")


class HeldBack(FakeOpenAI):
    """Answers no call while it is held."""

    held = False

    async def _draw(self, request: Request) -> ASGIApp:
        while self.held:
            await anyio.sleep(0.01)
        return await super()._draw(request)


class Apart(Piped):
    """A server in which folders can be given other disks while it runs."""

    def __init__(self, folder: Path, fake: FakeOpenAI, first: str) -> None:
        for name in ("pictures", "data"):
            (folder / name).mkdir(parents=True)
        command = ["unshare", "-rm", "sh", "-ec", f'{first}; exec "$@"', "sh", *COMMAND]
        super().__init__(folder, command, OPENAI_API_KEY=fake.key or "", OPENAI_BASE_URL=fake.base_url)
        self.folder = folder
        self.number = 0
        self.handshake()

    def __enter__(self) -> Apart:
        return self

    def inside(self, words: str) -> None:
        """Does this where the server sees it."""
        command = ["nsenter", "-t", str(self.process.pid), "-U", "-m", "--preserve-credentials", "sh", "-ec", words]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)

    def fill(self, name: str, *, but: int = 0) -> None:
        """Leaves so many kilobytes of the folder's disk."""
        self.inside(f"cd {self.folder}/{name}; dd if=/dev/zero of=hole bs=1k count={but} 2>&1; cat /dev/zero > filler 2>&1 || rm hole")

    def tool(self, tool: str, **arguments: Any) -> dict[str, Any]:
        self.number += 1
        return self.call(self.number, tool, **arguments)

    def draw(self, **arguments: Any) -> dict[str, Any]:
        return self.tool("generate_image", prompt="a cat", fresh=True, **arguments)


def paid(fake: FakeOpenAI) -> int:
    return sum(seen.method == "POST" for seen in fake.seen)


@needs_mounts
def test_a_picture_folder_that_cannot_be_written_costs_nothing_and_one_that_fills_up_costs_no_picture(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    with FakeOpenAI() as fake, Apart(tmp_path, fake, "mount --bind pictures pictures; mount -o remount,bind,ro pictures") as server:
        error = server.draw()["error"]
        assert (error["code"], error["message"], paid(fake)) == (
            "storage_unavailable",
            f"cannot write pictures in {pictures}: it is mounted read-only. Make this folder usable, or name another one in MCP_IMAGE_SAVE_DIR",
            0,
        )
        server.inside(f"mount -t tmpfs -o size=64k tmpfs {pictures}")

        server.fill("pictures")
        error = server.draw()["error"]
        assert (error["code"], error["message"], paid(fake)) == (
            "storage_unavailable",
            f"cannot write pictures in {pictures}: the disk is full. Make this folder usable, or name another one in MCP_IMAGE_SAVE_DIR",
            0,
        )
        server.inside(f"rm {pictures}/filler")

        server.fill("pictures", but=8)  # enough to try, not enough for a picture
        answer = server.draw()
        (image,) = answer["images"]
        assert (answer["ok"], paid(fake)) == (True, 1)
        assert Path(image["local_path"]).parent == tmp_path / "data" / "rescued"
        assert Path(image["local_path"]).stat().st_size == image["size_bytes"]
        (words,) = [each["message"] for each in answer["adjustments"] if each["field"] == "save_dir"]
        assert words.startswith(f"cannot write pictures in {pictures}: the disk is full.")
        assert words.endswith(f"The pictures were saved to {folder_url(tmp_path / 'data' / 'rescued')} instead.")

        server.inside(f"rm {pictures}/filler")
        (image,) = server.draw()["images"]
        assert Path(image["local_path"]).parent == pictures
        server.inside(f"test $(stat -c %s {image['local_path']}) = {image['size_bytes']}")
        assert server.close()[0] == 0


@needs_mounts
def test_a_data_folder_that_cannot_be_written_costs_nothing_and_what_was_paid_is_recorded_once_it_can(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with HeldBack() as fake, Apart(tmp_path, fake, "mount -t tmpfs -o size=1m,ro tmpfs data") as server:
        error = server.draw()["error"]
        assert (error["code"], paid(fake)) == ("storage_unavailable", 0)
        assert error["message"].startswith(f"cannot use the history in {data}/history.sqlite3: ")
        assert error["message"].endswith("Make the folder usable, or name another one in MCP_DATA_DIR.")
        server.inside(f"mount -o remount,rw {data}")
        assert len(server.draw()["images"]) == 1

        server.fill("data")
        error = server.draw()["error"]
        assert (error["code"], error["message"], paid(fake)) == (
            "storage_unavailable",
            f"cannot use the history in {data}/history.sqlite3: the disk is full. Make room, or name a folder elsewhere in MCP_DATA_DIR.",
            1,
        )
        server.inside(f"rm {data}/filler")

        fake.held = True
        job = server.draw(wait_seconds=0)["job"]["id"]
        until(lambda: paid(fake) == 2, "the service is called")
        server.fill("data")
        fake.held = False
        assert server.tool("get_job", job_id=job, wait_seconds=1.5)["job"]["state"] == "running"  # drawn, and nobody can write it down
        server.inside(f"rm {data}/filler")
        done = server.tool("get_job", job_id=job, wait_seconds=60)
        assert (done["job"]["state"], len(done["images"]), paid(fake)) == ("succeeded", 1, 2)
        assert server.close()[0] == 0


# ---------------------------------------------------------------------- the database is held


@asynccontextmanager
async def held(database: Path) -> AsyncIterator[None]:
    """Another process writes in the database and does not come to an end."""
    connect = f"sqlite3.connect({str(database)!r}, isolation_level=None, timeout=60)"
    script = f"import sqlite3, sys; {connect}.execute('BEGIN IMMEDIATE'); print(flush=True); sys.stdin.read()"
    async with await anyio.open_process([sys.executable, "-c", script], stderr=None) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdout.receive()  # which may have to wait until the server has come to an end
        yield
        await process.stdin.aclose()
        assert await process.wait() == 0


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


HISTORY = "data/history.sqlite3"
COST = Cost(micros=40_000, currency="USD", source="reported")


@pytest.mark.anyio
async def test_a_history_that_somebody_holds_for_too_long_takes_no_new_work_and_says_who_can_help(place: Place) -> None:
    easel = Easel()
    async with place.server(easel, busy_timeout=0.1) as server:
        async with held(place.folder / HISTORY):
            with pytest.raises(StorageError) as caught:
                await server.submit()
        assert caught.value.message == (
            f"cannot use the history in {place.folder / HISTORY}: another program has held it for too long. Close what else has it open, and try again."
        )
        assert easel.asked == []
        assert (await server.jobs.wait((await server.submit()).id, PATIENCE)).state is JobState.SUCCEEDED


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [Easel, TaskEasel], ids=["no task", "task"])
async def test_work_that_is_paid_for_outlives_a_history_that_somebody_holds(place: Place, kind: type[Easel]) -> None:
    easel, go_on = kind(), anyio.Event()

    async def work(request: ImageRequest, context: Context) -> Generated:
        await go_on.wait()
        await context.report(0.5, "half way")
        if isinstance(easel, TaskEasel):
            await context.accepted("task-9")
        return draw(request)

    easel.work = work
    # However long this machine takes to let go, it is tried again.
    with stamina.set_testing(True, attempts=1000):
        async with place.server(easel, busy_timeout=0.1) as server:
            job = await server.submit()
            await easel.started.wait()
            async with held(place.folder / HISTORY):
                go_on.set()
                assert (await server.jobs.wait(job.id, 0.4)).state is JobState.RUNNING
            ended = await server.jobs.wait(job.id, PATIENCE)
    assert (ended.state, ended.failure) == (JobState.SUCCEEDED, None)
    assert ended.task_id == ("task-9" if isinstance(easel, TaskEasel) else None)
    assert len(easel.asked) == 1


# ---------------------------------------------------------------------- the folder breaks when all is paid


def block(folder: Path) -> None:
    """Nothing can be written there any more."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("in the way")


@pytest.mark.anyio
async def test_pictures_that_no_folder_takes_are_said_to_be_lost_and_booked(place: Place) -> None:
    async def work(request: ImageRequest, context: Context) -> Generated:
        block(place.folder / "pictures")
        block(place.folder / "rescued")
        return replace(draw(request), cost=COST)

    easel = Easel(work=work)
    async with place.server(easel) as server:
        job = await server.jobs.wait((await server.submit()).id, PATIENCE)
        assert job.failure is not None
        assert (job.failure.code, job.failure.may_have_been_billed, job.cost) == ("storage_unavailable", True, COST)
        assert job.failure.message.startswith("The pictures are lost: ")
        assert await server.history.spent("local", since=job.created_at) == {"USD": COST.micros}
        for name in ("pictures", "rescued"):
            (place.folder / name).unlink()
        easel.work = at_once
        assert (await server.jobs.wait((await server.submit()).id, PATIENCE)).state is JobState.SUCCEEDED


@pytest.mark.anyio
async def test_what_was_saved_elsewhere_just_before_a_crash_is_found_there(place: Place) -> None:
    rescue = open_store(folder_url(place.folder / "rescued"))
    easel = Easel()

    async def save_elsewhere(job: Job) -> None:
        await keep(job, CATALOGUE, draw(job.request).images, [rescue], now=place.now)

    async with place.server(easel) as server:
        left = await server.die_with(count=2, at_last=save_elsewhere)
        job = await server.jobs.wait(left.id, PATIENCE)
    assert (job.state, easel.asked) == (JobState.SUCCEEDED, [])
    assert [image.store_url for image in job.images] == [rescue.url] * 2


@pytest.mark.anyio
async def test_what_a_service_has_taken_is_fetched_even_if_the_folder_is_broken(place: Place) -> None:
    block(place.folder / "pictures")
    easel = TaskEasel()
    async with place.server(easel) as server:
        left = await server.die_with(task_id="task-9")
        job = await server.jobs.wait(left.id, PATIENCE)
    assert (job.state, easel.asked, easel.resumed) == (JobState.SUCCEEDED, [], ["task-9"])
    assert job.images[0].store_url == folder_url(place.folder / "rescued")


# ---------------------------------------------------------------------- the clock is set


@pytest.mark.anyio
@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_set_ends_no_job_and_begins_none_twice(place: Place, hours: int) -> None:
    gate = Gate()
    easel = Easel(work=gate, limits=Limits(concurrent=1, images_per_minute=1000))
    async with place.server(easel) as one, place.server(easel) as other:
        running = await one.submit("first")
        await easel.started.wait()
        waiting = [await server.submit(f"number {number}") for number, server in enumerate((one, other))]
        place.now += timedelta(hours=hours)
        assert [job.id for server in (one, other) for job in await server.history.jobs(None, states=[JobState.EXPIRED, JobState.FAILED])] == []
        gate.opened.set()
        ended = [await other.jobs.wait(job.id, PATIENCE) for job in (running, *waiting)]
    assert {job.state for job in ended} == {JobState.SUCCEEDED}
    assert (len(easel.asked), easel.most_at_work) == (3, 1)


@pytest.mark.anyio
@pytest.mark.parametrize("minutes", [-60, -59, 60])
async def test_a_clock_that_is_set_makes_no_pause_longer(place: Place, minutes: int) -> None:
    async def busy_once(request: ImageRequest, context: Context) -> Generated:
        if len(easel.asked) == 1:
            raise RateLimitedError("Too many.", provider="easel", status=429, retry_after=5, not_accepted=True)
        return draw(request)

    easel = Easel(work=busy_once)
    async with place.server(easel) as server:
        job = await server.submit()
        while (await server.jobs.wait(job.id, 0.01)).tries == 0:
            pass
        place.now += timedelta(minutes=minutes)
        assert (await server.jobs.wait(job.id, PATIENCE)).state is JobState.SUCCEEDED
    assert len(easel.asked) == 2
