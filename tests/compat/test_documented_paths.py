"""What the predecessors' documentation named is where it was, and works."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import httpx2
import pytest
from dotenv import dotenv_values
from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from mcp_image_server import providers
from mcp_image_server.configuration import Configuration
from mcp_image_server.settings import OBSOLETE, Settings, parse
from mcp_image_server.store import ACCESS
from tests.fakes.openai import FakeOpenAI
from tests.transports.server_process import Piped, environment, on_a_port

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-this-test"


@pytest.mark.parametrize(
    "path",
    [
        ".env.example",
        "HTTP_TRANSPORT_GUIDE.md",
        "README-zh.md",
        "docs/VSCODE_INTEGRATION.md",
        "docs/migrating.md",
        "example_http_client.py",
        "examples/legacy_single_api_server.py",
        "mcp-server",
        "test_mcp_server.py",
        "web-design-demo/index.html",
    ],
)
def test_a_path_that_was_named_is_there(path: str) -> None:
    assert (ROOT / path).is_file()


# ---------------------------------------------------------------------- .env.example


def kinds() -> list[type[BaseModel]]:
    """The server's settings and every provider's."""
    modules = [import_module(f"mcp_image_server.providers.{name}") for name in providers.ORDER]
    return [Settings, *(module.Config for module in modules if hasattr(module, "Config"))]


@pytest.fixture
def example(tmp_path: Path) -> Mapping[str, str]:
    """The example with every variable switched on."""
    lines = (ROOT / ".env.example").read_text(encoding="utf-8")
    (tmp_path / "all").write_text(re.sub(r"^# (?=[A-Z0-9_]+=)", "", lines, flags=re.MULTILINE), encoding="utf-8")
    return {name: value for name, value in dotenv_values(tmp_path / "all", interpolate=False).items() if value}


def test_every_variable_of_the_example_is_known(example: Mapping[str, str]) -> None:
    known = {field.alias for kind in kinds() for field in kind.model_fields.values()} | OBSOLETE.keys() | set(chain.from_iterable(ACCESS.values()))
    assert sorted(example.keys() - known) == []


def test_the_example_names_every_setting_of_the_server_and_every_key(example: Mapping[str, str]) -> None:
    wanted = {str(field.alias) for field in Settings.model_fields.values()}
    wanted |= {name for catalogue in providers.catalogues().values() for name in catalogue.variables}
    assert sorted(wanted - example.keys()) == []


def test_the_example_is_a_configuration_that_starts(example: Mapping[str, str]) -> None:
    Path(example["MCP_MODELS_FILE"]).touch()
    assert list(Configuration.read(example).providers) == list(providers.ORDER)


def test_the_example_shows_defaults_where_there_are_some(example: Mapping[str, str]) -> None:
    wrong = []
    for kind in kinds():
        given = parse(kind, example)
        for name, field in kind.model_fields.items():
            value = getattr(given, name)
            if field.default not in (None, (), "", PydanticUndefined) and not isinstance(value, SecretStr) and value != field.default:
                wrong.append(f"{field.alias}={value}, by default {field.default}")
    assert wrong == []


# ---------------------------------------------------------------------- scripts


def run(script: str, *words: str, folder: Path, **settings: str) -> tuple[int, list[str]]:
    """The exit code of a script, and the lines it prints."""
    command = [sys.executable, str(ROOT / script), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", cwd=folder, env=environment(folder, **settings), timeout=60, check=False
    )
    return done.returncode, done.stdout.splitlines() or done.stderr.splitlines()


def test_the_self_check_reads_everything_and_draws(tmp_path: Path) -> None:
    code, lines = run("test_mcp_server.py", folder=tmp_path)
    assert [line.split(":")[0] for line in lines] == [
        "ok      server",
        "ok      tools",
        "ok      resources",
        "ok      prompt",
        "ok      picture",
        "All is well.",
    ]
    assert code == 0
    assert len(list((tmp_path / "pictures").glob("check_sketch_*.png"))) == 1


def test_the_self_check_says_that_it_may_cost_money_before_it_does(tmp_path: Path) -> None:
    with FakeOpenAI() as fake:
        code, lines = run("test_mcp_server.py", "--with-api", folder=tmp_path, OPENAI_API_KEY=fake.key or "", OPENAI_BASE_URL=f"{fake.url}/v1")
    assert (code, lines[-1]) == (0, "All is well.")
    assert lines[1] == "note    one picture each is now drawn by: openai. This may cost money."
    assert lines[-2].startswith("ok      picture by openai: ")


def test_the_self_check_ends_with_1_and_words_when_the_server_does_not_start(tmp_path: Path) -> None:
    code, lines = run("test_mcp_server.py", folder=tmp_path, MCP_PORT="0")
    assert code == 1
    assert lines[0].startswith("FAILED  server: ")


def test_the_smallest_server_answers(tmp_path: Path) -> None:
    with Piped(tmp_path, [sys.executable, str(ROOT / "examples" / "legacy_single_api_server.py")]) as server:
        server.handshake()
        assert server.call(1, "list_models")["result"]["default_provider"] == "sketch"
        assert server.close()[0] == 0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with on_a_port(tmp_path_factory.mktemp("port"), MCP_AUTH_TOKEN=TOKEN) as address:
        yield address


def test_the_http_example_looks_around(url: str, tmp_path: Path) -> None:
    code, lines = run("example_http_client.py", "basic", "--url", url, folder=tmp_path, MCP_AUTH_TOKEN=TOKEN)
    assert (code, [line.split(":")[0] for line in lines]) == (0, ["health", "server", "tools", "providers"])
    assert lines[3] == "providers: sketch"


def test_the_http_example_draws_and_its_link_works(url: str, tmp_path: Path) -> None:
    code, lines = run("example_http_client.py", "generate", "--url", url, "--token", TOKEN, folder=tmp_path)
    (path, link) = (line.partition(": ")[2] for line in lines)
    assert code == 0
    assert httpx2.get(link, trust_env=False).content == Path(path).read_bytes()


def test_the_http_example_without_the_token_says_why_not(url: str, tmp_path: Path) -> None:
    code, lines = run("example_http_client.py", "generate", "--url", url, folder=tmp_path)
    assert code == 1
    assert lines[0].startswith("The server answers 401")


# ---------------------------------------------------------------------- HTTP_TRANSPORT_GUIDE.md


def curls() -> list[list[str]]:
    """The curl commands of the guide, in order, as words."""
    text = (ROOT / "HTTP_TRANSPORT_GUIDE.md").read_text(encoding="utf-8")
    commands: list[list[str]] = []
    for block in re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        found: list[str] | None = None
        for word in shlex.split(block.replace("\\\n", " ")):
            if word == "curl":
                found = []
                commands.append(found)
            elif found is not None:
                found.append(word)
    return commands


def test_the_conversation_of_the_guide_can_be_held_as_it_is_written(url: str) -> None:
    session = ""
    with httpx2.Client(trust_env=False, timeout=60) as client:
        for words in curls():
            headers = {"Accept": "*/*"}
            body = method = address = ""
            rest = iter(word.replace("http://127.0.0.1:8000", url).replace("$MCP_AUTH_TOKEN", TOKEN).replace("$SESSION", session) for word in words)
            for word in rest:
                match word:
                    case "-H":
                        name, _, value = next(rest).partition(": ")
                        headers[name] = value
                    case "-d":
                        body = next(rest)
                    case "-X":
                        method = next(rest)
                    case "-i":
                        pass
                    case _:
                        assert not address
                        address = word
            reply = client.request(method or ("POST" if body else "GET"), address, headers=headers, content=body)
            assert reply.status_code in (200, 202), f"{words}: {reply.text}"
            session = reply.headers.get("mcp-session-id", session)
            if "generate_image" in body:
                assert answer_of(reply)["ok"]
    assert session


def answer_of(reply: httpx2.Response) -> Any:
    """The JSON of a tool's answer, in an event or alone."""
    text = next((line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: {")), reply.text)
    return json.loads(json.loads(text)["result"]["content"][0]["text"])


# ---------------------------------------------------------------------- web-design-demo


def test_the_page_has_its_pictures_and_they_are_light() -> None:
    folder = ROOT / "web-design-demo"
    shown = set(re.findall(r'src="([^"]+)"', (folder / "index.html").read_text(encoding="utf-8")))
    there = {path.relative_to(folder).as_posix(): path.stat().st_size for path in (folder / "pictures").iterdir()}
    assert shown == there.keys()
    assert [name for name, size in there.items() if size > 80_000] == []
