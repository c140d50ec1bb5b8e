"""What goes over the wire, raw: no event that clients refuse, and nothing that is null in the lists they read first."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS

from mcp_image_server.models import Drawn, Generated, ImageRequest, Size
from mcp_image_server.providers import Context
from tests.easel import Easel, png_of
from tests.transports.server_process import initialize
from tests.web import web

pytestmark = pytest.mark.anyio

MEBIBYTE = 1 << 20

both_eras = pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])


class Wire:
    """A client of that version that sees what is sent."""

    def __init__(self, client: httpx2.AsyncClient, version: str) -> None:
        self._client = client
        self._modern = version >= "2026-07-28"
        self._headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": version}
        self._meta = {"io.modelcontextprotocol/protocolVersion": version, "io.modelcontextprotocol/clientCapabilities": {}}
        self._version = version

    async def greet(self) -> dict[str, Any]:
        """What the server says of itself."""
        if self._modern:
            return await self.ask("server/discover")
        reply = await self._client.post("/mcp", json=initialize(self._version), headers=self._headers)
        self._headers["mcp-session-id"] = reply.headers["mcp-session-id"]
        await self._client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=self._headers)
        return self._reply(reply, "init")

    async def ask(self, method: str, name: str = "", /, **params: Any) -> dict[str, Any]:
        """The reply, after the size of everything that came was looked at."""
        meta = {**(self._meta if self._modern else {}), "progressToken": "p"}
        message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, "_meta": meta}}
        reply = await self._client.post("/mcp", json=message, headers={**self._headers, "mcp-method": method, "mcp-name": name}, timeout=30)
        return self._reply(reply, 7)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The JSON in the first block of a tool's answer."""
        result = (await self.ask("tools/call", tool, name=tool, arguments=arguments))["result"]
        answer = json.loads(result["content"][0]["text"])
        assert isinstance(answer, dict)
        return answer

    def _reply(self, reply: httpx2.Response, identity: int | str) -> dict[str, Any]:
        events = reply.content.replace(b"\r\n", b"\n").split(b"\n\n")
        assert max(map(len, events)) < MEBIBYTE
        lines = [line.removeprefix(b"data:").strip() for event in events for line in event.split(b"\n") if line.startswith((b"data:", b"{"))]
        (found,) = [message for message in map(json.loads, filter(None, lines)) if message.get("id") == identity]
        assert isinstance(found, dict)
        return found


@asynccontextmanager
async def wired(tmp_path: Path, version: str, easel: Easel | None = None, **settings: str) -> AsyncIterator[Wire]:
    async with web(tmp_path, settings, easel) as site:
        wire = Wire(site.client, version)
        await wire.greet()
        yield wire


async def noise(request: ImageRequest, context: Context) -> Generated:
    size = Size(width=600, height=400)
    pixels = random.Random(1).randbytes(3 * size.pixels)
    return Generated(images=tuple(Drawn(data=png_of(size, pixels)) for _ in range(request.count)))


@both_eras
async def test_large_pictures_never_make_an_event_that_clients_refuse(tmp_path: Path, version: str) -> None:
    largest = json.dumps({"*": {"previews": 10, "preview_edge": 2048, "preview_bytes": 400_000, "structured": True}})
    async with wired(tmp_path, version, Easel(work=noise), MCP_CLIENTS=largest) as wire:
        drawn = await wire.call("generate_image", prompt="x" * 32_000, n=4)
        image = drawn["images"][0]
        assert image["size_bytes"] > 700_000
        refused = await wire.call("get_image_data", image_id=image["id"])
        assert refused["error"]["code"] == "payload_too_large"
        assert image["url"] in refused["error"]["message"]
        read = await wire.ask("resources/read", image["uri"], uri=image["uri"])
        assert image["url"] in read["error"]["message"]


@both_eras
async def test_an_answer_too_large_for_an_event_says_so_and_a_smaller_one_comes(tmp_path: Path, version: str) -> None:
    structured = json.dumps({"*": {"structured": True}})
    async with wired(tmp_path, version, MCP_CLIENTS=structured) as wire:
        for _ in range(2):
            await wire.call("generate_image", prompt="x" * 32_000, n=10, fresh=True)
        refused = await wire.ask("tools/call", "search_images", name="search_images", arguments={})
        assert refused["result"]["structuredContent"]["error"]["code"] == "payload_too_large"
        assert refused["result"]["isError"] is True
        assert ("resultType" in refused["result"]) == (version == "2026-07-28")
        assert len((await wire.call("search_images", limit=10))["images"]) == 10
        unknown = await wire.ask("prompts/get", "x", name="x" * 1_500_000)
        assert unknown["error"]["code"] == -32602 or version == "2026-07-28"  # there the header names another


LISTS = ("tools/list", "resources/list", "resources/templates/list", "prompts/list")


@pytest.mark.parametrize("version", KNOWN_PROTOCOL_VERSIONS)
async def test_nothing_in_the_lists_is_null(tmp_path: Path, version: str) -> None:
    """Strict clients refuse a list in which an absent title, description or annotation is null."""
    async with web(tmp_path, {"MCP_TOOLSET": "full"}) as site:
        wire = Wire(site.client, version)
        told = {"greeting": (await wire.greet())["result"]}
        for method in LISTS:
            told[method] = (await wire.ask(method))["result"]
    assert [path for name, value in told.items() for path in nulls(value, name)] == []
    assert all(told[method][key] for method, key in zip(LISTS, ("tools", "resources", "resourceTemplates", "prompts"), strict=True))


def nulls(value: Any, path: str) -> list[str]:
    """Where in the JSON a null stands."""
    if value is None:
        return [path]
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in nulls(inner, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for index, inner in enumerate(value) for found in nulls(inner, f"{path}[{index}]")]
    return []


# ---------------------------------------------------------------------- programs that know nothing of events


@both_eras
@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/*;q=0.9, text/html"])
async def test_who_names_no_event_stream_gets_one_json_object(tmp_path: Path, version: str, accept: str | None) -> None:
    async with web(tmp_path) as site:
        wire = Wire(site.client, version)
        with_events = await wire.greet()
        wire._headers["accept"] = accept or ""
        if accept is None:
            del wire._headers["accept"], site.client.headers["accept"]
        meta = {"_meta": wire._meta} if wire._modern else {}
        for method, name, params in (
            ("tools/list", "", {}),
            ("tools/call", "generate_image", {"name": "generate_image", "arguments": {"prompt": "a cat"}}),
        ):
            message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, **meta}}
            reply = await site.client.post("/mcp", json=message, headers={**wire._headers, "mcp-method": method, "mcp-name": name}, timeout=30)
            assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
            assert int(reply.headers["content-length"]) == len(reply.content)
            assert reply.json()["id"] == 7
        assert json.loads(reply.json()["result"]["content"][0]["text"])["ok"] is True
        if not wire._modern:
            headers = {"accept": accept} if accept else {}
            again = await site.client.post("/mcp/v1/messages", json=initialize(version), headers=headers)
            assert again.json()["result"] == with_events["result"]
            assert again.headers["mcp-session-id"]


@pytest.mark.parametrize(("accept", "status"), [("text/event-stream", 406), ("image/png", 406), ("application/json, text/event-stream", 200)])
async def test_what_nobody_can_answer_is_not_acceptable(tmp_path: Path, accept: str, status: int) -> None:
    async with web(tmp_path) as site:
        assert (await site.client.post("/mcp", json=initialize("2025-11-25"), headers={"accept": accept})).status_code == status


@pytest.mark.parametrize("message", [[], "words", {"id": 1, "method": "ping"}, {"jsonrpc": "2.0"}, [{"jsonrpc": "2.0", "id": 1, "method": "ping"}]])
@pytest.mark.parametrize("accept", ["*/*", "application/json, text/event-stream"])
async def test_what_is_no_message_is_refused_in_a_sentence(tmp_path: Path, message: Any, accept: str) -> None:
    async with web(tmp_path) as site:
        reply = await site.client.post("/mcp", json=message, headers={"accept": accept})
    assert reply.status_code == 400
    refusal = reply.json()
    assert (refusal["jsonrpc"], refusal["id"], refusal["error"]["code"]) == ("2.0", None, -32600)
    assert refusal["error"]["message"].startswith("Invalid Request: the message must be one JSON object")


async def test_without_sessions_there_is_no_stream_to_wait_at(tmp_path: Path) -> None:
    async with web(tmp_path, {"MCP_ENABLE_SESSIONS": "false"}) as site:
        reply = await site.client.get("/mcp", headers={"accept": "text/event-stream"})
        assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        assert len((await site.client.post("/mcp", json=message)).json()["result"]["tools"]) >= 5


async def test_who_listens_to_news_gets_them_as_they_come(tmp_path: Path) -> None:
    async with web(tmp_path) as site:
        wire = Wire(site.client, "2026-07-28")
        message = {
            "jsonrpc": "2.0",
            "id": 7,
            "method": "subscriptions/listen",
            "params": {"notifications": {"toolsListChanged": True}, "_meta": wire._meta},
        }
        headers = {**wire._headers, "accept": "application/json", "mcp-method": "subscriptions/listen"}
        assert (await site.client.post("/mcp", json=message, headers=headers)).status_code == 406
