"""Who is calling, where the gate was gone around: nobody, and least of all the user of this machine."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette
from starlette.types import ASGIApp

from mcp_image_server.models import ImageRequest
from mcp_image_server.studio import Studio
from mcp_image_server.surfaces.http import routes
from mcp_image_server.surfaces.http.watch import naming
from mcp_image_server.surfaces.mcp import build_server
from mcp_image_server.surfaces.mcp.callers import only_through_the_gate
from tests.web import CALLER

pytestmark = pytest.mark.anyio

SECRET = "what only the user of this machine may see"

NOBODY = "Unauthorized: the request did not come through the gate."


def to(app: ASGIApp) -> httpx2.AsyncClient:
    """A client of that application, with nothing between."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost:8000")


async def drawn(studio: Studio) -> str:
    """The file of a picture of this machine's user."""
    return (await studio.generate(CALLER, ImageRequest(prompt=SECRET), wait_seconds=5)).images[0].key


async def test_a_route_without_the_gate_answers_nobody(studio: Studio) -> None:
    async with to(Starlette(routes=routes(studio))) as client:
        told = await client.get("/api/v1/images")
        drawing = await client.post("/v1/images/generations", json={"prompt": "x"})
    assert (told.status_code, told.json()["code"], told.json()["detail"]) == (401, "unauthorized", NOBODY)
    assert (drawing.status_code, drawing.json()["error"]["code"]) == (401, "invalid_api_key")
    assert await studio.jobs(CALLER) == []


async def test_the_application_behind_the_gate_lets_nothing_in_by_itself(studio: Studio) -> None:
    file = await drawn(studio)
    async with to(naming(Starlette(routes=routes(studio)))) as client:
        for path in ("/", f"/images/{file}", "/api/v1/images", "/v1/models", "/mcp", "/nothing"):
            answer = await client.get(path)
            assert (answer.status_code, SECRET in answer.text) == (401, False), path


@pytest.mark.parametrize("guarded", [True, False])
async def test_mcp_over_http_without_the_gate_answers_nobody(studio: Studio, guarded: bool) -> None:
    await drawn(studio)
    server = build_server(studio)
    if guarded:
        server.middleware.insert(0, only_through_the_gate)
    app = server.streamable_http_app(stateless_http=True, json_response=True)
    async with server.session_manager.run(), to(app) as client:
        for method, params in CALLS.items():
            meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
            headers = {
                "accept": "application/json, text/event-stream",
                "mcp-protocol-version": "2026-07-28",
                "mcp-method": method,
                "mcp-name": str(params.get("name", params.get("uri"))),
            }
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
            told = await client.post("/mcp", json=body, headers=headers)
            assert told.json()["error"] == {"code": -32001, "message": NOBODY}, method


CALLS: dict[str, dict[str, Any]] = {
    "tools/call": {"name": "search_images", "arguments": {"query": ""}},
    "resources/read": {"uri": "image://0123456789abcdef-1"},
}


async def test_a_server_over_http_takes_what_did_not_come_over_http_for_nobodys(studio: Studio) -> None:
    server = build_server(studio)
    server.middleware.insert(0, only_through_the_gate)
    with pytest.RaisesGroup(pytest.RaisesExc(MCPError, match=NOBODY), flatten_subgroups=True, allow_unwrapped=True):
        async with Client(server) as client:
            await client.call_tool("search_images", {"query": ""})
