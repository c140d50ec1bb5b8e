"""Providers of other packages: the example that CONTRIBUTING.md shows, installed for a test, and packages that do it wrong."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from mcp import Client, types
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from typer.testing import CliRunner

from mcp_image_server import providers
from mcp_image_server.configuration import Configuration
from mcp_image_server.errors import ConfigError
from mcp_image_server.models import Caller
from mcp_image_server.providers import contract
from mcp_image_server.providers.installed import Installed, checked, installed
from mcp_image_server.studio import open_studio
from mcp_image_server.surfaces.cli import app
from mcp_image_server.surfaces.mcp import build_server
from tests.fakes.server import Server, picture

pytestmark = pytest.mark.anyio

EXAMPLE = Path(__file__).parents[2] / "examples" / "provider"
KEY = "acme-fake-0123456789"

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package with one provider and its module where Python finds it, as an installer does."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def put(name: str, code: str, *, package: str = "acme-pictures", target: str | None = None) -> None:
        module = target or f"{package.replace('-', '_')}"
        (folder / f"{module}.py").write_text(code, encoding="utf-8")
        about = folder / f"{package.replace('-', '_')}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
        (about / "entry_points.txt").write_text(f"[mcp_image_server.providers]\n{name} = {module}\n", encoding="utf-8")
        forget()

    yield put
    forget()


def forget() -> None:
    """What is installed is looked for again."""
    installed.cache_clear()
    providers.catalogues.cache_clear()
    for name in [name for name in sys.modules if name.startswith(("acme_pictures", "other_pictures"))]:
        del sys.modules[name]


def example() -> str:
    return (EXAMPLE / "acme_pictures.py").read_text(encoding="utf-8")


class FakeAcme(Server):
    """The service that the example is for."""

    def __init__(self) -> None:
        routes = [
            Route("/v1/pictures", self._draw, methods=["POST"]),
            Route("/v1/account", lambda _: JSONResponse({"credits": 12})),
            Route("/v1/models", lambda _: JSONResponse({"models": ["brush-1", "brush-2"]})),
            Route("/files/1.png", lambda _: Response(picture(1024, 1024), media_type="image/png")),
        ]
        super().__init__(Starlette(routes=routes))

    async def _draw(self, request: Request) -> Response:
        wish = await request.json()
        if "weapon" in wish["prompt"]:
            return JSONResponse({"code": "moderation", "message": "not that"}, 400)
        return JSONResponse({"url": f"{self.url}/files/1.png", "seed": wish["seed"]})


# The example --------------------------------------------------------------------------------------------------------------------------------


async def test_the_example_draws_like_any_other_provider(install: Install, tmp_path: Path) -> None:
    install("acme", example())
    with FakeAcme() as fake:
        environment = {"ACME_API_KEY": KEY, "ACME_BASE_URL": f"{fake.url}/v1", "MCP_DATA_DIR": str(tmp_path / "data"), "MCP_DEFAULT_PROVIDER": "acme"}
        async with open_studio(environment) as studio, Client(build_server(studio)) as client:
            result = await client.call_tool("generate_image", {"prompt": "a cat", "seed": 7, "resolution": "1024x1024", "options": {"glaze": True}})
            assert isinstance(result.content[0], types.TextContent)
            (image,) = json.loads(result.content[0].text)["images"]
            assert (image["provider"], image["model"], image["seed"], image["width"]) == ("acme", "brush-1", 7, 1024)
            refused = await client.call_tool("generate_image", {"prompt": "a weapon"})
            assert isinstance(refused.content[0], types.TextContent)
            assert json.loads(refused.content[0].text)["error"]["code"] == "refused"
    assert fake.seen[0].json() == {"model": "brush-1", "prompt": "a cat", "size": "1024x1024", "seed": 7, "glaze": True}
    assert fake.seen[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_example_stands_before_sketch_and_after_our_own(install: Install) -> None:
    install("acme", example())
    assert providers.names() == (*providers.ORDER[:-1], "acme", "sketch")
    assert providers.catalogues()["acme"].title == "Acme"
    assert providers.variables("acme") == ("ACME_API_KEY", "ACME_BASE_URL")
    assert list(Configuration.read({"ACME_API_KEY": KEY}).providers) == ["acme", "sketch"]
    assert list(Configuration.read({}).providers) == ["sketch"]


def test_the_example_is_a_package_that_names_its_provider(tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built by the same builder as ours, without a network."""
    target = tmp_path / "target"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(target), str(EXAMPLE)], check=True, timeout=120)
    monkeypatch.syspath_prepend(str(target))
    forget()
    assert installed(providers.ORDER).packages == {"acme": "acme-pictures"}
    assert providers.source("acme") is import_module("acme_pictures")


# The command --------------------------------------------------------------------------------------------------------------------------------


def check(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["provider", "check", *words], catch_exceptions=False, env={"COLUMNS": "160"})
    return result.exit_code, " ".join(result.output.split())


def test_a_provider_can_be_checked_before_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "acme_pictures.py").write_text(example(), encoding="utf-8")
    forget()
    code, said = check("acme_pictures", "--base-url-variable", "ACME_BASE_URL")
    assert code == 0, said
    assert "Every promise is kept." in said
    forget()


MISTAKES = {
    "200 with an empty object: It returned as if all had gone well.": (
        'raise reply.failure(BadReplyError, "Acme answered without a picture")',
        "return Generated(images=())",
    ),
    "200 with a list: It must raise nothing but ProviderError, and raises TypeError.": ("reply.parse(Answer)", "Answer(**reply.json())"),
    "500: The same call may be made 1 times, not 3.": ("json=to_wire(request, model)", "json=to_wire(request, model), repeatable=True"),
    "401: The key must be in no message, no detail and no cause.": ("secrets=(key,)", "secrets=()"),
    "401: The account must be named without its key: use account_of.": ("account_of(self.name, key)", 'f"acme:{key}"'),
    "401: The error must name the provider 'acme', not 'other'.": ("provider=self.name,", 'provider="other",'),
    "401: The provider has no repeatable.": ("    repeatable = False\n", ""),
    "the catalogue is read: Every model needs a title and the provider 'acme'.": ('title="Brush 1", ', ""),
    "no variable is set: load({}) must return None, and raises ConfigError.": ('if "ACME_API_KEY" in environment else None', ""),
    "401 when doctor asks: It returned as if all were well.": (
        'reply = await self._net.send("GET", "account", read_timeout=15)',
        'return "fine"',
    ),
}
"""Promises, and what is written in the place of what so that they are broken."""


async def test_every_broken_promise_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    named: dict[str, set[str]] = {}

    async def one(promise: str, right: str, wrong: str) -> None:
        assert right in example()
        module = ModuleType(f"acme_pictures_{len(sys.modules)}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(example().replace(right, wrong), module.__dict__)
        found = await contract.check(contract.Trial(source=checked(module), url_variables=("ACME_BASE_URL",)))
        named[promise] = {f"{finding.what}: {broken}" for finding in found for broken in finding.broken}

    async with anyio.create_task_group() as tasks:
        for promise, (right, wrong) in MISTAKES.items():
            tasks.start_soon(one, promise, right, wrong)
    assert {promise: promise in found for promise, found in named.items()} == dict.fromkeys(MISTAKES, True), named


def test_a_broken_promise_ends_the_command_with_1(install: Install) -> None:
    install("acme", example().replace("secrets=(key,)", "secrets=()"))
    code, said = check("acme", "--base-url-variable", "ACME_BASE_URL")
    assert code == 1
    assert "401: The key must be in no message, no detail and no cause." in said
    assert "sk-never-show" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("no_such_module_at_all",),
            "'no_such_module_at_all' is no provider's name, and could not be imported as a module either: ModuleNotFoundError",
        ),
        (("json:loads",), "There must be a CATALOGUE"),
        (("openai", "--set", "OPENAI_PARTIAL_IMAGES=nine"), "OPENAI_PARTIAL_IMAGES"),
    ],
)
def test_what_cannot_be_checked_is_said(words: tuple[str, ...], said: str) -> None:
    code, output = check(*words, "--base-url-variable", "OPENAI_BASE_URL")
    assert code == 3
    assert said in output


# Packages that do it wrong ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code", "label", "words"),
    [
        ("acme", "import nothing_of_that_name", "acme (acme-pictures)", "could not be imported from acme_pictures: ModuleNotFoundError"),
        ("acme", "import sys; sys.exit('out')", "acme (acme-pictures)", "could not be imported from acme_pictures: SystemExit: out."),
        ("acme", "CATALOGUE = 3", "acme (acme-pictures)", "There must be a CATALOGUE of the class mcp_image_server.models.Catalogue"),
        ("top", None, "top (acme-pictures)", "The entry point is called 'top' and the catalogue 'acme'; give them the same name."),
        ("openai", None, "openai (acme-pictures)", "The name 'openai' is taken by this program's own provider."),
        ("any", None, "any (acme-pictures)", "'any' cannot be a provider's name"),
        ("Acme", None, "Acme (acme-pictures)", "'Acme' cannot be a provider's name"),
    ],
)
def test_a_broken_package_is_told_of_and_left_out(
    install: Install, caplog: pytest.LogCaptureFixture, name: str, code: str | None, label: str, words: str
) -> None:
    install(name, example() if code is None else code)
    with caplog.at_level(logging.ERROR):
        configuration = Configuration.read({"ACME_API_KEY": KEY})
    assert list(configuration.providers) == ["sketch"]
    assert list(configuration.broken) == [label]
    assert words in configuration.broken[label]
    assert words in caplog.text
    assert KEY not in caplog.text


async def test_what_goes_wrong_while_it_is_loaded_is_told_without_the_key(install: Install, tmp_path: Path) -> None:
    install("acme", example().replace("return Acme(parse(Config, environment))", "raise KeyError(environment['ACME_API_KEY'])"))
    environment = {"ACME_API_KEY": KEY, "MCP_DATA_DIR": str(tmp_path / "data")}
    async with open_studio(environment) as studio:
        checks = {check.name: (check.ok, check.words) async for check in studio.upkeep.doctor(Caller())}
    assert checks["acme"] == (True, "not configured; set ACME_API_KEY to use it")
    assert checks["acme (acme-pictures)"] == (False, "It could not be loaded: KeyError: '***'.")
    with pytest.raises(ConfigError, match=r"MCP_DEFAULT_PROVIDER is 'acme', which is not configured; acme \(acme-pictures\): It could not be loaded"):
        Configuration.read({"ACME_API_KEY": KEY, "MCP_DEFAULT_PROVIDER": "acme"})


def test_of_two_packages_with_the_same_provider_one_is_refused(install: Install) -> None:
    install("acme", example())
    install("acme", example(), package="other-pictures")
    configuration = Configuration.read({"ACME_API_KEY": KEY})
    assert list(configuration.providers) == ["acme", "sketch"]
    assert configuration.broken == {"acme (other-pictures)": "The name 'acme' is taken by the package acme-pictures. Uninstall one of the two."}


# What it costs ------------------------------------------------------------------------------------------------------------------------------


def test_without_such_a_package_no_description_of_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(**_: Any) -> None:
        raise AssertionError("looked for entry points")

    forget()
    monkeypatch.setattr("importlib.metadata.entry_points", never)
    assert installed(providers.ORDER) == Installed(sources={}, broken={}, packages={})
    forget()
