"""Calls that wait, for a service that takes its time or never answers: they are told where things stand, come again, give up, and disturb nobody."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from mcp import Client, StdioServerParameters, types
from starlette.requests import Request
from starlette.types import ASGIApp

from tests.fakes import modelscope, openai
from tests.fakes.modelscope import FakeModelScope
from tests.fakes.openai import FakeOpenAI

from .server_process import COMMAND, Piped, Poster, answer_of, environment, on_a_port, until

WISH: dict[str, Any] = {"prompt": "a cat", "provider": "modelscope", "resolution": "64x64"}
CROWD = 32


def keys(fake: FakeModelScope | FakeOpenAI) -> dict[str, str]:
    """What a server is told about the fake."""
    if isinstance(fake, FakeOpenAI):
        return {"OPENAI_API_KEY": fake.key or "", "OPENAI_BASE_URL": fake.base_url}
    often = {"MODELSCOPE_POLL_INTERVAL_SECONDS": "0.1", "MODELSCOPE_MAX_POLL_ATTEMPTS": "10000"}
    return {"MODELSCOPE_SDK_TOKEN": fake.token or "", "MODELSCOPE_BASE_URL": fake.url, **often}


@contextmanager
def client_of(transport: str, folder: Path, **settings: str) -> Iterator[Piped | Poster]:
    """A client of a server of its own: `stdio`, or the version spoken over HTTP."""
    if transport == "stdio":
        with Piped(folder, **settings) as piped:
            piped.handshake()
            yield piped
    else:
        with on_a_port(folder, **settings) as url, Poster(url, transport) as poster:
            yield poster


def give_up(client: Piped | Poster, number: int, fake: FakeModelScope) -> None:
    """A call whose client has no more patience a moment after the task is looked at: it cancels the request, or closes the connection."""

    def wait() -> None:
        until(lambda: looks(fake) > 0, "the task is looked at")
        time.sleep(0.3)

    if isinstance(client, Piped):
        client.ask(number, "generate_image", **WISH)
        wait()
        client.send({"method": "notifications/cancelled", "params": {"requestId": number, "reason": "timed out"}})
    else:
        with client.asking(number, "generate_image", **WISH):
            wait()


def states(folder: Path) -> list[str]:
    """Of every job in the database, read past the server."""
    with closing(sqlite3.connect(folder / "data" / "history.sqlite3", timeout=30)) as connection:
        return [state for (state,) in connection.execute("SELECT state FROM jobs")]


def submissions(fake: FakeModelScope) -> int:
    return sum(seen.path == "/v1/images/generations" for seen in fake.seen)


def looks(fake: FakeModelScope) -> int:
    return sum(seen.path.startswith("/v1/tasks/") for seen in fake.seen)


everywhere = pytest.mark.parametrize("transport", ["stdio", "2025-11-25", "2026-07-28"])


# ---------------------------------------------------------------------- coming again


@everywhere
def test_a_client_that_times_out_and_calls_again_gets_the_one_picture(tmp_path: Path, transport: str) -> None:
    with FakeModelScope(looks=10_000) as fake, client_of(transport, tmp_path, **keys(fake), MCP_JOIN_AFTER="0.1") as client:
        client.call(0, "search_images")  # opens the history
        for number in range(1, 4):
            give_up(client, number, fake)
        fake.tasks["7000001"].states.clear()
        answer = client.call(4, "generate_image", **WISH)
        assert (answer["ok"], len(answer["images"])) == (True, 1)
        assert answer["images"][0]["id"].startswith(answer["job"]["id"])
        assert submissions(fake) == 1
    assert states(tmp_path) == ["succeeded"]


def test_a_client_that_calls_again_without_a_word_gets_the_same_answer_each_time(tmp_path: Path) -> None:
    with FakeModelScope(looks=10_000) as fake, client_of("stdio", tmp_path, **keys(fake), MCP_JOIN_AFTER="0.1") as client:
        assert isinstance(client, Piped)
        client.call(100, "search_images")  # opens the history
        for number in range(4):
            client.ask(number, "generate_image", **WISH)
            until(lambda: len(fake.tasks) == 1, "the task is there")
            time.sleep(0.3)
        fake.tasks["7000001"].states.clear()
        answers = [answer_of(reply) for reply in client.receive_all(range(4)).values()]
        assert len({(answer["job"]["id"], answer["images"][0]["id"]) for answer in answers}) == 1
        assert submissions(fake) == 1
    assert states(tmp_path) == ["succeeded"]


# ---------------------------------------------------------------------- never answered


@everywhere
def test_a_service_that_never_answers_keeps_nobody_beyond_the_wait_and_no_job_beyond_its_time(tmp_path: Path, transport: str) -> None:
    """The one holds the connection open; the other is never done with its task."""
    with FakeOpenAI() as silent, FakeModelScope() as slow:
        silent.trouble.append(openai.Trouble.HANG)
        slow.trouble.append(modelscope.Trouble.NEVER)
        with client_of(transport, tmp_path, **keys(silent), **keys(slow), MCP_JOB_TIMEOUT="4") as client:
            client.call(0, "search_images")  # opens the history
            jobs = []
            for number, wish in enumerate(({"prompt": "a cat", "provider": "openai"}, WISH), start=1):
                called = time.monotonic()
                answer = client.call(number, "generate_image", **wish, wait_seconds=0.5)
                assert 0.5 <= time.monotonic() - called < 4
                assert (answer["ok"], answer["images"]) == (True, [])
                until(lambda number=number: states(tmp_path) == ["running"] * number, "it is under way")  # type: ignore[misc]
                jobs.append((called, answer["job"]["id"]))
            for number, (called, job) in enumerate(jobs, start=3):
                answer = client.call(number, "get_job", job_id=job, wait_seconds=30)
                assert 4 <= time.monotonic() - called < 9
                assert (answer["job"]["state"], answer["error"]["code"]) == ("expired", "timeout")
                assert answer["error"]["details"] == {"may_have_been_billed": True, "retryable": True}


class Crowd(FakeModelScope):
    """Counts submissions under way, and answers none before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.here = 0
        self.open = False

    async def _generations(self, request: Request) -> ASGIApp:
        self.here += 1
        while not self.open:
            await anyio.sleep(0.02)
        return await super()._generations(request)


def test_thirty_two_calls_are_at_the_service_at_once_and_the_server_answers_others_meanwhile(tmp_path: Path) -> None:
    limits = {"MCP_LIMITS": json.dumps({"modelscope": {"concurrent": CROWD}}), "MCP_MAX_CONCURRENT_JOBS": str(CROWD)}
    with Crowd() as fake, Piped(tmp_path, **keys(fake), **limits) as server:
        server.handshake()
        for number in range(CROWD):
            server.ask(number, "generate_image", **{**WISH, "prompt": f"cat {number}"}, wait_seconds=600)
        until(lambda: fake.here == CROWD, "all are there")
        server.send({"id": "ping", "method": "ping"})
        assert server.receive("ping")["result"] == {}
        assert server.call(100, "search_images")["images"] == []
        fake.open = True
        answers = [answer_of(reply) for reply in server.receive_all(range(CROWD)).values()]
    assert {answer["job"]["state"] for answer in answers} == {"succeeded"}
    assert len({answer["images"][0]["id"] for answer in answers}) == CROWD


# ---------------------------------------------------------------------- in the official client


@pytest.mark.anyio
async def test_progress_comes_at_least_every_five_seconds_although_the_service_says_nothing(tmp_path: Path) -> None:
    """Over both transports and in both eras at the same time, since it takes its time."""
    with FakeOpenAI() as fake, on_a_port(tmp_path / "port", **keys(fake), MCP_JOB_TIMEOUT="600") as url:
        fake.trouble.extend([openai.Trouble.HANG] * 2)
        stdio = StdioServerParameters(
            command=COMMAND[0], args=COMMAND[1:], env=environment(tmp_path, **keys(fake), MCP_JOB_TIMEOUT="600"), cwd=tmp_path
        )

        async def wait(server: str | StdioServerParameters, mode: Literal["legacy", "2026-07-28"]) -> None:
            moments: list[float] = []
            heard: list[float] = []

            async def listen(progress: float, total: float | None, message: str | None) -> None:
                moments.append(anyio.current_time())
                heard.append(progress)

            async with Client(server, mode=mode) as client:
                answer = await client.call_tool("generate_image", {"prompt": "a cat", "wait_seconds": 5.5}, progress_callback=listen)
                ended = anyio.current_time()
                assert isinstance(answer.content[0], types.TextContent)
                job = json.loads(answer.content[0].text)["job"]
                assert job["state"] == "running"
                await client.call_tool("cancel_job", {"job_id": job["id"]})
            assert len(heard) >= 2
            assert heard == sorted(set(heard))
            assert len(heard) > (ended - moments[0]) // 5

        with anyio.fail_after(120):
            async with anyio.create_task_group() as both:
                both.start_soon(wait, stdio, "legacy")
                both.start_soon(wait, url + "/mcp", "2026-07-28")


# ---------------------------------------------------------------------- giving up


def nobody_looks_any_more(folder: Path, fake: FakeModelScope, *, seen: int) -> None:
    """Passes when the job was cancelled within two seconds' worth of looks after those that were seen, and there is none after that for five intervals."""
    until(lambda: states(folder) == ["cancelled"], "the job is cancelled")
    time.sleep(0.2)  # a last look may have been on its way
    counted = looks(fake)
    assert counted <= seen + 20
    time.sleep(0.5)
    assert looks(fake) == counted


@pytest.mark.parametrize("transport", ["stdio", "2025-11-25"])
def test_a_cancelled_job_is_asked_for_no_longer(tmp_path: Path, transport: str) -> None:
    with FakeModelScope(looks=10_000) as fake, client_of(transport, tmp_path, **keys(fake)) as client:
        job = client.call(1, "generate_image", **WISH, wait_seconds=0)["job"]["id"]
        until(lambda: looks(fake) > 2, "the task is looked at")
        seen = looks(fake)
        assert client.call(2, "cancel_job", job_id=job)["job"]["state"] == "cancelled"
        nobody_looks_any_more(tmp_path, fake, seen=seen)


@pytest.mark.parametrize("transport", ["stdio", "2026-07-28"])
@pytest.mark.parametrize("cancels", [True, False])
def test_a_request_that_is_given_up_ends_its_job_only_where_that_is_wanted(tmp_path: Path, transport: str, cancels: bool) -> None:
    with FakeModelScope(looks=10_000) as fake, client_of(transport, tmp_path, **keys(fake), MCP_CANCEL_WITH_REQUEST=str(cancels)) as client:
        client.call(0, "search_images")
        give_up(client, 1, fake)
        seen = looks(fake)
        if cancels:
            nobody_looks_any_more(tmp_path, fake, seen=seen)
        else:
            until(lambda: looks(fake) > seen + 5, "the task is still looked at")
            assert states(tmp_path) == ["running"]
