"""What every provider that calls a service promises, whatever the service does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import pytest
from mcp import Client, types

from mcp_image_server import providers
from mcp_image_server.errors import ProviderError
from mcp_image_server.providers.contract import CASES, SECRET, Finding, Trial, check, faulty
from mcp_image_server.surfaces.mcp import build_server
from tests.conftest import studio_with

pytestmark = pytest.mark.anyio


def trial(name: str, *url_variables: str, **settings: str) -> Trial:
    source = providers.source(name)
    assert source is not None
    return Trial(source=source, url_variables=url_variables, settings=settings)


TRIALS: Mapping[str, Trial] = {
    each.source.CATALOGUE.provider: each
    for each in (
        trial("hunyuan", "TENCENT_ENDPOINT"),
        trial("openai", "OPENAI_BASE_URL"),
        trial("doubao", "DOUBAO_ENDPOINT"),
        trial("modelscope", "MODELSCOPE_BASE_URL"),
        trial("comfyui", "COMFYUI_URL", COMFYUI_TOKEN=SECRET),
        trial("webui", "WEBUI_URL", WEBUI_USER="me", WEBUI_PASSWORD=SECRET),
        trial("dashscope", "DASHSCOPE_HTTP_BASE_URL"),
        trial("gemini", "GOOGLE_GEMINI_BASE_URL"),
        trial("azure", "AZURE_OPENAI_ENDPOINT", AZURE_OPENAI_IMAGE_DEPLOYMENT="gpt-image-2"),
        trial("bfl", "BFL_BASE_URL"),
        trial("fal", "FAL_BASE_URL"),
        trial("replicate", "REPLICATE_BASE_URL"),
        trial("stability", "STABILITY_BASE_URL"),
        trial("openrouter", "OPENROUTER_BASE_URL"),
        trial("xai", "XAI_BASE_URL"),
        trial("recraft", "RECRAFT_BASE_URL"),
        trial("ideogram", "IDEOGRAM_BASE_URL"),
        trial("siliconflow", "SILICONFLOW_BASE_URL"),
        trial("zhipu", "ZAI_BASE_URL"),
        trial("minimax", "MINIMAX_API_HOST"),
        trial("together", "TOGETHER_BASE_URL"),
        trial("deepinfra", "DEEPINFRA_BASE_URL"),
        trial("fireworks", "FIREWORKS_BASE_URL"),
        trial("cloudflare", "CLOUDFLARE_BASE_URL"),
        trial("huggingface", "HF_ROUTER_URL", "HF_ENDPOINT", HF_INFERENCE_PROVIDER="hf-inference"),
    )
}
"""How each service is sent to another address."""

FREE = {"local", "sketch"}
"""Providers that call nobody."""


def test_every_provider_is_here() -> None:
    assert set(providers.ORDER) == set(TRIALS) | FREE


@pytest.fixture(scope="module")
async def found() -> Mapping[str, Sequence[Finding]]:
    """What came of the trials. Several run at once: they wait more than they work."""
    findings: dict[str, Sequence[Finding]] = {}
    few = anyio.CapacityLimiter(5)

    async def one(name: str) -> None:
        async with few:
            findings[name] = await check(TRIALS[name])

    async with anyio.create_task_group() as tasks:
        for name in TRIALS:
            tasks.start_soon(one, name)
    return findings


@pytest.mark.parametrize("name", TRIALS)
async def test_every_promise_is_kept(name: str, found: Mapping[str, Sequence[Finding]]) -> None:
    assert [(finding.what, finding.broken) for finding in found[name] if finding.broken] == []
    assert [finding.what for finding in found[name]][:2] == ["the catalogue is read", "no variable is set"]
    assert {case.what for case in CASES} < {finding.what for finding in found[name] if finding.code}


async def test_a_fault_has_the_same_name_whoever_has_it(found: Mapping[str, Sequence[Finding]]) -> None:
    table: dict[str, dict[str, list[str]]] = {}
    for name, findings in found.items():
        for finding in findings:
            if finding.code:
                table.setdefault(finding.what, {}).setdefault(finding.code, []).append(name)
    for what, codes in table.items():  # `pytest -rP` shows it
        words = [f"{code} (all {len(names)})" if len(codes) == 1 else f"{code}: {', '.join(names)}" for code, names in codes.items()]
        print(f"{what:34} {'; '.join(words)}")
    open_ended = {case.what for case in CASES if case.kind is ProviderError}
    assert {what: codes for what, codes in table.items() if len(codes) > 1 and what not in open_ended} == {}


@pytest.mark.parametrize("name", TRIALS)
async def test_no_fault_leaves_a_file_a_false_success_or_a_dead_server(name: str, tmp_path: Path) -> None:
    settings = {"MCP_DATA_DIR": str(tmp_path / "data"), "MCP_IMAGE_SAVE_DIR": str(tmp_path / "pictures"), "MCP_RETRIES": "0"}
    async with (
        faulty(b"") as service,
        studio_with({name: TRIALS[name].provider(service.url)}, settings) as studio,
        Client(build_server(studio)) as client,
    ):
        for case in CASES:
            service.answer = case.answer
            result = await client.call_tool("generate_image", {"prompt": "a cat", "wait_seconds": 60})
            first = result.content[0]
            assert isinstance(first, types.TextContent)
            assert result.is_error, case.what
            assert '"ok": false' in first.text
            assert "left alone" not in first.text, case.what
            assert SECRET not in first.text
            assert (await client.list_tools()).tools
    assert [path for path in (tmp_path / "pictures").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", providers.ORDER)
def test_what_is_offered_is_found_under_its_own_name(name: str) -> None:
    assert providers.catalogues()[name].provider == name
