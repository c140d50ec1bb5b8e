"""Whether the server can take work, as a load balancer and its keeper see it."""

from __future__ import annotations

import shutil
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette

from mcp_image_server.models import Breaker
from mcp_image_server.studio import Studio
from mcp_image_server.surfaces.http.health import FRESH, Health
from mcp_image_server.surfaces.http.leaving import Server
from tests.transports.server_process import Served, until
from tests.web import token_of, tokens_in, web

pytestmark = pytest.mark.anyio

WELL = {"database": "ok", "store": "ok", "engine": "ok", "providers": "ok"}


async def test_a_server_that_can_take_work_says_so_to_anybody(tmp_path: Path) -> None:
    async with web(tmp_path, {"MCP_AUTH_TOKEN": "s3cret-s3cret"}) as site:
        answer = await site.client.get("/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "parts": WELL})
    assert answer.headers["cache-control"] == "no-store"


async def test_a_store_that_cannot_be_written_takes_the_server_out(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_text("in the way")
    async with web(tmp_path) as site:
        answer = await site.client.get("/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "failing", "parts": {**WELL, "store": "failing"}})


async def test_a_database_that_cannot_be_opened_takes_the_server_out_and_only_administrators_are_told_why(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    tokens = {"MCP_TOKENS_FILE": tokens_in(tmp_path, root={"roles": ["admin"]}, alice={}), "MCP_SECRET": "x" * 32}
    async with web(tmp_path, tokens) as site:
        answer = await site.client.get("/ready")
        assert answer.status_code == 503
        assert answer.json() == {"status": "failing", "parts": {**WELL, "database": "failing", "engine": "failing"}}
        assert (await site.client.get("/ready/details")).status_code == 401
        assert (await site.client.get("/ready/details", headers={"authorization": f"Bearer {token_of('alice')}"})).status_code == 403
        told = await site.client.get("/ready/details", headers={"authorization": f"Bearer {token_of('root')}"})
    assert told.status_code == 503
    assert str(tmp_path / "data") in told.json()["parts"]["database"]["words"]
    assert told.json()["parts"]["providers"] == {"ok": True, "words": "easel"}


async def test_a_model_that_is_left_alone_is_told_of_but_takes_nobody_out(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        await site.draw()
        history = await site.studio._workshop.history()
        shut = Breaker(provider="easel", model="easel-1", failures=5, openings=1, open_until=datetime.now(UTC) + timedelta(minutes=1))
        await history.judge("easel", "easel-1", lambda _: shut)
        answer = await site.client.get("/ready")
        told = (await site.client.get("/ready/details")).json()
    assert (answer.status_code, answer.json()) == (200, {"status": "degraded", "parts": {**WELL, "providers": "failing"}})
    assert "easel/easel-1 has failed several times in a row" in told["parts"]["providers"]["words"]


async def test_a_second_look_within_a_moment_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("mcp_image_server.surfaces.http.health.monotonic", lambda: now)
    async with web(tmp_path) as site:
        assert (await site.client.get("/ready")).status_code == 200
        shutil.rmtree(tmp_path / "pictures")
        (tmp_path / "pictures").write_text("in the way")
        assert [(await site.client.get("/ready")).status_code for _ in range(5)] == [200] * 5
        now = FRESH
        assert (await site.client.get("/ready")).status_code == 503


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to catch")
def test_a_server_told_to_stop_says_so_first_goes_on_for_a_while_and_ends_in_order(tmp_path: Path) -> None:
    with Served(tmp_path, MCP_DRAIN_SECONDS="600") as server, httpx2.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        assert client.get("/ready").json() == {"status": "ready", "parts": WELL}
        server.process.send_signal(signal.SIGTERM)
        until(lambda: client.get("/ready").status_code == 503, "it says that it is leaving")
        assert client.get("/ready").json() == {"status": "leaving", "parts": WELL}
        assert client.get("/health").json() == {"status": "healthy", "service": "mcp-image-generation-http"}
        server.process.send_signal(signal.SIGTERM)  # which cuts the farewell short
        assert (server.process.communicate(timeout=30)[1].count(b"Traceback"), server.process.returncode) == (0, 0)


async def test_a_server_told_to_stop_leaves_by_itself_when_its_time_is_over(studio: Studio) -> None:
    health = Health(studio)
    server = Server(uvicorn.Config(Starlette(routes=health.routes), port=0, log_config=None), health, drain=0.3)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve)
            while not server.started:
                await anyio.sleep(0.01)
            told = anyio.current_time()
            server.handle_exit(signal.SIGTERM, None)
            assert health.leaving
    assert anyio.current_time() - told >= 0.3
