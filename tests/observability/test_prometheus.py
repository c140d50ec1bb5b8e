"""The ready-made dashboard and alerts, asked of a true Prometheus that watches a true server."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
import yaml

from mcp_image_server import telemetry
from mcp_image_server.errors import RefusedError, UnavailableError
from mcp_image_server.models import ImageRequest
from mcp_image_server.providers import load
from mcp_image_server.surfaces.serve import web_server
from tests.conftest import studio_with
from tests.easel import Easel, draw
from tests.fakes.openai import FakeOpenAI
from tests.ports import free_port
from tests.web import Web, token_of, tokens_in

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"

QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]

here = shutil.which("prometheus") is not None and shutil.which("promtool") is not None
needs_prometheus = pytest.mark.skipif(
    not here, reason="there is no prometheus and no promtool on this machine; Debian has both in its package prometheus"
)


def test_the_dashboard_and_the_alerts_ask_for_nothing_but_what_is_told() -> None:
    own = {measure.name for measure in telemetry.MEASURES}
    own |= {
        f"{measure.name}_{part}" for measure in telemetry.MEASURES if isinstance(measure, telemetry.Histogram) for part in ("bucket", "count", "sum")
    }
    own |= {"mcp_image_jobs", "mcp_image_jobs_oldest_seconds", "mcp_image_breaker_open", "mcp_image_database_up", "mcp_image_build_info"}
    alerts = [rule["expr"] for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
    for query in [*(query for _, query in QUERIES), *alerts]:
        assert set(re.findall(r"\bmcp_image_\w+", query)) <= own, query
    assert {measure.name for measure in telemetry.MEASURES} <= {
        re.sub("_(bucket|count)$", "", name) for _, query in QUERIES for name in re.findall(r"\bmcp_image_\w+", query)
    }


@needs_prometheus
def test_promtool_takes_the_configuration_and_the_rules() -> None:
    for command in (["check", "config", str(CONFIG)], ["check", "rules", str(ALERTS)]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.anyio
@needs_prometheus
async def test_every_query_of_the_dashboard_has_data(tmp_path: Path) -> None:
    turns = 0

    async def moody(request: ImageRequest, context: object) -> object:
        nonlocal turns
        turns += 1
        if turns % 4 == 1:
            raise UnavailableError("Busy.", provider="easel", not_accepted=True, retry_after=0.01)
        if turns % 4 == 3:
            raise RefusedError("No.", provider="easel")
        return draw(request)

    with FakeOpenAI() as fake:
        assert fake.key is not None
        settings = {"OPENAI_API_KEY": fake.key, "OPENAI_BASE_URL": fake.base_url}
        money = {"MCP_BUDGET_DAY": "40", "MCP_PRICES": '{"easel": 0.01, "openai": 1, "sketch": 50}', "MCP_SECRET": "x" * 32}
        tokens = {"MCP_TOKENS_FILE": tokens_in(tmp_path, alice={}, prometheus={"roles": ["viewer"]}), "MCP_METRICS": "true"}
        folders = {"MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures")}
        providers = {"easel": Easel(work=moody), **load(settings, {})}  # type: ignore[arg-type]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = f"127.0.0.1:{listener.getsockname()[1]}"
            async with studio_with(providers, {**settings, **money, **tokens, **folders}, base_url=f"http://{address}") as studio:
                server = web_server(studio)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(lambda: server.serve(sockets=[listener]))
                    with anyio.fail_after(60):
                        while not server.started:
                            await anyio.sleep(0.01)
                    async with (
                        httpx2.AsyncClient(base_url=f"http://{address}", trust_env=False, timeout=60) as client,
                        prometheus(tmp_path, address) as asking,
                    ):
                        site = Web(studio, f"http://{address}", client)
                        missing = dict.fromkeys(QUERIES)
                        with anyio.fail_after(300):
                            while missing:  # two looks of Prometheus between which something happens make a rate
                                await a_busy_moment(site)
                                missing = dict.fromkeys([query for query in missing if not await asking(query[1])])
                    server.should_exit = True


async def a_busy_moment(site: Web) -> None:
    """A picture or a failure of each kind."""
    alice = token_of("alice")
    for _ in range(4):
        await site.call("generate_image", token=alice, prompt="a cat", provider="easel", wait_seconds=60, fresh=True)
    await site.call("generate_image", token=alice, prompt="a cat", provider="openai", wait_seconds=60, fresh=True)
    assert (await site.call("generate_image", token=alice, prompt="a cat", provider="sketch"))["error"]["code"] == "budget_exceeded"


@asynccontextmanager
async def prometheus(folder: Path, address: str) -> AsyncIterator[Any]:
    """A Prometheus with our configuration, but for the place of the server and its haste. What it gives: a question that says whether a query has data."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    (scrape,) = config["scrape_configs"]
    scrape["static_configs"] = [{"targets": [address]}]
    (folder / "token").write_text(token_of("prometheus"))
    scrape["authorization"] = {"credentials_file": str(folder / "token")}
    shutil.copy(ALERTS, folder / "alerts.yml")
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with running(command, folder) as process:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False, timeout=60) as client:
            with anyio.fail_after(120):
                while not await is_up(client):
                    assert process.poll() is None, (folder / "prometheus.log").read_text()
                    await anyio.sleep(0.1)

            async def has_data(query: str) -> bool:
                filled = query.replace("$__rate_interval", "20s").replace("$job", ".+")
                answer = (await client.get("/query", params={"query": filled})).json()
                assert answer["status"] == "success", (query, answer)
                return any(result["value"][1] != "NaN" for result in answer["data"]["result"])

            yield has_data


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
        try:
            yield process
        finally:
            process.terminate()


async def is_up(client: httpx2.AsyncClient) -> bool:
    try:
        answer = await client.get("/query", params={"query": 'up{job="image-gen-mcp-server"} == 1'})
    except httpx2.TransportError:
        return False
    return answer.status_code == 200 and bool(answer.json()["data"]["result"])
