"""The web surface on a real port, with its studio and a client."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2

from mcp_image_server.identity import Token, TokenFile, hash_of
from mcp_image_server.models import Caller, ImageRequest
from mcp_image_server.studio import Studio
from mcp_image_server.surfaces.serve import web_server
from tests.conftest import studio_with
from tests.easel import Easel

CALLER = Caller()


class Web:
    """A running web server, its studio, and a client for it."""

    def __init__(self, studio: Studio, url: str, client: httpx2.AsyncClient) -> None:
        self.studio, self.url, self.client = studio, url, client

    async def draw(self, prompt: str = "a cat") -> str:
        """The file name of a new picture of this machine's user."""
        job = await self.studio.generate(CALLER, ImageRequest(prompt=prompt), wait_seconds=60)
        return job.images[0].key

    async def rpc(self, method: str, params: Mapping[str, Any], *, token: str | None = None, headers: Mapping[str, str] | None = None) -> Any:
        """The reply to one request in the protocol of 2026: its result, or its error."""
        meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
        names = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
        fields = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": method,
            **({"mcp-name": params[names[method]]} if method in names else {}),
            **({"authorization": f"Bearer {token}"} if token is not None else {}),
            **(headers or {}),
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": {**meta, **params.get("_meta", {})}}}
        answer = await self.client.post("/mcp", json=body, headers=fields, timeout=30)
        text = answer.text
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            text = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")][-1]
        reply = json.loads(text)
        return reply.get("result") or reply["error"]

    async def call(self, tool: str, *, token: str | None = None, **arguments: Any) -> Any:
        """What the tool answers: its JSON, or where it has none its text."""
        result = await self.rpc("tools/call", {"name": tool, "arguments": arguments}, token=token)
        if "content" not in result:
            return result
        text = result["content"][0]["text"]
        try:
            return json.loads(text)
        except ValueError:
            return text


class Person:
    """Somebody with a token."""

    def __init__(self, site: Web, name: str) -> None:
        self.site, self.name = site, name

    async def __call__(self, method: str, path: str, status: int, **more: Any) -> Any:
        """The answer, whose status is as expected: its JSON, or the response where it has none."""
        headers = {"authorization": f"Bearer {token_of(self.name)}", **more.pop("headers", {})}
        answer = await self.site.client.request(method, path, headers=headers, timeout=20, **more)
        assert answer.status_code == status, answer.text
        return answer.json() if "json" in answer.headers.get("content-type", "") else answer

    async def draws(self, prompt: str = "a cat") -> str:
        """The id of a new picture."""
        answer = await self("POST", "/api/v1/jobs?wait=10", 201, json={"prompt": prompt})
        return str(answer["images"][0]["id"])


@asynccontextmanager
async def web(tmp_path: Path, environment: Mapping[str, str] | None = None, easel: Easel | None = None) -> AsyncIterator[Web]:
    """A server on a free port, its folders in `tmp_path`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        folders = {"MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures")}
        async with studio_with({"easel": easel or Easel()}, {**folders, **(environment or {})}, base_url=url) as studio:
            server = web_server(studio)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: server.serve(sockets=[listener]))
                with anyio.fail_after(60):
                    while not server.started:
                        await anyio.sleep(0.01)
                async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
                    yield Web(studio, url, client)
                server.should_exit = True


def tokens_in(folder: Path, **people: Mapping[str, object]) -> str:
    """A file of tokens: each person's is their name, repeated."""
    file = TokenFile(folder / "tokens.toml")
    for name, facts in people.items():
        file.add(Token.model_validate({"name": name, "sha256": hash_of(token_of(name).encode()), **facts}))
    return str(file.path)


def token_of(name: str) -> str:
    """What that person shows."""
    return name * 3
