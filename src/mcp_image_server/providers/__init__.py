"""The services, in the order in which they are preferred when a request names none; and how they are loaded.

Each module here has a `CATALOGUE` (what it offers, known without calling it), `load(environment)` (the provider, or None where its variables are not set) and,
where it has settings, a `Config`. A module is imported when one of its switches is set, and imports nothing heavy until its provider is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from ..models import Catalogue
from .base import Context, Provider, Resumable

if TYPE_CHECKING:
    from ..settings import Environment

__all__ = ["ORDER", "SWITCHES", "Context", "Provider", "Resumable", "catalogues", "load", "variables"]

SWITCHES: Mapping[str, tuple[str, ...]] = {
    "hunyuan": ("TENCENT_SECRET_ID", "TENCENT_TOKENHUB_API_KEY"),
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL"),
    "doubao": ("DOUBAO_API_KEY",),
    "modelscope": ("MODELSCOPE_SDK_TOKEN", "MODELSCOPE_API_TOKEN", "MODELSCOPE_API_KEY"),
    "comfyui": ("COMFYUI_URL",),
    "webui": ("WEBUI_URL",),
    "dashscope": ("DASHSCOPE_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "azure": ("AZURE_OPENAI_IMAGE_DEPLOYMENT",),
    "bfl": ("BFL_API_KEY",),
    "fal": ("FAL_KEY",),
    "replicate": ("REPLICATE_API_TOKEN",),
    "stability": ("STABILITY_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "recraft": ("RECRAFT_API_TOKEN",),
    "ideogram": ("IDEOGRAM_API_KEY",),
    "siliconflow": ("SILICONFLOW_API_KEY",),
    "zhipu": ("ZAI_API_KEY", "ZHIPUAI_API_KEY"),
    "minimax": ("MINIMAX_API_KEY",),
    "together": ("TOGETHER_API_KEY",),
    "deepinfra": ("DEEPINFRA_TOKEN", "DEEPINFRA_API_KEY"),
    "fireworks": ("FIREWORKS_API_KEY",),
    "cloudflare": ("CLOUDFLARE_API_TOKEN",),
    "huggingface": ("HF_TOKEN",),
    "sketch": (),
}
"""Every provider, and the variables of which one at least is set where it is used; none: always on."""

ORDER = tuple(SWITCHES)
"""First those that have always been first, then engines of one's own, which cost nothing. `sketch` is last: it draws when nothing else is configured, and never in the place of a service that failed."""


def _module(name: str) -> ModuleType:
    return import_module(f".{name}", __name__)


@cache
def catalogues() -> Mapping[str, Catalogue]:
    """What every provider offers, configured or not. Imports them all."""
    return {name: _module(name).CATALOGUE for name in ORDER}


def load(environment: Environment) -> dict[str, Provider]:
    """The configured providers, in order.

    Raises:
        ConfigError: a provider's settings are wrong.
    """
    found = {
        name: _module(name).load(environment) for name, switches in SWITCHES.items() if not switches or not environment.keys().isdisjoint(switches)
    }
    return {name: provider for name, provider in found.items() if provider is not None}


def variables(name: str) -> tuple[str, ...]:
    """The environment variables that the provider reads."""
    config = getattr(_module(name), "Config", None)
    return tuple(str(info.alias) for info in config.model_fields.values()) if config is not None else ()
