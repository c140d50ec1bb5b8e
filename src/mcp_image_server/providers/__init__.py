"""The services, in the order in which they are preferred when a request names none; and how they are loaded.

Each module here has a `CATALOGUE` (what it offers, known without calling it), `load(environment)` (the provider, or None where its variables are not set) and,
where it has settings, a `Config`. A module is imported when one of its switches is set, and imports nothing heavy until its provider is used. Other packages
bring further ones (`installed`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..models import Catalogue
from .base import Context, Listing, Provider, Resumable, Source, Stoppable
from .installed import Installed, find_source, installed

if TYPE_CHECKING:
    from ..settings import Environment

__all__ = [
    "ORDER",
    "SWITCHES",
    "Context",
    "Listing",
    "Provider",
    "Resumable",
    "Source",
    "Stoppable",
    "catalogues",
    "find",
    "load",
    "names",
    "source",
    "variables",
]

SWITCHES: Mapping[str, tuple[str, ...]] = {
    "hunyuan": ("TENCENT_SECRET_ID", "TENCENT_TOKENHUB_API_KEY"),
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL"),
    "doubao": ("DOUBAO_API_KEY",),
    "modelscope": ("MODELSCOPE_SDK_TOKEN", "MODELSCOPE_API_TOKEN", "MODELSCOPE_API_KEY"),
    "comfyui": ("COMFYUI_URL",),
    "webui": ("WEBUI_URL",),
    "local": ("LOCAL_MODEL", "LOCAL_MODELS"),
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
"""Every provider of ours, and the variables of which one at least is set where it is used; none: always on."""

ORDER = tuple(SWITCHES)
"""First those that have always been first, then engines of one's own, which cost nothing. `sketch` is last: it draws when nothing else is configured, and never in the place of a service that failed."""


def names() -> tuple[str, ...]:
    """Every provider's name, most preferred first: those of other packages stand between ours and `sketch`."""
    return (*ORDER[:-1], *_others().names, ORDER[-1])


def source(name: str) -> Source | None:
    """Where the provider of that name comes from; None where there is none, or where another package's is broken."""
    if name in SWITCHES:
        found: Source = import_module(f".{name}", __name__)
        return found
    return _others().sources.get(name)


def _others() -> Installed:
    return installed(ORDER)


def find(target: str) -> Source:
    """Where the provider of that name comes from, or what `module` or `module:attribute` leads to, installed or not.

    Raises:
        ConfigError: it cannot be imported, or is no source of a provider.
    """
    broken = next((words for label, words in _others().broken.items() if label.partition(" ")[0] == target), None)
    if broken is not None and target not in ORDER:
        raise ConfigError(f"{target}: {broken}")
    return source(target) or find_source(target)


@cache
def catalogues() -> Mapping[str, Catalogue]:
    """What every provider offers, configured or not. Imports them all."""
    return {name: found.CATALOGUE for name in names() if (found := source(name)) is not None}


def load(environment: Environment, broken: dict[str, str] | None = None) -> dict[str, Provider]:
    """The configured providers, in order.

    Args:
        broken: takes what is wrong with providers of other packages. Whatever that is, they are left out and the others are there.

    Raises:
        ConfigError: the settings of one of our own are wrong.
    """
    found: dict[str, Provider | None] = {}
    for name in names():
        if name not in SWITCHES:
            found[name] = _others().load(name, environment, {} if broken is None else broken)
        elif (not SWITCHES[name] or not environment.keys().isdisjoint(SWITCHES[name])) and (own := source(name)) is not None:
            found[name] = own.load(environment)
    if broken is not None:
        broken.update(_others().broken)
    return {name: provider for name, provider in found.items() if provider is not None}


def variables(name: str) -> tuple[str, ...]:
    """The environment variables that the provider reads."""
    found = source(name)
    if found is None:
        return ()
    fields = getattr(getattr(found, "Config", None), "model_fields", None)
    return found.CATALOGUE.variables if fields is None else tuple(str(info.alias or field) for field, info in fields.items())
