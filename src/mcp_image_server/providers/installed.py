"""Providers that other packages bring, as they declare in their metadata.

::

    [project.entry-points."mcp_image_server.providers"]
    acme = "acme_pictures.provider"

The name is the provider's own, the value leads to a `base.Source`: a module such as those beside this one, or anything else with a `CATALOGUE` and a `load`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, ImageServerError
from ..models import Catalogue, find_model
from ..settings import SECRET_WORDS
from .base import Provider, Source

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from ..settings import Environment

GROUP = "mcp_image_server.providers"

RESERVED = frozenset({"any", "none"})
"""Names that mean something else where providers are named."""

_MARK = f"[{GROUP}]".encode()
_NAME = re.compile(r"[a-z][a-z0-9-]{1,30}")


@dataclass(frozen=True, kw_only=True)
class Installed:
    """The providers of other packages in this Python environment."""

    names: tuple[str, ...] = ()
    """All of them, also those that are broken."""
    sources: Mapping[str, Source]
    broken: Mapping[str, str]
    """A provider and its package, to what is wrong with it."""
    packages: Mapping[str, str]
    """Who brings the provider."""

    def load(self, name: str, environment: Environment, broken: dict[str, str]) -> Provider | None:
        """The provider, where it is configured; whatever goes wrong stands in `broken`, without secrets."""
        if name not in self.sources:
            return None
        try:
            return self.sources[name].load(environment)
        except (Exception, SystemExit) as error:  # another's mistake does not keep the others from working
            broken[f"{name} ({self.packages[name]})"] = f"It could not be loaded: {_words(error, environment)}"
            return None


@cache
def installed(own: tuple[str, ...]) -> Installed:
    """The providers of other packages. Where there are none, all it costs is a look into the folders of packages: a millisecond for a hundred of them.

    Args:
        own: names that are not to be had.
    """
    names: dict[str, str] = {}
    sources: dict[str, Source] = {}
    broken: dict[str, str] = {}
    for point, package in _points() if any(_declares(folder) for folder in _metadata()) else ():
        label = f"{point.name} ({package})"
        if (objection := _objection(point.name, own, names)) is not None:
            broken[label] = objection
            continue
        names[point.name] = package
        try:
            sources[point.name] = checked(point.load(), point.name)
        except (Exception, SystemExit) as error:
            broken[label] = f"It could not be imported from {point.value}: {_words(error, os.environ)}"
    return Installed(names=tuple(names), sources=sources, broken=broken, packages=names)


def checked(found: Any, name: str = "") -> Source:
    """What an entry point leads to, when it is a source; `name`: of this provider.

    Raises:
        ConfigError: something is missing.
    """
    catalogue = getattr(found, "CATALOGUE", None)
    if not isinstance(catalogue, Catalogue) or not callable(getattr(found, "load", None)):
        raise ConfigError("There must be a CATALOGUE of the class mcp_image_server.models.Catalogue, and a function load(environment).")
    if name and catalogue.provider != name:
        raise ConfigError(f"The entry point is called {name!r} and the catalogue {catalogue.provider!r}; give them the same name.")
    if find_model(catalogue.models, catalogue.default_model) is None:
        raise ConfigError(f"The default model {catalogue.default_model!r} is not among the models of the catalogue.")
    source: Source = found
    return source


def find_source(target: str) -> Source:
    """What `module` or `module:attribute` leads to, installed or not.

    Raises:
        ConfigError: it cannot be imported, or is no source of a provider.
    """
    from importlib.metadata import EntryPoint

    try:
        return checked(EntryPoint(name="", value=target, group=GROUP).load())
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{target!r} is no provider's name, and could not be imported as a module either: {_words(error, os.environ)}") from error


def _objection(name: str, own: tuple[str, ...], others: Mapping[str, str]) -> str | None:
    if name in own:
        return f"The name {name!r} is taken by this program's own provider. The package must give its provider another one."
    if name in others:
        return f"The name {name!r} is taken by the package {others[name]}. Uninstall one of the two."
    if name in RESERVED or not _NAME.fullmatch(name):
        return f"{name!r} cannot be a provider's name: small letters, digits and hyphens, at most 31, and not {' or '.join(sorted(RESERVED))}."
    return None


def _points() -> Iterator[tuple[EntryPoint, str]]:
    """The entry points with their packages, always in the same order."""
    from importlib.metadata import entry_points

    found = [(point, point.dist.name if point.dist is not None else "?") for point in entry_points(group=GROUP)]
    yield from sorted(found, key=lambda each: (each[0].name, each[1]))


def _metadata() -> Iterator[str]:
    """The folders in which installed packages describe themselves.

    `importlib.metadata` would read each description whole, which takes ten times as long as looking for one word in them.
    """
    for path in sys.path:
        try:
            with os.scandir(path or ".") as entries:
                yield from (entry.path for entry in entries if entry.name.endswith((".dist-info", ".egg-info")))
        except OSError:  # a path that is not there, or an archive
            continue


def _declares(folder: str) -> bool:
    try:
        with open(os.path.join(folder, "entry_points.txt"), "rb") as file:
            return _MARK in file.read()
    except OSError:
        return False


def _words(error: BaseException, environment: Mapping[str, str]) -> str:
    """What went wrong, without the values of secret variables."""
    text = error.message if isinstance(error, ImageServerError) else f"{type(error).__name__}: {error}"
    for name, value in environment.items():
        if len(value) >= 4 and any(word in name.upper() for word in SECRET_WORDS):
            text = text.replace(value, "***")
    return text if text.endswith(".") else f"{text}."
