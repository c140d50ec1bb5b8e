"""What Prometheus is told, from a real conversation with a real server."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mcp_image_server import telemetry
from mcp_image_server.errors import RefusedError, UnavailableError
from mcp_image_server.models import ImageRequest
from mcp_image_server.studio import open_studio
from tests.easel import CATALOGUE, MODEL, Easel, Gate, draw
from tests.fakes.openai import FakeOpenAI
from tests.web import CALLER, Web, token_of, tokens_in, web

pytestmark = pytest.mark.anyio

ON = {"MCP_METRICS": "true"}


async def numbers(site: Web, pattern: str, **headers: str) -> dict[str, float]:
    """Samples whose name fits, as Prometheus writes them, to their values."""
    answer = await site.client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    return {
        name: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if re.fullmatch(
            pattern,
            name := sample.name + ("{" + ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items())) + "}" if sample.labels else ""),
        )
    }


async def test_without_the_setting_there_are_no_numbers(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        assert (await site.client.get("/metrics")).status_code == 404


async def test_a_picture_is_counted_from_the_call_to_the_store(tmp_path: Path) -> None:
    async with web(tmp_path, ON) as site:
        drawn = await site.call("generate_image", prompt="a cat")
        name = drawn["images"][0]["file_name"]
        assert len((await site.client.get(f"/images/{name}")).content) == drawn["images"][0]["size_bytes"]
        assert await numbers(site, r"mcp_image_(jobs_ended|images|tool_duration_seconds_count|jobs_put_back).*") == {
            'mcp_image_jobs_ended_total{model="easel-1",outcome="succeeded",provider="easel"}': 1,
            'mcp_image_images_total{model="easel-1",provider="easel"}': 1,
            'mcp_image_tool_duration_seconds_count{outcome="ok",tool="generate_image"}': 1,
        }
        thumbnail = next((tmp_path / "pictures" / ".thumbnails").iterdir()).stat().st_size
        assert await numbers(site, r"mcp_image_(stored|http_response)_bytes_total\{.*(easel|images).*") == {
            'mcp_image_stored_bytes_total{provider="easel"}': drawn["images"][0]["size_bytes"] + thumbnail,
            'mcp_image_http_response_bytes_total{route="/images/{name:path}"}': drawn["images"][0]["size_bytes"],
        }
        assert await numbers(site, r"mcp_image_job_(duration|queue)_seconds_count.*") == {
            'mcp_image_job_duration_seconds_count{outcome="succeeded",provider="easel"}': 1,
            'mcp_image_job_queue_seconds_count{provider="easel"}': 1,
        }
        requests = await numbers(site, r"mcp_image_http_request_duration_seconds_count\{.*(images|mcp).*")
        assert requests == {
            'mcp_image_http_request_duration_seconds_count{method="POST",route="/mcp",status="200"}': 1,
            'mcp_image_http_request_duration_seconds_count{method="GET",route="/images/{name:path}",status="200"}': 1,
        }


async def test_failures_are_counted_by_their_codes_and_models_that_nobody_knows_are_one(tmp_path: Path) -> None:
    async def fail(request: ImageRequest, context: object) -> object:
        raise RefusedError("No.", provider="easel")

    async with web(tmp_path, ON, Easel(work=fail, catalogue=replace(CATALOGUE, unknown=MODEL))) as site:  # type: ignore[arg-type]
        for model in ("", "easel-7", "easel-8"):
            await site.call("generate_image", prompt="a cat", model=model)
        await site.call("generate_image", prompt="a cat", resolution="huge")
        await site.call("generate_image", nonsense=1)
        assert await numbers(site, r"mcp_image_(jobs_ended|tool_duration_seconds_count).*") == {
            'mcp_image_jobs_ended_total{model="easel-1",outcome="refused",provider="easel"}': 1,
            'mcp_image_jobs_ended_total{model="other",outcome="refused",provider="easel"}': 2,
            'mcp_image_tool_duration_seconds_count{outcome="refused",tool="generate_image"}': 3,
            'mcp_image_tool_duration_seconds_count{outcome="invalid_resolution",tool="generate_image"}': 1,
            'mcp_image_tool_duration_seconds_count{outcome="invalid_arguments",tool="generate_image"}': 1,
        }


async def test_work_under_way_is_told_for_the_whole_database(tmp_path: Path) -> None:
    gate = Gate()
    async with web(tmp_path, {**ON, "MCP_MAX_CONCURRENT_JOBS": "1"}, Easel(work=gate)) as site:
        assert await numbers(site, r"mcp_image_(jobs|jobs_oldest_seconds|breaker_open|database_up)(\{.*|$)") == {
            'mcp_image_jobs{provider="easel",state="queued"}': 0,
            'mcp_image_jobs{provider="easel",state="running"}': 0,
            'mcp_image_breaker_open{model="easel-1",provider="easel"}': 0,
            "mcp_image_database_up": 1,
            'mcp_image_jobs_oldest_seconds{provider="easel",state="queued"}': 0,
            'mcp_image_jobs_oldest_seconds{provider="easel",state="running"}': 0,
        }
        for seed in range(3):
            await site.studio.generate(CALLER, ImageRequest(prompt="a cat", seed=seed), wait_seconds=0)
        with anyio.fail_after(60):
            while (await numbers(site, r"mcp_image_jobs\{.*running.*"))['mcp_image_jobs{provider="easel",state="running"}'] != 1:
                await anyio.sleep(0.01)
        assert await numbers(site, r"mcp_image_jobs\{.*queued.*") == {'mcp_image_jobs{provider="easel",state="queued"}': 2}
        assert (
            0
            <= (await numbers(site, r"mcp_image_jobs_oldest_seconds\{.*queued.*"))['mcp_image_jobs_oldest_seconds{provider="easel",state="queued"}']
            < 60
        )
        gate.opened.set()


async def test_without_the_database_the_other_numbers_are_told_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    async with web(tmp_path, {**ON, "MCP_SECRET": "x" * 32}) as site:
        assert await numbers(site, r"mcp_image_(jobs|database_up|build_info).*") == {
            "mcp_image_database_up": 0,
            next(iter(await numbers(site, "mcp_image_build_info.*"))): 1,
        }


async def test_a_job_that_is_tried_again_and_money_that_is_refused_are_counted(tmp_path: Path) -> None:
    tries = 0

    async def busy_once(request: ImageRequest, context: object) -> object:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise UnavailableError("Busy.", provider="easel", not_accepted=True, retry_after=0.01)
        return draw(request)

    money = {"MCP_PRICES": '{"easel": 0.25}', "MCP_BUDGET_DAY": "0.30"}
    async with web(tmp_path, {**ON, **money}, Easel(work=busy_once)) as site:  # type: ignore[arg-type]
        await site.call("generate_image", prompt="a cat", wait_seconds=60)
        refused = await site.call("generate_image", prompt="a dog")
        assert refused["error"]["code"] == "budget_exceeded"
        assert await numbers(site, r"mcp_image_(jobs_put_back|cost|refusals)_total.*") == {
            'mcp_image_jobs_put_back_total{provider="easel"}': 1,
            'mcp_image_cost_total{currency="USD",provider="easel",source="list_price"}': 0.25,
            'mcp_image_refusals_total{code="budget_exceeded"}': 1,
        }


async def test_calls_to_a_service_are_timed_by_what_they_are_for(tmp_path: Path) -> None:
    class Ear:
        def __init__(self) -> None:
            self.heard: list[tuple[str, dict[str, str]]] = []

        def added(self, *_: object) -> None: ...

        def observed(self, histogram: telemetry.Histogram, seconds: float, labels: dict[str, str]) -> None:
            if histogram is telemetry.UPSTREAM_SECONDS:
                assert 0 <= seconds < 30
                self.heard.append((labels["operation"], labels))

    ear = Ear()
    folders = {"MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures")}
    with FakeOpenAI() as fake, telemetry.listening(ear):  # type: ignore[arg-type]
        assert fake.key is not None
        async with open_studio({**folders, "OPENAI_API_KEY": fake.key, "OPENAI_BASE_URL": fake.base_url}) as studio:
            await studio.generate(CALLER, ImageRequest(prompt="a cat", provider="openai"), wait_seconds=60)
    assert ear.heard == [("draw", {"provider": "openai", "operation": "draw", "status": "200"})]
    telemetry.UPSTREAM_SECONDS.observe(1, provider="openai", operation="draw", status="200")
    assert len(ear.heard) == 1, "nobody listens any more"


async def test_numbers_are_for_those_who_may_look_at_everything(tmp_path: Path) -> None:
    tokens = tokens_in(tmp_path, root={"roles": ["admin"]}, prometheus={"roles": ["viewer"]}, alice={})
    async with web(tmp_path, {**ON, "MCP_TOKENS_FILE": tokens}) as site:
        assert (await site.client.get("/metrics")).status_code == 401
        statuses = {
            name: (await site.client.get("/metrics", headers={"authorization": f"Bearer {token_of(name)}"})).status_code
            for name in ("root", "prometheus", "alice")
        }
        assert statuses == {"root": 200, "prometheus": 200, "alice": 403}
        turned_away = await numbers(site, r"mcp_image_http_request_duration_seconds_count\{.*40.*", authorization=f"Bearer {token_of('root')}")
        assert turned_away == {
            'mcp_image_http_request_duration_seconds_count{method="GET",route="none",status="401"}': 1,
            'mcp_image_http_request_duration_seconds_count{method="GET",route="/metrics",status="403"}': 1,
        }


async def test_names_and_units_are_as_prometheus_wants_them() -> None:
    for measure in telemetry.MEASURES:
        assert re.fullmatch(r"mcp_image_[a-z_]+(_total|_seconds)", measure.name)
        assert measure.name.endswith("_total") == isinstance(measure, telemetry.Counter)
        assert measure.words.endswith(".")
        assert not {"principal", "prompt", "path", "job_id", "request_id"} & set(measure.labels)
    assert len({measure.name for measure in telemetry.MEASURES}) == len(telemetry.MEASURES)
