"""The services, in the order in which they are preferred when a request names none; and how they are loaded.

Each module here has a `CATALOGUE` (what it offers, known without calling it), `load(environment)` (the provider, or None where its variables are not set) and,
where it has settings, a `Config`. Modules import nothing heavy until a provider is used.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from ..models import Catalogue
from .base import Context, Provider, Resumable

if TYPE_CHECKING:
    from ..settings import Environment

__all__ = ["ORDER", "Context", "Provider", "Resumable", "catalogues", "load", "variables"]

ORDER = ("hunyuan", "openai", "doubao", "modelscope", "sketch")
"""`sketch` is last: it draws when nothing else is configured, and never in the place of a service that failed."""


def _module(name: str) -> ModuleType:
    return import_module(f".{name}", __name__)


def catalogues() -> dict[str, Catalogue]:
    """What every provider offers, configured or not."""
    return {name: _module(name).CATALOGUE for name in ORDER}


def load(environment: Environment) -> dict[str, Provider]:
    """The configured providers, in order.

    Raises:
        ConfigError: a provider's settings are wrong.
    """
    found = {name: _module(name).load(environment) for name in ORDER}
    return {name: provider for name, provider in found.items() if provider is not None}


def variables(name: str) -> tuple[str, ...]:
    """The environment variables that the provider reads."""
    config = getattr(_module(name), "Config", None)
    return tuple(str(info.alias) for info in config.model_fields.values()) if config is not None else ()
