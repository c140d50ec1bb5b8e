"""Other people's clients speak with the server, over a pipe and over a port: the TypeScript SDK in both its lines, and the Inspector.

`make conformance` installs them and runs this.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.transports.server_process import COMMAND, environment, on_a_port

from . import node

pytestmark = [pytest.mark.foreign, pytest.mark.skipif(not node.available(), reason="needs Node; `make conformance` installs it")]

HERE = Path(__file__).parent
CORE = ["generate_image", "edit_image", "get_job", "cancel_job", "list_models", "search_images", "get_image_data", "reload_config"]
REST = {"transform_image", "generate_batch", "manage_images"}

Transport = Literal["stdio", "http"]
both_transports = pytest.mark.parametrize("transport", ["stdio", "http"])


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with on_a_port(tmp_path_factory.mktemp("port")) as address:
        yield address


def place(transport: Transport, url: str, folder: Path) -> str:
    """Where the server is, for a script."""
    if transport == "http":
        return json.dumps({"url": f"{url}/mcp"})
    return json.dumps({"command": COMMAND[0], "args": COMMAND[1:], "cwd": str(folder), "env": environment(folder)})


def check(said: dict[str, Any], version: str | None) -> None:
    """The conversation of the scripts came out as it should."""
    assert said["version"] == version
    assert said["tools"] == CORE
    assert "image_generation_prompt" in said["prompts"]
    assert said["progress"] == sorted(set(said["progress"]))
    assert said["progress"]
    assert said["blocks"] == ["text", "image", "resource_link"]
    (image,) = said["body"]["images"]
    assert (said["body"]["ok"], image["width"], image["height"], image["seed"]) == (True, 128, 96, 7)
    assert said["resource"] == {"type": "image/png", "bytes": image["size_bytes"]}
    assert said["wrong"]["isError"] is True
    assert said["wrong"]["body"]["error"]["code"] == "invalid_arguments"


@both_transports
def test_the_first_line_of_the_typescript_sdk_draws_and_reads(transport: Transport, url: str, tmp_path: Path) -> None:
    said = node.module(HERE / "sdk1.mjs", place(transport, url, tmp_path))
    check(said, "2025-11-25" if transport == "http" else None)  # over a pipe it does not tell


@both_transports
@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
def test_the_second_line_of_the_typescript_sdk_draws_and_reads(transport: Transport, mode: str, version: str, url: str, tmp_path: Path) -> None:
    check(node.module(HERE / "sdk2.mjs", place(transport, url, tmp_path), mode), version)


def inspect(transport: Transport, url: str, folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """What the Inspector says in its command line."""
    launcher = node.script("@modelcontextprotocol/inspector", "clients/launcher/build/index.js")
    server = [f"{url}/mcp", "--transport", "http"] if transport == "http" else COMMAND
    wanted = [part for name, value in environment(folder, **settings).items() for part in ("-e", f"{name}={value}")] if transport == "stdio" else []
    command = [*launcher, "--cli", *wanted, *server, *arguments, "--format", "json"]
    return subprocess.run(command, cwd=folder, env=node.environment(), capture_output=True, text=True, timeout=120, check=False)


@both_transports
@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize(("toolset", "names"), [("core", set(CORE)), ("full", {*CORE, *REST})])
def test_the_inspector_finds_nothing_wrong_with_any_tool(transport: Transport, era: str, toolset: str, names: set[str], tmp_path: Path) -> None:
    def look(url: str, **settings: str) -> None:
        done = inspect(transport, url, tmp_path, "--method", "tools/list", "--strict", "--protocol-era", era, **settings)
        assert (done.returncode, done.stderr) == (0, "")
        assert {tool["name"] for tool in json.loads(done.stdout)["result"]["tools"]} == names

    if transport == "http":
        with on_a_port(tmp_path / "server", MCP_TOOLSET=toolset) as url:
            look(url)
    else:
        look("", MCP_TOOLSET=toolset)


@both_transports
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_draws_and_reads(transport: Transport, era: str, url: str, tmp_path: Path) -> None:
    eras = ("--protocol-era", era)
    wish = ("--tool-name", "generate_image", "--tool-arg", "prompt=a red fox", "resolution=128x96", "seed=7")
    drawn = inspect(transport, url, tmp_path, "--method", "tools/call", *wish, *eras)
    assert drawn.returncode == 0, drawn.stderr
    answer = json.loads(drawn.stdout)["result"]
    (image,) = answer["structuredContent"]["images"]
    assert [block["type"] for block in answer["content"]] == ["text", "image", "resource_link"]
    read = inspect(transport, url, tmp_path, "--method", "resources/read", "--uri", image["uri"], *eras)
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout)["result"]["contents"][0]["mimeType"] == "image/png"
