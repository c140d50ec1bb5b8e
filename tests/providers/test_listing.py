"""Which models a service says it has, in the words of its own list."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.responses import JSONResponse

from mcp_image_server import providers
from mcp_image_server.providers import Listing
from mcp_image_server.providers.base import that_draw
from tests.fakes.server import Scripted

from .test_contract import TRIALS

pytestmark = pytest.mark.anyio


def entries(*names: str, key: str = "id", **more: Any) -> list[dict[str, Any]]:
    """Entries of a list, with something besides that nobody reads."""
    return [{key: name, "object": "model", "owned_by": "somebody", **more} for name in names]


LISTS: dict[str, tuple[str, dict[str, str], Any, tuple[str, ...]]] = {
    "openai": ("/models", {}, {"data": entries("gpt-6", "gpt-image-2", "gpt-image-9", "sora-3")}, ("gpt-image-2", "gpt-image-9")),
    "modelscope": (
        "/v1/models",
        {},
        {"data": entries("Qwen/Qwen4", "MAILAND/majicflus_v1", "Qwen/Qwen-Image-9")},
        ("MAILAND/majicflus_v1", "Qwen/Qwen-Image-9"),
    ),
    "openrouter": ("/images/models", {}, {"data": entries("google/banana", supported_parameters={})}, ("google/banana",)),
    "gemini": (
        "/v1beta/models",
        {"pageSize": "1000"},
        {"models": entries("models/gemini-4", "models/gemini-4-image", key="name"), "nextPageToken": "2"},
        ("gemini-4-image",),
    ),
    "xai": ("/image-generation-models", {}, {"models": entries("grok-imagine-image", aliases=["a"])}, ("grok-imagine-image",)),
    "together": ("/models", {}, [*entries("a/flux", type="image"), *entries("a/llama", type="chat"), *entries("a/old")], ("a/flux",)),
    "siliconflow": ("/models", {"type": "image"}, {"data": entries("Qwen/Qwen-Image")}, ("Qwen/Qwen-Image",)),
    "deepinfra": (
        "/models/list",
        {},
        [
            *entries("a/flux", key="model_name", type="text-to-image", deprecated=None),
            *entries("a/edit", key="model_name", type="image-to-image"),
            *entries("a/old", key="model_name", type="text-to-image", deprecated=1_790_000_000),
            *entries("a/llama", key="model_name", type="text-generation"),
        ],
        ("a/flux", "a/edit"),
    ),
    "cloudflare": (
        "/client/v4/accounts/contract/ai/models/search",
        {"task": "Text-to-Image", "per_page": "100"},
        {"success": True, "result": entries("@cf/a/flux", key="name")},
        ("@cf/a/flux",),
    ),
    "fireworks": (
        "/models",
        {},
        {"data": entries("accounts/fireworks/models/flux-9", "accounts/fireworks/models/SSD-1B", "accounts/fireworks/models/llama")},
        ("flux-9", "SSD-1B"),
    ),
}
"""The path and query that are asked, the answer, and what is made of it."""


def test_every_provider_that_lists_is_here() -> None:
    assert {name for name, trial in TRIALS.items() if isinstance(trial.provider("http://127.0.0.1:1"), Listing)} == LISTS.keys()


@pytest.mark.parametrize("name", LISTS)
async def test_the_models_that_draw_are_told(name: str) -> None:
    path, query, answer, expected = LISTS[name]
    with Scripted(JSONResponse(answer)) as server:
        provider = TRIALS[name].provider(f"{server.url}/client/v4" if name == "cloudflare" else server.url)
        assert isinstance(provider, Listing)
        assert tuple(await provider.listed()) == expected
        await provider.aclose()
    assert [(seen.method, seen.path, seen.query, seen.body) for seen in server.seen] == [("GET", path, query, b"")]


def test_a_model_is_known_to_draw_by_the_table_or_by_its_name() -> None:
    catalogue = providers.catalogues()["modelscope"]
    names = ("MAILAND/majicflus_v1", "Qwen/Qwen4-Max", "somebody/FLUX.9", "stable-diffusion-4", "dall-e-4", "whisper-2")
    assert that_draw(names, catalogue) == ("MAILAND/majicflus_v1", "somebody/FLUX.9", "stable-diffusion-4", "dall-e-4")
