"""Each client is answered in the form that it shows: structured content with its schema or neither, previews, links, and how long it waits."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from contextlib import AsyncExitStack
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import anyio
import jsonschema
import pytest
from mcp import Client, StdioServerParameters, types
from mcp.client import session as client_session
from pydantic import ConfigDict

from mcp_image_server.errors import RefusedError
from mcp_image_server.models import Generated, ImageRequest
from mcp_image_server.providers import Context
from mcp_image_server.studio import Studio
from mcp_image_server.surfaces.mcp import build_server
from mcp_image_server.surfaces.mcp.modelscope import ModelScopeVoice
from tests.conftest import studio_with
from tests.easel import Easel, Gate
from tests.surfaces.test_mcp import body
from tests.transports.server_process import COMMAND, environment
from tests.web import web

pytestmark = pytest.mark.anyio

both_eras = pytest.mark.parametrize("mode", ["legacy", "auto"])
Mode = Literal["legacy", "auto"]

STRUCTURED = {"generate_image", "edit_image", "get_job", "cancel_job", "list_models", "search_images"}


def named(name: str, version: str = "1.0.0") -> types.Implementation:
    return types.Implementation(name=name, version=version)


INSPECTOR = named("mcp-inspector", "2.12.0")


async def schemas(client: Client) -> dict[str, Any]:
    """The tools that promise structured content, and what they promise."""
    return {tool.name: tool.output_schema for tool in (await client.list_tools()).tools if tool.output_schema is not None}


async def every_answer(client: Client) -> list[types.CallToolResult]:
    """One of each kind, good and refused. The client itself raises where one breaks the promise of the tool's schema."""
    calls: list[tuple[str, Mapping[str, Any]]] = [
        ("generate_image", {"prompt": "a cat", "seed": 1, "style": "ink", "resolution": "100x100"}),
        ("generate_image", {"prompt": ""}),
        ("generate_image", {"nonsense": 1}),
        ("generate_image", {"prompt": "x", "n": 99}),
        ("get_job", {"job_id": "nope"}),
        ("cancel_job", {"job_id": "nope"}),
        ("list_models", {}),
        ("list_models", {"provider": "nope"}),
        ("search_images", {}),
    ]
    return [await client.call_tool(name, dict(arguments)) for name, arguments in calls]


def check_structured(answers: list[types.CallToolResult]) -> None:
    assert [answer.is_error for answer in answers] == [False, True, True, True, True, True, False, True, False]
    for answer in answers:
        assert answer.structured_content == body(answer)


@both_eras
async def test_who_reads_structured_content_gets_it_with_its_schema(studio: Studio, mode: Mode) -> None:
    async with Client(build_server(studio), mode=mode, client_info=INSPECTOR) as client:
        promised = await schemas(client)
        assert promised.keys() == STRUCTURED
        check_structured(await every_answer(client))
        image = body(await client.call_tool("search_images", {}))["images"][0]["id"]
        data = await client.call_tool("get_image_data", {"image_id": image})
        assert (data.is_error, data.structured_content) == (False, None)


@both_eras
@pytest.mark.parametrize("name", ["mcp", "claude-code", "codex-mcp-client", "opencode", "Anthropic/ClaudeAI"])
async def test_the_others_get_neither(studio: Studio, mode: Mode, name: str) -> None:
    async with Client(build_server(studio), mode=mode, client_info=named(name)) as client:
        assert await schemas(client) == {}
        assert [answer.structured_content for answer in await every_answer(client)] == [None] * 9


@both_eras
async def test_the_same_over_http(tmp_path: Path, mode: Mode) -> None:
    async with web(tmp_path) as site:
        async with Client(site.url + "/mcp", mode=mode, client_info=INSPECTOR) as client:
            assert (await schemas(client)).keys() == STRUCTURED
            check_structured(await every_answer(client))
        async with Client(site.url + "/mcp", mode=mode, client_info=named("claude-code")) as client:
            assert await schemas(client) == {}
            assert [answer.structured_content for answer in await every_answer(client)] == [None] * 9


@both_eras
async def test_the_same_over_stdio(tmp_path: Path, mode: Mode) -> None:
    server = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=environment(tmp_path), cwd=tmp_path)
    with anyio.fail_after(60):
        async with Client(server, mode=mode, client_info=INSPECTOR) as client:
            assert (await schemas(client)).keys() == STRUCTURED
            listed = await client.call_tool("list_models", {})
            assert listed.structured_content == body(listed)


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26"])
async def test_older_protocols_know_neither_structured_content_nor_links(studio: Studio, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_session, "LATEST_HANDSHAKE_VERSION", version)
    async with Client(build_server(studio), mode="legacy", client_info=INSPECTOR) as client:
        assert client.protocol_version == version
        assert await schemas(client) == {}
        answer = await client.call_tool("generate_image", {"prompt": "a cat"})
    assert answer.structured_content is None
    assert [block.type for block in answer.content] == ["text", "image"]


async def test_a_job_that_fails_or_runs_keeps_the_promise_too(studio: Studio, easel: Easel) -> None:
    async def refuse(request: ImageRequest, context: Context) -> Generated:
        raise RefusedError("Blocked. Change the prompt.", provider="easel")

    async with Client(build_server(studio), client_info=INSPECTOR) as client:
        schema = (await schemas(client))["generate_image"]
        easel.work = refuse
        failed = await client.call_tool("generate_image", {"prompt": "a cat"})
        easel.work = Gate()
        running = await client.call_tool("generate_image", {"prompt": "a cat", "wait_seconds": 0})
        cancelled = await client.call_tool("cancel_job", {"job_id": body(running)["job"]["id"]})
    for answer, is_error in ((failed, True), (running, False), (cancelled, False)):
        assert answer.is_error == is_error
        assert answer.structured_content == body(answer)
        jsonschema.validate(answer.structured_content, schema)


async def test_a_voice_that_speaks_in_sentences_promises_no_json(studio: Studio) -> None:
    async with Client(build_server(studio, ModelScopeVoice()), client_info=INSPECTOR) as client:
        assert await schemas(client) == {}
        assert (await client.call_tool("list_models", {})).structured_content is None


class Listed(types.Result):
    """A list as it came over the wire."""

    model_config = ConfigDict(extra="allow")


@both_eras
async def test_lists_are_private_and_hold_no_nulls(studio: Studio, mode: Mode) -> None:
    """Clients over the TypeScript SDK refuse a whole list for one null."""
    for client_info in (INSPECTOR, named("mcp")):
        async with Client(build_server(studio), mode=mode, client_info=client_info) as client:
            for kind in ("tools", "prompts", "resources", "resources/templates"):
                request = types.Request[dict[str, Any], str](method=f"{kind}/list", params={})
                listed = (await client.session.send_request(request, Listed)).model_extra or {}
                entries = listed[{"resources/templates": "resourceTemplates"}.get(kind, kind)]
                assert entries
                assert [name for entry in entries for name, value in {**entry, **entry.get("annotations", {})}.items() if value is None] == []
                if kind == "tools" and mode == "auto":
                    assert (listed["ttlMs"], listed["cacheScope"]) == (300_000, "private")


# ---------------------------------------------------------------------- previews and links


def blocks(answer: types.CallToolResult) -> list[str]:
    return [block.type for block in answer.content]


def link(answer: types.CallToolResult) -> str:
    last = answer.content[-1]
    assert isinstance(last, types.ResourceLink)
    return last.uri


async def drawn_for(client_info: types.Implementation, studio: Studio, **wish: Any) -> types.CallToolResult:
    async with Client(build_server(studio), client_info=client_info) as client:
        return await client.call_tool("generate_image", {"prompt": "a cat", **wish})


async def test_links_lead_where_the_client_can_follow(studio: Studio, easel: Easel, tmp_path: Path) -> None:
    (image,) = body(answer := await drawn_for(named("claude-code"), studio))["images"]
    assert link(answer) == image["uri"]
    (image,) = body(answer := await drawn_for(named("codex-mcp-client"), studio))["images"]
    assert link(answer) == Path(image["local_path"]).as_uri()
    (image,) = body(answer := await drawn_for(named("openai-mcp"), studio))["images"]
    assert link(answer) == Path(image["local_path"]).as_uri()
    async with web(tmp_path / "web") as site:
        for name in ("openai-mcp", "codex-mcp-client"):
            async with Client(site.url + "/mcp", client_info=named(name)) as client:
                answer = await client.call_tool("generate_image", {"prompt": "a cat"})
                assert link(answer) == body(answer)["images"][0]["url"]
                assert link(answer).startswith(f"{site.url}/images/")


async def test_a_client_that_reads_base64_aloud_is_shown_no_preview(studio: Studio) -> None:
    assert blocks(await drawn_for(named("Cherry Studio"), studio, n=2)) == ["text", "resource_link", "resource_link"]
    assert blocks(await drawn_for(named("mcp"), studio, n=2)) == ["text", "image", "image", "resource_link", "resource_link"]


@pytest.mark.parametrize(("edge", "width"), [(64, 64), (512, 512), (1000, 1000)])
async def test_previews_are_as_many_and_as_large_as_the_operator_says(easel: Easel, tmp_path: Path, edge: int, width: int) -> None:
    from PIL import Image

    changes = {"mcp": {"previews": 1, "preview_edge": edge, "preview_bytes": 90_000, "structured": True}}
    settings = {"MCP_CLIENTS": json.dumps(changes), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "p"), "MCP_DATA_DIR": str(tmp_path / "d")}
    async with studio_with({"easel": easel}, settings) as studio:
        answer = await drawn_for(named("mcp"), studio, n=2, resolution="1600x800")
    assert blocks(answer) == ["text", "image", "resource_link", "resource_link"]
    assert answer.structured_content == body(answer)
    preview = answer.content[1]
    assert isinstance(preview, types.ImageContent)
    data = b64decode(preview.data)
    assert len(data) <= 90_000
    with Image.open(BytesIO(data)) as picture:
        assert picture.size == (width, width // 2)


# ---------------------------------------------------------------------- waiting


async def test_a_call_waits_as_long_as_suits_the_client_unless_it_says_how_long(easel: Easel, tmp_path: Path) -> None:
    easel.work = gate = Gate()
    settings = {
        "MCP_CLIENTS": '{"hasty": {"wait_seconds": 0}}',
        "MCP_WAIT_SECONDS": "3600",
        "MCP_IMAGE_SAVE_DIR": str(tmp_path / "p"),
        "MCP_DATA_DIR": str(tmp_path / "d"),
    }
    async with AsyncExitStack() as stack:
        studio = await stack.enter_async_context(studio_with({"easel": easel}, settings))
        hasty = await stack.enter_async_context(Client(build_server(studio), client_info=named("hasty")))
        with anyio.fail_after(60):
            job = body(await hasty.call_tool("generate_image", {"prompt": "a cat"}))["job"]
            assert body(await hasty.call_tool("get_job", {"job_id": job["id"]}))["job"]["state"] in ("queued", "running")

            async def open_the_gate() -> None:
                await easel.started.wait()
                gate.opened.set()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(open_the_gate)
                assert len(body(await hasty.call_tool("get_job", {"job_id": job["id"], "wait_seconds": 60}))["images"]) == 1
