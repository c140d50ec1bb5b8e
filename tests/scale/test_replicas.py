"""Servers on one database and one object store, with nothing else in common, one of which is killed in the middle of paid work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from mcp_image_server.history import open_history
from mcp_image_server.models import Job, JobState
from tests.scale.servers import BUCKET, ObjectStore, Postgres, emptied
from tests.transports.server_process import COMMAND, Poster, Served, environment, until
from tests.transports.test_kill import Services, wish

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")

PAID = ("openai", "modelscope")
"""One that answers when it has drawn, and one with tasks."""

JOBS = 40

PLACES = 8
"""How many jobs each service takes at once."""


def recorded(url: str) -> list[Job]:
    """Every job in the database, read past the servers."""

    async def read() -> list[Job]:
        history = await open_history(url)
        try:
            return await history.jobs(None, limit=1000)
        finally:
            await history.close()

    return anyio.run(read)


def number_of(job: Job) -> str:
    found = re.search(r"picture \d+", job.request.prompt)
    assert found is not None
    return found[0]


@pytest.mark.long
def test_what_a_killed_server_leaves_another_finishes_and_nothing_is_paid_twice(tmp_path: Path, postgres_server: Postgres, s3: ObjectStore) -> None:
    url = anyio.run(emptied, postgres_server, "replicas")
    with Services(looks=10_000, seconds=0.3) as services:
        settings = {
            **services.settings,
            **s3.access,
            "MCP_DATABASE_URL": url,
            "MCP_STORE_URL": f"s3://{BUCKET}/{tmp_path.name}",
            "MCP_LIMITS": json.dumps({provider: {"concurrent": PLACES, "per_second": 100, "images_per_minute": 1000} for provider in PAID}),
            "MCP_MAX_CONCURRENT_JOBS": "10",
        }
        with Served(tmp_path / "a", **settings) as first, Served(tmp_path / "b", **settings) as second:

            def submit(server: Served, remainder: int) -> list[str]:
                with Poster(server.url) as client:
                    answers = [client.call(number, "generate_image", **wish(number, PAID[number // 2 % 2])) for number in range(remainder, JOBS, 2)]
                return [answer["job"]["id"] for answer in answers]

            with ThreadPoolExecutor() as threads:
                heard = [job for ids in threads.map(submit, (first, second), (0, 1)) for job in ids]
            until(lambda: any(job.state.ended for job in recorded(url)), "some are done")
            # A death between a task's submission and the record of its id has an end of its own, in tests/transports/test_kill.py.
            until(lambda: sum(job.task_id is not None for job in recorded(url)) == PLACES, "every place is taken by a task whose id is on record")
            first.kill()
            services.finish_the_tasks()
            until(lambda: all(job.state.ended for job in recorded(url)), "the second has finished what the first left")
            jobs = recorded(url)
            with httpx2.Client(base_url=second.url, trust_env=False) as client:
                pictures = [client.get(f"/images/{job.images[0].key}{part}") for job in jobs if job.images for part in ("", "?thumbnail=1")]
        verified: dict[str, Any] = json.loads(
            subprocess.run(
                [*COMMAND, "history", "verify", "--json"],
                capture_output=True,
                cwd=tmp_path / "b",
                env=environment(tmp_path / "b", **settings),
                check=True,
            ).stdout
        )
        sent = services.submissions()
    assert {job.id for job in jobs} == set(heard)
    assert len(jobs) == JOBS
    assert {provider: [prompt for prompt, times in counts.items() if times > 1] for provider, counts in sent.items()} == {
        provider: [] for provider in services.submissions()
    }
    ends = Counter((job.provider, job.state, job.failure.code if job.failure else "") for job in jobs)
    assert ends["modelscope", JobState.SUCCEEDED, ""] == JOBS // 2
    assert ends["openai", JobState.SUCCEEDED, ""] + ends["openai", JobState.FAILED, "interrupted"] == JOBS // 2
    assert all(job.failure.may_have_been_billed and sent["openai"][number_of(job)] <= 1 for job in jobs if job.failure)
    assert {(reply.status_code, reply.headers["content-type"].partition("/")[0]) for reply in pictures} == {(200, "image")}
    assert {**verified, "removed": []} == {
        "ok": True,
        "images": sum(len(job.images) for job in jobs),
        "missing": [],
        "damaged": [],
        "unrecorded": [],
        "removed": [],
    }
    assert not (tmp_path / "b" / "pictures").exists()
    assert list((tmp_path / "b" / "data").glob("*.sqlite3")) == []
