"""The same conversation over a pipe and over a port, in every protocol version, ends in the same pixels."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters, types
from mcp.client import session as client_session
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, KNOWN_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from .server_process import COMMAND, Piped, answer_of, environment, initialize, on_a_port

pytestmark = pytest.mark.anyio

WISH = {"prompt": "a red fox in the snow", "seed": 42, "resolution": "256x192"}


def pixels(path: str) -> str:
    from PIL import Image

    with Image.open(path) as image:
        assert image.size == (256, 192)
        return hashlib.sha256(image.convert("RGBA").tobytes()).hexdigest()


async def talk(client: Client) -> str:
    """Lists, draws, reads back; what was drawn."""
    tools = [tool.name for tool in (await client.list_tools()).tools]
    assert tools[0] == "generate_image"
    assert [str(resource.uri) for resource in (await client.list_resources()).resources]
    heard: list[float] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        heard.append(progress)

    result = await client.call_tool("generate_image", WISH, progress_callback=listen)
    first = result.content[0]
    assert isinstance(first, types.TextContent)
    (image,) = json.loads(first.text)["images"]
    assert heard == sorted(set(heard))
    resource = (await client.read_resource(image["uri"])).contents[0]
    assert isinstance(resource, types.BlobResourceContents)
    return pixels(image["local_path"])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the wish looks like, drawn by a raw conversation in the oldest version."""
    with Piped(tmp_path_factory.mktemp("drawn")) as server:
        server.handshake("2024-11-05")
        return pixels(server.call(1, "generate_image", **WISH)["images"][0]["local_path"])


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with on_a_port(tmp_path_factory.mktemp("port")) as address:
        yield address


@pytest.fixture
def spoken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client's mode for that version; an older handshake is offered by moving the SDK's newest."""
    version = request.param
    if version in MODERN_PROTOCOL_VERSIONS:
        return version, version
    monkeypatch.setattr(client_session, "LATEST_HANDSHAKE_VERSION", version)
    return version, "legacy"


@pytest.mark.parametrize("spoken", KNOWN_PROTOCOL_VERSIONS, indirect=True)
async def test_the_official_client_over_stdio(spoken: tuple[str, Any], drawn: str, tmp_path: Path) -> None:
    version, mode = spoken
    settings = environment(tmp_path, MCP_AUDIT_FILE=str(tmp_path / "audit.jsonl"))
    server = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=settings, cwd=tmp_path)
    with anyio.fail_after(60):
        async with Client(server, mode=mode) as client:
            assert client.protocol_version == version
            assert await talk(client) == drawn
    assert '"event": "job.submitted"' in (tmp_path / "audit.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", ["/mcp", "/mcp/v1/messages"])
@pytest.mark.parametrize("spoken", KNOWN_PROTOCOL_VERSIONS, indirect=True)
async def test_the_official_client_over_http(spoken: tuple[str, Any], path: str, drawn: str, url: str) -> None:
    version, mode = spoken
    with anyio.fail_after(60):
        async with Client(url + path, mode=mode) as client:
            assert client.protocol_version == version
            assert await talk(client) == drawn


@pytest.mark.parametrize("version", HANDSHAKE_PROTOCOL_VERSIONS)
def test_a_conversation_piped_in_is_answered_to_the_end(version: str, drawn: str, tmp_path: Path) -> None:
    lines = [
        initialize(version),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "generate_image", "arguments": WISH}},
    ]
    talk = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run(COMMAND, input=talk.encode(), capture_output=True, cwd=tmp_path, env=environment(tmp_path), timeout=60, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    replies = {reply.get("id"): reply for reply in map(json.loads, done.stdout.splitlines())}
    assert replies["init"]["result"]["protocolVersion"] == version
    assert replies[1]["result"] == {}
    assert len(replies[2]["result"]["tools"]) == 8
    assert pixels(answer_of(replies[3])["images"][0]["local_path"]) == drawn


def test_a_modern_conversation_piped_in_needs_no_handshake(drawn: str, tmp_path: Path) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    line = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "generate_image", "arguments": WISH, "_meta": meta}}
    done = subprocess.run(
        COMMAND, input=json.dumps(line).encode() + b"\n", capture_output=True, cwd=tmp_path, env=environment(tmp_path), timeout=60, check=False
    )
    (reply,) = [json.loads(text) for text in done.stdout.splitlines()]
    assert reply["result"]["resultType"] == "complete"
    assert pixels(answer_of(reply)["images"][0]["local_path"]) == drawn


def test_lines_that_are_no_messages_do_not_end_the_conversation(tmp_path: Path) -> None:
    with Piped(tmp_path) as server:
        server.handshake()
        assert server.process.stdin is not None
        server.process.stdin.write(b"hello\n{\n[]\n\xff\xfe\n")
        server.send({"id": 9, "method": "ping"})
        assert server.receive(9)["result"] == {}
        assert server.close()[0] == 0


async def test_thirty_two_at_once_over_http_each_get_their_own(url: str) -> None:
    answers: list[dict[str, Any]] = []
    async with httpx2.AsyncClient(trust_env=False), Client(url + "/mcp") as client, anyio.create_task_group() as tasks:

        async def one(number: int) -> None:
            result = await client.call_tool("generate_image", {"prompt": f"{number} balloons", "resolution": "64x64", "wait_seconds": 120})
            first = result.content[0]
            assert isinstance(first, types.TextContent)
            answers.append(json.loads(first.text))

        for number in range(32):
            tasks.start_soon(one, number)
    assert all(answer["ok"] for answer in answers)
    assert len({answer["images"][0]["id"] for answer in answers}) == 32
    assert len({answer["images"][0]["local_path"] for answer in answers}) == 32


def test_the_script_in_a_checkout_is_the_same_command() -> None:
    script = Path(__file__).parents[2] / "mcp-server"
    done = subprocess.run([sys.executable, str(script), "--version"], capture_output=True, text=True, check=True)
    from mcp_image_server import __version__

    assert done.stdout.strip() == __version__
