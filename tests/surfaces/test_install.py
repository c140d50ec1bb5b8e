"""The server entered into clients' configurations: where, what is kept, what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from mcp_image_server.surfaces.cli import app, jsonc
from mcp_image_server.surfaces.cli.clients import CLIENTS

COMMAND = {"command": sys.executable, "args": ["-m", "mcp_image_server", "serve", "--transport", "stdio"]}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(sys, "argv", ["mcp-image-server"])
    return tmp_path / "home"


def install(*words: str) -> Result:
    return CliRunner().invoke(app, ["install", *words])


def path_of(client: str, home: Path) -> Path:
    return CLIENTS[client].path(home, sys.platform, {})


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


# Where ----------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "linux", "mac", "windows"),
    [
        (
            "claude-desktop",
            ".config/Claude/claude_desktop_config.json",
            "Library/Application Support/Claude/claude_desktop_config.json",
            "AppData/Roaming/Claude/claude_desktop_config.json",
        ),
        ("claude-code", ".claude.json", ".claude.json", ".claude.json"),
        ("cursor", ".cursor/mcp.json", ".cursor/mcp.json", ".cursor/mcp.json"),
        ("vscode", ".config/Code/User/mcp.json", "Library/Application Support/Code/User/mcp.json", "AppData/Roaming/Code/User/mcp.json"),
        ("windsurf", ".codeium/windsurf/mcp_config.json", ".codeium/windsurf/mcp_config.json", ".codeium/windsurf/mcp_config.json"),
        ("zed", ".config/zed/settings.json", ".config/zed/settings.json", "AppData/Roaming/Zed/settings.json"),
        ("gemini-cli", ".gemini/settings.json", ".gemini/settings.json", ".gemini/settings.json"),
        ("lm-studio", ".lmstudio/mcp.json", ".lmstudio/mcp.json", ".lmstudio/mcp.json"),
    ],
)
def test_each_client_has_its_file_on_each_system(client: str, linux: str, mac: str, windows: str) -> None:
    home = Path("/home/me")
    paths = [CLIENTS[client].path(home, system, {}).relative_to(home).as_posix() for system in ("linux", "darwin", "win32")]
    assert paths == [linux, mac, windows]


def test_folders_that_the_system_names_are_heeded() -> None:
    windows = CLIENTS["vscode"].path(Path("/home/me"), "win32", {"APPDATA": "/data"})
    assert PurePosixPath(windows) == PurePosixPath("/data/Code/User/mcp.json")
    assert CLIENTS["zed"].path(Path("/home/me"), "linux", {"XDG_CONFIG_HOME": "/xdg"}) == Path("/xdg/zed/settings.json")


# What is written ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_can_be_given_a_server_that_it_starts_and_loses_it_again(client: str, home: Path) -> None:
    done = install(client, "--env", "OPENAI_API_KEY=sk-secret", "--env", "MCP_TOOLSET=full")
    assert (done.exit_code, "sk-secret" in done.output) == (0, False)
    path, table = path_of(client, home), CLIENTS[client].table
    entry = {**CLIENTS[client].stdio, **COMMAND, "env": {"OPENAI_API_KEY": "sk-secret", "MCP_TOOLSET": "full"}}
    assert json.loads(path.read_bytes()) == {table: {"images": entry}}
    assert "needs no change" in install(client).output
    assert install(client, "--uninstall").exit_code == 0
    assert json.loads(path.read_bytes()) == {table: {}}


@pytest.mark.parametrize(
    ("client", "entry"),
    [
        ("claude-code", {"type": "http", "url": "http://127.0.0.1:8000/mcp", "headers": {"Authorization": "Bearer t"}}),
        ("cursor", {"url": "http://127.0.0.1:8000/mcp", "headers": {"Authorization": "Bearer t"}}),
        ("vscode", {"type": "http", "url": "http://127.0.0.1:8000/mcp", "headers": {"Authorization": "Bearer t"}}),
        ("windsurf", {"serverUrl": "http://127.0.0.1:8000/mcp", "headers": {"Authorization": "Bearer t"}}),
        ("zed", {"url": "http://127.0.0.1:8000/mcp", "headers": {"Authorization": "Bearer t"}}),
        ("cline", {"type": "streamableHttp", "url": "http://127.0.0.1:8000/mcp", "headers": {"Authorization": "Bearer t"}}),
        ("gemini-cli", {"httpUrl": "http://127.0.0.1:8000/mcp", "headers": {"Authorization": "Bearer t"}}),
    ],
)
def test_a_server_at_an_address_takes_the_place_of_one_that_was_started(client: str, entry: dict[str, Any], home: Path) -> None:
    install(client, "--env", "A=1")
    done = install(client, "--url", "http://127.0.0.1:8000/mcp", "--header", "Authorization=Bearer t")
    assert (done.exit_code, "Bearer t" in done.output) == (0, False)
    assert json.loads(path_of(client, home).read_bytes())[CLIENTS[client].table]["images"] == entry
    install(client)
    assert json.loads(path_of(client, home).read_bytes())[CLIENTS[client].table]["images"] == {**CLIENTS[client].stdio, **COMMAND}


def test_everything_else_in_the_file_stays_and_a_copy_is_left_beside_it(home: Path) -> None:
    before = """{
    // my theme
    "theme": "One", // dark

    "context_servers": {
        "other": {"command": "x", "env": {"OTHER_TOKEN": "of-another"}}, // mine
    },
    /* the end */
}
"""
    path = written(path_of("zed", home), before)
    path.chmod(0o640)
    done = install("zed", "--env", "OPENAI_API_KEY=sk-1")
    assert done.exit_code == 0
    expected = f"""{{
    // my theme
    "theme": "One", // dark

    "context_servers": {{
        "other": {{"command": "x", "env": {{"OTHER_TOKEN": "of-another"}}}}, // mine
        "images": {{
            "command": {json.dumps(sys.executable)},
            "args": [
                "-m",
                "mcp_image_server",
                "serve",
                "--transport",
                "stdio"
            ],
            "env": {{
                "OPENAI_API_KEY": "sk-1"
            }}
        }},
    }},
    /* the end */
}}
"""
    assert path.read_text() == expected
    assert path.with_name("settings.json.bak").read_text() == before
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o640
    assert '+                "OPENAI_API_KEY": "(not shown)"' in done.output
    assert "of-another" not in done.output
    install("zed", "--uninstall")
    assert path.read_text() == before
    assert path.with_name("settings.json.bak1").read_text() == expected


def test_what_the_client_and_the_person_added_to_the_entry_stays(home: Path) -> None:
    old = {
        "command": "uvx",
        "args": ["--from", "image-gen-mcp-server", "mcp-image-server"],
        "env": {"OPENAI_API_KEY": "sk-1"},
        "alwaysAllow": ["get_job"],
    }
    path = written(path_of("cursor", home), json.dumps({"mcpServers": {"images": old}}))
    install("cursor", "--env", "MCP_TOOLSET=full")
    entry = {**old, **COMMAND, "env": {"OPENAI_API_KEY": "sk-1", "MCP_TOOLSET": "full"}}
    assert json.loads(path.read_text()) == {"mcpServers": {"images": entry}}


def test_line_ends_and_byte_order_marks_stay(home: Path) -> None:
    path = written(path_of("vscode", home), '\ufeff{\r\n\t"inputs": []\r\n}\r\n')
    assert install("vscode").exit_code == 0
    text = path.read_bytes().decode()
    assert text.startswith('\ufeff{\r\n\t"inputs": [],\r\n\t"servers": {\r\n\t\t"images": {\r\n')
    assert "\n" not in text.replace("\r\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_link_stays_a_link(home: Path, tmp_path: Path) -> None:
    true = written(tmp_path / "dotfiles" / "mcp.json", "{}")
    link = path_of("cursor", home)
    link.parent.mkdir(parents=True)
    link.symlink_to(true)
    install("cursor")
    assert link.is_symlink()
    assert "images" in json.loads(true.read_text())["mcpServers"]


def test_print_writes_nothing_and_gives_the_entry_alone(home: Path) -> None:
    path = written(path_of("cursor", home), "not JSON")
    done = install("cursor", "--print", "--name", "art", "--env", "A=1")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"mcpServers": {"art": {**COMMAND, "env": {"A": "1"}}}}
    assert path.read_text() == "not JSON"


def test_a_project_has_its_own_file(home: Path, tmp_path: Path) -> None:
    install("vscode", "--project")
    assert (tmp_path / ".vscode" / "mcp.json").exists()
    assert not path_of("vscode", home).exists()
    done = install("windsurf", "--project")
    assert (done.exit_code, "has no file for a project" in done.output) == (2, True)


def test_any_file_can_be_named(home: Path, tmp_path: Path) -> None:
    install("vscode", "--file", str(tmp_path / "here.json"))
    assert "images" in json.loads((tmp_path / "here.json").read_text())["servers"]


def test_under_uvx_the_entry_calls_uvx_for_its_own_environment_goes_away(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/home/me/.cache/uv/archive-v0/abc")
    entry = json.loads(install("cursor", "--print").stdout)["mcpServers"]["images"]
    assert entry["args"] == ["--from", "image-gen-mcp-server", "mcp-image-server", "serve", "--transport", "stdio"]
    monkeypatch.setattr(sys, "prefix", "/usr")
    monkeypatch.setattr(sys, "argv", ["/checkout/mcp-server"])
    entry = json.loads(install("cursor", "--print").stdout)["mcpServers"]["images"]
    assert entry == {"command": sys.executable, "args": [str(Path("/checkout/mcp-server").absolute()), "serve", "--transport", "stdio"]}


# What is refused ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mcpServers:\n  - yaml\n", "line 1"),
        ('{\n  "a": 1\n  "b": 2\n}', "line 3: a comma or } is missing"),
        ('{"mcpServers": []}', "mcpServers is no object of objects"),
        ("[]", "is no object of objects"),
        ('{"mcpServers": {"images": {"command": "npx", "args": ["of-somebody-else"]}}}', "has another server of the name 'images'"),
    ],
)
def test_a_file_that_is_not_understood_is_left_alone(text: str, words: str, home: Path) -> None:
    path = written(path_of("cursor", home), text)
    for done in (install("cursor"), install("cursor", "--uninstall")):
        assert (done.exit_code, words in done.output, "Nothing was changed" in done.output) == (2, True, True)
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["netscape"], "there are: claude-desktop, claude-code, cursor"),
        (["claude-desktop", "--url", "http://127.0.0.1:8000/mcp"], "reads no addresses from its file"),
        (["cursor", "--url", "127.0.0.1:8000"], "write an address such as"),
        (["cursor", "--url", "http://a.example/mcp", "--env", "A=1"], "--env is for a server that the client starts"),
        (["cursor", "--header", "A=1"], "name it with --url"),
        (["cursor", "--env", "sk-a-key"], "--env needs NAME=VALUE"),
    ],
)
def test_words_that_make_no_sense_are_refused(arguments: list[str], words: str, home: Path) -> None:
    done = install(*arguments)
    assert (done.exit_code, words in done.output) == (2, True)
    assert not home.exists()


# JSON where it stands -------------------------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    whole=st.dictionaries(st.sampled_from(["a", "servers", "b"]), st.dictionaries(st.text(max_size=4), VALUES, max_size=3), max_size=3),
    name=st.text(max_size=4),
    value=VALUES,
    indent=st.sampled_from([None, 2, "\t"]),
)
def test_what_is_put_in_is_there_and_what_is_taken_out_is_gone_and_the_rest_is_as_it_was(
    whole: dict[str, Any], name: str, value: object, indent: int | str | None
) -> None:
    text = json.dumps(whole, indent=indent)
    put = jsonc.put(text, ("servers", name), value)
    servers = {**whole.get("servers", {}), name: value}
    assert json.loads(put) == {**whole, "servers": servers}
    dropped = jsonc.drop(put, ("servers", name))
    assert json.loads(dropped) == {**whole, "servers": {key: each for key, each in servers.items() if key != name}}
    assert jsonc.drop(dropped, ("servers", name)) == dropped
