"""What a start loads, and what it says when it cannot be."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .server_process import COMMAND, Piped, environment

EMPTY_SERVER = """
import anyio
from mcp.server import MCPServer
server = MCPServer("empty")
@server.tool(description="does nothing")
async def nothing() -> str: return ""
anyio.run(server.run_stdio_async)
"""

OURS = {
    "mcp_image_server",
    "mcp_image_server.__main__",
    "mcp_image_server.audit",
    "mcp_image_server.errors",
    "mcp_image_server.fields",
    "mcp_image_server.gallery",
    "mcp_image_server.guard",
    "mcp_image_server.models",
    "mcp_image_server.models.callers",
    "mcp_image_server.models.catalogue",
    "mcp_image_server.models.images",
    "mcp_image_server.models.jobs",
    "mcp_image_server.models.requests",
    "mcp_image_server.negotiate",
    "mcp_image_server.net",
    "mcp_image_server.net.door",
    "mcp_image_server.net.downloads",
    "mcp_image_server.net.events",
    "mcp_image_server.net.failures",
    "mcp_image_server.net.reply",
    "mcp_image_server.net.service",
    "mcp_image_server.net.tries",
    "mcp_image_server.net.client",
    "mcp_image_server.net.watching",
    "mcp_image_server.policy",
    "mcp_image_server.asking",
    "mcp_image_server.configuration",
    "mcp_image_server.inputs",
    "mcp_image_server.payment",
    "mcp_image_server.planning",
    "mcp_image_server.policy.breaker",
    "mcp_image_server.policy.budget",
    "mcp_image_server.policy.clients",
    "mcp_image_server.policy.links",
    "mcp_image_server.policy.ranking",
    "mcp_image_server.policy.routing",
    "mcp_image_server.providers",
    "mcp_image_server.providers.base",
    "mcp_image_server.providers.installed",
    "mcp_image_server.providers.doubao",
    "mcp_image_server.providers.hunyuan",
    "mcp_image_server.providers.hunyuan.models",
    "mcp_image_server.providers.hunyuan.sign",
    "mcp_image_server.providers.modelscope",
    "mcp_image_server.providers.openai",
    "mcp_image_server.providers.sketch",
    "mcp_image_server.providers.sketch.looks",
    "mcp_image_server.redaction",
    "mcp_image_server.settings",
    "mcp_image_server.studio",
    "mcp_image_server.surfaces",
    "mcp_image_server.surfaces.facts",
    "mcp_image_server.surfaces.facts.batches",
    "mcp_image_server.surfaces.facts.catalogues",
    "mcp_image_server.surfaces.facts.images",
    "mcp_image_server.surfaces.facts.jobs",
    "mcp_image_server.surfaces.facts.present",
    "mcp_image_server.surfaces.logs",
    "mcp_image_server.surfaces.mcp",
    "mcp_image_server.surfaces.mcp.answers",
    "mcp_image_server.surfaces.mcp.callers",
    "mcp_image_server.surfaces.mcp.calls",
    "mcp_image_server.surfaces.mcp.reference",
    "mcp_image_server.surfaces.mcp.schemas",
    "mcp_image_server.surfaces.mcp.tasks",
    "mcp_image_server.surfaces.mcp.tools",
    "mcp_image_server.surfaces.serve",
    "mcp_image_server.surfaces.tracing",
    "mcp_image_server.telemetry",
    "mcp_image_server.workshop",
}
"""Everything of ours that may be loaded when the tools are listed. A longer list is a slower start: see `make bench` before adding to it."""

BORROWED = {"dotenv", "argparse", "platformdirs"}
"""Third-party packages and such that an empty server does not load, and ours may."""


def loaded_when_tools_are_listed(command: list[str], folder: Path) -> set[str]:
    with Piped(folder, command) as server:
        server.handshake()
        server.send({"id": 1, "method": "tools/list"})
        assert server.receive(1)["result"]["tools"]
        _, errors = server.close()
    return {line.rpartition("|")[2].strip() for line in errors.splitlines() if line.startswith("import time:")}


def test_a_start_loads_no_more_than_an_empty_server_and_our_own_few_modules(tmp_path: Path) -> None:
    empty = loaded_when_tools_are_listed([sys.executable, "-X", "importtime", "-c", EMPTY_SERVER], tmp_path / "empty")
    ours = loaded_when_tools_are_listed([sys.executable, "-X", "importtime", *COMMAND[1:]], tmp_path / "ours")
    assert {name for name in ours if name.startswith("mcp_image_server")} <= OURS
    packages = {name.partition(".")[0] for name in ours - empty} - {name.partition(".")[0] for name in empty}
    third_party = {name for name in packages if name not in sys.stdlib_module_names and name != "mcp_image_server"}
    assert third_party <= BORROWED
    for heavy in ("sqlalchemy", "alembic", "PIL", "obstore", "resvg_py", "typer", "rich", "jinja2", "prometheus_client", "opentelemetry.sdk"):
        assert heavy not in ours


def start(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A start that is meant to fail."""
    return subprocess.run(
        [*COMMAND, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(folder, **settings),
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"MCP_PORT": "70000"}, "MCP_PORT: Input should be less than or equal to 65535"),
        ({"MCP_HOST": "0.0.0.0"}, "Set MCP_AUTH_TOKEN"),
        ({"MCP_HOST": "no.such.host.invalid", "MCP_AUTH_TOKEN": "t"}, "no address of this machine"),
        ({"MCP_DEFAULT_PROVIDER": "dall-e"}, "there are: hunyuan, openai, doubao, modelscope, "),
        ({"MCP_DEFAULT_PROVIDER": "openai"}, "set OPENAI_API_KEY"),
        ({"OPENAI_BASE_URL": "api.example.com", "OPENAI_API_KEY": "sk-1"}, "OPENAI_BASE_URL"),
    ],
)
def test_wrong_settings_end_the_start_with_a_sentence(tmp_path: Path, settings: dict[str, str], words: str) -> None:
    done = start(tmp_path, **settings)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "sk-1" not in done.stderr


def test_a_broken_dotenv_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('MCP_PORT=8000\nOPENAI_API_KEY="sk-secret\n', encoding="utf-8")
    done = start(tmp_path)
    assert done.returncode == 1
    assert ".env, line 2: this is not NAME=value" in done.stderr
    assert "sk-secret" not in done.stderr


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = start(tmp_path, "serve", "--transport", "http", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "set MCP_PORT to a free one" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_said_and_nothing_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_text("in the way")
    with Piped(tmp_path) as server:
        server.handshake()
        answer = server.call(1, "generate_image", prompt="a cat", resolution="64x64")
        assert (answer["ok"], answer["error"]["code"]) == (False, "storage_unavailable")
        assert str(tmp_path / "pictures") in answer["error"]["message"]
        assert "MCP_IMAGE_SAVE_DIR" in answer["error"]["message"]
        assert server.close()[0] == 0
    assert (tmp_path / "pictures").read_text() == "in the way"


def test_a_history_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    with Piped(tmp_path) as server:
        server.handshake()
        answer = server.call(1, "generate_image", prompt="a cat", resolution="64x64")
        assert answer["error"]["code"] == "storage_unavailable"
        assert "MCP_DATA_DIR" in answer["error"]["message"]
        assert server.close()[0] == 0
