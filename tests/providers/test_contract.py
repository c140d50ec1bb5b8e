"""What every provider that calls a service promises, whatever the service does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from mcp import Client, types
from rich.console import Console
from rich.table import Table
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.types import ASGIApp

from mcp_image_server import providers
from mcp_image_server.errors import AuthError, BadReplyError, ProviderError, RateLimitedError, UnavailableError
from mcp_image_server.models import ImageRequest, find_model
from mcp_image_server.providers import Provider
from mcp_image_server.surfaces.mcp import build_server
from tests.conftest import studio_with
from tests.ear import Ear
from tests.fakes.server import Broken, Hanging, Scripted, Server, closed_port

pytestmark = pytest.mark.anyio

SECRET = "sk-never-show-0123456789"  # nothing real

VARIABLES: Mapping[str, Callable[[str], dict[str, str]]] = {
    "hunyuan": lambda url: {"TENCENT_SECRET_ID": "AKIDfake0123456789", "TENCENT_SECRET_KEY": SECRET, "TENCENT_ENDPOINT": url},
    "openai": lambda url: {"OPENAI_API_KEY": SECRET, "OPENAI_BASE_URL": f"{url}/v1"},
    "doubao": lambda url: {"DOUBAO_API_KEY": SECRET, "DOUBAO_ENDPOINT": url},
    "modelscope": lambda url: {"MODELSCOPE_SDK_TOKEN": SECRET, "MODELSCOPE_BASE_URL": url},
    "bfl": lambda url: {"BFL_API_KEY": SECRET, "BFL_BASE_URL": url},
    "fal": lambda url: {"FAL_KEY": SECRET, "FAL_BASE_URL": url},
    "replicate": lambda url: {"REPLICATE_API_TOKEN": SECRET, "REPLICATE_BASE_URL": f"{url}/v1"},
    "dashscope": lambda url: {"DASHSCOPE_API_KEY": SECRET, "DASHSCOPE_HTTP_BASE_URL": f"{url}/api/v1"},
    "stability": lambda url: {"STABILITY_API_KEY": SECRET, "STABILITY_BASE_URL": url},
    "comfyui": lambda url: {"COMFYUI_URL": url, "COMFYUI_TOKEN": SECRET},
    "siliconflow": lambda url: {"SILICONFLOW_API_KEY": SECRET, "SILICONFLOW_BASE_URL": f"{url}/v1"},
    "gemini": lambda url: {"GEMINI_API_KEY": SECRET, "GOOGLE_GEMINI_BASE_URL": url},
    "webui": lambda url: {"WEBUI_URL": url, "WEBUI_USER": "me", "WEBUI_PASSWORD": SECRET},
    "recraft": lambda url: {"RECRAFT_API_TOKEN": SECRET, "RECRAFT_BASE_URL": f"{url}/v1"},
    "zhipu": lambda url: {"ZAI_API_KEY": SECRET, "ZAI_BASE_URL": f"{url}/api/paas/v4"},
    "together": lambda url: {"TOGETHER_API_KEY": SECRET, "TOGETHER_BASE_URL": f"{url}/v1"},
    "minimax": lambda url: {"MINIMAX_API_KEY": SECRET, "MINIMAX_API_HOST": url},
    "deepinfra": lambda url: {"DEEPINFRA_TOKEN": SECRET, "DEEPINFRA_BASE_URL": url},
    "ideogram": lambda url: {"IDEOGRAM_API_KEY": SECRET, "IDEOGRAM_BASE_URL": url},
    "openrouter": lambda url: {"OPENROUTER_API_KEY": SECRET, "OPENROUTER_BASE_URL": f"{url}/api/v1"},
    "xai": lambda url: {"XAI_API_KEY": SECRET, "XAI_BASE_URL": f"{url}/v1"},
    "fireworks": lambda url: {"FIREWORKS_API_KEY": SECRET, "FIREWORKS_BASE_URL": f"{url}/v1"},
    "cloudflare": lambda url: {"CLOUDFLARE_ACCOUNT_ID": "0a1b", "CLOUDFLARE_API_TOKEN": SECRET, "CLOUDFLARE_BASE_URL": url},
    "huggingface": lambda url: {"HF_TOKEN": SECRET, "HF_ROUTER_URL": url, "HF_ENDPOINT": url, "HF_INFERENCE_PROVIDER": "hf-inference"},
    "azure": lambda url: {"AZURE_OPENAI_IMAGE_DEPLOYMENT": "gpt-image-2", "AZURE_OPENAI_API_KEY": SECRET, "AZURE_OPENAI_ENDPOINT": url},
}
"""How each service is sent to another address."""

FREE = {"sketch"}
"""Providers that call nobody."""


def test_every_provider_is_here() -> None:
    assert set(providers.ORDER) == set(VARIABLES) | FREE


def loaded(name: str, url: str) -> Provider:
    provider = providers.load(VARIABLES[name](url))[name]
    assert provider.name == name
    return provider


async def draw(provider: Provider) -> ProviderError:
    """The error that a plain request ends with."""
    model = find_model(provider.catalogue.models, provider.catalogue.default_model)
    assert model is not None
    try:
        with anyio.fail_after(20), pytest.raises(ProviderError) as caught:
            await provider.generate(ImageRequest(prompt="a cat", shape=model.default_size), model, Ear())
    finally:
        await provider.aclose()
    return caught.value


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the service does, and what must come of it."""

    reply: ASGIApp
    kind: type[ProviderError]
    calls: tuple[int, int] = (1, 1)
    """Fewest and most calls that the service may see."""


ECHO = {"error": {"code": "broken", "message": f"something about {SECRET}"}}
CASES: Mapping[str, Case] = {
    "401": Case(reply=JSONResponse(ECHO, 401), kind=AuthError),
    "429, come back at once": Case(reply=JSONResponse(ECHO, 429, {"retry-after": "0"}), kind=RateLimitedError, calls=(2, 4)),
    "429, come back in an hour": Case(reply=JSONResponse(ECHO, 429, {"retry-after": "3600"}), kind=RateLimitedError),
    "500": Case(reply=JSONResponse(ECHO, 500), kind=UnavailableError),
    "502 with a web page": Case(reply=HTMLResponse("<h1>Bad gateway</h1>", 502), kind=UnavailableError),
    "503, come back at once": Case(reply=JSONResponse(ECHO, 503, {"retry-after": "0"}), kind=UnavailableError, calls=(2, 4)),
    "200 with a web page": Case(reply=HTMLResponse("<!doctype html><title>Welcome</title><p>Log in"), kind=BadReplyError),
    "200 with broken JSON": Case(reply=PlainTextResponse('{"data": [', media_type="application/json"), kind=BadReplyError),
    "200 with an empty object": Case(reply=JSONResponse({}), kind=ProviderError),
    "200 with a list": Case(reply=JSONResponse([1, 2]), kind=BadReplyError),
    "200 with null": Case(reply=JSONResponse(None), kind=BadReplyError),
    "a body cut off": Case(reply=Broken(b'{"data": [{"b64_json": "iVBOR'), kind=ProviderError),
}


@pytest.mark.parametrize("name", VARIABLES)
async def test_whatever_goes_wrong_is_named_rightly_and_nothing_is_paid_twice(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=f"{name}: what the service does, and what comes of it")
    for heading in ("the service", "error", "again?", "billed?", "calls", "message"):
        table.add_column(heading)
    for what, case in CASES.items():
        with Scripted(case.reply) as server:
            error = await draw(loaded(name, server.url))
            calls = len(server.seen)
        table.add_row(
            what, error.code, "yes" if error.retryable else "", "perhaps" if error.may_have_been_billed else "", str(calls), error.message[:90]
        )
        assert isinstance(error, case.kind), (what, error)
        assert case.calls[0] <= calls <= case.calls[1], (what, calls)
        assert SECRET not in f"{error}{error.details}{error.__cause__!r}", what
        assert error.provider == name
        if calls > 1:
            assert not error.may_have_been_billed, what  # only what was surely not accepted is tried again
    refused = await draw(loaded(name, f"http://127.0.0.1:{closed_port()}"))
    assert isinstance(refused, UnavailableError)
    assert not refused.may_have_been_billed
    table.add_row("nobody listens", refused.code, "yes", "", "0", refused.message[:90])
    with capsys.disabled():
        print()
        Console(width=170).print(table)


@pytest.mark.parametrize("name", VARIABLES)
async def test_no_fault_leaves_a_file_a_false_success_or_a_dead_server(name: str, tmp_path: Path) -> None:
    settings = {"MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures"), "MCP_RETRIES": "0"}
    with Scripted(JSONResponse({})) as server:
        async with studio_with({name: loaded(name, server.url)}, settings) as studio, Client(build_server(studio)) as client:
            for what, case in CASES.items():
                server.replies = [case.reply]
                result = await client.call_tool("generate_image", {"prompt": "a cat", "wait_seconds": 60})
                first = result.content[0]
                assert isinstance(first, types.TextContent)
                assert result.is_error, what
                assert '"ok": false' in first.text
                assert "left alone" not in first.text, what
                assert SECRET not in first.text
                assert (await client.list_tools()).tools
    assert [path for path in (tmp_path / "pictures").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", VARIABLES)
async def test_a_service_that_hangs_is_left_at_once_when_the_job_is_cancelled(name: str) -> None:
    with Server(Hanging()) as server:
        provider = loaded(name, server.url)
        model = find_model(provider.catalogue.models, provider.catalogue.default_model)
        assert model is not None
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(provider.generate, ImageRequest(prompt="a cat", shape=model.default_size), model, Ear())
                while not server.seen:
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
        await provider.aclose()


@pytest.mark.parametrize("name", providers.ORDER)
def test_what_is_offered_is_complete(name: str) -> None:
    catalogue = providers.catalogues()[name]
    assert catalogue.provider == name
    assert catalogue.title
    default = find_model(catalogue.models, catalogue.default_model)
    assert default is not None
    assert all(model.provider == name and model.title for model in catalogue.models)
    names = [name for model in catalogue.models for name in (model.id, *model.aliases)]
    assert len(names) == len(set(names))
    assert all(style.key == key and style.label for key, style in catalogue.styles.items())
    assert catalogue.resolutions
    assert set(catalogue.variables) <= set(providers.variables(name))


@pytest.mark.parametrize("name", VARIABLES)
def test_without_its_key_a_service_is_not_there(name: str) -> None:
    assert name not in providers.load({})
