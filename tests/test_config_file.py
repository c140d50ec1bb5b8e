"""Settings in a TOML file: what it may say, who wins over it, and how mistakes are told, on the command line and while a server runs."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mcp_image_server import providers
from mcp_image_server.config_file import read_file
from mcp_image_server.configuration import Configuration, read_environment
from mcp_image_server.errors import ConfigError
from mcp_image_server.fields import OwnLimits
from mcp_image_server.models import Caller
from mcp_image_server.settings import Settings, parse
from mcp_image_server.studio import open_studio
from mcp_image_server.surfaces.cli import app
from tests.transports.server_process import Poster, Served

pytestmark = pytest.mark.anyio

EVERYTHING = """
default_provider = "openai"
port = 9000
debug = true
budget_day = 5.5
allowed_origins = ["https://a.example", "https://b.example"]
fallback = { openai = ["doubao"] }

[limits]
openai = { concurrent = 8, per_second = 0.5 }

[clients."my-client*"]
wait_seconds = 20

[providers.openai]
openai_api_key = "sk-of-the-file"
openai_partial_images = 2

[providers.local]
local_models = [{ weights = "/models/a", name = "a" }]
"""


def written(folder: Path, text: str, name: str = "mcp-image-server.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_values_have_the_kinds_of_toml_and_become_what_variables_would_say(tmp_path: Path) -> None:
    found = read_file(written(tmp_path, EVERYTHING))
    settings = parse(Settings, found)
    assert (settings.default_provider, settings.port, settings.debug, settings.budget_day) == ("openai", 9000, True, 5_500_000)
    assert settings.allowed_origins == ("https://a.example", "https://b.example")
    assert settings.fallback == {"openai": ("doubao",)}
    assert settings.limits == {"openai": OwnLimits(concurrent=8, per_second=0.5, images_per_minute=None)}
    assert settings.clients["my-client*"].wait_seconds == 20
    assert {name: value for name, value in found.items() if not name.startswith("MCP_")} == {
        "OPENAI_API_KEY": "sk-of-the-file",
        "OPENAI_PARTIAL_IMAGES": "2",
        "LOCAL_MODELS": '[{"weights": "/models/a", "name": "a"}]',
    }


def test_every_setting_but_the_files_own_place_can_stand_in_it(tmp_path: Path) -> None:
    names = [str(info.alias) for info in Settings.model_fields.values() if info.alias != "MCP_CONFIG_FILE"]
    tables = {provider: providers.variables(provider) for provider in providers.ORDER}
    lines = [f'{name.removeprefix("MCP_").lower()} = "x"' for name in names]
    for provider, variables in tables.items():
        lines += [f"[providers.{provider}]", *(f'{variable.lower()} = "x"' for variable in variables)]
    assert read_file(written(tmp_path, "\n".join(lines))).keys() == {*names, *(variable for variables in tables.values() for variable in variables)}
    assert [name for name, switches in providers.SWITCHES.items() if not set(switches) <= set(tables[name])] == []


def test_the_process_wins_over_dotenv_and_that_over_the_file(tmp_path: Path) -> None:
    written(tmp_path, 'port = 1\nhost = "file"\nlog_level = "DEBUG"\nretries = 5\n')
    dotenv = tmp_path / ".env"
    dotenv.write_text("MCP_PORT=2\nMCP_HOST=dotenv\nMCP_RETRIES=\n", encoding="utf-8")
    process = {"MCP_PORT": "3"}
    assert read_environment(dotenv, process=process) == {"MCP_PORT": "3", "MCP_HOST": "dotenv", "MCP_LOG_LEVEL": "DEBUG"}
    assert read_environment(dotenv, process=process, dotenv_wins=True)["MCP_PORT"] == "2"
    assert read_environment(dotenv, process=process, dotenv_wins=True, options={"MCP_PORT": "4"})["MCP_PORT"] == "4"


def test_another_file_can_be_named(tmp_path: Path) -> None:
    written(tmp_path, "port = 1\n")
    other = written(tmp_path, "port = 2\n", "other.toml")
    dotenv = tmp_path / ".env"
    assert read_environment(dotenv, process={})["MCP_PORT"] == "1"
    assert read_environment(dotenv, process={"MCP_CONFIG_FILE": "other.toml"})["MCP_PORT"] == "2"
    assert read_environment(dotenv, process={}, options={"MCP_CONFIG_FILE": str(other)})["MCP_PORT"] == "2"
    dotenv.write_text("config_file=other.toml\n", encoding="utf-8")
    assert read_environment(dotenv, process={})["MCP_PORT"] == "2"
    with pytest.raises(ConfigError, match=r"cannot read .*absent\.toml: .*; or name|cannot read .*absent\.toml"):
        read_environment(dotenv, process={"MCP_CONFIG_FILE": "absent.toml"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 1", "prot: there is no such setting; write port."),
        ("MCP_PORT = 1", "MCP_PORT: there is no such setting; write port."),
        ('openai_api_key = "sk-1"', "openai_api_key: there is no such setting; write it as openai_api_key under [providers.openai]."),
        ("[openai]", "openai: there is no such setting; write [providers.openai]."),
        ("[replicat]", "replicat: there is no such setting; write [providers.replicate]."),
        ("[provider.openai]", "provider: there is no such setting; write providers."),
        ("zzzzzz = 1", "zzzzzz: there is no such setting; `mcp-image-server config show` lists those there are."),
        ("[providers.opnai]", "[providers.opnai]: there is no such provider; write openai."),
        ('[providers.openai]\napi_key = "sk-1"', "[providers.openai], api_key: there is no such setting; write openai_api_key."),
        ("[providers.sketch]\ncolour = 1", "[providers.sketch], colour: there is no such setting; this provider has no settings."),
        ('[providers]\nopenai = "sk-1"', "providers.openai is no setting but a table; write [providers.openai] and its settings below."),
        ("providers = 1", "providers is no setting but holds tables; write [providers.openai]."),
        ('config_file = "x"', "config_file cannot stand in the file itself; set MCP_CONFIG_FILE, or start with --config."),
    ],
)
def test_an_unknown_name_is_told_with_what_would_do(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    assert caught.value.message == f"{path} is wrong. {words}"


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"port = \n", "is not TOML: "), (b"host = localhost\n", "is not TOML: "), (b"host = '\xff'\n", "Save it as UTF-8 text")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "mcp-image-server.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=rf"{re.escape(str(path))}.*{words}|cannot read {re.escape(str(path))}.*{words}"):
        read_environment(tmp_path / ".env", process={})


async def test_a_reload_reads_it_again_and_keeps_to_what_the_command_line_said(tmp_path: Path) -> None:
    written(tmp_path, "retries = 1\n")
    async with open_studio(options={"MCP_PORT": "9001"}) as studio:
        written(tmp_path, 'retries = 2\nport = 9000\n[providers.openai]\nopenai_api_key = "sk-1"\n')
        assert (await studio.upkeep.reload(Caller())).changed == ("retries", "openai_api_key")
        assert (studio.settings.retries, studio.settings.port) == (2, 9001)
        written(tmp_path, "retires = 3\n")
        with pytest.raises(ConfigError, match="retires: there is no such setting; write retries"):
            await studio.upkeep.reload(Caller())
        assert studio.settings.retries == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_a_running_server_reads_it_again_at_sighup_and_lives_on_when_it_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    written(folder, "retries = 1\n")
    with Served(folder, NO_PROXY="*") as server:

        def after_signal() -> str:
            os.kill(server.process.pid, signal.SIGHUP)
            assert server.process.stderr is not None
            return next(line.decode() for line in server.process.stderr if b"The settings" in line)

        written(folder, "retries = 2\n")
        assert "INFO" in (told := after_signal())
        assert "The settings were read again; changed: retries." in told
        for text, words in {"retries = 99\n": "MCP_RETRIES: Input should be", "retries =": "is not TOML", "log_level = 'DEBUG'": "log_level"}.items():
            written(folder, text)
            assert re.search(f"ERROR .*The settings stay as they were. .*{words}", after_signal())
        written(folder, "")
        assert "changed: retries." in after_signal()
        with Poster(server.url) as client:
            assert client.call(1, "generate_image", prompt="a cat", resolution="64x64")["ok"]


# Looked at ------------------------------------------------------------------------------------------------------------------------------------


def looked_at(*words: str) -> tuple[int, Any, str]:
    """How `config` ends, and what it says."""
    done = CliRunner().invoke(app, ["config", *words, "--json"])
    return done.exit_code, json.loads(done.stdout), done.output


def test_a_good_configuration_is_said_to_be_good_with_where_each_value_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, EVERYTHING)
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-of-dotenv\nMCP_PUBLIC_BASE_URL=http://user:pass@a.example\n", encoding="utf-8")
    monkeypatch.setenv("MCP_PORT", "9001")
    code, answer, output = looked_at("check")
    assert (code, answer["ok"], answer["file"], answer["problems"], answer["notes"]) == (0, True, str(path), [], [])
    values = {value["variable"]: (value["text"], value["place"]) for value in answer["values"]}
    assert values["MCP_PORT"] == ("9001", "process")
    assert values["MCP_DEBUG"] == ("true", "file")
    assert values["OPENAI_API_KEY"] == (None, ".env")
    assert values["MCP_PUBLIC_BASE_URL"] == ("http://***@a.example", ".env")
    assert "sk-of" not in output
    assert "MCP_HOST" not in values


def test_everything_that_is_wrong_is_told_at_once_and_ends_with_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_RETRIES", "many")
    (tmp_path / ".env").write_text("MCP_PORT=70000\nDOUBAO_API_KEY=a b c\n", encoding="utf-8")
    written(tmp_path, 'prot = 1\nc2pa_key = "key.pem"\n[providers.openai]\nopenai_base_url = "api.example.com"\n')
    code, answer, output = looked_at("check")
    told = {(problem["variable"], problem["place"]) for problem in answer["problems"]}
    assert (code, answer["ok"]) == (3, False)
    assert told == {
        ("", "file"),
        ("MCP_RETRIES", "process"),
        ("MCP_PORT", ".env"),
        ("DOUBAO_API_KEY", ".env"),
        ("OPENAI_BASE_URL", "file"),
    }
    assert "a b c" not in output
    done = CliRunner().invoke(app, ["config", "check"])
    assert done.exit_code == 3
    assert "wrong (mcp-image-server.toml): prot: there is no such setting; write port." in done.output
    assert "Things that are wrong: 5. A server would not start." in done.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('default_provider = "openai"', "MCP_DEFAULT_PROVIDER is 'openai', which is not configured; set OPENAI_API_KEY"),
        ('[limits]\n"open-ai" = { concurrent = 1 }', "MCP_LIMITS names 'open-ai'"),
        ('models_file = "absent.toml"', "MCP_MODELS_FILE: cannot read"),
        ('host = "0.0.0.0"', "Set MCP_AUTH_TOKEN"),
    ],
)
def test_what_only_a_start_would_find_is_found_too(tmp_path: Path, text: str, words: str) -> None:
    code, answer, _ = looked_at("check", str(written(tmp_path, text, "mine.toml")))
    assert (code, len(answer["problems"])) == (3, 1)
    assert words in answer["problems"][0]["words"]


@pytest.mark.parametrize("name", [".env", "mcp-image-server.toml"])
def test_a_broken_file_is_a_problem_of_its_own(tmp_path: Path, name: str) -> None:
    written(tmp_path, 'MCP_PORT="1\n', name)
    code, answer, _ = looked_at("check")
    assert (code, [problem["place"] for problem in answer["problems"]]) == (3, [".env" if name == ".env" else "file"])


def test_what_is_no_mistake_but_strange_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_PROT", "1")
    monkeypatch.setenv("MCP_SOMETHING_OF_ANOTHER_PROGRAM", "1")
    monkeypatch.setenv("MCP_SSE_KEEPALIVE", "1")
    path = written(tmp_path, '[providers.openai]\nopenai_api_key = "sk-1"\n')
    path.chmod(0o644)
    code, answer, _ = looked_at("check")
    notes = [
        "MCP_PROT is no setting of this server. If you meant MCP_PORT, write that.",
        "MCP_SSE_KEEPALIVE does nothing any more: streams are kept alive as the protocol's library sees fit. Remove it.",
    ]
    if sys.platform != "win32":
        notes.append(f"{path} holds secrets, and others on this machine may read it. Run: chmod 600 {path}")
    assert (code, sorted(answer["notes"][:2]), answer["notes"][2:]) == (0, notes[:2], notes[2:])


def test_show_has_every_setting_and_those_of_the_providers_in_use(tmp_path: Path) -> None:
    written(tmp_path, '[providers.doubao]\ndoubao_api_key = "hidden"\n')
    code, answer, output = looked_at("show")
    values = {value["variable"]: (value["text"], value["place"]) for value in answer}
    assert code == 0
    assert {str(info.alias) for info in Settings.model_fields.values()} | set(providers.variables("doubao")) == values.keys()
    assert (values["MCP_PORT"], values["DOUBAO_API_KEY"]) == (("8000", "default"), (None, "file"))
    assert (values["MCP_DEBUG"], values["MCP_ALLOWED_ORIGINS"], values["MCP_LIMITS"]) == (("false", "default"), ("[]", "default"), ("{}", "default"))
    assert "hidden" not in output
    table = CliRunner().invoke(app, ["config", "show"]).output
    assert re.search(r"DOUBAO_API_KEY +file +\(not shown\)", table)


def test_show_has_no_secret_that_stands_in_an_address(tmp_path: Path) -> None:
    written(tmp_path, 'improve_url = "http://user:hunter2@127.0.0.1:9/v1?token=hunter2"\n')
    values = {value["variable"]: value["text"] for value in looked_at("show")[1]}
    assert values["MCP_IMPROVE_URL"] == "http://***@127.0.0.1:9/v1?token=***"


def test_what_check_calls_good_can_be_read(tmp_path: Path) -> None:
    written(tmp_path, EVERYTHING)
    assert looked_at("check")[0] == 0
    assert Configuration.read(read_environment(tmp_path / ".env")).default_provider == "openai"
