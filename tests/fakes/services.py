"""Every service at once: the fake of each, and the variables that send its provider there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .azure import FakeAzure
from .bfl import FakeBlackForestLabs
from .cloudflare import ACCOUNT, FakeCloudflare
from .comfyui import FakeComfyUI
from .dashscope import FakeDashScope
from .deepinfra import FakeDeepInfra
from .doubao import FakeDoubao
from .fal import FakeFal
from .fireworks import FakeFireworks
from .gemini import FakeGemini
from .huggingface import FakeHuggingFace
from .hunyuan import FakeHunyuan
from .ideogram import FakeIdeogram
from .minimax import FakeMiniMax
from .modelscope import FakeModelScope
from .openai import FakeOpenAI
from .openrouter import FakeOpenRouter
from .recraft import FakeRecraft
from .replicate import FakeReplicate
from .server import Server
from .siliconflow import FakeSiliconFlow
from .stability import FakeStability
from .together import FakeTogether
from .webui import FakeWebUI
from .xai import FakeXAI
from .zhipu import FakeZhipu


@dataclass(frozen=True, kw_only=True)
class Place:
    """A service on a port of this machine."""

    fake: Callable[[], Server]
    variables: Callable[[Any], Mapping[str, str]]
    """What the operator sets to use it."""


PLACES: Mapping[str, Place] = {
    "hunyuan": Place(
        fake=FakeHunyuan,
        variables=lambda fake: {
            "TENCENT_SECRET_ID": fake.secret_id,
            "TENCENT_SECRET_KEY": fake.secret_key,
            "TENCENT_ENDPOINT": fake.url,
            "TENCENT_TOKENHUB_API_KEY": fake.hub_key,
            "TENCENT_TOKENHUB_ENDPOINT": fake.url,
        },
    ),
    "openai": Place(fake=FakeOpenAI, variables=lambda fake: {"OPENAI_API_KEY": fake.key, "OPENAI_BASE_URL": fake.base_url}),
    "doubao": Place(fake=FakeDoubao, variables=lambda fake: {"DOUBAO_API_KEY": fake.key, "DOUBAO_ENDPOINT": fake.url}),
    "modelscope": Place(fake=FakeModelScope, variables=lambda fake: {"MODELSCOPE_SDK_TOKEN": fake.token, "MODELSCOPE_BASE_URL": fake.url}),
    "comfyui": Place(fake=FakeComfyUI, variables=lambda fake: {"COMFYUI_URL": fake.url}),
    "webui": Place(fake=FakeWebUI, variables=lambda fake: {"WEBUI_URL": fake.url, "WEBUI_USER": "me", "WEBUI_PASSWORD": "pass-0123456789"}),
    "dashscope": Place(fake=FakeDashScope, variables=lambda fake: {"DASHSCOPE_API_KEY": fake.key, "DASHSCOPE_HTTP_BASE_URL": fake.base_url}),
    "gemini": Place(fake=FakeGemini, variables=lambda fake: {"GEMINI_API_KEY": fake.key, "GOOGLE_GEMINI_BASE_URL": fake.url}),
    "azure": Place(
        fake=FakeAzure,
        variables=lambda fake: {
            "AZURE_OPENAI_API_KEY": fake.key,
            "AZURE_OPENAI_ENDPOINT": fake.url,
            "AZURE_OPENAI_IMAGE_DEPLOYMENT": "gpt-image-2",
        },
    ),
    "bfl": Place(fake=FakeBlackForestLabs, variables=lambda fake: {"BFL_API_KEY": fake.key, "BFL_BASE_URL": fake.url}),
    "fal": Place(fake=FakeFal, variables=lambda fake: {"FAL_KEY": fake.key, "FAL_BASE_URL": fake.url}),
    "replicate": Place(fake=FakeReplicate, variables=lambda fake: {"REPLICATE_API_TOKEN": fake.token, "REPLICATE_BASE_URL": f"{fake.url}/v1"}),
    "stability": Place(fake=FakeStability, variables=lambda fake: {"STABILITY_API_KEY": fake.key, "STABILITY_BASE_URL": fake.url}),
    "openrouter": Place(fake=FakeOpenRouter, variables=lambda fake: {"OPENROUTER_API_KEY": fake.key, "OPENROUTER_BASE_URL": fake.base_url}),
    "xai": Place(fake=FakeXAI, variables=lambda fake: {"XAI_API_KEY": fake.key, "XAI_BASE_URL": fake.base_url}),
    "recraft": Place(fake=FakeRecraft, variables=lambda fake: {"RECRAFT_API_TOKEN": fake.token, "RECRAFT_BASE_URL": fake.base_url}),
    "ideogram": Place(fake=FakeIdeogram, variables=lambda fake: {"IDEOGRAM_API_KEY": fake.key, "IDEOGRAM_BASE_URL": fake.url}),
    "siliconflow": Place(fake=FakeSiliconFlow, variables=lambda fake: {"SILICONFLOW_API_KEY": fake.key, "SILICONFLOW_BASE_URL": fake.base_url}),
    "zhipu": Place(fake=FakeZhipu, variables=lambda fake: {"ZAI_API_KEY": fake.key, "ZAI_BASE_URL": fake.base_url}),
    "minimax": Place(fake=FakeMiniMax, variables=lambda fake: {"MINIMAX_API_KEY": fake.key, "MINIMAX_API_HOST": fake.url}),
    "together": Place(fake=FakeTogether, variables=lambda fake: {"TOGETHER_API_KEY": fake.key, "TOGETHER_BASE_URL": f"{fake.url}/v1"}),
    "deepinfra": Place(fake=FakeDeepInfra, variables=lambda fake: {"DEEPINFRA_TOKEN": fake.key, "DEEPINFRA_BASE_URL": fake.url}),
    "fireworks": Place(fake=FakeFireworks, variables=lambda fake: {"FIREWORKS_API_KEY": fake.key, "FIREWORKS_BASE_URL": f"{fake.url}/v1"}),
    "cloudflare": Place(
        fake=FakeCloudflare,
        variables=lambda fake: {
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": fake.token,
            "CLOUDFLARE_BASE_URL": f"{fake.url}/client/v4",
        },
    ),
    "huggingface": Place(
        fake=FakeHuggingFace,
        variables=lambda fake: {"HF_TOKEN": fake.token, "HF_ROUTER_URL": fake.url, "HF_ENDPOINT": fake.url},
    ),
}
"""Every provider that calls a service."""
