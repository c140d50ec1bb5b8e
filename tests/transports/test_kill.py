"""Servers are killed in the middle of paid work: nothing is lost, nothing is paid twice, nothing stays behind."""

from __future__ import annotations

import json
import random
import re
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import ASGIApp

from tests.fakes import doubao, openai
from tests.fakes.doubao import FakeDoubao
from tests.fakes.hunyuan import FakeHunyuan
from tests.fakes.modelscope import FakeModelScope, Work
from tests.fakes.openai import FakeOpenAI
from tests.fakes.server import Seen

from .server_process import Piped, Poster, Served, answer_of, until
from .test_crash import history

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")

SIZES = {"hunyuan": "768x768", "openai": "1024x1024", "doubao": "1024x1024", "modelscope": "64x64"}
WITH_TASKS = ("hunyuan", "modelscope")
KILLS = 50
PATIENCE = 0.5
"""Seconds after which a server is killed at the latest, counted from its first answer, or in every fifth life from the call."""


class Services:
    """Four paid services: two with tasks, which can be asked for again, and two without."""

    def __init__(self, *, looks: int, seconds: float = 0.0) -> None:
        self.hunyuan = FakeHunyuan(looks=looks, places=1000)
        self.modelscope = FakeModelScope(looks=looks)
        self.openai = FakeOpenAI(seconds=seconds)
        self.doubao = FakeDoubao(seconds=seconds)
        self.settings = {
            "TENCENT_SECRET_ID": self.hunyuan.secret_id,
            "TENCENT_SECRET_KEY": self.hunyuan.secret_key,
            "TENCENT_ENDPOINT": self.hunyuan.url,
            "OPENAI_API_KEY": self.openai.key or "",
            "OPENAI_BASE_URL": self.openai.base_url,
            "DOUBAO_API_KEY": self.doubao.key or "",
            "DOUBAO_ENDPOINT": self.doubao.url,
            "DOUBAO_MODEL": "doubao-seedream-4-0-250828",
            "MODELSCOPE_SDK_TOKEN": self.modelscope.token or "",
            "MODELSCOPE_BASE_URL": self.modelscope.url,
        }

    def __enter__(self) -> Services:
        self._stack = ExitStack()
        for fake in (self.hunyuan, self.modelscope, self.openai, self.doubao):
            self._stack.enter_context(fake)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def submissions(self) -> dict[str, Counter[str]]:
        """How often each service was sent each prompt."""
        return {
            "hunyuan": prompts(seen for seen in self.hunyuan.seen if seen.headers.get("x-tc-action", "").startswith("Submit")),
            "modelscope": prompts(seen for seen in self.modelscope.seen if seen.path == "/v1/images/generations"),
            "openai": prompts(seen for seen in self.openai.seen if seen.path == "/v1/images/generations"),
            "doubao": prompts(seen for seen in self.doubao.seen if seen.path == "/api/v3/images/generations"),
        }

    def finish_the_tasks(self) -> None:
        """Every task is done at the next look, and each new one at its first."""
        self.hunyuan.looks = self.modelscope.looks = 0
        for work in list(self.modelscope.tasks.values()):
            work.states.clear()


def prompts(submissions: Iterator[Seen]) -> Counter[str]:
    # A request that was cut off in the middle by the death of its sender has reached nobody.
    whole = (seen.body.decode() for seen in submissions if len(seen.body) == int(seen.headers["content-length"]))
    return Counter(found[0] for body in whole if (found := re.search(r"picture \d+(-\d+)?", body)))


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A job as it stands in the database."""

    id: str
    prompt: str
    provider: str
    state: str
    task_id: str | None
    failure: Mapping[str, Any] | None
    images: int

    @property
    def end(self) -> str:
        """In a word, of which all are told apart that matter here."""
        if self.failure is None:
            return self.state
        return f"{self.state}: {self.failure['code']}" + (", perhaps billed" if self.failure["may_have_been_billed"] else "")


QUERY = """
SELECT id, json_extract(request, '$.prompt'), provider, state, task_id, failure,
    (SELECT count(*) FROM images WHERE job_id = jobs.id)
FROM jobs
"""


def recorded(folder: Path) -> list[Recorded]:
    """Every job in the database, read past the servers."""
    with closing(sqlite3.connect(folder / "data" / "history.sqlite3", timeout=30)) as connection:
        rows = connection.execute(QUERY).fetchall()
    names = ("id", "prompt", "provider", "state", "task_id", "failure", "images")
    entries = [dict(zip(names, row, strict=True)) for row in rows]
    return [
        Recorded(**{**entry, "prompt": re.search(r"picture \d+(-\d+)?", entry["prompt"])[0], "failure": json.loads(entry["failure"] or "null")})  # type: ignore[index]
        for entry in entries
    ]


def all_have_ended(folder: Path) -> bool:
    return not any(job.state in ("queued", "running") for job in recorded(folder))


def wish(number: object, provider: str) -> dict[str, Any]:
    return {
        "prompt": f"picture {number} of a cat",
        "provider": provider,
        "resolution": SIZES[provider],
        "poll_interval_seconds": 0.1,
        "max_poll_attempts": 10_000,
        "wait_seconds": 0,
    }


@contextmanager
def serving(transport: str, folder: Path, **settings: str) -> Iterator[tuple[Piped | Served, Piped | Poster]]:
    """A server, and how it is spoken to."""
    if transport == "stdio":
        with Piped(folder, **settings) as piped:
            piped.handshake()
            yield piped, piped
    else:
        with Served(folder, **settings) as served, Poster(served.url) as poster:
            yield served, poster


def check(folder: Path, services: Services) -> list[Recorded]:
    """The jobs once all is over: none was lost, none paid twice, none is left behind, and every picture is there."""
    jobs = recorded(folder)
    sent = services.submissions()
    assert {prompt: count for counts in sent.values() for prompt, count in counts.items() if count > 1} == {}
    by_prompt = {job.prompt: job for job in jobs}
    assert len(by_prompt) == len(jobs)
    for provider, counts in sent.items():
        assert {by_prompt[prompt].provider for prompt in counts} <= {provider}
        assert {job.prompt for job in jobs if job.provider == provider and job.state == "succeeded"} <= counts.keys()
    assert [job for job in jobs if job.end not in ("succeeded", "failed: interrupted, perhaps billed")] == []
    assert [job for job in jobs if job.images != (job.state == "succeeded")] == []
    assert [job for job in jobs if job.task_id is not None and job.state != "succeeded"] == []
    verified = history(folder, "verify")
    assert {**verified, "removed": []} == {
        "ok": True,
        "images": sum(job.images for job in jobs),
        "missing": [],
        "damaged": [],
        "unrecorded": [],
        "removed": [],
    }
    return jobs


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_forty_paid_jobs_under_way_survive_a_kill_each_in_its_way(tmp_path: Path, transport: str) -> None:
    with Services(looks=10_000) as services:
        services.openai.trouble.extend([openai.Trouble.HANG] * 10)
        services.doubao.trouble.extend([doubao.Trouble.HANG] * 10)
        limits = json.dumps({provider: {"concurrent": 10} for provider in SIZES})
        settings = {**services.settings, "MCP_LIMITS": limits, "MCP_MAX_CONCURRENT_JOBS": "48"}
        wishes = [wish(number, provider) for number, provider in enumerate(12 * list(SIZES))]
        with serving(transport, tmp_path, **settings) as (server, client):
            for number, each in enumerate(wishes):
                answer = client.call(number, "generate_image", **each)
                assert answer["ok"], answer
                assert answer["job"]["state"] in ("queued", "running")
            until(lambda: {len(counts) for counts in services.submissions().values()} == {10}, "ten at each service are under way")
            until(lambda: sum(job.task_id is not None for job in recorded(tmp_path)) == 20, "every task id is on disk")
            server.kill()
        before = {prompt for counts in services.submissions().values() for prompt in counts}
        assert Counter(job.state for job in recorded(tmp_path)) == {"running": 40, "queued": 8}
        services.finish_the_tasks()
        with serving(transport, tmp_path, **settings) as (_, client):
            assert client.call(1, "search_images")["ok"]  # which opens the history
            until(lambda: all_have_ended(tmp_path), "every job has ended")
        jobs = check(tmp_path, services)
        assert {provider: len(counts) for provider, counts in services.submissions().items()} == dict.fromkeys(SIZES, 12)
        interrupted = {job.prompt for job in jobs if job.state == "failed"}
        assert interrupted == {job.prompt for job in jobs if job.provider not in WITH_TASKS} & before


@pytest.mark.long
def test_fifty_kills_at_random_moments_lose_nothing_and_pay_nothing_twice(tmp_path: Path) -> None:
    """Two clients over one history, each of whose servers is killed again and again."""
    with Services(looks=3, seconds=0.2) as services:
        limits = json.dumps({provider: {"concurrent": 10} for provider in SIZES})
        settings = {**services.settings, "MCP_LIMITS": limits, "MCP_MAX_CONCURRENT_JOBS": "40"}

        def client(number: int) -> list[str]:
            """The ids of the jobs that it heard of."""
            chance = random.Random(number)
            heard = []
            for life in range(KILLS // 2):
                with Piped(tmp_path, **settings) as server:
                    server.handshake()
                    for call in range(3):
                        server.ask(call, "generate_image", **wish(10 * (2 * life + number) + call, chance.choice(list(SIZES))))
                    answers = [server.receive(0)] if chance.random() < 0.8 else []
                    time.sleep(chance.uniform(0, PATIENCE))
                    answers += [message for message in server.kill() if "result" in message]
                    assert [answer for answer in map(answer_of, answers) if not answer["ok"]] == []
                    heard += [answer_of(answer)["job"]["id"] for answer in answers]
            return heard

        # One call is under way for sure when its server dies; what the others are at, only chance knows.
        with Piped(tmp_path, **settings) as server:
            server.handshake()
            services.openai.trouble.append(openai.Trouble.HANG)
            heard = [server.call(0, "generate_image", **wish("0-1", "openai"))["job"]["id"]]
            until(lambda: services.submissions()["openai"]["picture 0-1"] == 1, "the service is called")
            server.kill()
        with ThreadPoolExecutor() as clients:
            heard += [job for ids in clients.map(client, range(2)) for job in ids]
        services.finish_the_tasks()
        with Piped(tmp_path, **settings) as server:
            server.handshake()
            assert server.call(1, "search_images")["ok"]  # which opens the history
            until(lambda: all_have_ended(tmp_path), "every job has ended")
        jobs = check(tmp_path, services)
        assert set(heard) <= {job.id for job in jobs}
        assert {job.end for job in jobs} == {"succeeded", "failed: interrupted, perhaps billed"}


class OneDesk(FakeModelScope):
    """Notes how many of its tasks were under way at once. None is done before it is let go."""

    def __init__(self) -> None:
        super().__init__(looks=10_000)
        self.ended: set[str] = set()
        self.most = 0

    async def _generations(self, request: Request) -> ASGIApp:
        answer = await super()._generations(request)
        self.most = max(self.most, len(self.tasks) - len(self.ended))
        return answer

    def let_go(self) -> None:
        for work in list(self.tasks.values()):
            work.states.clear()

    def _end(self, work: Work, task_id: str) -> ASGIApp:
        self.ended.add(task_id)
        return super()._end(work, task_id)


def test_two_servers_share_an_account_of_one_place_and_one_of_them_is_killed(tmp_path: Path) -> None:
    with OneDesk() as fake:
        settings = {
            "MODELSCOPE_SDK_TOKEN": fake.token or "",
            "MODELSCOPE_BASE_URL": fake.url,
            "MCP_LIMITS": json.dumps({"modelscope": {"concurrent": 1}}),
        }

        def at_the_desk() -> list[Recorded]:
            """What is at the service, and known to be."""
            return [job for job in recorded(tmp_path) if job.state == "running" and job.task_id is not None and job.task_id not in fake.ended]

        with Piped(tmp_path, **settings) as first, Piped(tmp_path, **settings) as second:
            for name, server in enumerate((first, second)):
                server.handshake()
                for number in range(4):
                    server.call(number, "generate_image", **wish(f"{number}-{name}", "modelscope"))
            while True:
                until(lambda: len(at_the_desk()) == 1, "there is one at the service")
                (left,) = at_the_desk()
                if len(fake.ended) >= 2 and left.prompt.endswith("-0"):
                    break
                fake.let_go()
                until(lambda task=left.task_id: task in fake.ended, "it is done")  # type: ignore[misc]
            first.kill()
            fake.looks = 0
            fake.let_go()
            until(lambda: left.task_id in fake.ended, "the second has taken up what the first left", seconds=20)  # less than a lease
            until(lambda: all_have_ended(tmp_path), "and has finished the rest")
        assert {(job.state, job.images) for job in recorded(tmp_path)} == {("succeeded", 1)}
        assert (fake.most, len(fake.tasks)) == (1, 8)
