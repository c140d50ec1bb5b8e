"""A client configuration of `mcp-image-server` 0.2.0, unchanged but for where the command comes from, with clients of every protocol version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters, types
from mcp.client import session as client_session
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from tests.fakes.openai import FakeOpenAI
from tests.transports.server_process import COMMAND, environment, on_a_port

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


def theirs(fake: FakeOpenAI, transport: str) -> dict[str, str]:
    """The variables that their documentation names."""
    return {
        "MCP_TRANSPORT": transport,
        "OPENAI_API_KEY": fake.key or "",
        "OPENAI_BASE_URL": fake.base_url,
        "OPENAI_MODEL": "gpt-image-1.5",
        "MCP_DEFAULT_PROVIDER": "openai",
    }


@pytest.fixture(scope="module")
def url(fake: FakeOpenAI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with on_a_port(tmp_path_factory.mktemp("swap"), **theirs(fake, "http")) as address:
        yield address


@pytest.fixture(params=KNOWN_PROTOCOL_VERSIONS)
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """How the official client is told to speak that version; an older handshake is offered by moving its newest."""
    if request.param in MODERN_PROTOCOL_VERSIONS:
        return request.param
    monkeypatch.setattr(client_session, "LATEST_HANDSHAKE_VERSION", request.param)
    return "legacy"


async def use(client: Client) -> None:
    """What their users do: look at the lists, draw, fetch the bytes."""
    assert {"generate_image", "get_image_data", "reload_config"} <= {tool.name for tool in (await client.list_tools()).tools}
    listed = (await client.read_resource("providers://list")).contents[0]
    assert isinstance(listed, types.TextResourceContents)
    assert "openai" in json.loads(listed.text)
    wish = {"prompt": "一只猫", "style": "openai:watercolor", "resolution": "openai:1024x1024", "output_format": "png", "file_prefix": "猫"}
    drawn = await client.call_tool("generate_image", wish)
    first = drawn.content[0]
    assert isinstance(first, types.TextContent)
    (image,) = json.loads(first.text)["images"]
    assert Path(image["local_path"]).name.startswith("猫_openai_")
    fetched = await client.call_tool("get_image_data", {"image_id": image["id"]})
    assert not drawn.is_error
    assert not fetched.is_error


async def test_over_stdio(fake: FakeOpenAI, mode: Any, tmp_path: Path) -> None:
    server = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=environment(tmp_path, **theirs(fake, "stdio")), cwd=tmp_path)
    with anyio.fail_after(60):
        async with Client(server, mode=mode) as client:
            await use(client)


async def test_over_http(mode: Any, url: str) -> None:
    with anyio.fail_after(60):
        async with Client(f"{url}/mcp/v1/messages", mode=mode) as client:
            await use(client)
